r"""
Numerics
========

Probabilities here are within 2 units in the last place (ulp), log-probabilities and cross-entropy
within 3, its gradient within 4, for slices of any length and next to 0 too. The usual way of
computing softmax is off by tens of ulp. This page derives where the digits go, and how they are
kept at no cost. One ulp is the distance between neighbouring numbers at the size of the exact
result, in the dtype of the result.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import special

import measured
import softmax
from figures import Table
from softmax.plot.style import axes_for, line_look


def ulp_error(got, exact):
    """Return errors in ulp of float32; `exact` is in float64."""
    return np.abs(got - exact) / np.spacing(np.abs(exact).astype(np.float32))


# %%
# Where the digits go
# -------------------
#
# Nearly every library computes :math:`e^{x_i - m}` with m the largest entry. The difference
# :math:`d = x_i - m` is rounded to :math:`d (1 + \epsilon)`, where :math:`\lvert\epsilon\rvert \le
# u`, which is :math:`2^{-24}` in single precision. Then
#
# .. math:: e^{d (1 + \epsilon)} = e^d \cdot e^{d \epsilon} \approx e^d (1 + d \epsilon) :
#
# the exponential turns a relative error of its argument into :math:`\lvert d \rvert` times as much.
# At d = -20 up to twenty roundings are lost before the exponential has begun. Measured, with the
# same formula in double precision as the judge:

distances = np.linspace(0, 80, 400_000)
x = np.concatenate([[np.float32(20.3)], (20.3 - distances).astype(np.float32)])
exact = special.softmax(x.astype(np.float64))
axes = axes_for(None)
bins = np.linspace(0, 80, 81)
for i, (name, p) in enumerate((("SciPy", special.softmax(x)), ("softmax", softmax.softmax(x)))):
    errors = ulp_error(p, exact)
    which = np.digitize(20.3 - x.astype(np.float64), bins)
    largest = [errors[which == b].max() for b in range(1, len(bins))]
    axes.step(bins[:-1], largest, where="post", label=name, **line_look(1 - i))
axes.set(
    xlabel="distance below the largest logit (nats)", ylabel="largest error (ulp)", xlim=(0, 80),
    ylim=(0, None),
)  # fmt: skip
axes.legend(frameon=False)
plt.show()

# %%
# Reduce the argument first
# -------------------------
#
# Every exponential begins by splitting its argument anyway:
#
# .. math:: x = n \ln 2 + r, \qquad n = \operatorname{rint}(x \log_2 e), \qquad
#           \lvert r \rvert \le \tfrac12 \ln 2, \qquad e^x = 2^n e^r .
#
# So do that with x itself, not with x - m. The product :math:`n \ln 2` is taken in two parts: ln 2
# is written as a rounded number and a small rest, and a fused multiply-add forms
# :math:`x - n \cdot \text{hi}` without any error, because the result has few enough bits to be
# exact; only the rest rounds, and it is small (Cody and Waite). :math:`e^r` is a short polynomial
# near 1. Nothing has been magnified. (For float32 the kernels let n be a multiple of one eighth:
# the eight powers :math:`2^{j/8}` fit one register, and the polynomial needs three terms less.)
#
# What the maximum is for, keeping the numbers in range, a power of two does just as well, and
# exactly. With N the largest n,
#
# .. math:: S = \sum_i 2^{n_i - N} e^{r_i}, \qquad
#           \operatorname{softmax}(x)_i = \frac{2^{n_i - N} e^{r_i}}{S}, \qquad
#           \operatorname{logsumexp}(x) = N \ln 2 + \ln S .
#
# The pair (N, S) is the *state* of a slice, and all there is to know about it. Here are the steps
# in NumPy, in single precision but for the fused multiply-add, which NumPy does not have:

HI = np.float32(np.log(2))
LO = np.float32(np.log(2) - np.float64(HI))


def fused(a, b, c):
    """Return a * b + c, rounded once: products of two floats are exact in double precision."""
    return np.float32(np.float64(a) * b + c)


def mantissa_and_exponent(x):
    """Return exp(r) and n with exp(x) = exp(r) 2**n."""
    n = np.rint(x * np.float32(np.log2(np.e)))
    r = fused(n, -LO, fused(n, -HI, x))
    p = np.float32(1 / 720)
    for k in (1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        p = fused(p, r, np.float32(k))
    return p, n


def reduce_then_map(x):
    """Return the softmax of one slice."""
    p, n = mantissa_and_exponent(x)
    scaled = np.ldexp(p, (n - n.max()).astype(int))
    return scaled / np.float32(scaled.sum(dtype=np.float64))


x = np.random.default_rng(0).normal(0, 3, 100_000).astype(np.float32)
exact = special.softmax(x.astype(np.float64))
for name, function in (
    ("SciPy", special.softmax),
    ("the steps above", reduce_then_map),
    ("softmax", softmax.softmax),
):
    print(f"{name:16} {ulp_error(function(x), exact).max():5.2f} ulp")

# %%
# The idea of exponentials as pairs of mantissa and exponent is Dukhan and Ablavatski's
# (arXiv:2001.04438), where it saves a pass over memory.
#
# Large logits
# ------------
#
# Where x is large, n has many bits and the product with the rounded part of ln 2 is exact no
# longer. Slices whose largest entry is beyond 1024 in absolute value (4096 in double precision)
# therefore subtract it first. That is harmless there: numbers within a factor of two of each other
# have exact differences (Sterbenz), and those further away give probabilities of 0.

x = (5e5 + np.random.default_rng(1).normal(0, 3, 1000)).astype(np.float32)
exact = special.softmax(x.astype(np.float64))
print(f"{ulp_error(softmax.softmax(x), exact).max():.2f} ulp")

# %%
# Temperatures
# ------------
#
# x / T is rounded too, and the exponential magnifies that just the same. So 1 / T is carried in two
# parts, and what the product rounds away is added back to r.

x = np.random.default_rng(2).normal(0, 3, 100_000).astype(np.float32)
exact = special.softmax(x.astype(np.float64) / 0.7)
divided_first = special.softmax(x / np.float32(0.7))
print(f"divided first {ulp_error(divided_first, exact).max():6.2f} ulp")
print(f"temperature=  {ulp_error(softmax.softmax(x, temperature=0.7), exact).max():6.2f} ulp")

# %%
# Sums of any length
# ------------------
#
# A sum of n rounded terms drifts by up to n roundings, and every probability of the slice with it.
# Terms are added in sixteen fixed lanes, whose sums are wider than the terms: double precision for
# single, compensated pairs for double. The lanes and the tree that joins them do not depend on the
# machine, the number of threads or the batch, so that neither do the bits of the result.
#
# The logarithm of a sum of at most sixteen single precision terms is told apart from its neighbours
# by so few digits that less will do: the largest entry is subtracted, and terms are rounded to
# multiples of about 2^-27, which as whole numbers add up exactly in any order.


def one_after_the_other(x):
    """Return softmax with the maximum subtracted, summed term by term in single precision."""
    e = np.exp(x - x.max())
    return e / np.cumsum(e)[-1]


rows = []
for length in (100, 10_000, 1_000_000):
    x = np.random.default_rng(3).normal(0, 3, length).astype(np.float32)
    exact = special.softmax(x.astype(np.float64))
    rows.append(
        [length]
        + [
            float(ulp_error(function(x), exact).max())
            for function in (one_after_the_other, special.softmax, softmax.softmax)
        ]
    )
Table(("entries", "one after the other", "SciPy", "softmax"), rows)

# %%
# Logarithms next to zero
# -----------------------
#
# Leave one maximum m out of the sum, and call the rest t:
#
# .. math:: t = \sum_{j \ne \text{top}} e^{x_j - m}, \qquad
#           \log p_i = (x_i - m) - \operatorname{log1p}(t), \qquad
#           \operatorname{log1p}(t) = \log(1 + t).
#
# Both terms are at most 0: they have the same sign, nothing cancels, and the result is as exact
# relative to itself as its parts are. A sum that contains the 1 of the maximum has rounded a small
# t away already. The same holds for a loss near 0, and for its gradient at the true class, where p
# - 1 is minus the sum of the others.

pairs = np.array([[0.0, -d] for d in (1.0, 10.0, 20.0, 40.0)], dtype=np.float32)
exact = -np.log1p(np.exp(pairs[:, 1].astype(np.float64)))
loss, gradient = softmax.cross_entropy(pairs, [0] * 4, reduction="none", return_grad=True)
Table(
    ("logits", "log p, exact", "SciPy", "softmax", "loss", "gradient"),
    [
        (str(row.tolist()), *(f"{value:.6g}" for value in values))
        for row, *values in zip(
            pairs,
            exact,
            special.log_softmax(pairs, axis=-1)[:, 0],
            softmax.log_softmax(pairs)[:, 0],
            loss,
            gradient[:, 0],
            strict=True,
        )
    ],
)

# %%
# A log-sum-exp is m + log1p(t), which may cancel: of logarithms of probabilities, whose sum is 1,
# it is what their rounding has left. In single precision, what comes out within 1 of zero is added
# up once more, from exponentials in two doubles each, so that it, too, is right to two units.

generator = np.random.default_rng(0)
logs = special.log_softmax(generator.normal(0, 3, (3, 10)), axis=-1).astype(np.float32)
Table(
    ("log-sum-exp of the rounded row", "SciPy", "softmax"),
    [
        tuple(f"{value:.6g}" for value in values)
        for values in zip(
            np.log(np.exp(logs.astype(np.longdouble)).sum(axis=-1)),
            special.logsumexp(logs, axis=-1),
            softmax.logsumexp(logs),
            strict=True,
        )
    ],
)

# %%
# States merge
# ------------
#
# Two states make one, since bringing both sums to the larger exponent is a scaling by a power of
# two:
#
# .. math:: (N_1, S_1) + (N_2, S_2) = (N, \; 2^{N_1 - N} S_1 + 2^{N_2 - N} S_2), \qquad
#           N = \max(N_1, N_2) .
#
# That is how threads share a long slice, and how streams are summed (Milakov and Gimelshein,
# arXiv:1805.02867). :class:`softmax.OnlineLogSumExp` keeps the largest entry and the sum of all
# others instead, so that the last section holds for streams too.
#
# Sixteen bits
# ------------
#
# float16 and bfloat16 become float32 as they are read, and the result is rounded once at the end.
# Integers become float64: subtracting a maximum in an integer type wraps around.

scores = np.array([0, 255], dtype=np.uint8)
with np.errstate(over="ignore"):
    print("maximum subtracted in uint8:", np.exp((scores - scores.max()).astype(float)))
print("softmax:", softmax.softmax(scores))

# %%
# What is promised, and what was measured
# ---------------------------------------
#
# These are the largest errors in single precision as ``make accuracy`` measured them: over rows of
# N(0, 3), then over every family of inputs that the tests know (near ties, one dominant entry,
# subnormal results, the extremes of the dtype and more). inf stands for an infinity or a nan where
# the result is finite. :doc:`accuracy_and_speed` has the date, the machine and the other dtypes.

measured.errors("float32")
