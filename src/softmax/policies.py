"""Choosing actions with softmax probabilities: Boltzmann exploration and the gradient bandit.

A policy turns numbers that say how good each action is into a draw. Both classes work on one run
or on many at once, the runs along the leading dimensions.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import as_array
from softmax.functions import softmax
from softmax.sampling import RandomSource, sample

Schedule = Callable[[int], float]


class BoltzmannPolicy:
    """Choose actions with probabilities softmax(q / temperature).

    Parameters
    ----------
    temperature : float or callable, default 1.0
        At least 0: towards 0 the best action is taken, at infinity all are equally probable. A
        callable is a schedule: it is given the number of choices made so far and returns the
        temperature of the next.

    Attributes
    ----------
    n_choices : int
        How many times `act` has chosen.

    Raises
    ------
    TypeError
        If `temperature` is neither a number nor a callable.
    ValueError
        If a temperature is negative or nan.

    References
    ----------
    .. [1] R. S. Sutton and A. G. Barto, "Reinforcement Learning", 2nd ed., 2018, sections 2.8 and
       13.1.

    Examples
    --------
    >>> from softmax import BoltzmannPolicy
    >>> BoltzmannPolicy(0.5).probabilities([1.0, 2.0, 2.0]).round(3)
    array([0.063, 0.468, 0.468])
    >>> policy = BoltzmannPolicy(lambda n: 1 / (1 + n))
    >>> actions = [policy.act([0.0, 1.0, 50.0], rng=0) for _ in range(3)]
    >>> [int(action) for action in actions], policy.temperature
    ([2, 2, 2], 0.25)
    """

    def __init__(self, temperature: float | Schedule = 1.0):
        self._schedule = temperature if callable(temperature) else None
        self._constant = math.nan if callable(temperature) else as_temperature(temperature)
        self.n_choices = 0

    def __repr__(self) -> str:
        return f"<BoltzmannPolicy temperature={self.temperature:g} n_choices={self.n_choices}>"

    @property
    def temperature(self) -> float:
        """The temperature of the next choice."""
        if self._schedule is None:
            return self._constant
        return as_temperature(self._schedule(self.n_choices))

    def probabilities(self, q: npt.ArrayLike) -> Any:
        """Return the probability of each action.

        Parameters
        ----------
        q : array_like of shape (..., n_actions)
            Values of the actions.

        Returns
        -------
        ndarray
            Of the shape of `q`.
        """
        return softmax(q, temperature=self.temperature)

    def act(self, q: npt.ArrayLike, rng: RandomSource = None) -> Any:
        """Choose an action for each row of values.

        Parameters
        ----------
        q : array_like of shape (..., n_actions)
            Values of the actions.
        rng : numpy.random.Generator or int, optional
            As in `sample`.

        Returns
        -------
        ndarray of int64, or int64
            Of the shape of `q` without the last dimension.

        Raises
        ------
        ValueError
            If a row has a nan, several +inf, or nothing but -inf.
        """
        actions = sample(q, temperature=self.temperature, rng=rng)
        self.n_choices += 1
        return actions


class GradientBandit:
    """Learn preferences for actions by stochastic gradient ascent on the expected reward.

    Actions have probabilities softmax(preferences). After action a earned reward r, the
    preferences grow by step_size * (r - baseline) * (one-hot(a) - probabilities).

    Parameters
    ----------
    n_actions : int
        How many actions there are.
    step_size : float, default 0.1
        Positive.
    baseline : bool, default True
        Whether rewards are compared with the mean of the rewards before (the first with itself),
        or with 0.
    runs : int, optional
        How many independent bandits learn side by side; if given, actions and rewards are arrays
        of this length.

    Attributes
    ----------
    preferences : ndarray of shape (n_actions,) or (runs, n_actions)
        Zero at the start.
    mean_reward : float or ndarray of shape (runs,)
        Mean of the rewards so far.
    n_updates : int
        How many rewards each run has had.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] R. S. Sutton and A. G. Barto, "Reinforcement Learning", 2nd ed., 2018, section 2.8.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax import GradientBandit
    >>> rng = np.random.default_rng(0)
    >>> bandit = GradientBandit(3, step_size=0.2)
    >>> for _ in range(500):
    ...     action = bandit.act(rng)
    ...     bandit.update(action, rng.normal([0.0, 1.0, 0.5][action]))
    >>> int(bandit.probabilities.argmax())
    1
    """

    def __init__(
        self,
        n_actions: int,
        step_size: float = 0.1,
        baseline: bool = True,
        *,
        runs: int | None = None,
    ):
        self.n_actions = positive_count(n_actions, "n_actions")
        if not 0 < step_size < math.inf:
            raise ValueError(f"step_size must be positive and finite, got {step_size!r}")
        self.step_size = float(step_size)
        self.baseline = bool(baseline)
        self.runs = None if runs is None else positive_count(runs, "runs")
        self._shape = () if self.runs is None else (self.runs,)
        self.preferences = np.zeros((*self._shape, self.n_actions))
        self.mean_reward: Any = np.zeros(self._shape)[()]
        self.n_updates = 0

    def __repr__(self) -> str:
        return f"<GradientBandit n_actions={self.n_actions} n_updates={self.n_updates}>"

    @property
    def probabilities(self) -> Any:
        """The probability of each action, of the shape of `preferences`."""
        return softmax(self.preferences)

    def act(self, rng: RandomSource = None) -> Any:
        """Choose an action for each run.

        Parameters
        ----------
        rng : numpy.random.Generator or int, optional
            As in `sample`.

        Returns
        -------
        int64, or ndarray of int64 of shape (runs,)
        """
        return sample(self.preferences, rng=rng)

    def update(self, action: npt.ArrayLike, reward: npt.ArrayLike) -> None:
        """Learn from the reward that each run's action earned.

        Parameters
        ----------
        action : int or array_like of int of shape (runs,)
            What was done.
        reward : float or array_like of shape (runs,)
            What it earned.

        Raises
        ------
        IndexError
            If an action is not in range(n_actions).
        TypeError
            If an action is no integer.
        ValueError
            If a shape does not fit, or a reward is not finite.
        """
        actions, rewards = self._checked(action, reward)
        self.n_updates += 1
        compared = self.mean_reward if self.n_updates > 1 else rewards
        advantage = rewards - compared if self.baseline else rewards
        self.mean_reward = self.mean_reward + (rewards - self.mean_reward) / self.n_updates
        change = -self.probabilities
        chosen = actions[..., None]
        np.put_along_axis(change, chosen, np.take_along_axis(change, chosen, -1) + 1, -1)
        self.preferences += (self.step_size * advantage)[..., None] * change

    def _checked(self, action: npt.ArrayLike, reward: npt.ArrayLike) -> tuple[Any, Any]:
        actions, rewards = as_array(action, "action"), as_array(reward, "reward")
        for name, array in (("action", actions), ("reward", rewards)):
            if array.shape != self._shape:
                raise ValueError(f"{name} must have shape {self._shape}, got {array.shape}")
        if actions.dtype.kind not in "iu":
            raise TypeError(f"action must be integer, got dtype {actions.dtype}")
        wrong = (actions < 0) | (actions >= self.n_actions)
        if wrong.any():
            raise IndexError(
                f"action must be in range({self.n_actions}), got {actions[wrong].flat[0]}"
            )
        if not np.isfinite(rewards).all():
            raise ValueError(f"reward must be finite, got {rewards[~np.isfinite(rewards)].flat[0]}")
        return actions.astype(np.int64), rewards.astype(np.float64)


def as_temperature(value: Any) -> float:
    """Return a temperature as a float, or raise."""
    try:
        temperature = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"temperature must be a number or a callable, got {value!r}") from None
    if not temperature >= 0:
        raise ValueError(f"temperature must be 0 or more, got {value!r}")
    return temperature


def positive_count(value: int, name: str) -> int:
    """Return an integer of at least 1, or raise."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be 1 or more, got {value!r}")
    return count
