"""The distance between two softmaxes, and the distillation loss built on it.

With d = log(q / p), sum(p log(p / q)) is the sum of p (exp(d) - 1 - d): no term is negative, so
that nothing cancels however near p and q are.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import Array, Slices, kernel_for
from softmax._kernels import kernels
from softmax._reference.pairs import two_sum
from softmax._targets import (
    check_options,
    read_logits,
    reduced,
    row_blocks,
    rows_along,
    shaped,
    wide_dtype,
    without_axis,
)
from softmax.losses import cross_entropy
from softmax.maxima import as_number

SERIES = tuple(1 / math.factorial(k) for k in range(14, 1, -1))  # of (exp(d) - 1 - d) / d^2


def kl_divergence(
    p_logits: npt.ArrayLike,
    q_logits: npt.ArrayLike,
    axis: int = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Any:
    r"""Return KL(p || q) of p = softmax(p_logits) and q = softmax(q_logits), in nats.

    Parameters
    ----------
    p_logits, q_logits : array_like
        Scores of one shape, with dtypes as in `cross_entropy`.
    axis : int, default -1
        The axis of the classes.
    temperature : float or array_like, default 1.0
        Divides both, as in `softmax`.
    reduction : {"mean", "sum", "none"}, default "mean"
        Over the slices.
    return_grad : bool, default False
        Also return the gradient with respect to `q_logits`, (q - p) / temperature.

    Returns
    -------
    divergence : ndarray or scalar
        At least 0, in the common dtype of the logits; inf where q rules out what p does not, nan
        where `softmax` is nan.
    gradient : ndarray
        Of the shape of the logits. Only with `return_grad`.

    Raises
    ------
    TypeError, ValueError
        As `softmax` does, and if the shapes differ.

    Notes
    -----
    .. math:: \sum_i p_i \log(p_i / q_i)

    References
    ----------
    .. [1] S. Kullback and R. A. Leibler, "On Information and Sufficiency", Annals of Mathematical
       Statistics, 1951.

    Examples
    --------
    >>> from softmax import kl_divergence
    >>> print(round(kl_divergence([0.0, 0.0], [1.0, -1.0]), 6))
    0.433781
    """
    check_options(reduction)
    given_p, _ = read_logits(p_logits, axis, "p_logits")
    given_q, axis = read_logits(q_logits, axis, "q_logits")
    if given_p.shape != given_q.shape:
        raise ValueError(
            f"q_logits must have the shape of p_logits, {given_p.shape}, got {given_q.shape}"
        )
    dtype = np.result_type(given_p, given_q)
    temperatures = Slices(given_p, axis).temperature(temperature)
    p, q = rows_along(given_p, axis), rows_along(given_q, axis)
    t = None if temperatures is None else rows_along(temperatures, axis)
    losses = np.zeros(len(p), wide_dtype(dtype))
    slopes = np.empty(p.shape, dtype) if return_grad else None
    scale = 1 / max(1, len(p)) if reduction == "mean" else 1.0
    for part in row_blocks(*p.shape):
        divergence, slope = divergence_rows(
            p[part].astype(losses.dtype, order="C"),
            q[part].astype(losses.dtype, order="C"),
            None if t is None else np.ascontiguousarray(t[part]),
        )
        losses[part] = scale * divergence
        if slopes is not None:
            slopes[part] = scale * slope
    loss = reduced(losses, reduction, without_axis(given_p, axis), dtype)
    return loss if slopes is None else (loss, shaped(slopes, given_p, axis))


def divergence_rows(x_p: Array, x_q: Array, temperature: Array | None) -> tuple[Array, Array]:
    """Return the divergence of each pair of rows, and its derivative by x_q."""
    p, log_p = tempered(x_p, temperature)
    q, log_q = tempered(x_q, temperature)
    with np.errstate(all="ignore"):
        t = np.ones((len(x_p), 1)) if temperature is None else temperature
        # Limits of the temperature, and classes that one of the two rules out, leave the plain way.
        alike = np.isfinite(x_p) & np.isfinite(x_q) | (x_p == -np.inf) & (x_q == -np.inf)
        tame: Any = np.logical_and.reduce(alike, axis=1, keepdims=True) & (t > 0) & (t < np.inf)
        gap, ratio = log_ratio(x_p, x_q, p, log_p, t)
        d = np.where(tame, ratio, log_q - log_p)
        near = d < 30  # beyond, exp(d) may overflow where p exp(d) = q does not
        terms = np.where(near, p * excess(d), (q - p) - p * d)
        terms = np.where(p == 0, q, terms)
        # Where p and q are near each other the ratio knows more than their difference, unless it
        # comes from a wide gap.
        close = (p > 0) & (gap > -1) & (d < 0.5)
        slopes = np.where(close, p * np.expm1(d), q - p)
        slopes = np.where(slopes == 0, slopes, slopes / t)
        undefined: Any = np.logical_or.reduce(np.isnan(p) | np.isnan(q), axis=1, keepdims=True)
        losses = np.where(undefined[:, 0], np.nan, terms.sum(1))
        return losses, np.where(undefined, np.nan, slopes)


def tempered(x: Array, temperature: Array | None) -> tuple[Array, Array]:
    """Return the probabilities of rows and their logarithms."""
    p, log_p = np.empty_like(x), np.empty_like(x)
    kernel_for(x.dtype, kernels, "softmax")(x, p, 1, None, temperature, None)
    kernel_for(x.dtype, kernels, "log_softmax")(x, log_p, 1, None, temperature, None)
    return p, log_p


def log_ratio(
    x_p: Array, x_q: Array, p: Array, log_p: Array, temperature: Array
) -> tuple[Array, Array]:
    """Return the differences of the logits, relative to the largest, and log(q / p) from them."""
    high, low = two_sum(x_q, -x_p)
    high = np.where(np.isnan(high), -np.inf, high)  # what both rule out
    top = np.argmax(high, axis=1)[:, None]
    high -= np.take_along_axis(high, top, 1)
    low = np.where(np.isfinite(low), low, 0)
    gap = (high + (low - np.take_along_axis(low, top, 1))) / temperature  # <= 0
    change = (p * np.expm1(gap)).sum(1, keepdims=True)
    total: Array = np.empty_like(change)
    kernel_for(gap.dtype, kernels, "logsumexp")(log_p + gap, total, 1, None, None, None)
    return gap, gap - np.where(change > -0.5, np.log1p(change), total)


def excess(d: Array) -> Array:
    """Return exp(d) - 1 - d."""
    small = np.where(np.abs(d) < 0.5, d, 0)
    series = np.zeros_like(d)
    for coefficient in SERIES:
        series = series * small + coefficient
    return np.where(np.abs(d) < 0.5, small * small * series, np.expm1(d) - d)


def distillation_loss(
    student_logits: npt.ArrayLike,
    teacher_logits: npt.ArrayLike,
    target: npt.ArrayLike | None = None,
    axis: int = -1,
    *,
    temperature: float = 2.0,
    alpha: float = 0.5,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Any:
    r"""Return the loss of a student that learns from a teacher's softened outputs and a target.

    Parameters
    ----------
    student_logits, teacher_logits : array_like
        Scores of one shape, with dtypes as in `cross_entropy`.
    target : array_like, optional
        Labels or probabilities as in `cross_entropy`. Without it there is only the soft part, and
        `alpha` plays no role.
    axis : int, default -1
        The axis of the classes.
    temperature : float, default 2.0
        T, which softens both; above 0 and finite.
    alpha : float, default 0.5
        The weight of the hard part, 0 to 1; the soft part has 1 - alpha.
    reduction : {"mean", "sum", "none"}, default "mean"
        Over the slices.
    return_grad : bool, default False
        Also return the gradient with respect to `student_logits`.

    Returns
    -------
    loss : ndarray or scalar
        In nats, in the common dtype of the logits.
    gradient : ndarray
        Of the shape of the logits. Only with `return_grad`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `kl_divergence` and `cross_entropy` do.

    Notes
    -----
    .. math:: (1 - \alpha) T^2 \mathrm{KL}(teacher_T \,\|\, student_T)
              + \alpha \, \mathrm{cross\_entropy}(student, target)

    The factor T^2 makes up for the gradients of the soft part, which shrink with 1 / T^2.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> from softmax import distillation_loss
    >>> print(round(distillation_loss([1.0, 0.0], [2.0, 0.0], 0), 6))
    0.20932
    """
    check_options(reduction, alpha=alpha)
    T = as_number(temperature, "temperature")
    if not 0 < T < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, got {temperature!r}")
    student, number = read_logits(student_logits, axis, "student_logits")
    teacher, _ = read_logits(teacher_logits, axis, "teacher_logits")
    if student.shape != teacher.shape:
        raise ValueError(
            f"teacher_logits must have the shape of student_logits, {student.shape}, "
            f"got {teacher.shape}"
        )
    options: dict[str, Any] = {"reduction": reduction, "return_grad": True}
    dtype = np.result_type(student, teacher)
    wide = wide_dtype(dtype)
    student, teacher = student.astype(wide), teacher.astype(wide)
    soft = 1.0 if target is None else 1 - alpha
    loss, slopes = kl_divergence(teacher, student, number, temperature=T, **options)
    loss, slopes = loss * (soft * T**2), slopes * (soft * T**2)
    if target is not None:
        hard_loss, hard_slopes = cross_entropy(student, target, number, **options)
        if alpha:  # what has no weight adds nothing, be it infinite
            loss, slopes = loss + alpha * hard_loss, slopes + alpha * hard_slopes
    with np.errstate(over="ignore"):
        loss, slopes = np.asarray(loss).astype(dtype)[()], slopes.astype(dtype)
    return (loss, slopes) if return_grad else loss
