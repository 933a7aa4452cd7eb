r"""
What softmax is
===============

A model often ends with scores: one number for each possible answer, any size, any sign, higher for
what it thinks more likely. Softmax turns them into probabilities. It takes the exponential of every
score, which makes all of them positive, and divides by the sum, which makes them add up to 1:

.. math:: \operatorname{softmax}(x)_i = \frac{e^{x_i}}{\sum_j e^{x_j}}
"""

import numpy as np

import softmax
from softmax import plot

softmax.softmax([1.0, 2.0, 3.0])

# %%
# The scores are called *logits*. The largest logit gets the largest probability, hence the name: a
# soft version of "all for the largest", which still leaves something for every other.

plot.probabilities([1.0, 2.0, 3.0])

# %%
# Only differences count
# ----------------------
#
# The ratio of two probabilities is :math:`e^{x_i - x_j}`: a logit that is larger by 1 makes an
# answer :math:`e \approx 2.718` times as probable, whatever the other logits are.

p = softmax.softmax([1.0, 2.0, 3.0])
p[1:] / p[:-1]

# %%
# So the same number added to every logit changes nothing. These are 12, 25 and 44, and the same
# with 100 added to each:

x = np.array([12.0, 25.0, 44.0])
print(softmax.softmax(x))
print(softmax.softmax(x + 100))

# %%
# The way back is the logarithm: logits are log-probabilities up to a constant that all share. That
# is why logits are measured in *nats*, the unit of natural logarithms.

softmax.softmax(np.log([0.2, 0.3, 0.5]))

# %%
# Rows, columns and whole arrays
# ------------------------------
#
# By default the last axis is the one that sums to 1, so that a matrix is a batch of rows. Any other
# axis will do, or several, or all of them.

batch = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]])
print(softmax.softmax(batch).sum(axis=1))
print(softmax.softmax(batch, axis=0).sum(axis=0))
print(softmax.softmax(batch, axis=None).sum())

# %%
# An entry that is not a possible answer here is left out with ``where``. It gets probability 0, and
# the others share the rest.

softmax.softmax([1.0, 2.0, 3.0], where=[True, False, True])
