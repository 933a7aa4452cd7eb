"""Arithmetic on pairs: a number held as the unevaluated sum of a high and a low part.

The low part keeps what rounding took from the high part (Dekker 1971; Ogita, Rump and Oishi 2005),
so that an exponential, a sum over a long slice and a quotient are known to about 60 bits and are
rounded once, when the result is written. Everything here works alike in float64 and longdouble.
"""

from functools import cache
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]

# exp(z) = 2**(k / TABLE) * exp(r) with abs(r) <= ln(2) / (2 * TABLE): a short series is left.
TABLE = 2048
# ln(2) / TABLE in three parts. The first two have 29 bits, so k times them is exact for k < 2**24.
LN2_STEP = tuple(
    map(
        float.fromhex,
        ("0x1.62e42ff000000p-12", "-0x1.718432a000000p-46", "-0x1.b0e2633fe0685p-78"),
    )
)
LN2 = float.fromhex("0x1.62e42fefa39efp-1"), float.fromhex("0x1.abc9e3b39803fp-56")
# Below this exp(z) is taken as 0: far under the smallest subnormal, even times the largest weight.
LOWEST = -5000.0


def quick_two_sum(a: Array, b: Array) -> Pair:
    """Return a + b and its rounding error, for abs(a) >= abs(b)."""
    total = a + b
    return total, b - (total - a)


