"""The solver on functions that have nothing to do with data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from softmax.learn.preconditioner import Preconditioner
from softmax.learn.problem import Iteration, Solution
from softmax.learn.solver import minimise

Float64 = NDArray[np.float64]


class Identity:
    exact = False
    rough = False

    def __call__(self, gradient: Float64) -> Float64:
        return gradient.copy()


class Quartic:
    """sum(a x^2 / 2 + x^4 / 4 - x) + 99: convex, with curvature that moves and a gap that holds."""

    dtype = np.dtype(np.float64)

    def __init__(self, curvatures: Float64, noise: float = 0.0) -> None:
        self.curvatures = curvatures
        self.noise = noise

    def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
        value = (self.curvatures * parameters**2 / 2 + parameters**4 / 4 - parameters).sum() + 99
        gradient = self.curvatures * parameters + parameters**3 - 1
        return float(value), gradient + self.noise

    def hessian_product(self, parameters: Float64, direction: Float64) -> Float64:
        return (self.curvatures + 3 * parameters**2) * direction

    def preconditioner(self, parameters: Float64) -> Preconditioner:
        return Identity()

    def gap(self, parameters: Float64, objective: float, gradient: Float64) -> float:
        return float(gradient @ gradient / (2 * self.curvatures.min()))

    def rounded(self, tol: float) -> Quartic:
        return self

    def unrounded(self) -> Quartic:
        return self

    def bundle(self, tol: float) -> None:
        return None

    def certificate(
        self, parameters: Float64, objective: float, gradient: Float64
    ) -> tuple[float, float]:
        return objective, self.gap(parameters, objective, gradient)

    def path(self) -> list[Quartic]:
        return [self]

    def sample(self) -> None:
        return None

    def guess(self) -> None:
        return None

    def best_length(self, parameters: Float64, direction: Float64) -> float:
        return 1.0

    def steered(self, direction: Float64, parameters: Float64, gradient: Float64) -> Float64:
        return direction

    def settled(self, parameters: Float64, gradient: Float64, allowed: float) -> None:
        return None

    def unbounded(self) -> bool:
        return False


def solve(problem: Quartic, tol: float = 1e-10, max_iter: int = 500) -> Solution:
    start = np.zeros_like(problem.curvatures)
    return minimise(problem, start, tol=tol, max_iter=max_iter, report=lambda *news: False)


def test_optimum_and_certificate() -> None:
    problem = Quartic(np.geomspace(0.1, 100, 30))
    optimum = [np.roots([1, 0, a, -1]) for a in problem.curvatures]
    exact = np.array([roots[np.abs(roots.imag) < 1e-9].real[0] for roots in optimum])
    best, _ = problem.evaluate(exact)
    solution = solve(problem)
    assert solution.converged
    np.testing.assert_allclose(solution.parameters, exact, atol=1e-4)
    for news in solution.history:
        assert news.objective - best <= news.gap + 1e-12
    objectives = [news.objective for news in solution.history]
    assert objectives == sorted(objectives, reverse=True)


def test_history_counts_from_zero_and_reports_each_step() -> None:
    told: list[Iteration] = []
    problem = Quartic(np.geomspace(0.1, 100, 30))

    def report(news: Iteration, parameters: Float64) -> bool:
        told.append(news)
        return news.iteration == 3

    start = np.zeros(30)
    solution = minimise(problem, start, tol=1e-12, max_iter=50, report=report)
    assert solution.interrupted
    assert not solution.converged
    assert [news.iteration for news in told] == [0, 1, 2, 3]
    assert told == solution.history
    assert not start.any()


def test_last_iteration_is_kept() -> None:
    solution = solve(Quartic(np.geomspace(1e-3, 1000, 30)), max_iter=2)
    assert not solution.converged
    assert len(solution.history) == 3


def test_a_gradient_that_cannot_be_resolved_ends_the_run() -> None:
    solution = solve(Quartic(np.geomspace(0.1, 100, 30), noise=1e-3), tol=0.0)
    assert not solution.converged
    assert len(solution.history) < 200


def test_a_path_is_followed_to_its_end() -> None:
    class Led(Quartic):
        def path(self) -> list[Quartic]:
            return [Quartic(self.curvatures + 5), Quartic(self.curvatures + 1), self]

    solution = solve(Led(np.geomspace(0.1, 100, 30)))
    straight = solve(Quartic(np.geomspace(0.1, 100, 30)))
    assert solution.converged
    np.testing.assert_allclose(solution.parameters, straight.parameters, atol=2e-4)
    counted = [news.iteration for news in solution.history]
    assert counted == list(range(len(counted)))


class Rounded(Quartic):
    """The function with an error, and without on request."""

    def __init__(self, whole: Quartic, error: float = 1e-7) -> None:
        super().__init__(whole.curvatures)
        self.whole, self.error, self.n_evaluations = whole, error, 0

    def rounded(self, tol: float) -> Quartic:
        return self

    def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
        self.n_evaluations += 1
        value, gradient = super().evaluate(parameters)
        return value * (1 + self.error), gradient + self.error

    def unrounded(self) -> Quartic:
        return self.whole


def minimise_over_rounded(tol: float, max_iter: int = 500, error: float = 1e-7) -> Any:
    whole = Quartic(np.geomspace(0.1, 100, 30))
    rounded = Rounded(whole, error)
    solution = solve(rounded, tol, max_iter)
    return whole, rounded, solution


@pytest.mark.parametrize("tol", [1e-2, 1e-5, 1e-10])
def test_less_precision_first_and_the_whole_at_the_end(tol: float) -> None:
    whole, rounded, solution = minimise_over_rounded(tol)
    assert solution.converged
    assert 1 < rounded.n_evaluations < solution.n_evaluations
    last = solution.history[-1]
    value, gradient = whole.evaluate(solution.parameters)
    assert (last.objective, last.gap) == (value, whole.gap(solution.parameters, value, gradient))
    assert last.gap <= tol * value


def test_what_is_told_last_is_of_the_whole() -> None:
    whole, _, solution = minimise_over_rounded(1e-10, max_iter=1)
    last = solution.history[-1]
    assert len(solution.history) == 2
    assert last.objective == whole.evaluate(solution.parameters)[0]


def test_rounding_that_hides_the_descent_does_not_end_the_run() -> None:
    class Rising(Rounded):
        def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
            value, gradient = super().evaluate(parameters)
            return value + self.n_evaluations, gradient

    solution = solve(Rising(Quartic(np.geomspace(0.1, 100, 30))))
    assert solution.converged
    assert solve(Rounded(Quartic(np.geomspace(0.1, 100, 30)), error=0.5)).converged


def test_a_steered_direction_is_taken_where_it_promises_as_much() -> None:
    class Rough(Identity):
        rough = True

    class Steered(Quartic):
        taken = 0.0

        def preconditioner(self, parameters: Float64) -> Preconditioner:
            return Rough()

        def steered(self, direction: Float64, parameters: Float64, gradient: Float64) -> Float64:
            return self.taken * direction

    curvatures = np.geomspace(1, 2, 5)
    straight, against, longer = (Steered(curvatures) for _ in range(3))
    straight.taken, against.taken, longer.taken = 1.0, -1.0, 1.05
    runs = [solve(problem, tol=1e-6) for problem in (straight, against, longer)]
    assert all(run.converged for run in runs)
    np.testing.assert_array_equal(runs[0].parameters, runs[1].parameters)
    assert (runs[0].parameters != runs[2].parameters).any()
