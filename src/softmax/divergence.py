"""The distance between two softmaxes, and the distillation loss built on it."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import Slices, kernel_for
from softmax._kernels import kernels
from softmax._reference.rows import as_rows
from softmax._targets import (
    check_options,
    read_logits,
    reduced,
    row_blocks,
    shaped,
    wide_dtype,
    without_axis,
)
from softmax.losses import cross_entropy
from softmax.maxima import as_number


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
    p, q = as_rows(given_p, axis), as_rows(given_q, axis)
    t = None if temperatures is None else as_rows(temperatures, axis)
    losses = np.zeros(len(p), wide_dtype(dtype))
    slopes = kernels.empty(p.shape, dtype) if return_grad else None
    scale = 1 / max(1, len(p)) if reduction == "mean" else 1.0
    kernel = kernel_for(dtype, kernels, "kl_divergence")
    for part in row_blocks(*p.shape):
        rows_p, rows_q = (a[part].astype(losses.dtype, order="C") for a in (p, q))
        slope = np.empty_like(rows_p) if return_grad else None
        t_part = None if t is None else np.ascontiguousarray(t[part])
        kernel(rows_p, rows_q, t_part, losses[part], slope)
        if slopes is not None and slope is not None:
            slopes[part] = scale * slope
    loss = reduced(scale * losses, reduction, without_axis(given_p, axis), dtype)
    return loss if slopes is None else (loss, shaped(slopes, given_p, axis))


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
