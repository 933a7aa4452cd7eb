"""
Gradient bandits on the ten-armed testbed
=========================================

Figure 2.5 of Sutton and Barto, "Reinforcement Learning" (2nd edition): ten actions whose values are
drawn from N(4, 1), rewards from N(value, 1), 2000 problems of 1000 steps each. The bandit keeps a
preference for each action and draws from their softmax. Comparing a reward with the mean of those
before makes the common value of 4 vanish; without it every reward looks good.

All 2000 problems run side by side in one :class:`softmax.GradientBandit`.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import softmax

RUNS, STEPS, ARMS = 2000, 1000, 10


def share_of_optimal_actions(step_size, baseline):
    """Return how often the best action was taken, at each step."""
    rng = np.random.default_rng(0)
    values = rng.normal(4.0, 1.0, (RUNS, ARMS))
    best = values.argmax(axis=1)
    bandit = softmax.GradientBandit(ARMS, step_size, baseline, runs=RUNS)
    share = np.empty(STEPS)
    for step in range(STEPS):
        actions = bandit.act(rng)
        share[step] = (actions == best).mean()
        bandit.update(actions, values[np.arange(RUNS), actions] + rng.normal(size=RUNS))
    return share


start = time.perf_counter()
figure, axes = plt.subplots()
for baseline, style in ((True, "-"), (False, "--")):
    for step_size, color in ((0.1, "tab:blue"), (0.4, "tab:orange")):
        share = share_of_optimal_actions(step_size, baseline)
        label = f"step size {step_size}, {'with' if baseline else 'without'} baseline"
        print(f"{label}: {share[-100:].mean():.1%} over the last 100 steps")
        axes.plot(share, style, color=color, label=label)
print(f"{time.perf_counter() - start:.1f} s")
axes.set(xlabel="step", ylabel="share of optimal actions", ylim=(0, 1))
axes.legend()
plt.show()
