"""Smooth maxima and running log-sum-exps: what is left when only the state is asked for."""

import numpy as np

from softmax._reference.pairs import Array, Pair, divide, expm1, log1p, total
from softmax._reference.rows import each_block
from softmax._reference.state import (
    merge,
    multiply_by_factor,
    raise_by,
    sum_of_others,
)


def smooth_max(x: Array, out: Array, axis: int, where: Array | None, k: float) -> None:
    """Write log(sum(exp(k x))) / k."""
    each_block(lambda x, where: smooth_max_block(x, where, k), out, axis, x, where)


def mellowmax(x: Array, out: Array, axis: int, where: Array | None, omega: float) -> None:
    """Write log(mean(exp(omega x))) / omega, which is the mean for omega = 0."""
    each_block(lambda x, where: mellowmax_block(x, where, omega), out, axis, x, where)


def cumulative_logsumexp(x: Array, out: Array, axis: int, reverse: bool) -> None:
    """Write the logsumexp of every slice's beginnings, or of its ends."""
    if reverse:
        x, out = np.flip(x, axis), np.flip(out, axis)
    each_block(lambda x, _: cumulative_block(x), out, axis, x, None)


def upwards(x: Array, where: Array | None, factor: float) -> tuple[Array, Array]:
    """Return x, negated for a negative factor so that a maximum is asked for, and that maximum."""
    x = x if factor > 0 else -x
    if where is not None:
        x = np.where(where, x, -np.inf)
    return x, x.max(axis=-1, keepdims=True)


def divide_by_factor(a: Pair, factor: float) -> Pair:
    """Return a / factor."""
    divisor = np.full_like(a[0], factor)
    return divide(a, (divisor, np.zeros_like(divisor)))


def smooth_max_block(x: Array, where: Array | None, k: float) -> Array:
    """Return m + log(sum(exp(k (x - m)))) / k of each row."""
    upward, largest = upwards(x, where, k)
    result = largest
    if np.isfinite(k):
        z = multiply_by_factor(upward, largest, abs(k))
        log_part = log1p(sum_of_others(z))
        result = raise_by(largest, divide_by_factor(log_part, abs(k)))
    return result if k > 0 else -result


def mellowmax_block(x: Array, where: Array | None, omega: float) -> Array:
    """Return m + log(mean(exp(omega (x - m)))) / omega of each row.

    The mean is taken of exp(omega (x - m)) - 1, which stays exact for a small omega.
    """
    taking_part = np.ones(x.shape, np.bool_) if where is None else where
    count = taking_part.sum(axis=-1, keepdims=True).astype(x.dtype)
    mean = mean_of_rows(x, taking_part, count)
    if omega == 0:
        return mean
    upward, largest = upwards(x, where, omega)
    result = largest
    if np.isfinite(omega):
        z = multiply_by_factor(upward, largest, abs(omega))
        growth = expm1(z)
        growth = np.where(taking_part, growth[0], 0), np.where(taking_part, growth[1], 0)
        log_part = log1p(divide(total(growth), (count, np.zeros_like(count))))
        result = raise_by(largest, divide_by_factor(log_part, abs(omega)))
        # Where omega (x - m) is this small, the next term of the series is beyond the last digit.
        nearly_equal = (np.abs(z[0]) < 2.0**-70).all(axis=-1, keepdims=True, where=taking_part)
        result = np.where(nearly_equal & np.isfinite(largest), np.sign(omega) * mean, result)
    result = np.where(count == 0, np.nan, result)
    return result if omega > 0 else -result


def mean_of_rows(x: Array, taking_part: Array, count: Array) -> Array:
    """Return the mean of each row, without overflow on the way."""
    x = np.where(taking_part, x, 0)
    _, power = np.frexp(np.abs(x).max(axis=-1, keepdims=True))
    scaled = np.ldexp(x, -power)
    high, _ = divide(total((scaled, np.zeros_like(x))), (count, np.zeros_like(count)))
    return np.where(np.isfinite(high), np.ldexp(high, power), x.sum(axis=-1, keepdims=True) / count)


def cumulative_block(x: Array) -> Array:
    """Return the logsumexp of the first 1, 2, ... entries of each row.

    Every entry starts as a slice of one. Each pass merges it with the slice that ends just before
    its own begins, which doubles them all (Hillis and Steele 1986).
    """
    largest, rest = x, (np.zeros_like(x), np.zeros_like(x))
    shift = 1
    while shift < x.shape[-1]:
        before = largest[:, :-shift], (rest[0][:, :-shift], rest[1][:, :-shift])
        after = largest[:, shift:], (rest[0][:, shift:], rest[1][:, shift:])
        merged, merged_rest = merge(before, after)
        largest = np.concatenate([largest[:, :shift], merged], axis=-1)
        rest = (
            np.concatenate([rest[0][:, :shift], merged_rest[0]], axis=-1),
            np.concatenate([rest[1][:, :shift], merged_rest[1]], axis=-1),
        )
        shift *= 2
    return raise_by(largest, log1p(rest))
