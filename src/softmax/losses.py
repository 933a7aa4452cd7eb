"""Cross-entropy and the losses built on it, each with its gradient from the same pass.

A loss is a log-probability and its gradient a difference of probabilities; both keep their relative
accuracy next to zero, because 1 - p is taken as the sum of the other probabilities. Logits and
labels that are as kernels need them go straight to plain_cross_entropy, as in softmax.functions.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import (
    Array,
    as_array,
    as_floating,
    check_out,
    kernel_for,
    refuse_mask,
    separate,
)
from softmax._kernels import kernels
from softmax._reference.rows import as_rows
from softmax._targets import (
    IgnoreIndex,
    Target,
    check_options,
    read_logits,
    read_target,
    read_weights,
    reduced,
    row_blocks,
    scale_for,
    shaped,
    wide_dtype,
    without_axis,
)

FEW_COLUMNS, LONG_COLUMN = 8, 1 << 15  # with fewer neighbours, or longer, they are walked alone
TERMS_OF_AN_ENTRY = 32  # of binary cross-entropy: blocks are shorter by this, to stay in the cache


def cross_entropy(
    logits: npt.ArrayLike,
    target: npt.ArrayLike,
    axis: int = -1,
    *,
    class_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: IgnoreIndex = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
    out: Array | None = None,
) -> Any:
    r"""Return the cross-entropy of softmax(logits) relative to a target, in nats.

    Parameters
    ----------
    logits : array_like
        Scores. float16, bfloat16, float32, float64 and longdouble keep their dtype; integers and
        booleans are taken as float64.
    target : array_like
        Labels, integers of the shape of `logits` without the axis; or probabilities, of the shape
        of `logits`, that sum to 1 along the axis. A slice of nothing but zeros does not count.
    axis : int, default -1
        The axis of the classes.
    class_weight : array_like, shape (K,), optional
        Weight of each class, at least 0.
    sample_weight : array_like, optional
        Weight of each slice, at least 0; broadcasts to the shape of the labels.
    ignore_index : int or collection of int, optional
        Labels whose slices do not count: loss 0, gradient 0. They need not be classes.
    label_smoothing : float, default 0.0
        The part s of the target that is shared equally by all classes, 0 to 1.
    z_loss : float, default 0.0
        Adds this times the square of the slice's logsumexp, weighted as the slice is.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean divides by the sum of the weights of the slices that count: their sample weights,
        with labels times the class weights of the labels. If nothing counts it is 0.
    return_grad : bool, default False
        Also return the gradient with respect to `logits`; for "none" each slice's own.
    out : ndarray, optional
        Where to write the gradient, `logits` itself allowed. Only with `return_grad`.

    Returns
    -------
    loss : ndarray or scalar
        In the dtype of the logits, summed in float64. nan for a slice with a nan, with several
        +inf, or with nothing but -inf; inf where the target asks for a class of logit -inf.
    gradient : ndarray
        Of the shape and dtype of `logits`; 0 in slices that do not count. Only with `return_grad`.

    Raises
    ------
    IndexError
        If a label that is not ignored is no class; a negative one never is.
    TypeError
        If labels are not integers, or an argument does not hold real numbers.
    ValueError
        If a shape does not fit, a target is negative or does not sum to 1 within the square root
        of its dtype's rounding unit, a weight is negative, or an option is out of its range.

    See Also
    --------
    linear_cross_entropy : the same for logits that are a matrix product, without keeping them.

    Notes
    -----
    For a slice with label y, class weights w and K classes the loss is

    .. math:: -(1 - s) w_y \log p_y - \frac{s}{K} \sum_c w_c \log p_c

    and for probabilities q it is :math:`-\sum_c w_c ((1 - s) q_c + s / K) \log p_c`. A term with
    factor 0 is 0, whatever its logit. With t the factors of the logarithms, the gradient is
    :math:`p \sum_c t_c - t`; z_loss adds :math:`\sum_c t_c` times z (logsumexp)^2 to the loss.
    These are PyTorch's formulas, and its means.

    Examples
    --------
    >>> from softmax import cross_entropy
    >>> print(round(cross_entropy([[2.0, 1.0], [0.0, 3.0]], [0, 0]), 6))
    1.680925
    >>> loss, gradient = cross_entropy([0.0, 0.0], 1, return_grad=True)
    >>> gradient
    array([ 0.5, -0.5])
    >>> print(cross_entropy([0.0, -40.0], 0))
    4.248354255291589e-18
    """
    if class_weight is None and sample_weight is None and ignore_index is None:
        result = kernels.plain_cross_entropy(
            logits, target, axis, label_smoothing, z_loss, reduction, return_grad, out
        )
        if result is not None:
            return result
    check_options(reduction, label_smoothing=label_smoothing, z_loss=z_loss)
    x, axis = read_logits(logits, axis)
    t = read_target(
        x, target, axis, class_weight, sample_weight, ignore_index, float(label_smoothing)
    )
    scale = scale_for(reduction, t.total)
    gradient = gradient_for(x, return_grad, out)
    losses = each_loss(x, axis, t, gradient, scale, float(z_loss))
    loss = reduced(losses, reduction, without_axis(x, axis), x.dtype)
    return (loss, delivered(gradient, out)) if return_grad else loss


def gradient_for(x: Array, return_grad: bool, out: Array | None) -> Array | None:
    """Return a contiguous array for the gradient, `out` itself where it is one."""
    if out is not None:
        check_out(out, x.shape, x.dtype)
        if not return_grad:
            raise ValueError("out must be left out without return_grad=True")
        plain = out.view(np.ndarray)
        if plain.flags.c_contiguous and plain.flags.aligned and separate(x, plain) is x:
            return plain
    return kernels.empty(x.shape, x.dtype) if return_grad else None


def delivered(gradient: Array | None, out: Array | None) -> Array | None:
    """Return the gradient where the user wants it."""
    if out is None or gradient is None:
        return gradient
    if not np.may_share_memory(out, gradient):
        out[...] = gradient
    return out


def each_loss(
    x: Array, axis: int, target: Target, gradient: Array | None, scale: float, z_loss: float
) -> Array:
    """Return the weighted loss of each slice, and write the gradient."""
    losses = np.zeros(math.prod(without_axis(x, axis)), wide_dtype(x.dtype))
    if target.plain_labels or (target.whole_labels and walks_well(x, axis)):
        kernel = kernel_for(x.dtype, kernels, "cross_entropy")
        options = axis, scale, z_loss, target.smoothing
        kernel(x, target.labels, target.weights, losses, gradient, *options)
        return losses
    rows = as_rows(x, axis)
    slopes = None if gradient is None else np.ascontiguousarray(as_rows(gradient, axis))
    for part in row_blocks(*rows.shape):
        block = np.ascontiguousarray(rows[part])
        slope = None if slopes is None else slopes[part]
        target.write_losses(block, part, losses[part], slope, scale, z_loss)
    if gradient is not None and slopes is not None and not np.may_share_memory(slopes, gradient):
        moved = np.moveaxis(gradient, axis, -1)
        moved[...] = slopes.reshape(moved.shape)
    return losses


def walks_well(x: Array, axis: int) -> bool:
    """Whether slices are rows, or columns beside others, whose labels kernels smooth."""
    neighbours = math.prod(x.shape[axis + 1 :])
    return neighbours == 1 or (neighbours >= FEW_COLUMNS and x.shape[axis] <= LONG_COLUMN)


def focal_loss(
    logits: npt.ArrayLike,
    target: npt.ArrayLike,
    axis: int = -1,
    *,
    gamma: float = 2.0,
    class_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: IgnoreIndex = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Any:
    r"""Return the focal loss, -(1 - p)^gamma log(p): cross-entropy less where p is already high.

    Parameters
    ----------
    logits, target, axis, class_weight, sample_weight, ignore_index, label_smoothing, reduction
        As in `cross_entropy`.
    gamma : float, default 2.0
        At least 0, which is `cross_entropy`.
    return_grad : bool, default False
        Also return the gradient with respect to `logits`.

    Returns
    -------
    loss : ndarray or scalar
        In the dtype of the logits.
    gradient : ndarray
        Of the shape and dtype of `logits`. Only with `return_grad`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy` does.

    Notes
    -----
    With t the factors of the logarithms in `cross_entropy` the loss of a slice is
    :math:`-\sum_c t_c (1 - p_c)^\gamma \log p_c`. With
    :math:`a_c = t_c ((1 - p_c)^\gamma - \gamma p_c (1 - p_c)^{\gamma - 1} \log p_c)` its gradient
    is :math:`p \sum_c a_c - a`.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollar, "Focal Loss for Dense Object
       Detection", ICCV 2017.

    Examples
    --------
    >>> from softmax import focal_loss
    >>> print(focal_loss([0.0, 0.0], 0, gamma=1.0))
    0.34657359027997264
    """
    check_options(reduction, label_smoothing=label_smoothing, gamma=gamma)
    x, axis = read_logits(logits, axis)
    t = read_target(
        x, target, axis, class_weight, sample_weight, ignore_index, float(label_smoothing)
    )
    scale = scale_for(reduction, t.total)
    rows = as_rows(x, axis)
    losses = np.zeros(len(rows), wide_dtype(x.dtype))
    slopes = kernels.empty(rows.shape, x.dtype) if return_grad else None
    kernel = kernel_for(x.dtype, kernels, "focal_loss")
    for part in row_blocks(*rows.shape):
        block = rows[part].astype(losses.dtype, order="C")
        slope = None if slopes is None else np.empty_like(block)
        weights = None if t.weights is None else t.weights[part]
        rows_of_target = t.rows(part, losses.dtype)
        kernel(block, rows_of_target, weights, losses[part], slope, scale, float(gamma))
        if slopes is not None:
            slopes[part] = slope
    loss = reduced(losses, reduction, without_axis(x, axis), x.dtype)
    return loss if slopes is None else (loss, shaped(slopes, x, axis))


def binary_cross_entropy(
    logits: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    pos_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
) -> Any:
    r"""Return the cross-entropy of sigmoid(logits): independent labels that may hold together.

    Parameters
    ----------
    logits : array_like
        Scores, with dtypes as in `cross_entropy`.
    target : array_like
        Probabilities that a label holds, 0 to 1, or booleans; of the shape of `logits`.
    pos_weight : array_like, optional
        Factor of the loss where the label holds; broadcasts against `logits`.
    sample_weight : array_like, optional
        Weight of each entry, at least 0; broadcasts against `logits`.
    label_smoothing : float, default 0.0
        The part s of each target that is replaced by 1/2.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean divides by the sum of the sample weights.
    return_grad : bool, default False
        Also return the gradient with respect to `logits`.

    Returns
    -------
    loss : ndarray or scalar
        In the dtype of the logits; for "none" of their shape.
    gradient : ndarray
        Of the shape and dtype of `logits`. Only with `return_grad`.

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy` does, and for a target outside [0, 1].

    Notes
    -----
    With t = (1 - s) target + s / 2 and weights v of the positive labels an entry's loss is

    .. math:: v t \log(1 + e^{-x}) + (1 - t) \log(1 + e^x)

    and its derivative :math:`(1 - t) \sigma(x) - v t \sigma(-x)`. A term with factor 0 is 0.

    Examples
    --------
    >>> from softmax import binary_cross_entropy
    >>> print(binary_cross_entropy([0.0, 40.0], [1, 1], reduction="sum").round(12))
    0.69314718056
    """
    check_options(reduction, label_smoothing=label_smoothing)
    x = as_floating(logits, "logits")
    refuse_mask(logits, "logits")
    refuse_mask(target, "target")
    t = as_array(target, "target")
    if t.shape != x.shape:
        raise ValueError(f"target must have the shape of logits, {x.shape}, got {t.shape}")
    weights = read_weights(sample_weight, x.shape, "sample_weight")
    positive = read_weights(pos_weight, x.shape, "pos_weight")
    total = x.size if weights is None else float(weights.sum())
    scale = scale_for(reduction, total)
    shape, x, t = x.shape, x.reshape(-1), t.reshape(-1)
    outside = ~((t >= 0) & (t <= 1))
    if outside.any():
        raise ValueError(f"target must be between 0 and 1, got {t[outside][0]!s}")
    losses = np.empty(x.shape, wide_dtype(x.dtype))
    slopes = kernels.empty(x.shape, x.dtype) if return_grad else None
    for part in row_blocks(x.size, TERMS_OF_AN_ENTRY):
        entries, holds = (a[part].astype(losses.dtype) for a in (x, t))
        holds = (1 - label_smoothing) * holds + label_smoothing / 2
        fails = (1 - label_smoothing) * (1 - t[part].astype(losses.dtype)) + label_smoothing / 2
        holds = holds if positive is None else holds * positive[part]
        factors = np.stack([holds, fails]) * (scale if weights is None else weights[part] * scale)
        losses[part] = of_both_signs("softplus", entries, factors).sum(0)
        if slopes is not None:
            down, up = of_both_signs("sigmoid", entries, factors)
            slopes[part] = up - down
    loss = reduced(losses, reduction, shape, x.dtype)
    return loss if slopes is None else (loss, slopes.reshape(shape))


def of_both_signs(kernel: str, x: Array, factors: Array) -> Array:
    """Return f(-x) and f(x) times their factors, 0 where those are 0."""
    values = np.stack([-x, x])
    kernel_for(x.dtype, kernels, kernel)(values, values)
    with np.errstate(invalid="ignore"):
        products: Array = np.where(factors == 0, 0, factors * values)
    return products
