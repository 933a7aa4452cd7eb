"""Cross-entropy and its gradient, row by row.

A loss is a log-probability, and like it exact where it is nearly 0. So is the gradient: the label's
p - 1 is minus the sum of the others where the label is the top entry.
"""

from collections.abc import Callable

import numpy as np

from softmax._reference.pairs import Array, Pair, add, divide, multiply, total
from softmax._reference.rows import BLOCK
from softmax._reference.state import State, reduce


def cross_entropy(
    logits: Array, target: Array, weights: Array | None, loss: Array, gradient: Array | None
) -> None:
    """Write weight * -log(p[target]) of each row, and its gradient weight * (p - one-hot)."""
    weight = np.ones(len(logits)) if weights is None else weights
    weight = np.where(target >= 0, weight, 0)
    label = np.maximum(target, 0)[:, None]
    each_row_block(label_loss, logits, label, weight, loss, gradient)


def cross_entropy_soft(
    logits: Array, target: Array, weights: Array | None, loss: Array, gradient: Array | None
) -> None:
    """Write weight * sum(t * -log(p)) of each row, and its gradient weight * (sum(t) p - t)."""
    weight = np.ones(len(logits)) if weights is None else weights
    each_row_block(soft_loss, logits, target, weight, loss, gradient)


def each_row_block(
    function: Callable[[State, Array], tuple[Array, Array]],
    logits: Array,
    target: Array,
    weight: Array,
    loss: Array,
    gradient: Array | None,
) -> None:
    """Write weighted losses and gradients of each block of rows; weight 0 leaves a row out."""
    rows, classes = logits.shape
    if classes == 0:
        loss[...] = 0
        return
    step = max(1, BLOCK // classes)
    with np.errstate(all="ignore"):
        for start in range(0, rows, step):
            part = slice(start, start + step)
            factor = weight[part, None]
            state = reduce(logits[part].astype(np.float64, order="C"))
            losses, slopes = function(state, target[part])
            losses = np.where(state.undefined, np.nan, losses)
            loss[part] = np.where(factor == 0, 0, factor * losses)[:, 0]
            if gradient is not None:
                slopes = np.where(state.undefined, np.nan, slopes)
                gradient[part] = np.where(factor == 0, 0, factor * slopes)


def surprise(state: State, z: Pair) -> Array:
    """Return -log(p) of the entries z."""
    high, low = add(state.log_partition(), (-z[0], -z[1]))
    return high + low


def label_loss(state: State, label: Array) -> tuple[Array, Array]:
    """Return the loss of each row's label, and its gradient."""
    at_label = tuple(np.take_along_axis(part, label, axis=-1) for part in state.z)
    slopes, _ = state.probabilities()
    others, _ = divide(state.others(), state.partition())
    own = np.take_along_axis(slopes, label, axis=-1)
    own = np.where(state.top == label, -others, own - 1)
    np.put_along_axis(slopes, label, own, axis=-1)
    return surprise(state, (at_label[0], at_label[1])), slopes


def soft_loss(state: State, target: Array) -> tuple[Array, Array]:
    """Return the loss against a row of probabilities, and its gradient."""
    target = target.astype(np.float64)
    nothing = np.zeros_like(target)
    terms = np.where(target == 0, 0, target * surprise(state, state.z))
    losses, _ = total((terms, nothing))
    probability = state.probabilities()
    slopes, _ = add(multiply(probability, total((target, nothing))), (-target, nothing))
    return losses, slopes_with_top(state, target, probability, slopes)


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
