"""Limited-memory quasi-Newton: the last steps correct an approximate inverse second derivative.

Where that inverse is rough, the last pair sets its scale. With many parameters the pairs are
float32: they say where to go, not where the optimum is.

Vectors are added by NumPy. SciPy's BLAS would need one pass less, but it has threads of its own,
and between products on NumPy's the waiting threads of each keep the other's from the processors.

References
----------
Nocedal & Wright, "Numerical Optimization", 2nd ed., algorithm 7.4 (two-loop recursion).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softmax.learn.preconditioner import Preconditioner

__all__ = ["Pairs"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]
_State = tuple[Float64, Float64]

MOST = 20
MOST_BYTES = 48 << 20
MANY = 1 << 16  # parameters
LEAST_CURVATURE = 1e-30  # of a pair that float32 can divide by


class Pairs:
    """Limited-memory BFGS pairs over a preconditioner."""

    def __init__(self, size: int) -> None:
        single = size > MANY
        self._dtype = np.dtype(np.float32 if single else np.float64)
        self._room = np.empty(size, self._dtype)
        most = max(3, min(MOST, MOST_BYTES // max(2 * self._dtype.itemsize * size, 1)))
        self._pairs: deque[tuple[Array, Array, float]] = deque(maxlen=most)

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._pairs)

    def clear(self) -> None:
        """Forget all."""
        self._pairs.clear()

    def add(self, left: _State, arrived: _State) -> None:
        """Keep a step, from parameters and gradient to others; the oldest pair may go."""
        step, change = (self._difference(new, old) for new, old in zip(arrived, left, strict=True))
        curvature = float(np.dot(step, change))
        if curvature > LEAST_CURVATURE:
            self._pairs.append((step, change, curvature))

    def _difference(self, new: Float64, old: Float64) -> Array:
        difference = np.empty(new.shape, self._dtype)
        return np.subtract(new, old, out=difference, casting="same_kind").ravel()

    def _flat(self, array: Array) -> Array:
        return array.astype(self._dtype, copy=False).ravel()

    def apply(self, gradient: Float64, preconditioner: Preconditioner) -> Float64:
        """Return the approximate inverse applied to a gradient."""
        vector = self._flat(gradient).copy()
        shares = []
        for step, change, curvature in reversed(self._pairs):
            share = float(np.dot(step, vector)) / curvature
            vector -= np.multiply(change, share, out=self._room)
            shares.append(share)
        vector = self._flat(preconditioner(vector.reshape(gradient.shape)))
        if preconditioner.rough and self._pairs:
            _, change, curvature = self._pairs[-1]
            scaled = preconditioner(change.reshape(gradient.shape))
            vector *= curvature / float(np.vdot(change, scaled))
        for (step, change, curvature), share in zip(self._pairs, reversed(shares), strict=True):
            share -= float(np.dot(change, vector)) / curvature
            vector += np.multiply(step, share, out=self._room)
        return np.asarray(vector.reshape(gradient.shape), np.float64)
