"""The bound from several points: never above the optimum, closer than that of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from softmax.learn import SoftmaxRegression
from softmax.learn import bundle as bundle_room
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


def problem_and_optimum(fit_intercept: bool) -> tuple[CrossEntropyObjective, Any]:
    X, y = RNG.normal(size=(80, 6)), RNG.integers(0, 3, 80)
    rows = ArrayRows(X, y, None, TargetEncoding(3, 0.0, None, True))
    problem = CrossEntropyObjective(rows, SoftmaxLoss(), 3, C=1.0, fit_intercept=fit_intercept)
    model = SoftmaxRegression(C=1.0, fit_intercept=fit_intercept, tol=1e-12).fit(X, y)
    return problem, problem.from_model(model.coef_, model.intercept_)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_bound_is_below_the_optimum_and_closer(fit_intercept: bool) -> None:
    problem, optimum = problem_and_optimum(fit_intercept)
    least, _ = problem.evaluate(optimum)
    problem.preconditioner(optimum)  # which takes the curvature by the intercepts
    # With intercepts it is a bound to second order, and what W and b do together is left out.
    margin = 1.1 if fit_intercept else 1 + 1e-9
    closer = 0
    for _ in range(40):
        bundle = Bundle(problem)
        for size in RNG.choice([0.01, 0.03, 0.1, 0.2], 8):
            step = RNG.normal(size=optimum.shape)
            if fit_intercept:
                step[:, -1] *= 3  # in any order, and with intercepts that lag behind
            parameters = optimum + size * step
            value, gradient = problem.evaluate(parameters)
            gap = bundle.gap(parameters, value, gradient)
            assert value - least <= gap * margin + 1e-12
            closer += gap < 0.9 * problem.gap(parameters, value, gradient)
    assert closer > 20


def test_no_bundle_where_there_is_no_room_or_not_the_precision() -> None:
    assert Bundle.serves(1000, 1e-12)
    assert Bundle.serves(1 << 20, 1e-4)
    assert not Bundle.serves(1 << 20, 1e-6)
    assert not Bundle.serves(1 << 23, 1e-4)


def test_rounding_of_many_parameters_leaves_no_gap_below_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bundle_room, "MANY", 0)
    problem, optimum = problem_and_optimum(False)
    value, gradient = problem.evaluate(optimum)
    for _ in range(3):
        assert 0 < Bundle(problem).gap(optimum, value, gradient) < 1e-5 * value
