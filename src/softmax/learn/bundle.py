"""A bound from several points: how far, at most, the best of a convex function is below.

The tangent planes of the loss at points on the way all lie below it, and so does every mean of
them. With weights c, which sum to one, of the planes L_j + <G_j, W - W_j> + <g_j, b - b_j>, the
least of their mean and the penalty l2 |W|^2 / 2 over all W is

    sum_j c_j (L_j - <G_j, W_j>) - |sum_j c_j G_j|^2 / (2 l2)

for an intercept b at which the g_j vanish. One point is the duality gap; of several, what turns
from step to step cancels. The intercepts are taken where they would be best for the newest point,
and what is left of the g_j there counts as in `intercept_gap`: to second order, as everything about
the intercepts.

References
----------
Lemaréchal (1975), "An extension of Davidon methods to non differentiable problems", for bundles.
Teo, Vishwanathan, Smola & Le (2010), "Bundle methods for regularized risk minimization".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softmax._kernels import kernels

if TYPE_CHECKING:
    from softmax.learn.objective import CrossEntropyObjective
    from softmax.learn.problem import Parameters

__all__ = ["Bundle", "best_mean"]

Float64 = NDArray[np.float64]

MOST, LEAST = 6, 3
MOST_BYTES = 48 << 20
MANY = 1 << 16  # parameters, from which on float32 keeps the planes
SINGLE_TOL = 1e-5  # relative gap that such planes can certify, and what they may be wrong by
SINGLE_ROUNDING = 1e-6


class Bundle:
    """Tangent planes of a loss at the last points, for a problem with a quadratic penalty."""

    def __init__(self, problem: CrossEntropyObjective) -> None:
        self.problem = problem
        n_classes, size = problem.n_classes, problem.n_classes * problem.n_features
        single, most = size > MANY, planes_that_fit(size)
        self._rounding = SINGLE_ROUNDING if single else 0.0
        self._slopes = np.empty((most, size), np.float32 if single else np.float64)
        self._heights = np.empty(most)  # of the planes above 0
        self._pulls = np.zeros((most, n_classes))  # of the intercepts
        self._products = np.zeros((most, most))
        self._count = 0

    @staticmethod
    def serves(size: int, tol: float) -> bool:
        """Say whether enough planes of so many numbers have room, and are exact enough."""
        return planes_that_fit(size) >= LEAST and (size <= MANY or tol >= SINGLE_TOL)

    def gap(self, parameters: Parameters, objective: float, gradient: Parameters) -> float:
        """Keep the plane at a point, and return how far the objective there is above the bound.

        `objective` and `gradient` are those of loss and penalty.
        """
        l2 = self.problem.penalty.l2
        most = len(self._slopes)
        place = self._count % most
        self._count += 1
        n = min(self._count, most)
        own = self._slopes[place]
        squares, product = kernels.loss_gradient(parameters, gradient, l2, own)
        height = objective + 0.5 * l2 * squares - product
        products = self._slopes[:n] @ own
        self._products[place, :n] = self._products[:n, place] = products
        matrix = self._products[:n, :n] / l2
        if self.problem.fit_intercept:
            intercepts, pull = parameters[:, -1], gradient[:, -1]
            self._pulls[place] = pull
            height -= float(intercepts @ pull)
            pulls = self._pulls[:n]
            matrix += 2 * (pulls / self.problem.intercept_curvature) @ pulls.T
        self._heights[place] = height
        heights = self._heights[:n].copy()
        if self.problem.fit_intercept:
            # At the best intercepts, as near as they are known: there the pulls are to vanish.
            heights += pulls @ (intercepts - pull / self.problem.intercept_curvature)
        gap = objective - best_mean(heights, matrix)
        return max(gap, 0.0) + self._rounding * abs(objective)


def planes_that_fit(size: int) -> int:
    """Return how many planes of so many numbers are kept."""
    return min(MOST, MOST_BYTES // max(1, size * (4 if size > MANY else 8)))


def best_mean(heights: Float64, matrix: Float64) -> float:
    """Return nearly the largest <heights, c> - <c, matrix c> / 2 over weights c.

    Whatever stands in the way of the best weights, the value is that of some.
    """
    best = float(np.max(heights - 0.5 * matrix.diagonal()))
    kept = np.arange(len(heights))
    while len(kept) > 1:
        n = len(kept)
        system = np.ones((n + 1, n + 1))
        system[:n, :n] = matrix[np.ix_(kept, kept)]
        system[n, n] = 0
        weights = np.linalg.lstsq(system, np.append(heights[kept], 1.0), rcond=None)[0][:n]
        lowest = int(np.argmin(weights))
        if weights[lowest] >= 0:
            weights /= weights.sum()
            value = weights @ heights[kept] - 0.5 * weights @ matrix[np.ix_(kept, kept)] @ weights
            return max(best, float(value))
        kept = np.delete(kept, lowest)
    return best
