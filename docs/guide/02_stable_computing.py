r"""
Stable computing
================

The formula is one line, and as written it fails: exponentials overflow long before the
probabilities become hard to write down.
"""

import numpy as np

import softmax


def naive(x):
    """Compute softmax as the formula reads."""
    exponentials = np.exp(x)
    return exponentials / exponentials.sum()


with np.errstate(over="ignore", invalid="ignore"):
    print(np.exp([123.0, 456.0, 789.0]))
    print(naive(np.array([1000.0, 2000.0, 3000.0])))

# %%
# :math:`e^{789}` has 343 digits before the point and no place in a double, whose largest number is
# about :math:`1.8 \cdot 10^{308}`. Infinity over infinity is then not a number. The probabilities
# themselves are harmless:

print(softmax.softmax([123.0, 456.0, 789.0]))
print(softmax.softmax([1000.0, 2000.0, 3000.0]))

# %%
# The usual cure
# --------------
#
# Only differences count, so that the largest logit may be subtracted first. The largest exponential
# is then 1, and nothing overflows.


def shifted(x):
    """Subtract the largest logit first."""
    return naive(x - x.max())


shifted(np.array([1000.0, 2000.0, 3000.0]))

# %%
# This is what nearly every library does, and it has a price: the difference is rounded to the
# precision of the numbers, and the exponential magnifies the rounding. In single precision the
# error is that of some twenty roundings where one would do.

rng = np.random.default_rng(0)
x = rng.normal(0, 3, 100_000).astype(np.float32)
x[0] = 20.1
exact = softmax.softmax(x.astype(np.float64))


def largest_error(p):
    """Return the largest relative error, in units of 2**-24."""
    return float(np.max(np.abs(p / exact - 1)) * 2**24)


print(f"largest logit subtracted: {largest_error(shifted(x)):.1f}")
print(f"softmax.softmax:          {largest_error(softmax.softmax(x)):.1f}")

# %%
# Here the maximum is taken off as an exact power of two, after the exponential's own first step;
# :doc:`/inside/numerics` derives it.
#
# Small is not zero
# -----------------
#
# Mathematically no probability is ever 0. :math:`e^{-1000}` is too small for a double, though, and
# is rounded to 0; its logarithm is an ordinary number. Where probabilities may be tiny, work with
# their logarithms:

softmax.log_softmax([1000.0, 2000.0, 3000.0])

# %%
# Taking the logarithm afterwards would be too late for the small ones, and not good enough for the
# large ones. The probability beside :math:`e^{-40}` is :math:`1 - 4.2 \cdot 10^{-18}`, which a
# double rounds to 1. Its logarithm is not 0:

with np.errstate(divide="ignore"):
    print(np.log(softmax.softmax([0.0, -40.0])))
    print(np.log(softmax.softmax([0.0, -1000.0])))
print(softmax.log_softmax([0.0, -40.0]))
print(softmax.log_softmax([0.0, -1000.0]))

# %%
# Infinities and nan
# ------------------
#
# One rule holds everywhere: the limit where there is one, nan where there is none. A logit of
# minus infinity is an impossible answer; one of plus infinity is a certain one; two certain answers
# contradict each other.

for logits in ([1.0, -np.inf], [1.0, np.inf], [np.inf, np.inf], [-np.inf, -np.inf], [1.0, np.nan]):
    print(f"{logits!s:14} -> {softmax.softmax(logits)}")

# %%
# No warnings are raised on the way, and a slice that is masked out altogether gets zeros.
