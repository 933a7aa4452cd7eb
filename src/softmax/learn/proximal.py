"""Minimise a smooth convex function plus a weighted sum of |parameters|; knows nothing of data.

On the orthant where the signs of the parameters say which way each may move, the function is
smooth. A step is a truncated Newton step in the parameters that are not held at zero, found by
conjugate gradients with the diagonal as preconditioner, cut off where it would leave the orthant.

References
----------
Andrew & Gao (2007), "Scalable training of L1-regularized log-linear models", for the orthants.
Byrd, Chin, Nocedal & Wu (2012), "A family of second-order methods for convex l1-regularized
optimization", for Newton steps on the free parameters.
"""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softmax.learn.problem import Iteration, Problem, Report, Solution
from softmax.learn.solver import DECREMENT_SAFETY, LOOSE, ROUNDING

__all__ = ["CorneredProblem", "minimise_with_corners"]

Float64 = NDArray[np.float64]

CG_STEPS = 50
FLAT = 1e-7  # a curvature below this share of the diagonal's is none
CG_RESIDUAL = 0.1  # of the first, in the preconditioner's norm
BACKTRACKS = 30
LEAST_SHARE = 1e-4  # of the fall that the slope promises
IDLE_STEPS = 5


class CorneredProblem(Problem, Protocol):
    """A smooth problem whose whole objective adds sum(corners * |parameters|)."""

    @property
    def corners(self) -> Float64:
        """Return a weight for each parameter, 0 for those without a corner."""

    def diagonal(self, parameters: Float64) -> Float64:
        """Return the diagonal of the second derivative of the smooth part."""


def minimise_with_corners(
    problem: CorneredProblem, start: Float64, *, tol: float, max_iter: int, report: Report
) -> Solution:
    """Minimise from `start` until gap <= tol * objective; arguments are those of `minimise`.

    Where the gap is loose, the fall that the Newton step promises decides, with a margin.
    """
    began = time.perf_counter()
    corners = problem.corners
    solution = Solution(start.copy())
    point = solution.parameters
    smooth, gradient = problem.evaluate(point)
    promised = gain = np.inf
    idle = 0
    for iteration in range(max_iter + 1):
        objective = smooth + float((corners * np.abs(point)).sum())
        gap = problem.gap(point, smooth, gradient)
        news = Iteration(iteration, objective, gap, time.perf_counter() - began)
        solution.history.append(news)
        solution.interrupted = report(news, point)
        allowed = tol * abs(objective)
        slope = steepest(point, gradient, corners)
        if gap <= allowed and problem.settled(point, gradient, allowed) is None:
            solution.converged = True
        if solution.interrupted or solution.converged or iteration == max_iter:
            break
        diagonal = problem.diagonal(point)
        direction = newton_direction(problem, point, slope, corners, diagonal)
        promised = -0.5 * float(np.vdot(direction, slope))
        loose = gap > LOOSE * promised and gain <= DECREMENT_SAFETY * allowed
        if loose and DECREMENT_SAFETY * promised <= allowed:
            solution.converged = True
            break
        for downhill in (direction, -slope / diagonal):
            moved = search_orthant(problem, point, objective, slope, downhill, corners)
            if moved is not None:
                break
        if moved is None:  # rounding hides any descent
            small = DECREMENT_SAFETY * promised <= allowed
            solution.converged = gap <= allowed or (small and allowed < gap / LOOSE)
            break
        point, smooth, gradient = moved
        solution.parameters = point
        gain = objective - smooth - float((corners * np.abs(point)).sum())
        idle = idle + 1 if gain <= ROUNDING * abs(objective) else 0
        if idle == IDLE_STEPS:
            break
    return solution


def steepest(point: Float64, gradient: Float64, corners: Float64) -> Float64:
    """Return the subgradient of least size; 0 where a parameter is held at its corner."""
    at_corner = np.sign(gradient) * np.maximum(np.abs(gradient) - corners, 0)
    return np.where(point == 0, at_corner, gradient + corners * np.sign(point))


def newton_direction(
    problem: CorneredProblem,
    point: Float64,
    slope: Float64,
    corners: Float64,
    diagonal: Float64,
) -> Float64:
    """Solve the Newton equations of the free parameters roughly by conjugate gradients."""
    free = (point != 0) | (slope != 0) | (corners == 0)
    scale = np.where(free, 1 / diagonal, 0)
    residual = np.where(free, -slope, 0)
    step = scale * residual
    size = first = float(np.vdot(residual, step))
    direction = np.zeros_like(step)
    for _ in range(CG_STEPS):
        curved = np.where(free, problem.hessian_product(point, step), 0)
        curvature = float(np.vdot(step, curved))
        if curvature <= FLAT * float(np.vdot(step, diagonal * step)):
            direction = direction if direction.any() else step
            break
        length = size / curvature
        direction += length * step
        residual -= length * curved
        preconditioned = scale * residual
        last, size = size, float(np.vdot(residual, preconditioned))
        if size <= CG_RESIDUAL**2 * first:
            break
        step = preconditioned + (size / last) * step
    # Nothing else leaves a corner but downhill.
    return np.where((point == 0) & (corners > 0) & (direction * slope > 0), 0, direction)


def search_orthant(
    problem: CorneredProblem,
    point: Float64,
    objective: float,
    slope: Float64,
    direction: Float64,
    corners: Float64,
) -> tuple[Float64, float, Float64] | None:
    """Return the first point lower than this one, with its smooth objective and gradient."""
    orthant = np.where(point == 0, -np.sign(slope), np.sign(point))
    length = 1.0
    for _ in range(BACKTRACKS):
        trial = point + length * direction
        trial[(corners > 0) & (trial * orthant < 0)] = 0
        smooth, gradient = problem.evaluate(trial)
        value = smooth + float((corners * np.abs(trial)).sum())
        fall = float(np.vdot(slope, trial - point))
        if np.isfinite(value) and value <= objective + LEAST_SHARE * fall and fall < 0:
            return trial, smooth, gradient
        length *= 0.5
    return None
