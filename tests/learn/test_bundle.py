"""The bound from several points: never above the optimum, closer than that of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from softmax.learn import SoftmaxRegression
from softmax.learn.bundle import Bundle, best_mean
from softmax.learn.loss import SoftmaxLoss
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.rows import ArrayRows
from softmax.learn.targets import TargetEncoding

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("rank", [1, 8])
def test_best_mean_is_that_of_some_weights(size: int, rank: int) -> None:
    for _ in range(50):
        planes = RNG.normal(size=(size, rank))
        matrix, heights = planes @ planes.T, RNG.normal(size=size)
        found = best_mean(heights, matrix)

        def lost(c: Any, matrix: Any = matrix, heights: Any = heights) -> float:
            return float(0.5 * c @ matrix @ c - heights @ c)

        even = np.full(size, 1 / size)
        whole = {"type": "eq", "fun": lambda c: c.sum() - 1}
        best = minimize(lost, even, bounds=[(0, 1)] * size, constraints=[whole], tol=1e-12)
        assert found <= -best.fun + 1e-6
        assert found >= max(heights - matrix.diagonal() / 2) - 1e-12


def test_two_planes_that_cancel() -> None:
    assert best_mean(np.array([1.0, 1.0]), np.array([[4.0, -4.0], [-4.0, 4.0]])) == pytest.approx(1)


def points_on_the_way(
    problem: CrossEntropyObjective, optimum: Any, count: int
) -> list[tuple[Any, float, Any]]:
    """Points around the optimum, nearer from one to the next, on either side of it."""
    way = []
    for step in range(count):
        parameters = optimum + 0.1 * (-0.8) ** step * (1 + RNG.random(optimum.shape))
        way.append((parameters, *problem.evaluate(parameters)))
    return way


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_bound_is_below_the_optimum_and_closer(fit_intercept: bool) -> None:
    X, y = RNG.normal(size=(80, 6)), RNG.integers(0, 3, 80)
    rows = ArrayRows(X, y, None, TargetEncoding(3, 0.0, None, True))
    problem = CrossEntropyObjective(rows, SoftmaxLoss(), 3, C=1.0, fit_intercept=fit_intercept)
    model = SoftmaxRegression(C=1.0, fit_intercept=fit_intercept, tol=1e-12).fit(X, y)
    optimum = problem.from_model(model.coef_, model.intercept_)
    least, _ = problem.evaluate(optimum)
    problem.preconditioner(optimum)  # which takes the curvature by the intercepts
    bundle = Bundle(problem)
    closer = 0
    for parameters, value, gradient in points_on_the_way(problem, optimum, 20):
        gap = bundle.gap(parameters, value, gradient)
        alone = problem.gap(parameters, value, gradient)
        assert value - least <= gap * (1 + 1e-9) + 1e-12
        assert gap <= alone * (1 + 1e-9) + 1e-12
        closer += gap < 0.9 * alone
    assert closer > 5
