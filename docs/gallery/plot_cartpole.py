"""
A softmax policy learns to balance a pole
=========================================

The policy is linear: two logits from four numbers that describe the cart and the pole, and an
action drawn from their softmax. REINFORCE (Williams, 1992) raises the log-probability of actions
that earned more than usual. The gradient of log softmax with respect to the logits is one-hot minus
probabilities, all that is needed here.

CartPole-v1 counts as solved at a mean reward of 475 over 100 episodes; 500 is the most there is.
"""

import gymnasium
import matplotlib.pyplot as plt
import numpy as np

import softmax

N_EPISODES = 16  # played side by side before each update
DISCOUNT = 0.99
STEP_SIZE = 1.0


def play(weight, environments, rng, seed=None):
    """Play an episode in each environment; return states, actions and who was still alive."""
    states, _ = environments.reset(seed=seed)
    alive = np.ones(environments.num_envs, bool)
    history = []
    while alive.any():
        actions = softmax.sample(states @ weight.T, rng=rng)
        after, _, terminated, truncated, _ = environments.step(actions)
        history.append((states, actions, alive.astype(float)))  # a reward of 1 for each step alive
        alive = alive & ~(terminated | truncated)
        states = after
    return map(np.array, zip(*history, strict=True))


def discounted(rewards):
    """Return the sum of each reward and the later ones, discounted."""
    returns = np.zeros_like(rewards)
    later = np.zeros(rewards.shape[1])
    for step in reversed(range(len(rewards))):
        later = rewards[step] + DISCOUNT * later
        returns[step] = later
    return returns


# %%
# Train. A return is compared with the mean of the episodes that still run at that step, which
# changes nothing in expectation and much in variance.

rng = np.random.default_rng(0)
environments = gymnasium.make_vec(
    "CartPole-v1",
    N_EPISODES,
    vectorization_mode="sync",
    vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP},
)
weight = np.zeros((2, 4))
curve = []
for batch in range(100):
    states, actions, alive = play(weight, environments, rng, seed=batch)
    returns = discounted(alive)
    usual = returns.sum(axis=1) / alive.sum(axis=1)
    advantage = (returns - usual[:, None]) * alive
    error = np.eye(2)[actions] - softmax.softmax(states @ weight.T)  # d log p(action) / d logits
    gradient = np.einsum("te,tek,tes->ks", advantage, error, states)
    weight += STEP_SIZE * gradient / (np.linalg.norm(gradient) + 1e-8)
    curve.append(alive.sum(axis=0).mean())
    if min(curve[-5:]) > 495:
        break

# %%
# Judge it on 100 new episodes, still drawing actions at random.

judges = gymnasium.make_vec(
    "CartPole-v1",
    100,
    vectorization_mode="sync",
    vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP},
)
_, _, alive = play(weight, judges, rng, seed=10_000)
mean = alive.sum(axis=0).mean()
print(
    f"{len(curve)} updates of {N_EPISODES} episodes; mean reward over 100 new episodes: {mean:.1f}"
)
assert mean >= 475

figure, axes = plt.subplots()
axes.plot(np.arange(1, len(curve) + 1), curve)
axes.axhline(475, color="gray", linestyle=":")
axes.set(xlabel="update", ylabel="mean reward of an episode", title="CartPole by REINFORCE")
plt.show()
