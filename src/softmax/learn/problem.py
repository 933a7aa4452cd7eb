"""What a solver asks of a problem, what it tells on the way, and what it brings back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from softmax.learn.preconditioner import Preconditioner

__all__ = ["Bound", "Iteration", "Parameters", "Problem", "Report", "Solution"]

Parameters = NDArray[Any]
"""Of float64, or where it serves of float32; gradients and directions likewise."""


class Bound(Protocol):
    """Remembers points."""

    def gap(self, parameters: Parameters, objective: float, gradient: Parameters) -> float:
        """Return how far this point, the newest of several, can be above the optimum."""


class Problem(Protocol):
    """A convex function of one array, whose gradients have its dtype."""

    dtype: np.dtype[Any]

    def evaluate(self, parameters: Parameters) -> tuple[float, Parameters]:
        """Return the value and the gradient."""

    def hessian_product(self, parameters: Parameters, direction: Parameters) -> Parameters:
        """Return the second derivative at `parameters` applied to `direction`."""

    def preconditioner(self, parameters: Parameters) -> Preconditioner:
        """Return an approximate inverse of the second derivative at `parameters`."""

    def gap(self, parameters: Parameters, objective: float, gradient: Parameters) -> float:
        """Return how far the point can be above the optimum."""

    def rounded(self, tol: float) -> Problem:
        """Return this problem in less precision, where steps cost less there, or itself."""

    def unrounded(self) -> Problem:
        """Return it in the precision that the tolerance asks for."""

    def bundle(self, tol: float) -> Bound | None:
        """Return what bounds the distance closer by several points, where that serves `tol`."""

    def certificate(
        self, parameters: Parameters, objective: float, gradient: Parameters
    ) -> tuple[float, float]:
        """Return objective and gap to report: those of the last problem of the path."""

    def path(self) -> Sequence[Problem]:
        """Return problems from an easy one to this one, which is the last."""

    def sample(self) -> Problem | None:
        """Return a cheaper problem of the same shape with a near optimum, if that would pay."""

    def guess(self) -> Parameters | None:
        """Return a point to begin at where nothing is known, if a cheap one beats zero."""

    def best_length(self, parameters: Parameters, direction: Parameters) -> float:
        """Return how far to go along a direction of which no scale is known."""

    def steered(
        self, direction: Parameters, parameters: Parameters, gradient: Parameters
    ) -> Parameters:
        """Return the direction with what can be solved for itself going to its best, in place."""

    def settled(
        self, parameters: Parameters, gradient: Parameters, allowed: float
    ) -> Parameters | None:
        """Return a better point where the gap of this one leaves out more than is allowed."""

    def unbounded(self) -> bool:
        """Say whether the last evaluation proved that there is no optimum."""


@dataclass(frozen=True)
class Iteration:
    """What is known after one step; `gap` bounds objective minus optimum, `seconds` from start."""

    iteration: int
    objective: float
    gap: float
    seconds: float


Report = Callable[[Iteration, Parameters], bool]


@dataclass
class Solution:
    """Where the solver stopped, how it came there, and whether it reached the tolerance."""

    parameters: Parameters
    converged: bool = False
    interrupted: bool = False
    unbounded: bool = False
    history: list[Iteration] = field(default_factory=list)
    n_evaluations: int = 0
    n_hessian_products: int = 0
    n_preconditioners: int = 0
