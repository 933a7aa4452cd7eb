r"""
Temperature, distillation, action choice
========================================

Dividing all logits by one number T makes a distribution sharper or flatter without changing the
order of its entries:

.. math:: p_i = \frac{e^{x_i / T}}{\sum_j e^{x_j / T}}

The name is from physics, where a hot system is in any of its states and a cold one in the lowest.
"""

import numpy as np

import softmax
from softmax import plot

x = [1.0, 2.0, 3.0]
for temperature in (0, 0.1, 1, 10, np.inf):
    print(f"T = {temperature:<4}", softmax.softmax(x, temperature=temperature))

# %%
# At 0 the largest entry takes all (equal largest ones share), at infinity all are the same. Both
# limits are exact, not overflows that happened to come out well.

plot.temperature(x)

# %%
# Confidence that can be trusted
# ------------------------------
#
# A classifier may be right often and sure always. One temperature, fitted on rows that were held
# out, mends the confidence and leaves every prediction as it is. :doc:`/gallery/plot_calibration`
# does it on real data; here the logits are three times too large by construction.

from softmax.learn import TemperatureScaling

rng = np.random.default_rng(0)
logits = rng.normal(0, 2, (5000, 3))
labels = softmax.sample(logits, rng=rng)
scaling = TemperatureScaling().fit(3 * logits, labels)
print(f"fitted temperature: {scaling.temperature_:.3f}")

# %%
# Distillation
# ------------
#
# A large network knows more than the right answer: which wrong answers are nearly right. A small
# network can learn that from the large one's probabilities, softened by a temperature so that the
# unlikely classes show (Hinton, Vinyals and Dean, 2015).

teacher = np.array([[9.0, 5.0, 1.0]])
print("T = 1:", softmax.softmax(teacher).round(4))
print("T = 4:", softmax.softmax(teacher, temperature=4.0).round(4))

# %%
# The loss is the divergence between both softened outputs, mixed with ordinary cross-entropy. Its
# gradient shrinks with :math:`1/T^2`, so that the soft part is multiplied by :math:`T^2` to keep
# the mixture the same at any temperature.

student = np.array([[2.0, 1.0, 0.0]])
soft = softmax.kl_divergence(teacher, student, temperature=4.0)
hard = softmax.cross_entropy(student, [0])
print(0.5 * hard + 0.5 * 4.0**2 * soft)
print(softmax.distillation_loss(student, teacher, [0], temperature=4.0, alpha=0.5))

# %%
# Choosing actions
# ----------------
#
# An agent that has estimated the value q of each action can pick the best one, and never learn that
# another is better; or any one, and never use what it knows. Softmax is in between: probabilities
# :math:`e^{q(a)/T} / \sum_b e^{q(b)/T}`, hot at first, cold later.

values = [1.0, 3.0, 2.0]
policy = softmax.BoltzmannPolicy(temperature=lambda step: 2.0 * 0.99**step)
print("at first:", policy.probabilities(values).round(3))
actions = [policy.act(values, rng) for _ in range(500)]
print("later:   ", policy.probabilities(values).round(3))
print("best action taken, first and last 100 steps:",
      np.mean(np.equal(actions[:100], 1)), np.mean(np.equal(actions[-100:], 1)))  # fmt: skip

# %%
# Drawing words
# -------------
#
# Language models are sampled the same way, often with the unlikely end cut off.

logits = np.log([0.5, 0.3, 0.15, 0.05])
for options in ({}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.9}, {"min_p": 0.2}):
    draws = softmax.sample(logits, 10_000, rng=0, **options)
    print(f"{options!s:22}", np.bincount(draws, minlength=4) / 10_000)
