"""The NumPy twin of every native kernel: the oracle of the tests, the fallback without a compiler.

The functions take the same positional arguments as those of `softmax._core`, write into `out`, and
keep the same contract of accuracy and of special values. They reduce each slice to a state
(`state`), then map the slice given that state (`slices`, `maxima`, `losses`); `sampling` repeats
its kernel step by step. Two things the native kernels leave to them: longdouble, and any processor
nobody compiled for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._reference.divergence import kl_divergence
from softmax._reference.elementwise import log_sigmoid, logit, sigmoid, softplus
from softmax._reference.factors import factor_blocks, solve_blocks
from softmax._reference.gram import complete_curvature, softmax_curvature, weighted_grams
from softmax._reference.layer import (
    layer_derivative,
    layer_loss,
    layer_probabilities,
    loss_gradient,
    quadratic_gap,
)
from softmax._reference.losses import (
    cross_entropy,
    cross_entropy_counts,
    cross_entropy_soft,
    focal_loss,
    target_sums,
)
from softmax._reference.maxima import cumulative_logsumexp, mellowmax, smooth_max
from softmax._reference.sampling import filter_logits, sample
from softmax._reference.slices import (
    entropy,
    log_softmax,
    logsumexp,
    softmax,
    softmax_jvp,
    softmax_vjp,
)
from softmax._reference.sparse import csr_product

__all__ = [
    "build_info",
    "complete_curvature",
    "cross_entropy",
    "cross_entropy_counts",
    "cross_entropy_soft",
    "csr_product",
    "cumulative_logsumexp",
    "empty",
    "entropy",
    "factor_blocks",
    "filter_logits",
    "focal_loss",
    "get_num_threads",
    "kl_divergence",
    "layer_derivative",
    "layer_loss",
    "layer_probabilities",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "loss_gradient",
    "mellowmax",
    "plain_cross_entropy",
    "plain_derivative",
    "plain_log_sigmoid",
    "plain_log_softmax",
    "plain_logit",
    "plain_logsumexp",
    "plain_sigmoid",
    "plain_softmax",
    "plain_softplus",
    "quadratic_gap",
    "sample",
    "set_num_threads",
    "sigmoid",
    "smooth_max",
    "softmax",
    "softmax_curvature",
    "softmax_jvp",
    "softmax_vjp",
    "softplus",
    "solve_blocks",
    "target_sums",
    "weighted_grams",
]


def leave(*arguments: object) -> None:
    """Return None: what the compiled kernels take as it is, NumPy takes by the ordinary way."""


plain_softmax = plain_log_softmax = plain_logsumexp = plain_derivative = leave
plain_sigmoid = plain_log_sigmoid = plain_softplus = plain_logit = plain_cross_entropy = leave


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a new array for a result."""
    return np.empty(shape, dtype)


def set_num_threads(n: int) -> None:
    """Accept any number of threads; NumPy's own loops run on one."""


def get_num_threads() -> int:
    """Return 1, the number of threads in use."""
    return 1


def build_info() -> dict[str, object]:
    """Say that these are not the compiled kernels."""
    return {
        "native": False,
        "target": "reference",
        "targets": ["reference"],
        "openmp": False,
        "compiler": None,
    }
