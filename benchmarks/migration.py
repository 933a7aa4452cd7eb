"""Where PyTorch answers otherwise: pairs of calls for the page docs/migrate/from_pytorch.py.

`make results` records PyTorch's answers; ours are computed where the page is built.
"""

import warnings
from typing import Any

import numpy as np

import softmax

# F is torch.nn.functional, tensor torch.tensor; x, X, y, w are the arrays below, as each has them.
ARRAYS: dict[str, Any] = {
    "x": np.float32([[2, 1], [0, 3]]),
    "q": np.float32([[0, 1], [1, 0]]),
    "y": np.array([0, 1]),
    "w": np.float32([1, 3]),
    "X": np.zeros((2, 3, 4), np.float32),
    "Y": np.zeros((2, 4), np.int64),
}

CALLS = [
    ("torch.softmax(tensor([1, 2]), -1)", "softmax([1, 2])"),
    ("torch.softmax(tensor([1., inf]), -1)", "softmax([1., inf])"),
    ("torch.softmax(tensor([-inf, -inf]), -1)", "softmax([-inf, -inf])"),
    ("torch.log_softmax(tensor([0., -40.]).double(), -1)", "log_softmax([0., -40.])"),
    ("torch.logsumexp(tensor([]), -1)", "logsumexp([])"),
    ("F.softplus(tensor(21.).double()) - 21", "softplus(21.) - 21"),
    ("F.one_hot(tensor([3., 1., 3.]).argmax(), 3)", "hardmax([3., 1., 3.])"),
    ("F.cross_entropy(tensor([0., -20.]), tensor(0))", "cross_entropy(np.float32([0, -20]), 0)"),
    ("F.cross_entropy(X, Y)", "cross_entropy(X, Y, axis=1)"),
    ("F.cross_entropy(x, tensor([-100, 1]))", "cross_entropy(x, [-100, 1], ignore_index=-100)"),
    ("F.cross_entropy(x, tensor([-100, 1]))", "cross_entropy(x, [-100, 1])"),
    ("F.cross_entropy(x, tensor([-1, 1]))", "cross_entropy(x, [-1, 1])"),
    (
        "F.cross_entropy(x, tensor([-100, -100]))",
        "cross_entropy(x, [-100, -100], ignore_index=-100)",
    ),
    ("F.cross_entropy(x, y, weight=w)", "cross_entropy(x, y, class_weight=w)"),
    (
        "F.cross_entropy(x, torch.eye(2), weight=w)",
        "cross_entropy(x, np.eye(2, dtype=np.float32), class_weight=w)",
    ),
    (
        "F.cross_entropy(x, y, label_smoothing=0.1)",
        "cross_entropy(x, y, label_smoothing=0.1)",
    ),
    ("F.kl_div(x.log_softmax(-1), q.softmax(-1))", "kl_divergence(q, x)"),
    (
        "F.kl_div(x.log_softmax(-1), q.softmax(-1), reduction='batchmean')",
        "kl_divergence(q, x)",
    ),
    (
        "F.binary_cross_entropy_with_logits(x, q)",
        "binary_cross_entropy(x, q)",
    ),
]


def pytorch_answers() -> list[dict[str, str]]:
    """Return each of PyTorch's calls with its answer."""
    import torch

    names = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    names |= {"torch": torch, "F": torch.nn.functional, "tensor": torch.tensor, "inf": np.inf}
    return [{"call": call, "answer": answer(call, names)} for call, _ in CALLS]


def own_answers() -> list[str]:
    """Return the answers of this package, in the order of the calls."""
    names = {**vars(softmax), **ARRAYS, "np": np, "inf": np.inf}
    return [answer(call, names) for _, call in CALLS]


def answer(call: str, names: dict[str, Any]) -> str:
    """Return what a call gives, to six figures, or the name of its error."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return shown(np.asarray(eval(call, dict(names))).tolist())
        except Exception as error:  # whatever is raised is the answer
            return type(error).__name__


def shown(value: Any) -> str:
    """Return a number or nested lists of them as text."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return f"{value:.6g}"
