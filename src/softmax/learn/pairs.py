"""Limited-memory quasi-Newton: the last steps correct an approximate inverse second derivative.

The corrections are applied all at once: where the two loops of L-BFGS go through the pairs one by
one, both unknowns solve a triangular system of the products of steps and changes, and what is left
are four products of a matrix with a vector. NumPy's alone: SciPy's BLAS has threads of its own, and
the waiting threads of each would keep the other's from the processors.

Where the inverse is rough, the last pair sets its scale. With many parameters the pairs are
float32: they say where to go, not where the optimum is.

References
----------
Nocedal & Wright, "Numerical Optimization", 2nd ed., algorithm 7.4 (two-loop recursion). Byrd,
Nocedal & Schnabel (1994), "Representations of quasi-Newton matrices and their use in limited memory
methods".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from softmax.learn.preconditioner import Preconditioner
from softmax.learn.problem import Parameters

__all__ = ["Pairs"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]
_State = tuple[Parameters, Parameters]

MOST = 20
MOST_BYTES = 48 << 20
MANY = 1 << 16  # parameters
LEAST_CURVATURE = 1e-30  # of a pair that float32 can divide by


class Pairs:
    """Limited-memory BFGS pairs over a preconditioner."""

    def __init__(self, size: int) -> None:
        dtype = np.dtype(np.float32 if size > MANY else np.float64)
        most = max(3, min(MOST, MOST_BYTES // max(2 * dtype.itemsize * size, 1)))
        self._steps = np.empty((most, size), dtype)
        self._changes = np.empty((most, size), dtype)  # of the gradient
        self._products = np.zeros((most, most))  # of each step with each change that is not older
        self._order: list[int] = []  # rows of the pairs, the oldest first

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._order)

    def clear(self) -> None:
        """Forget all."""
        self._order.clear()

    def add(self, left: _State, arrived: _State) -> None:
        """Keep a step, from parameters and gradient to others; the oldest pair may go."""
        full = len(self) == len(self._steps)
        row = self._order.pop(0) if full else len(self)
        step, change = self._steps[row], self._changes[row]
        for room, new, old in zip((step, change), arrived, left, strict=True):
            np.subtract(new, old, out=room.reshape(new.shape), casting="same_kind")
        if float(np.dot(step, change)) <= LEAST_CURVATURE:
            if full:  # the pair that stood there is gone, and the others have a gap
                self.clear()
            return
        self._order.append(row)
        self._products[: len(self), row] = self._steps[: len(self)] @ change

    def apply(self, gradient: Parameters, preconditioner: Preconditioner) -> Parameters:
        """Return the approximate inverse applied to a gradient."""

        def inverse(vector: Array) -> Array:
            return self._flat(preconditioner(vector.reshape(gradient.shape)))

        vector = self._flat(gradient)
        if not self._order:
            return inverse(vector).reshape(gradient.shape).astype(gradient.dtype, copy=False)
        steps, changes = self._steps[: len(self)], self._changes[: len(self)]
        curvature = self._products.diagonal()[: len(self)]
        places = self._places()
        upper = self._products[places][:, places]
        shares = self._solve(upper, steps @ vector)
        vector = inverse(vector - self._flat(shares) @ changes)
        if preconditioner.rough:
            last = self._order[-1]
            vector *= curvature[last] / float(np.dot(changes[last], inverse(changes[last])))
        rest = self._solve(upper, curvature * shares - changes @ vector, transposed=True)
        vector += self._flat(rest) @ steps
        return vector.reshape(gradient.shape).astype(gradient.dtype, copy=False)

    def _flat(self, array: Array) -> Array:
        return array.astype(self._steps.dtype, copy=False).ravel()

    def _places(self) -> slice | list[int]:
        """Return the rows of the pairs in their order."""
        in_order = not self._order or self._order[0] == 0
        return slice(len(self)) if in_order else self._order

    def _solve(self, upper: Float64, right: Array, transposed: bool = False) -> Float64:
        """Solve the triangular system of the pairs in their order."""
        places = self._places()
        solution = np.empty(len(self))
        solution[places], _ = lapack.dtrtrs(upper, right[places], trans=transposed)
        return solution
