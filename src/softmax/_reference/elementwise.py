"""The two-class case, entry by entry: functions of exp(-abs(x)), which never overflows."""

from collections.abc import Callable

import numpy as np

from softmax._reference.pairs import (
    Array,
    Pair,
    add,
    divide,
    exp,
    log1p,
    quick_two_sum,
    scale,
    two_sum,
)
from softmax._reference.rows import BLOCK, working_dtype


def sigmoid(x: Array, out: Array) -> None:
    """Write 1 / (1 + exp(-x))."""
    each_block(sigmoid_block, x, out)


def log_sigmoid(x: Array, out: Array) -> None:
    """Write log(sigmoid(x)) = -softplus(-x)."""
    each_block(lambda block: -softplus_block(-block), x, out)


def softplus(x: Array, out: Array) -> None:
    """Write log(1 + exp(x))."""
    each_block(softplus_block, x, out)


def logit(p: Array, out: Array) -> None:
    """Write log(p / (1 - p))."""
    each_block(logit_block, p, out)


def each_block(function: Callable[[Array], Array], x: Array, out: Array) -> None:
    """Apply a function of a flat block to every entry of x."""
    flat = x.reshape(-1)
    result = np.empty(flat.shape, out.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            result[part] = function(flat[part].astype(working_dtype(x.dtype)))
    out[...] = result.reshape(out.shape)


def exp_of_minus_abs(x: Array) -> tuple[Pair, Array]:
    """Return exp(-abs(x)) as a mantissa and an exponent."""
    high, low, exponent = exp((-np.abs(x), np.zeros_like(x)))
    return (high, low), exponent


def sigmoid_block(x: Array) -> Array:
    """Return exp(min(x, 0)) / (1 + exp(-abs(x)))."""
    mantissa, exponent = exp_of_minus_abs(x)
    small, small_low = scale(mantissa, exponent)
    whole, error = two_sum(np.ones_like(x), small)
    positive = x > 0
    numerator = np.where(positive, 1, mantissa[0]), np.where(positive, 0, mantissa[1])
    quotient, _ = divide(numerator, (whole, error + small_low))
    return np.where(np.isnan(x), x, np.ldexp(quotient, np.where(positive, 0, exponent)))


def softplus_block(x: Array) -> Array:
    """Return max(x, 0) + log1p(exp(-abs(x)))."""
    mantissa, exponent = exp_of_minus_abs(x)
    small = scale(mantissa, exponent)
    # Where exp is subnormal its logarithm is itself, and the pair's low part no longer helps.
    high, low = log1p(small)
    positive = np.maximum(x, 0)
    high, low = add((positive, np.zeros_like(x)), (high, low))
    return np.where(np.isinf(positive), positive, high + low)


def logit_block(p: Array) -> Array:
    """Return log(p / (1 - p)): around 1/2 as 2 atanh(2 p - 1), elsewhere from the quotient."""
    s = 2 * p - 1
    middle = np.log1p(s) - np.log1p(-s)
    # 1 - p is exact for p >= 1/2; below, its rounding error is carried.
    numerator = np.where(p > 0.5, 1 - p, p)
    denominator = quick_two_sum(np.ones_like(p), -numerator)
    ratio, ratio_low = divide((numerator, np.zeros_like(p)), denominator)
    outer = np.log(ratio) + np.where(ratio > 0, ratio_low / ratio, 0)
    result = np.where(np.abs(s) < 0.5, middle, np.where(p > 0.5, -outer, outer))
    return np.where((p < 0) | (p > 1), np.nan, result)