def two_sum(a: Array, b: Array) -> Pair:
    """Return a + b and its rounding error."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


@cache
def splitter(dtype: np.dtype[Any]) -> Any:
    """Return the factor that carries a number's upper half of digits past the lower half."""
    digits = np.finfo(dtype).nmant + 1
    return dtype.type(2 ** ((digits + 1) // 2) + 1)


def split(a: Array) -> Pair:
    """Return the upper and the lower half of the digits of a."""
    shifted = a * splitter(a.dtype)
    high = shifted - (shifted - a)
    return high, a - high


def two_product(a: Array, b: Array) -> Pair:
    """Return a * b and its rounding error."""
    product = a * b
    a_high, a_low = split(a)
    b_high, b_low = split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def finite_or_zero(low: Array) -> Array:
    """Return a low part with 0 where the high part has none (it is infinite, or near overflow)."""
    finite = np.isfinite(low)
    return low if finite.all() else np.where(finite, low, 0)


def add(a: Pair, b: Pair) -> Pair:
    """Return the sum of two pairs."""
    high, low = two_sum(a[0], b[0])
    high, low = quick_two_sum(high, finite_or_zero(low + (a[1] + b[1])))
    return high, finite_or_zero(low)


def negative(a: Pair) -> Pair:
    """Return -a."""
    return -a[0], -a[1]


def select(condition: Array, a: Pair, b: Pair) -> Pair:
    """Return a where the condition holds, else b."""
    return np.where(condition, a[0], b[0]), np.where(condition, a[1], b[1])


def pick(a: Pair, position: Array) -> Pair:
    """Return one entry of each row, the last axis kept with length 1."""
    high, low = (np.take_along_axis(part, position, axis=-1) for part in a)
    return high, low


def multiply(a: Pair, b: Pair) -> Pair:
    """Return the product of two pairs."""
    high, low = two_product(a[0], b[0])
    high, low = quick_two_sum(high, finite_or_zero(low + (a[0] * b[1] + a[1] * b[0])))
    return high, finite_or_zero(low)


def divide(a: Pair, b: Pair) -> Pair:
    """Return the quotient of two pairs."""
    quotient = a[0] / b[0]
    product, error = two_product(quotient, b[0])
    remainder = ((a[0] - product) - error) + a[1] - quotient * b[1]
    return quick_two_sum(quotient, finite_or_zero(remainder / b[0]))


def scale(a: Pair, exponent: Array) -> Pair:
    """Return a times 2**exponent."""
    return np.ldexp(a[0], exponent), np.ldexp(a[1], exponent)


def total(terms: Pair) -> Pair:
    """Return the sum over the last axis, kept with length 1.

    Each high part is cut on a grid so coarse that the sum of the cut parts is exact in any order;
    what was cut off is too small for its own rounding to matter (Rump, Ogita and Oishi 2008).
    """
    high, low = terms
    length = high.shape[-1]
    _, exponent = np.frexp(np.abs(high).max(axis=-1, keepdims=True, initial=0))
    grid = np.ldexp(high.dtype.type(1.5), exponent + max(1, length.bit_length()))
    coarse = (high + grid) - grid
    fine = (high - coarse) + low
    return quick_two_sum(coarse.sum(axis=-1, keepdims=True), fine.sum(axis=-1, keepdims=True))


def rounded_total(terms: Pair) -> Array:
    """Return the sum of terms of one sign, rounded; near overflow `total`'s grid has no size."""
    high, low = total(terms)
    plain = terms[0].sum(axis=-1, keepdims=True)
    return np.where(np.isfinite(high + low), high + low, plain)


@cache
def powers_of_two() -> Pair:
    """Return 2**(j / TABLE) for each j in range(TABLE)."""
    one = 1 << 120
    root = one << 1
    for _ in range(TABLE.bit_length() - 1):
        root = isqrt(root * one)
    power, high, low = one, [], []
    for _ in range(TABLE):
        nearest = power / one
        high.append(nearest)
        low.append((power - int(nearest * one)) / one)
        power = power * root // one
    return np.array(high), np.array(low)


def exp(z: Pair) -> tuple[Array, Array, Array]:
    """Return a high part, a low part and an exponent n with exp(z) = (high + low) * 2**n."""
    if z[0].dtype != np.float64:
        mantissa, exponent = np.frexp(np.exp(z[0]))
        return mantissa, mantissa * z[1], exponent
    bounded = np.maximum(z[0], LOWEST)
    k = np.rint(bounded * (TABLE / LN2[0]))
    r = (bounded - k * LN2_STEP[0]) - k * LN2_STEP[1] + (z[1] - k * LN2_STEP[2])
    growth = r + r * r * (0.5 + r * (1 / 6 + r * (1 / 24)))
    step = k.astype(np.int32)
    table_high, table_low = powers_of_two()
    base = table_high[step & (TABLE - 1)]
    high, low = quick_two_sum(base, table_low[step & (TABLE - 1)] + base * growth)
    vanished = z[0] <= LOWEST
    high[vanished] = 0
    low[vanished] = 0
    return high, low, step >> (TABLE.bit_length() - 1)


def expm1(z: Pair) -> Pair:
    """Return exp(z) - 1, with full relative accuracy also where z is tiny."""
    high, low, exponent = exp(z)
    high, low = scale((high, low), exponent)
    difference, error = two_sum(high, high.dtype.type(-1))
    # Near 0 the series says more than the difference of two numbers near 1: z + z**2 / 2 exactly,
    # and the rest, which is small enough for one rounding.
    near = np.abs(z[0]) < 1 / 64
    x = np.where(near, z[0], 0)
    square, square_error = two_product(x, x)
    tail = np.full_like(x, 1 / 40320)
    for coefficient in (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6):
        tail = coefficient + x * tail
    series, series_error = quick_two_sum(x, square / 2)
    series_low = series_error + (square_error / 2 + x * square * tail + z[1] * (1 + x))
    return quick_two_sum(
        np.where(near, series, difference), np.where(near, series_low, error + low)
    )


def log1p(t: Pair) -> Pair:
    """Return log(1 + t), by one Newton step from NumPy's value."""
    start = np.log1p(t[0])
    back, back_low = expm1((start, np.zeros_like(start)))
    remainder = (t[0] - back) + (t[1] - back_low)
    return quick_two_sum(start, finite_or_zero(remainder / (1 + t[0])))
