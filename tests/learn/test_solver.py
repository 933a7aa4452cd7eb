"""The solver on functions that have nothing to do with data."""

from __future__ import annotations

import numpy as np
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
