"""Inverses of approximate second derivatives, ready to be applied to gradients.

The whole matrix, one block for each class, one block that all classes share, one number
for each column, or the diagonal.
`curvature` builds the matrices from data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

__all__ = ["Blocks", "Columns", "Diagonal", "Exact", "Preconditioner", "SharedBlock"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]


SINGLE, DOUBLE = np.finfo(np.float32), np.finfo(np.float64)


class Preconditioner(Protocol):
    """An approximate inverse of the second derivative at one point."""

    exact: bool
    rough: bool  # its scale is that of an upper bound at best, its directions few

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""


def without_common_shift(step: NDArray[Any]) -> NDArray[Any]:
    """Take out, in place, what all classes share: it changes no probability."""
    step -= step.mean(0)
    return step


class _Factor:
    """Cholesky factor of a matrix scaled to unit diagonal: the units of columns do not matter."""

    def __init__(self, matrix: Array) -> None:
        single = matrix.dtype == np.float32
        limits = SINGLE if single else DOUBLE
        self.potrs = lapack.spotrs if single else lapack.dpotrs
        potrf = lapack.spotrf if single else lapack.dpotrf
        diagonal = matrix.diagonal()
        known = diagonal > limits.tiny  # else no step: a column that never varies
        self.scale = known / np.sqrt(np.maximum(diagonal, limits.tiny))
        matrix = matrix * self.scale * self.scale[:, None]
        # Rounding can leave a matrix of correlated columns slightly indefinite.
        ridge = 10 * float(limits.eps)
        failed = 1
        while failed:
            matrix.ravel()[:: len(matrix) + 1] = 1 + ridge
            self.factor, failed = potrf(matrix.T, lower=False, clean=False)
            ridge *= 10

    def solve(self, right: Float64) -> Float64:
        """Solve for a vector or for columns of a matrix."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        solution, _ = self.potrs(self.factor, right * scale, lower=False)
        return np.asarray(solution * scale, np.float64)


class Exact:
    """The whole second derivative, inverted."""

    exact = True
    rough = False

    def __init__(self, matrix: Float64) -> None:
        self._factor = _Factor(matrix)

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        return self._factor.solve(gradient.ravel()).reshape(gradient.shape)


class Blocks:
    """One block for each class."""

    exact = False
    rough = False

    def __init__(self, blocks: Iterable[Array], coupled: bool) -> None:
        self._factors = [_Factor(block) for block in blocks]
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        result = np.empty_like(gradient)
        for row, factor, part in zip(result, self._factors, gradient, strict=True):
            row[...] = factor.solve(part)
        return without_common_shift(result) if self._coupled else result


class SharedBlock:
    """One block, scaled for each class by the mean of p (1 - p)."""

    exact = False
    rough = False

    def __init__(self, block: Array, class_scale: Float64, coupled: bool) -> None:
        self._factor = _Factor(block)
        self._scale = class_scale[:, None]
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        result = self._factor.solve(gradient.T).T / self._scale
        return without_common_shift(result) if self._coupled else result


class Columns:
    """One number for each column, the same for all classes, and the matrix of their intercepts."""

    exact = False
    rough = True

    def __init__(self, curvature: Float64, intercepts: Float64 | None, coupled: bool) -> None:
        self._inverse = 1 / curvature
        self._intercepts = None if intercepts is None else _Factor(intercepts)
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient, in its dtype."""
        result = gradient * self._inverse.astype(gradient.dtype)
        if self._intercepts is not None:
            result[:, -1] = self._intercepts.solve(gradient[:, -1])
        return without_common_shift(result) if self._coupled else result


class Diagonal:
    """The diagonal alone."""

    exact = False
    rough = True

    def __init__(self, diagonal: Float64, coupled: bool) -> None:
        self.diagonal = diagonal
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        result = gradient / self.diagonal
        return without_common_shift(result) if self._coupled else result
