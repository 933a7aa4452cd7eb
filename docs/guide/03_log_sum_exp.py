r"""
Log-sum-exp, the older meaning
==============================

Before softmax was the name of the vector of probabilities, "soft maximum" was a number: the
logarithm of the sum of exponentials,

.. math:: \operatorname{logsumexp}(x) = \log \sum_j e^{x_j},

which is close to the largest entry, and a little more.
"""

import numpy as np

import softmax
from softmax import plot

print(softmax.logsumexp([1.0, 2.0]))

# %%
# As a function of one entry it is the maximum with its corner rounded off. The two differ most
# where the entries are equal, by log 2.

plot.smooth_max()

# %%
# Sharper and softer
# ------------------
#
# Multiplying by k before and dividing by k afterwards makes the curve follow the corner more
# closely. :func:`softmax.smooth_max` does that, for any k without overflow.

for k in (1, 10, 1e6):
    print(f"k = {k:<9g} {softmax.smooth_max([1.0, 2.0], k)}")

# %%
plot.smooth_max(range(1, 11), xlim=(2, 4), ylim=(2.5, 4.5))

# %%
# Every curve of the family is smooth and convex. The price of being near the maximum is the bend:
# the second derivative at the corner is k / 4. A negative k gives a smooth minimum, and
# :func:`softmax.mellowmax` divides by the number of entries inside, so that equal entries give
# themselves.

print(softmax.smooth_max([1.0, 2.0], -10))
print(softmax.mellowmax([2.0, 2.0, 2.0], 5.0))

# %%
# The two meanings meet
# ---------------------
#
# The gradient of log-sum-exp is the softmax of today. Here it is by differences:

x, step = np.array([0.3, -1.2, 0.9]), 1e-5
slopes = [
    (softmax.logsumexp(x + step * e) - softmax.logsumexp(x - step * e)) / (2 * step)
    for e in np.eye(3)
]
print(np.round(slopes, 9))
print(softmax.softmax(x).round(9))

# %%
# It is also the denominator of softmax, in logarithms: :math:`\log p_i = x_i -
# \operatorname{logsumexp}(x)`. Physics calls it the log-partition function.

print(x - softmax.logsumexp(x))
print(softmax.log_softmax(x))

# %%
# Sums that do not fit in memory
# ------------------------------
#
# A sum can be taken in pieces. :class:`softmax.OnlineLogSumExp` takes in blocks as they come, and
# two such states merge into one; the result is that of the whole array.

stream = np.random.default_rng(0).normal(0, 10, 1_000_000)
first, second = softmax.OnlineLogSumExp(), softmax.OnlineLogSumExp()
for block in np.split(stream[:600_000], 6):
    first.update(block)
second.update(stream[600_000:])
print(first.merge(second).logsumexp(), softmax.logsumexp(stream))
