"""Arrays of numbers with about 100 bits and an exponent that never runs out.

A value is (high + low) * 2**exponent: the unevaluated sum of two float64 (Dekker 1971) next to an
integer exponent of its own, so that exp(-10000) is as good a number as 1. This is a thousand times
faster than mpmath, against which test_oracle.py checks it, and lets the tests look at rows of a
million entries. Finite values only; exp and log are good to 2**-65 of the result.
"""

import mpmath
import numpy as np

VANISHED = -(1 << 40)  # the exponent of zero: below every other
_STEPS = 64  # exp looks up 2**(j / 64)


def _two_sum(a, b):
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def _two_product(a, b):
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _split(a):
    lifted = a * 134217729.0  # 2**27 + 1
    high = lifted - (lifted - a)
    return high, a - high


class Wide:
    """(high + low) * 2**exponent, high in [1/2, 1) or 0."""

    __array_ufunc__ = None  # an ndarray on the left leaves the operation to this class

    def __init__(self, high, low=0.0, exponent=0):
        high, low = _two_sum(high, low)
        self.high, shift = np.frexp(high)
        self.low = np.ldexp(low, -shift)
        self.exponent = np.where(high == 0, VANISHED, np.int64(exponent) + shift)

    @classmethod
    def of(cls, value):
        return value if isinstance(value, Wide) else cls(np.asarray(value).astype(np.float64))

    @classmethod
    def from_mpmath(cls, values):
        """Convert an array, list or scalar of mpmath numbers."""
        values = np.asarray(values, dtype=object)
        parts = [mpmath.frexp(mpmath.mpf(v)) for v in values.ravel()]
        high = [float(mantissa) for mantissa, _ in parts]
        low = [float(mantissa - h) for (mantissa, _), h in zip(parts, high, strict=True)]
        # mpmath knows exponents beyond any integer type; what lies so low is 0 in every dtype.
        exponent = [max(int(e), VANISHED + 1) for _, e in parts]
        high, low, exponent = (
            np.reshape(np.array(part, dtype), values.shape)
            for part, dtype in ((high, float), (low, float), (exponent, np.int64))
        )
        return cls(high, low, exponent)

    shape = property(lambda self: np.shape(self.high))

    def __getitem__(self, index):
        return Wide(self.high[index], self.low[index], self.exponent[index])

    def __float__(self):
        return float(self.to_float64())

    def to_float64(self):
        return np.ldexp(self.high, self.exponent)

    def _at(self, exponent):
        """The two parts in units of 2**exponent."""
        return np.ldexp(self.high, self.exponent - exponent), np.ldexp(
            self.low, self.exponent - exponent
        )

    def __add__(self, other):
        other = Wide.of(other)
        exponent = np.maximum(self.exponent, other.exponent)
        (a, a_low), (b, b_low) = self._at(exponent), other._at(exponent)
        high, low = _two_sum(a, b)
        low_high, low_low = _two_sum(a_low, b_low)
        high, low = _two_sum(high, low + low_high)
        return Wide(high, low + low_low, exponent)

    def __neg__(self):
        return Wide(-self.high, -self.low, self.exponent)

    def __sub__(self, other):
        return self + -Wide.of(other)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        other = Wide.of(other)
        high, low = _two_product(self.high, other.high)
        low = low + (self.high * other.low + self.low * other.high)
        return Wide(high, low, self.exponent + other.exponent)

    def __truediv__(self, other):
        other = Wide.of(other)
        first = Wide(self.high / other.high, 0.0, self.exponent - other.exponent)
        rest = self - first * other
        second = Wide(rest.high / other.high, 0.0, rest.exponent - other.exponent)
        return first + second

    def __rtruediv__(self, other):
        return Wide.of(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __abs__(self):
        sign = np.where(self.high < 0, -1.0, 1.0)
        return Wide(self.high * sign, self.low * sign, self.exponent)

    def sum(self, axis=-1, keepdims=False):
        """Add up along an axis in a tree, so that errors do not add up too."""
        terms = Wide(*(np.moveaxis(p, axis, 0) for p in (self.high, self.low, self.exponent)))
        while terms.shape[0] > 1:
            half = terms.shape[0] // 2
            pairs = terms[:half] + terms[half : 2 * half]
            odd = terms[2 * half :]
            terms = concatenate([pairs, odd], axis=0) if odd.shape[0] else pairs
        total = terms[0] if terms.shape[0] else Wide(np.zeros(terms.shape[1:]))
        if not keepdims:
            return total
        return Wide(*(np.expand_dims(p, axis) for p in (total.high, total.low, total.exponent)))

    def take(self, indices):
        """One entry of each slice along the last axis, which stays."""
        return Wide(
            *(np.take_along_axis(p, indices, -1) for p in (self.high, self.low, self.exponent))
        )


def concatenate(parts, axis):
    return Wide(
        *(
            np.concatenate([getattr(part, name) for part in parts], axis)
            for name in ("high", "low", "exponent")
        )
    )


def where(condition, yes, no):
    yes, no = Wide.of(yes), Wide.of(no)
    return Wide(
        np.where(condition, yes.high, no.high),
        np.where(condition, yes.low, no.low),
        np.where(condition, yes.exponent, no.exponent),
    )


def maximum(a, b):
    a, b = Wide.of(a), Wide.of(b)
    return where((a - b).high > 0, a, b)


with mpmath.workdps(60):
    LN2 = Wide.from_mpmath(mpmath.log(2))
    _POWERS = Wide.from_mpmath([mpmath.mpf(2) ** (mpmath.mpf(j) / _STEPS) for j in range(_STEPS)])
    # ln 2 / 64 in parts short enough that their products with a count below 2**22 are exact.
    _STEP = mpmath.log(2) / _STEPS
    _STEP_1 = float(mpmath.nint(_STEP * 2**36) / 2**36)
    _STEP_2 = float(mpmath.nint((_STEP - _STEP_1) * 2**66) / 2**66)
    _STEP_3 = float(_STEP - _STEP_1 - _STEP_2)


def _exp_near_zero(x):
    """expm1 for abs(x) below 0.006, good relative to the result however small x is."""
    r = x.to_float64()
    tail = r * r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040)))))
    return x * (1.0 + (0.5 * x + tail))


