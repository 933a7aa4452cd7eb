r"""
Softmax and sigmoid
===================

With two answers softmax has only one number to say, since the other probability is the rest. That
number is the sigmoid of the difference of the logits:

.. math:: \operatorname{softmax}([a, b])_1 = \frac{e^a}{e^a + e^b} = \frac{1}{1 + e^{-(a - b)}}
          = \sigma(a - b).
"""

import numpy as np

import softmax
from softmax import plot

print(softmax.softmax([14.0, 12.0]))
print(softmax.sigmoid(12.0 - 14.0))

# %%
# With the second logit fixed at 0, the first probability is the sigmoid of the first logit. The two
# curves lie on each other.

plot.sigmoid()

# %%
# The way back is :func:`softmax.logit`, the logarithm of the odds.

print(softmax.logit(0.88079708))

# %%
# One of many, or each by itself?
# -------------------------------
#
# Both functions give numbers between 0 and 1 for several classes. They answer different questions.
#
# * Softmax is for classes that exclude each other. A digit is a 3 or an 8; if the 3 becomes more
#   likely, the 8 becomes less so, and the probabilities sum to 1 (a *categorical* variable).
# * Several sigmoids are for labels that may hold together. An apple is a fruit, and an Apple may be
#   an electronics brand; a text may be about both. Each label is a yes or no of its own (a
#   *Bernoulli* variable each), and their probabilities sum to anything.

labels = ["fruit", "electronics brand", "city"]
logits = np.array([3.0, 2.0, -4.0])
for name, one_of, by_itself in zip(
    labels, softmax.softmax(logits), softmax.sigmoid(logits), strict=True
):
    print(f"{name:18} softmax {one_of:.3f}   sigmoid {by_itself:.3f}")

# %%
# The losses differ likewise: :func:`softmax.cross_entropy` for one true class,
# :func:`softmax.binary_cross_entropy` for labels of their own.

print(softmax.cross_entropy(logits, 0))
print(softmax.binary_cross_entropy(logits, [1, 1, 0]))

# %%
# And so do the estimators. :class:`softmax.learn.SigmoidRegression` learns labels that hold
# together:

from softmax.learn import SigmoidRegression

X = np.array([[0.0], [1.0], [2.0], [3.0]])
Y = np.array([[0, 1], [0, 1], [1, 1], [1, 0]])
model = SigmoidRegression(C=100.0).fit(X, Y)
model.predict_proba(X).round(2)

# %%
# Close to certainty
# ------------------
#
# Where a probability is close to 1, what matters is how much is missing, and 1 minus a rounded 1
# has lost it. ``log_sigmoid`` and ``softplus`` keep it: the chance of being wrong at logit 40 is
# :math:`4.2 \cdot 10^{-18}`.

print(1 - softmax.sigmoid(40.0), softmax.sigmoid(-40.0))
print(np.log(softmax.sigmoid(40.0)), softmax.log_sigmoid(40.0))
print(softmax.softplus(-40.0))
