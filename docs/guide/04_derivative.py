r"""
The derivative
==============

Softmax takes n numbers to n numbers, so that "the" derivative is a table: which output, with
respect to which input? With :math:`S = \operatorname{softmax}(a)`,

.. math:: \frac{\partial S_i}{\partial a_j} = S_i (\delta_{ij} - S_j),

where :math:`\delta_{ij}` is 1 if i and j are the same, else 0.
"""

import numpy as np

import softmax
from softmax import plot

x = [1.0, 2.0, 3.0]
softmax.softmax_jacobian(x)

# %%
# The diagonal is positive: raise a logit and its own probability grows. All else is negative: the
# others pay for it. Every row and every column sums to 0, because probabilities keep adding up to 1
# and because a shift of all logits changes nothing.

plot.jacobian(x)

# %%
# One entry is asked for by naming output and input; here how the second probability reacts to the
# third logit, beside the formula.

S = softmax.softmax(x)
print(softmax.softmax_jacobian(x, output=1, input=2), -S[1] * S[2])

# %%
# Where the formula comes from
# ----------------------------
#
# Take the logarithm first: :math:`\log S_i = a_i - \log \sum_k e^{a_k}`. Its derivative with
# respect to :math:`a_j` is :math:`\delta_{ij} - S_j`, since the derivative of log-sum-exp is
# softmax. And :math:`\partial S_i = S_i \, \partial \log S_i`.
#
# Never form it
# -------------
#
# With K classes the Jacobian has :math:`K^2` entries, and what is wanted is nearly always its
# product with a vector. That takes one pass over the probabilities:
#
# .. math:: J v = S \odot (v - S \cdot v)
#
# :func:`softmax.softmax_jvp` pushes a change of the logits forward, :func:`softmax.softmax_vjp`
# pulls a gradient back. The Jacobian is symmetric, so they are the same arithmetic.

v = np.array([0.5, -1.0, 2.0])
print(softmax.softmax_jacobian(x) @ v)
print(softmax.softmax_jvp(x, v))

# %%
# With a hundred thousand classes the matrix would take 80 GB; the product takes this long:

from time import perf_counter

rng = np.random.default_rng(0)
logits, gradient = rng.normal(size=(2, 100_000))
softmax.softmax_vjp(logits, gradient)
start = perf_counter()
softmax.softmax_vjp(logits, gradient)
print(f"{(perf_counter() - start) * 1e3:.2f} ms")

# %%
# At temperature T everything is divided by T once more: :math:`J v = S \odot (v - S \cdot v) / T`.

print(softmax.softmax_jvp(x, v, temperature=2.0))
print(softmax.softmax_jacobian(x, temperature=2.0) @ v)
