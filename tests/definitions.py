"""The textbook formula of each function, for one row of mpmath numbers.

With so many digits nothing in them needs care: they are what oracle.py is held against.
"""

import mpmath
import numpy as np

from wide import Wide

# exp(-745) next to 1, or a logarithm next to 1e308, takes some 340 digits to see.
DIGITS = 360

E = np.frompyfunc(mpmath.exp, 1, 1)
L = np.frompyfunc(mpmath.log, 1, 1)


def _softmax(x):
    return E(x) / E(x).sum()


def _tangent(x, dx):
    p = _softmax(x)
    return p * (dx - (p * dx).sum())


def _jacobian(x):
    return np.diag(_softmax(x)) - np.outer(_softmax(x), _softmax(x))


def _slopes(x, label):
    return _softmax(x) - (np.arange(len(x)) == label)


def _logits(x, weight, bias):
    return weight.dot(x) + bias


def _entropy(p):
    return -(p * L(p)).sum()


def _focal_gradient(x, y, gamma):
    p = _softmax(x)
    missing = sum(np.delete(p, y))  # 1 - p
    if not missing:
        return 0 * p
    pull = missing**gamma - gamma * p[y] * missing ** (gamma - 1) * L(p[y])
    return pull * (p - (np.arange(len(x)) == y))


def _distilled(soft, hard, T, alpha):
    return (1 - alpha) * T**2 * soft + alpha * hard


def _divergence(x, y):
    p, q = _softmax(y), _softmax(x)
    return (p * L(p / q)).sum()


DEFINITIONS = {
    "softmax": lambda x, temperature=1: _softmax(x / temperature),
    "log_softmax": lambda x, temperature=1: L(_softmax(x / temperature)),
    "logsumexp": lambda x, weights=1: L((weights * E(x)).sum()),
    "logmeanexp": lambda x: L(E(x).sum() / len(x)),
    "cumulative_logsumexp": lambda x: L(np.cumsum(E(x))),
    "smooth_max": lambda x, k=1: L(E(k * x).sum()) / k,
    "mellowmax": lambda x, omega=1: L(E(omega * x).sum() / len(x)) / omega,
    "hardmax": lambda x: (x == max(x)) * mpmath.mpf(1) / (x == max(x)).sum(),
    "entropy": lambda x, temperature=1: _entropy(_softmax(x / temperature)),
    "sigmoid": lambda x: 1 / (1 + E(-x)),
    "log_sigmoid": lambda x: -L(1 + E(-x)),
    "softplus": lambda x: L(1 + E(x)),
    "logit": lambda p: L(p / (1 - p)),
    "softmax_jvp": lambda x, dx, temperature=1: _tangent(x / temperature, dx / temperature),
    "softmax_vjp": lambda x, dp, temperature=1: _tangent(x / temperature, dp / temperature),
    "softmax_jacobian": lambda x: _jacobian(x),
    "cross_entropy": lambda x, target: -L(_softmax(x))[target],
    "cross_entropy_gradient": lambda x, target: _slopes(x, target),
    "cross_entropy_soft": lambda x, target: -(target * L(_softmax(x))).sum(),
    "cross_entropy_soft_gradient": lambda x, target: sum(target) * _softmax(x) - target,
    "focal_loss": lambda x, y, gamma=2: -((1 - _softmax(x)[y]) ** gamma) * L(_softmax(x)[y]),
    "focal_loss_gradient": lambda x, y, gamma=2: _focal_gradient(x, y, gamma),
    "kl_divergence": lambda x, p, temperature=1: _divergence(x / temperature, p / temperature),
    "kl_divergence_gradient": lambda x, p, temperature=1: (
        (_softmax(x / temperature) - _softmax(p / temperature)) / temperature
    ),
    "distillation_loss": lambda x, p, y, temperature=2, alpha=0.5: _distilled(
        _divergence(x / temperature, p / temperature), -L(_softmax(x))[y], temperature, alpha
    ),
    "distillation_loss_gradient": lambda x, p, y, temperature=2, alpha=0.5: _distilled(
        (_softmax(x / temperature) - _softmax(p / temperature)) / temperature,
        _softmax(x) - (np.arange(len(x)) == y), temperature, alpha,
    ),
    "binary_cross_entropy": lambda x, t: t * L(1 + E(-x)) + (1 - t) * L(1 + E(x)),
    "binary_cross_entropy_gradient": lambda x, t: 1 / (1 + E(-x)) - t,
    "softmax_layer": lambda x, w, b, temperature=1: _softmax(_logits(x, w, b) / temperature),
    "softmax_layer_jacobian": lambda x, w, b: np.multiply.outer(
        _jacobian(_logits(x, w, b)), x
    ).reshape(len(b), -1),
    "softmax_layer_vjp_X": lambda x, w, b, dp: _tangent(_logits(x, w, b), dp).dot(w),
    "softmax_layer_vjp_weight": lambda x, w, b, dp: np.outer(_tangent(_logits(x, w, b), dp), x),
    "linear_cross_entropy": lambda x, w, b, y: -L(_softmax(_logits(x, w, b)))[y],
    "linear_cross_entropy_X": lambda x, w, b, y: _slopes(_logits(x, w, b), y).dot(w),
    "linear_cross_entropy_weight": lambda x, w, b, y: np.outer(_slopes(_logits(x, w, b), y), x),
}  # fmt: skip


def definition(name, x, *more, **options):
    """Evaluate a definition on one row, as a Wide."""
    with mpmath.workdps(DIGITS):
        x, *more = (_as_mpmath(v) if np.ndim(v) else v for v in (x, *more))
        options = {k: _as_mpmath(v) if np.ndim(v) else mpmath.mpf(v) for k, v in options.items()}
        return Wide.from_mpmath(DEFINITIONS[name](x, *more, **options))


def _as_mpmath(values):
    exact = np.frompyfunc(lambda value: mpmath.mpf(float(value)), 1, 1)
    return exact(np.asarray(values))
