"""The kernels over slices: each is a short map over a block of rows, given its state."""

import numpy as np

from softmax._reference.pairs import (
    LN2,
    Array,
    Pair,
    add,
    divide,
    exp,
    log1p,
    multiply,
    quick_two_sum,
    scale,
    total,
    two_product,
    two_sum,
)
from softmax._reference.rows import each_block
from softmax._reference.state import State, difference, raise_by, reduce


def softmax(
    x: Array,
    out: Array,
    axis: int,
    where: Array | None,
    temperature: Array | None,
    sink: Array | None,
) -> None:
    """Write exp(z) / sum(exp(z))."""
    each_block(softmax_block, out, axis, x, where, temperature, sink)


def log_softmax(
    x: Array,
    out: Array,
    axis: int,
    where: Array | None,
    temperature: Array | None,
    sink: Array | None,
) -> None:
    """Write z - log(sum(exp(z)))."""
    each_block(log_softmax_block, out, axis, x, where, temperature, sink)


def entropy(
    x: Array, out: Array, axis: int, where: Array | None, temperature: Array | None
) -> None:
    """Write -sum(p log(p)) of p = softmax(x)."""
    each_block(entropy_block, out, axis, x, where, temperature)


def softmax_jvp(
    x: Array, dx: Array, out: Array, axis: int, where: Array | None, temperature: Array | None
) -> None:
    """Write the Jacobian of softmax times dx."""
    each_block(derivative_block, out, axis, x, where, dx, temperature)


def softmax_vjp(
    x: Array, dp: Array, out: Array, axis: int, where: Array | None, temperature: Array | None
) -> None:
    """Write dp times the Jacobian of softmax, which is symmetric."""
    each_block(derivative_block, out, axis, x, where, dp, temperature)


def logsumexp(
    x: Array,
    out: Array,
    axis: int,
    where: Array | None,
    weights: Array | None,
    sign: Array | None,
) -> None:
    """Write log(abs(sum(weights exp(x)))), and the sum's sign."""
    if weights is None or x.shape[axis] == 0:
        each_block(logsumexp_block, out, axis, x, where)
        if sign is not None:
            sign[...] = np.where(np.isnan(out), np.nan, out > -np.inf)
        return
    both = np.empty((*out.shape[:axis], 2, *out.shape[axis + 1 :]), out.dtype)
    each_block(weighted_block, both, axis, x, where, weights)
    logarithm, signs = np.split(both, 2, axis=axis)
    if sign is None:
        out[...] = np.where(signs < 0, np.nan, logarithm)
    else:
        out[...], sign[...] = logarithm, signs


def append_sink(x: Array, where: Array | None, sink: Array | None) -> tuple[Array, Array | None]:
    """Return rows with the sink as one more entry, which always takes part."""
    if sink is None:
        return x, where
    if where is not None:
        where = np.concatenate([where, np.ones(sink.shape, np.bool_)], axis=-1)
    return np.concatenate([x, sink], axis=-1), where


def finish(result: Array, state: State, where: Array | None, left_out: float) -> Array:
    """Return nan for what is no distribution and left_out for what takes no part."""
    if state.undefined.any():
        result = np.where(state.undefined, np.nan, result)
    return result if where is None else np.where(where, result, left_out)


def softmax_block(
    x: Array, where: Array | None, temperature: Array | None, sink: Array | None
) -> Array:
    """Return the probabilities of a block of rows."""
    columns = x.shape[-1]
    x, where = append_sink(x, where, sink)
    state = reduce(x, where, temperature)
    shares, _ = state.shares()
    return finish(np.ldexp(shares, state.exponent), state, where, 0)[:, :columns]


def log_softmax_block(
    x: Array, where: Array | None, temperature: Array | None, sink: Array | None
) -> Array:
    """Return the log-probabilities of a block of rows."""
    columns = x.shape[-1]
    x, where = append_sink(x, where, sink)
    state = reduce(x, where, temperature)
    high, low = state.log_probabilities()
    return finish(high + low, state, where, -np.inf)[:, :columns]


def logsumexp_block(x: Array, where: Array | None) -> Array:
    """Return the log-partition of each row."""
    state = reduce(x, where)
    return raise_by(state.largest, state.log_partition())


