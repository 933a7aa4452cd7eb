r"""
Hard versus soft
================

If the answer wanted is one of several, why not take the largest and be done?
"""

import numpy as np

import softmax

x = np.array([0.25, 1.23, -0.8])
softmax.hardmax(x)

# %%
# As a final answer that is fine. To learn from, it is useless: move a logit a little, and nothing
# changes. The derivative is zero wherever there is one, so that no gradient tells which way to go.

change = np.array([0.0, -0.1, 0.1])
print("hard:", softmax.hardmax(x + change) - softmax.hardmax(x))
print("soft:", softmax.softmax(x + change) - softmax.softmax(x))
print("derivative of the hard one:", softmax.softmax_jvp(x, change, temperature=0))

# %%
# Why not divide by the sum?
# --------------------------
#
# That too gives numbers that sum to 1, and nothing else of what is needed. Negative scores give
# negative "probabilities":

x / x.sum()

# %%
# Scores may sum to zero:

with np.errstate(divide="ignore"):
    print(np.array([-0.25, 1.0, -0.75]) / np.sum([-0.25, 1.0, -0.75]))

# %%
# A score of zero stays exactly zero, "impossible", where softmax leaves it a chance:

scores = np.array([0.0, 0.9, 0.1])
print("divided by the sum:", scores / scores.sum())
print("softmax:           ", softmax.softmax(scores).round(3))

# %%
# And doubling all scores, or adding one to each, means opposite things to the two. To softmax,
# scores twice as large are twice as decided, and a common shift means nothing:

for name, changed in (("as they are", x), ("doubled", 2 * x), ("1 added", x + 1)):
    print(f"{name:12}", softmax.softmax(changed).round(3), (changed / changed.sum()).round(3))

# %%
# Between hard and soft
# ---------------------
#
# The temperature leads from one to the other. To train a network that draws one of several answers,
# noise is added to the logits and the softmax is taken at a low temperature: nearly one-hot, and
# with a gradient (Gumbel-softmax). The positions of its maxima are draws from the softmax.

for temperature in (5.0, 1.0, 0.1):
    draw = softmax.gumbel_softmax(x, temperature=temperature, rng=2)
    print(f"T = {temperature:<4}", draw.round(3))
draws = softmax.gumbel_softmax(np.tile(x, (10_000, 1)), hard=True, rng=0)
print("how often each was drawn:", draws.mean(axis=0))
print("softmax:                 ", softmax.softmax(x).round(4))
