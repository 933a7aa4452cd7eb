"""Policies choose as often as they should, and the gradient bandit learns as in the textbook."""

import time

import numpy as np
import pytest

import softmax as sm


def test_boltzmann_probabilities_and_choices():
    q = np.random.default_rng(0).normal(size=(20_000, 1)) + np.log([0.1, 0.2, 0.7])
    policy = sm.BoltzmannPolicy()
    np.testing.assert_allclose(policy.probabilities(q[0]), [0.1, 0.2, 0.7])
    frequencies = np.bincount(policy.act(q, np.random.default_rng(1))) / len(q)
    np.testing.assert_allclose(frequencies, [0.1, 0.2, 0.7], atol=0.01)
    assert sm.BoltzmannPolicy(0).act([1.0, 3.0, 2.0]) == 1
    np.testing.assert_array_equal(sm.BoltzmannPolicy(np.inf).probabilities([1.0, 9.0]), [0.5, 0.5])


def test_a_schedule_is_asked_before_each_choice():
    asked = []
    policy = sm.BoltzmannPolicy(lambda n: asked.append(n) or 2.0**-n)
    for _ in range(3):
        policy.act([1.0, 2.0], rng=0)
    assert asked == [0, 1, 2]
    assert policy.temperature == 0.125
    np.testing.assert_array_equal(
        policy.probabilities([1.0, 2.0]), sm.softmax([1.0, 2.0], temperature=0.125)
    )


def test_one_update_by_hand():
    bandit = sm.GradientBandit(3, step_size=0.5)
    bandit.update(2, 4.0)  # the first reward is its own baseline
    assert bandit.preferences.tolist() == [0, 0, 0]
    bandit.update(0, 7.0)
    np.testing.assert_allclose(bandit.preferences, [1.0, -0.5, -0.5])
    assert bandit.mean_reward == 5.5
    bare = sm.GradientBandit(2, step_size=0.5, baseline=False)
    bare.update(1, 4.0)
    np.testing.assert_allclose(bare.preferences, [-1.0, 1.0])


def test_runs_side_by_side_are_single_runs():
    many = sm.GradientBandit(4, runs=3)
    single = [sm.GradientBandit(4) for _ in range(3)]
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions, rewards = rng.integers(4, size=3), rng.normal(size=3)
        many.update(actions, rewards)
        for bandit, action, reward in zip(single, actions, rewards, strict=True):
            bandit.update(action, reward)
    np.testing.assert_allclose(many.preferences, [bandit.preferences for bandit in single])
    assert many.act(rng).shape == (3,)


def test_ten_armed_testbed():
    """Sutton & Barto, figure 2.5: 2000 runs of 1000 steps with values around 4, in four ways."""
    runs, steps, arms = 2000, 1000, 10
    start = time.perf_counter()
    optimal = {}
    for step_size in (0.1, 0.4):
        for baseline in (True, False):
            rng = np.random.default_rng(0)
            values = rng.normal(4.0, 1.0, (runs, arms))
            best, each = values.argmax(-1), np.arange(runs)
            bandit = sm.GradientBandit(arms, step_size, baseline, runs=runs)
            hits = np.empty(steps)
            for step in range(steps):
                actions = bandit.act(rng)
                hits[step] = (actions == best).mean()
                bandit.update(actions, values[each, actions] + rng.normal(size=runs))
            optimal[step_size, baseline] = hits[-100:].mean()
    seconds = time.perf_counter() - start
    # The order of the figure's curves at its right edge.
    ordered = [optimal[key] for key in ((0.1, True), (0.4, True), (0.1, False), (0.4, False))]
    assert ordered == sorted(ordered, reverse=True)
    assert np.diff(ordered).max() < -0.05
    assert ordered[0] > 0.75
    assert seconds < 20, "the promise is 10 on an idle machine"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sm.BoltzmannPolicy(-1), ValueError, "temperature must be 0 or more, got -1"),
        (lambda: sm.BoltzmannPolicy("hot"), TypeError, "temperature must be a number or a call"),
        (lambda: sm.BoltzmannPolicy(lambda n: np.nan).act([1.0]), ValueError, "temperature must"),
        (lambda: sm.BoltzmannPolicy().act([-np.inf]), ValueError, "nothing but -inf"),
        (lambda: sm.GradientBandit(0), ValueError, "n_actions must be 1 or more, got 0"),
        (lambda: sm.GradientBandit(2.5), TypeError, "n_actions must be an integer"),
        (lambda: sm.GradientBandit(2, 0), ValueError, "step_size must be positive"),
        (lambda: sm.GradientBandit(2, runs=0), ValueError, "runs must be 1 or more"),
        (lambda: sm.GradientBandit(2).update(2, 0.0), IndexError, r"range\(2\), got 2"),
        (lambda: sm.GradientBandit(2).update(-1, 0.0), IndexError, r"range\(2\), got -1"),
        (lambda: sm.GradientBandit(2).update(0.0, 0.0), TypeError, "action must be integer"),
        (lambda: sm.GradientBandit(2).update([0], 0.0), ValueError, r"action must have shape \(\)"),
        (lambda: sm.GradientBandit(2).update(0, np.inf), ValueError, "reward must be finite"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