def _reduce(x):
    """The count n and the rest r with x = n ln 2 / 64 + r."""
    high, low = x._at(0)
    count = np.rint(high / float(_STEP))
    high, middle = _two_sum(high - count * _STEP_1, -count * _STEP_2)
    return count.astype(np.int64), Wide(high, middle + (low - count * _STEP_3))


def exp(x):
    x = Wide.of(x)
    gone = (x.high < 0) & (x.exponent > 15)  # below 2**-23000: nothing in any dtype
    count, rest = _reduce(where(gone, 0.0, x))
    if np.any(count > 1 << 22):
        raise OverflowError("exp is for arguments up to 2**15")
    power = _POWERS[count % _STEPS]
    result = power + power * _exp_near_zero(rest)
    return where(gone, 0.0, Wide(result.high, result.low, result.exponent + count // _STEPS))


def expm1(x):
    x = Wide.of(x)
    near = (x.high == 0) | (x.exponent <= -8)
    return where(near, _exp_near_zero(where(near, x, 0.0)), exp(x) - 1.0)


def log1p(x):
    """One step of Newton's method from the float64 logarithm."""
    x = Wide.of(x)
    guess = np.log1p(x.to_float64())
    step = x * exp(-guess) + expm1(-guess)
    return guess + (step - 0.5 * step * step)


def log(x):
    x = Wide.of(x)
    low_half = x.high < 0.75  # a mantissa in [3/4, 3/2) has exponent 0 all around 1
    mantissa = Wide(x.high, x.low, np.where(low_half, 1, 0))
    exponent = x.exponent - low_half
    return log1p(mantissa - 1.0) + exponent.astype(np.float64) * LN2
