"""What a solver asks of a problem, what it tells on the way, and what it brings back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softmax.learn.preconditioner import Preconditioner

__all__ = ["Bound", "Iteration", "Problem", "Report", "Solution"]

Float64 = NDArray[np.float64]


class Bound(Protocol):
    """Remembers points."""

    def gap(self, parameters: Float64, objective: float, gradient: Float64) -> float:
        """Return how far this point, the newest of several, can be above the optimum."""


class Problem(Protocol):
    """A convex function of one float64 array."""

    def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
        """Return the value and the gradient."""

    def hessian_product(self, parameters: Float64, direction: Float64) -> Float64:
        """Return the second derivative at `parameters` applied to `direction`."""

    def preconditioner(self, parameters: Float64) -> Preconditioner:
        """Return an approximate inverse of the second derivative at `parameters`."""

    def gap(self, parameters: Float64, objective: float, gradient: Float64) -> float:
        """Return how far the point can be above the optimum."""

    def bundle(self, tol: float) -> Bound | None:
        """Return what bounds the distance closer by several points, where that serves `tol`."""

    def certificate(
        self, parameters: Float64, objective: float, gradient: Float64
    ) -> tuple[float, float]:
        """Return objective and gap to report: those of the last problem of the path."""

    def path(self) -> Sequence[Problem]:
        """Return problems from an easy one to this one, which is the last."""

    def sample(self) -> Problem | None:
        """Return a cheaper problem of the same shape with a near optimum, if that would pay."""

    def guess(self) -> Float64 | None:
        """Return a point to begin at where nothing is known, if a cheap one beats zero."""

    def best_length(self, parameters: Float64, direction: Float64) -> float:
        """Return how far to go along a direction of which no scale is known."""

    def settled(self, parameters: Float64, gradient: Float64, allowed: float) -> Float64 | None:
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


Report = Callable[[Iteration, Float64], bool]


@dataclass
class Solution:
    """Where the solver stopped, how it came there, and whether it reached the tolerance."""

    parameters: Float64
    converged: bool = False
    interrupted: bool = False
    unbounded: bool = False
    history: list[Iteration] = field(default_factory=list)
    n_evaluations: int = 0
    n_hessian_products: int = 0
    n_preconditioners: int = 0
