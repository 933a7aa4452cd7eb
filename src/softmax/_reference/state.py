"""Reduce a slice to its state; every function of a slice is a map over it given that state.

With m the largest entry and z = (x - m) / temperature, a slice is known by m and by
rest = sum(exp(z)) with one maximum left out, so that sum(exp(x / temperature)) is
exp(m / temperature) * (1 + rest). Leaving one maximum out is what keeps a log-probability or a loss
exact where it is nearly 0: log(1 + rest) is then close to rest, not the difference of two
numbers near 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softmax._reference.pairs import (
    Array,
    Pair,
    add,
    divide,
    exp,
    finite_or_zero,
    log1p,
    multiply,
    quick_two_sum,
    scale,
    total,
    two_product,
    two_sum,
)


@dataclass
class State:
    """Rows of entries, reduced along the last axis. exp(z) is held as mantissa * 2**exponent."""

    largest: Array
    z: Pair
    mantissa: Pair
    exponent: Array
    top: Array  # the position of one maximum
    rest: Pair  # sum(exp(z)) without that entry, divided by 2**rest_exponent
    rest_exponent: Array
    undefined: Array  # rows that are no distribution: a nan, several +inf, nothing but -inf

    def others(self) -> Pair:
        """Return sum(exp(z)) without the entry on top."""
        return scale(self.rest, self.rest_exponent)

    def partition(self) -> Pair:
        """Return sum(exp(z))."""
        return one_and(self.others())

    def log_partition(self) -> Pair:
        """Return log(sum(exp(z)))."""
        return log1p(self.others())

    def shares(self) -> Pair:
        """Return the probabilities divided by 2**exponent."""
        return divide(self.mantissa, self.partition())

    def probabilities(self) -> Pair:
        """Return the probabilities."""
        return scale(self.shares(), self.exponent)

    def log_probabilities(self) -> Pair:
        """Return the logarithms of the probabilities."""
        high, low = self.log_partition()
        return add(self.z, (-high, -low))


def one_and(rest: Pair) -> Pair:
    """Return 1 + rest."""
    whole, error = two_sum(np.ones_like(rest[0]), rest[0])
    return quick_two_sum(whole, error + rest[1])


def difference(x: Array, reference: Array) -> Pair:
    """Return x - reference, which is 0 where both are the same infinity."""
    high, low = two_sum(x, -reference)
    if not np.isfinite(high).all():
        high = np.where(x == reference, 0, high)
    return high, finite_or_zero(low)


def divide_by_temperature(x: Array, largest: Array, temperature: Array) -> Pair:
    """Return (x - largest) / temperature, with its limits at the temperatures 0 and inf.

    A power of two is divided out first, so that no intermediate over- or underflows.
    """
    temperature = temperature.astype(x.dtype)
    uniform = np.isinf(temperature)
    divisor, power = np.frexp(np.where(uniform, 2, temperature))
    before, after = np.maximum(power, 0), np.minimum(power, 0)
    distance = difference(np.ldexp(x, -before), np.ldexp(largest, -before))
    distance = scale(distance, -after)
    high, low = divide(distance, (divisor, np.zeros_like(divisor)))
    high = np.where(distance[0] == 0, 0, high)
    high = np.where(uniform & (distance[0] > -np.inf), 0, high)
    return high, np.where(uniform, 0, finite_or_zero(low))


def multiply_by_factor(x: Array, largest: Array, factor: float) -> Pair:
    """Return (x - largest) * factor."""
    half = x.dtype.type(0.5)  # the difference itself may overflow where the product does not
    high, low = difference(x * half, largest * half)
    mantissa, power = np.frexp(x.dtype.type(factor))
    product, error = two_product(high, np.broadcast_to(mantissa, (1, 1)))
    return scale((product, finite_or_zero(error + low * mantissa)), power + 1)


def reduce_terms(z: Pair) -> tuple[Pair, Array, Array, Pair, Array]:
    """Return exp(z) as mantissa and exponent, the top position, and the sum of the others."""
    mantissa_high, mantissa_low, exponent = exp(z)
    top = np.argmax(z[0], axis=-1, keepdims=True)
    others = mantissa_high.copy(), mantissa_low.copy()
    for part in others:
        np.put_along_axis(part, top, 0, axis=-1)
    rest_exponent = np.where(others[0] > 0, exponent, -(2**14)).max(axis=-1, keepdims=True)
    rest = total(scale(others, exponent - rest_exponent))
    return (mantissa_high, mantissa_low), exponent, top, rest, rest_exponent


def sum_of_others(z: Pair) -> Pair:
    """Return the sum of exp(z) over the last axis without one entry on top."""
    *_, rest, rest_exponent = reduce_terms(z)
    return scale(rest, rest_exponent)


def reduce(x: Array, where: Array | None = None, temperature: Array | None = None) -> State:
    """Reduce the rows of x, which has at least one column; entries not in where are left out."""
    taking_part: Any = True
    if where is not None:
        x = np.where(where, x, -np.inf)
        taking_part = where.any(axis=-1, keepdims=True)
    largest = x.max(axis=-1, keepdims=True)
    if temperature is None:
        z = difference(x, largest)
    else:
        z = divide_by_temperature(x, largest, temperature)
    if where is not None:
        z = np.where(where, z[0], -np.inf), z[1]
    undefined = np.isnan(largest)
    if not np.isfinite(largest).all():
        undefined |= (largest == -np.inf) & taking_part
        undefined |= (largest == np.inf) & ((x == np.inf).sum(axis=-1, keepdims=True) > 1)
    return State(largest, z, *reduce_terms(z), undefined)


def merge(a: tuple[Array, Pair], b: tuple[Array, Pair]) -> tuple[Array, Pair]:
    """Return the largest entry and the rest of two slices taken together.

    The slice with the smaller maximum enters with all its entries, 1 + rest of them, times
    exp(its maximum - the larger maximum).
    """
    swap = b[0] > a[0]
    upper, lower = np.where(swap, b[0], a[0]), np.where(swap, a[0], b[0])
    kept = np.where(swap, b[1][0], a[1][0]), np.where(swap, b[1][1], a[1][1])
    moved = np.where(swap, a[1][0], b[1][0]), np.where(swap, a[1][1], b[1][1])
    high, low, exponent = exp(difference(lower, upper))
    factor = scale((high, low), np.maximum(exponent, -(2**14)))
    present = lower > -np.inf
    factor = np.where(present, factor[0], 0), np.where(present, factor[1], 0)
    entering = add(factor, multiply(factor, moved))
    return np.maximum(a[0], b[0]), add(kept, entering)


def raise_by(largest: Array, log_part: Pair) -> Array:
    """Return largest + log_part, rounded once; an infinite or nan maximum is itself the answer."""
    high, low = add((largest, np.zeros_like(largest)), log_part)
    return np.where(np.isfinite(largest), high + low, largest)
