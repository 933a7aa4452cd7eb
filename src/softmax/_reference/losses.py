"""Cross-entropy and its gradient, row by row.

A loss is a log-probability, and like it exact where it is nearly 0. So is the gradient: the label's
p - 1 is minus the sum of the others where the label is the top entry.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from softmax._reference.pairs import (
    Array,
    Pair,
    add,
    divide,
    finite_or_zero,
    multiply,
    negative,
    pick,
    quick_two_sum,
    rounded_total,
    select,
    total,
)
from softmax._reference.rows import BLOCK, as_rows, working_dtype
from softmax._reference.state import State, one_and, raise_by, reduce


def cross_entropy(
    logits: Array,
    target: Array,
    weights: Array | None,
    loss: Array,
    gradient: Array | None,
    axis: int = -1,
    scale: float = 1.0,
    z_loss: float = 0.0,
    smoothing: float = 0.0,
) -> None:
    """Write weight * -log(p[target]) of each slice, and its gradient weight * (p - one-hot).

    A slice whose target is -1 does not count. With z_loss, z_loss * logsumexp**2 is added before
    the weight; scale multiplies all weights. All classes share the part `smoothing` of a target.
    """
    weight = np.full(target.size, scale) if weights is None else weights * scale
    weight = np.where(target >= 0, weight, 0)
    label = np.maximum(target, 0)[:, None]
    function = partial(smoothed_loss, smoothing=smoothing) if smoothing else label_loss
    each_row_block(function, logits, label, weight, loss, gradient, axis, z_loss)


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


def target_sums(rows: Array, out: Array) -> None:
    """Write the sum of each row in float64; nan where an entry is negative or nan."""
    wide = rows.astype(np.float64)
    out[...] = np.where((wide >= 0).all(axis=1), wide.sum(axis=1), np.nan)


def focal_loss(
    logits: Array,
    target: Array,
    weights: Array | None,
    loss: Array,
    gradient: Array | None,
    scale: float,
    gamma: float,
) -> None:
    """Write weight * sum(t (1 - p)^gamma * -log(p)) of each row, and its gradient."""
    weight = np.full(loss.size, scale) if weights is None else weights * scale
    function = partial(focal_of, gamma=gamma)
    each_row_block(function, logits, target, weight, loss, gradient, -1, 0.0)


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
                p, _ = state.probabilities()
                slopes = slopes + np.where(p == 0, 0, mass * 2 * z_loss * logsumexp * p)
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


def smoothed_loss(state: State, label: Array, smoothing: float) -> tuple[Array, Array, Array]:
    """Return the loss of each row's smoothed label, its gradient, and 1."""
    slopes, _ = state.probabilities()
    target = np.full_like(slopes, smoothing / slopes.shape[1])
    own = 1 - smoothing + smoothing / slopes.shape[1]
    np.put_along_axis(target, label, own, axis=-1)
    return soft_loss(state, target)


def soft_loss(state: State, target: Array) -> tuple[Array, Array, Array]:
    """Return the loss against a row of probabilities, its gradient, and the sum of the row."""
    target = target.astype(state.largest.dtype)
    terms = np.where(target == 0, 0, target * surprise(state, state.z))
    return (
        rounded_total((terms, np.zeros_like(terms))),
        pulled(state, (target, np.zeros_like(target))),
        total((target, np.zeros_like(target)))[0],
    )


def focal_of(state: State, target: Array, gamma: float) -> tuple[Array, Array, Array]:
    """Return the sum of t (1 - p)^gamma (-log p), its gradient, and the sum of the row.

    With a = t ((1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p) the gradient is p sum(a) - a.
    """
    target = target.astype(state.largest.dtype)
    given = target, np.zeros_like(target)
    p, surprises = state.probabilities(), negative(state.log_probabilities())
    missing = complement(state, p)
    damped = multiply(given, power(missing, gamma))
    terms = multiply(damped, surprises)
    terms = select(target == 0, given, select(np.isinf(surprises[0]), surprises, terms))
    # (1 - p)^(gamma - 1) log p has its limit at p = 1, and p log p at p = 0.
    ratio = np.where(missing[0] == 0, 1, p[0] * surprises[0] / missing[0])
    ratio = np.where(p[0] == 0, 0, gamma * ratio)
    growth = one_and((ratio, np.zeros_like(ratio)))
    pulls = select(target == 0, given, multiply(damped, growth))
    return rounded_total(terms), pulled(state, pulls), total(given)[0]


def complement(state: State, p: Pair) -> Pair:
    """Return 1 - p, of the top entry by adding up the others."""
    missing = add((np.ones_like(p[0]), np.zeros_like(p[0])), negative(p))
    others = divide(state.others(), state.partition())
    is_top = np.arange(p[0].shape[-1]) == state.top
    return select(is_top, others, missing)


def power(base: Pair, exponent: float) -> Pair:
    """Return base**exponent for a base of at least 0."""
    high = base[0] ** exponent
    low = np.where(base[0] > 0, high * exponent * base[1] / base[0], 0)
    return quick_two_sum(high, finite_or_zero(low))


def pulled(state: State, pulls: Pair) -> Array:
    """Return p sum(a) - a for the pulls a of all entries, exact for p near 1.

    The top entry's is p times the sum of the others less its own times 1 - p.
    """
    p = state.probabilities()
    slopes, _ = add(multiply(p, total(pulls)), negative(pulls))
    others = pulls[0].copy(), pulls[1].copy()
    for part in others:
        np.put_along_axis(part, state.top, 0, axis=-1)
    missing = divide(state.others(), state.partition())
    gain = multiply(pick(p, state.top), total(others))
    loss = multiply(pick(pulls, state.top), missing)
    at_top, _ = add(gain, negative(loss))
    slopes = slopes.copy()
    np.put_along_axis(slopes, state.top, at_top, axis=-1)
    return slopes
