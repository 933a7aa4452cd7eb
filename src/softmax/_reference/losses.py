"""Cross-entropy and its gradient, row by row.

A loss is a log-probability, and like it exact where it is nearly 0. So is the gradient: the label's
p - 1 is minus the sum of the others where the label is the top entry.
"""

from collections.abc import Callable

import numpy as np

from softmax._reference.pairs import Array, Pair, add, divide, multiply, total
from softmax._reference.rows import BLOCK, as_rows, working_dtype
from softmax._reference.state import State, raise_by, reduce


def cross_entropy(
    logits: Array,
    target: Array,
    weights: Array | None,
    loss: Array,
    gradient: Array | None,
    axis: int = -1,
    scale: float = 1.0,
    z_loss: float = 0.0,
) -> None:
    """Write weight * -log(p[target]) of each slice, and its gradient weight * (p - one-hot).

    A slice whose target is -1 does not count. With z_loss, z_loss * logsumexp**2 is added before
    the weight; scale multiplies all weights.
    """
    weight = np.full(target.size, scale) if weights is None else weights * scale
    weight = np.where(target >= 0, weight, 0)
    label = np.maximum(target, 0)[:, None]
    each_row_block(label_loss, logits, label, weight, loss, gradient, axis, z_loss)


def cross_entropy_soft(
    logits: Array,
    target: Array,
    weights: Array | None,
    loss: Array,
    gradient: Array | None,
    axis: int = -1,
    scale: float = 1.0,
    z_loss: float = 0.0,
) -> None:
    """Write weight * sum(t * -log(p)) of each slice, and its gradient weight * (sum(t) p - t).

    With z_loss, sum(t) * z_loss * logsumexp**2 is added before the weight.
    """
    weight = np.full(loss.size, scale) if weights is None else weights * scale
    each_row_block(soft_loss, logits, as_rows(target, axis), weight, loss, gradient, axis, z_loss)


def cross_entropy_counts(
    logits: Array,
    starts: Array,
    places: Array,
    counts: Array,
    weights: Array | None,
    loss: Array,
    gradient: Array | None,
    scale: float = 1.0,
    z_loss: float = 0.0,
) -> None:
    """Do what `cross_entropy_soft` does, of a sparse target.

    Those of slice i are counts[k] at places[k], for k from starts[i] up to starts[i + 1].
    """
    rows = np.repeat(np.arange(len(logits)), np.diff(starts))
    stored = slice(starts[0], starts[-1])
    target = np.zeros(logits.shape, counts.dtype)
    np.add.at(target, (rows, places[stored]), counts[stored])
    cross_entropy_soft(logits, target, weights, loss, gradient, -1, scale, z_loss)


def each_row_block(
    function: Callable[[State, Array], tuple[Array, Array, Array]],
    logits: Array,
    target: Array,
    weight: Array,
    loss: Array,
    gradient: Array | None,
    axis: int,
    z_loss: float,
) -> None:
    """Write weighted losses and gradients of each block of rows; weight 0 leaves a row out."""
    if logits.shape[axis] == 0:
        loss[...] = 0
        return
    rows = as_rows(logits, axis)
    dtype = working_dtype(logits.dtype)
    result = None if gradient is None else np.empty(rows.shape, gradient.dtype)
    step = max(1, BLOCK // rows.shape[1])
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            factor = weight[part, None]
            state = reduce(rows[part].astype(dtype, order="C"))
            losses, slopes, mass = function(state, target[part])
            if z_loss:
                logsumexp = raise_by(state.largest, state.log_partition())
                losses = losses + mass * z_loss * logsumexp**2
                slopes = slopes + mass * 2 * z_loss * logsumexp * state.probabilities()[0]
            losses = np.where(state.undefined, np.nan, losses)
            loss[part] = np.where(factor == 0, 0, factor * losses)[:, 0]
            if result is not None:
                slopes = np.where(state.undefined, np.nan, slopes)
                result[part] = np.where(factor == 0, 0, factor * slopes)
        if gradient is not None and result is not None:
            moved = np.moveaxis(gradient, axis, -1)
            moved[...] = result.reshape(moved.shape)


def surprise(state: State, z: Pair) -> Array:
    """Return -log(p) of the entries z."""
    high, low = add(state.log_partition(), (-z[0], -z[1]))
    return high + low


def label_loss(state: State, label: Array) -> tuple[Array, Array, Array]:
    """Return the loss of each row's label, its gradient, and 1."""
    at_label = tuple(np.take_along_axis(part, label, axis=-1) for part in state.z)
    slopes, _ = state.probabilities()
    others, _ = divide(state.others(), state.partition())
    own = np.take_along_axis(slopes, label, axis=-1)
    own = np.where(state.top == label, -others, own - 1)
    np.put_along_axis(slopes, label, own, axis=-1)
    return surprise(state, (at_label[0], at_label[1])), slopes, np.ones_like(own)


def soft_loss(state: State, target: Array) -> tuple[Array, Array, Array]:
    """Return the loss against a row of probabilities, its gradient, and the sum of the row."""
    target = target.astype(state.largest.dtype)
    nothing = np.zeros_like(target)
    terms = np.where(target == 0, 0, target * surprise(state, state.z))
    losses, _ = total((terms, nothing))
    # A sum of infinite terms has no low part, and total's grid no size.
    losses = np.where(np.isinf(terms).any(-1, keepdims=True), np.inf, losses)
    probability = state.probabilities()
    mass = total((target, nothing))
    slopes, _ = add(multiply(probability, mass), (-target, nothing))
    return losses, slopes_with_top(state, target, probability, slopes), mass[0]


def slopes_with_top(state: State, target: Array, probability: Pair, slopes: Array) -> Array:
    """Return sum(t) p - t with the top entry as p sum(other t) - t (1 - p), exact for p near 1."""
    own = tuple(np.take_along_axis(part, state.top, axis=-1) for part in probability)
    own_target = np.take_along_axis(target, state.top, axis=-1)
    other_targets = target.copy()
    np.put_along_axis(other_targets, state.top, 0, axis=-1)
    gain = multiply((own[0], own[1]), total((other_targets, np.zeros_like(target))))
    missing = divide(state.others(), state.partition())
    loss = multiply((own_target, np.zeros_like(own_target)), missing)
    high, _ = add(gain, (-loss[0], -loss[1]))
    slopes = slopes.copy()
    np.put_along_axis(slopes, state.top, high, axis=-1)
    return slopes