def weighted_block(x: Array, where: Array | None, weights: Array) -> Array:
    """Return two columns, log(abs(sum)) and the sign of sum(weights exp(x)) of each row."""
    taking_part = weights != 0 if where is None else where & (weights != 0)
    x = np.where(taking_part, x, -np.inf)
    weights = np.where(taking_part, weights, 0)
    largest = x.max(axis=-1, keepdims=True)
    high, low, exponent = exp(difference(x, largest))
    factor, power = np.frexp(weights)
    product, error = two_product(factor, high)
    present = (product != 0) & (x > -np.inf)
    terms = np.where(present, product, 0), np.where(present, error + factor * low, 0)
    exponent = np.where(present, exponent + power, -(2**14))
    common = exponent.max(axis=-1, keepdims=True)
    sum_high, sum_low = total(scale(terms, exponent - common))
    sign = np.sign(sum_high)
    logarithm = raise_by(largest, log_of(sign * sum_high, sign * sum_low, common))
    logarithm = np.where(sign == 0, -np.inf, logarithm)
    return np.concatenate(infinite_terms(x, weights, logarithm, sign), axis=-1)


def log_of(high: Array, low: Array, exponent: Array) -> Pair:
    """Return log((high + low) * 2**exponent)."""
    _, power = np.frexp(high * 1.5)  # leaves a mantissa between 2/3 and 4/3
    high, low = scale((high, low), -power)
    above_one, error = two_sum(high, -np.ones_like(high))
    power = (power + exponent).astype(high.dtype)
    ln2 = tuple(np.full_like(high, part) for part in LN2)
    whole = multiply((power, np.zeros_like(high)), (ln2[0], ln2[1]))
    return add(whole, log1p(quick_two_sum(above_one, error + low)))


def infinite_terms(x: Array, weights: Array, logarithm: Array, sign: Array) -> tuple[Array, Array]:
    """Return the results with rows set right where a term is infinite or nan."""
    infinite = ((x == np.inf) | np.isinf(weights)) & (weights != 0)
    if not (infinite.any() or np.isnan(x).any() or np.isnan(weights).any()):
        return logarithm, sign
    up = (infinite & (weights > 0)).any(axis=-1, keepdims=True)
    down = (infinite & (weights < 0)).any(axis=-1, keepdims=True)
    unknown = np.isnan(x) | np.isnan(weights) | (np.isinf(weights) & (x == -np.inf))
    nothing = (up & down) | unknown.any(axis=-1, keepdims=True)
    sign = np.where(nothing, np.nan, np.where(up, 1, np.where(down, -1, sign)))
    return np.where(nothing, np.nan, np.where(up | down, np.inf, logarithm)), sign


def entropy_block(x: Array, where: Array | None, temperature: Array | None) -> Array:
    """Return sum(p (-log p)): no term is negative, and each is exact to a few roundings."""
    state = reduce(x, where, temperature)
    shares, _ = state.shares()
    high, low = state.log_probabilities()
    terms = np.where(shares > 0, -(high + low) * shares, 0)
    top = np.take_along_axis(np.ldexp(terms, state.exponent), state.top, axis=-1)
    np.put_along_axis(terms, state.top, 0, axis=-1)
    terms = np.ldexp(terms, state.exponent - state.rest_exponent)
    others, others_low = scale(total((terms, np.zeros_like(terms))), state.rest_exponent)
    return np.where(state.undefined, np.nan, others + (others_low + top))


def derivative_block(
    x: Array, where: Array | None, change: Array, temperature: Array | None
) -> Array:
    """Return p (c - sum(p c)) / temperature for a change c of the entries.

    The change of the top entry is taken off first. What is left of sum(p c) leaves that entry
    out, so that a probability near 1 causes no cancellation. The change of an entry at -inf does
    not count.
    """
    state = reduce(x, where, temperature)
    counts = x != -np.inf if where is None else (x != -np.inf) & where
    change = np.where(counts, change, 0)
    relative = difference(change, np.take_along_axis(change, state.top, axis=-1))
    products = scale(multiply(state.mantissa, relative), state.exponent - state.rest_exponent)
    mean = scale(divide(total(products), state.partition()), state.rest_exponent)
    slope, _ = multiply(state.shares(), add(relative, (-mean[0], -mean[1])))
    if temperature is not None:
        slope = np.where(slope == 0, 0, slope / temperature)
    return finish(np.ldexp(slope, state.exponent), state, where, 0)
