"""Inverses of approximate second derivatives, ready to be applied to gradients.

The whole matrix, one block for each class, one block that all classes share, one number
for each column, or the diagonal.
`curvature` builds the matrices from data.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import softmax._reference
from softmax._kernels import kernels
from softmax._products import scipy_function

__all__ = ["Blocks", "Columns", "Diagonal", "Exact", "Preconditioner", "SharedBlock"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]


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


@cache
def _triangular(chosen: Any, prefix: str) -> tuple[Any, Any, Any]:
    """Return the kernels that factor and solve, and what SciPy gives them for that."""
    potrf = scipy_function("cython_lapack", prefix + "potrf")
    trsv = scipy_function("cython_blas", prefix + "trsv")
    compiled = potrf is not None and trsv is not None
    return chosen if compiled else softmax._reference, potrf, trsv


class _Factors:
    """Cholesky factors of matrices (m, s, s), which they take the place of.

    Each is scaled to unit diagonal: the units of columns do not matter.
    """

    def __init__(self, matrices: Array) -> None:
        self._matrices = matrices
        self._scales = np.empty(matrices.shape[:2], matrices.dtype)
        prefix = "s" if matrices.dtype == np.float32 else "d"
        self._kernels, potrf, self._trsv = _triangular(kernels, prefix)
        self._kernels.factor_blocks(potrf, matrices, self._scales)

    def solve(self, right: NDArray[Any]) -> Float64:
        """Solve for rows: the same number of them for each matrix, one after the other."""
        right = np.ascontiguousarray(right, np.float64)
        solution = np.empty(right.shape)
        self._kernels.solve_blocks(self._trsv, self._matrices, self._scales, right, solution)
        return solution


class Exact:
    """The whole second derivative, inverted."""

    exact = True
    rough = False

    def __init__(self, matrix: Float64) -> None:
        self._factors = _Factors(matrix[None])

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        return self._factors.solve(gradient)


class Blocks:
    """One block for each class, (K, s, s)."""

    exact = False
    rough = False

    def __init__(self, blocks: Array, coupled: bool) -> None:
        self._factors = _Factors(blocks)
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        result = self._factors.solve(gradient)
        return without_common_shift(result) if self._coupled else result


class SharedBlock:
    """One block, scaled for each class by the mean of p (1 - p)."""

    exact = False
    rough = False

    def __init__(self, block: Array, class_scale: Float64, coupled: bool) -> None:
        self._factors = _Factors(block[None])
        self._scale = class_scale[:, None]
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient."""
        result = self._factors.solve(gradient) / self._scale
        return without_common_shift(result) if self._coupled else result


class Columns:
    """One number for each column, the same for all classes."""

    exact = False
    rough = True

    def __init__(self, curvature: Float64, coupled: bool) -> None:
        self._inverse = 1 / curvature
        self._coupled = coupled

    def __call__(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse applied to a gradient, in its dtype."""
        result = gradient * self._inverse.astype(gradient.dtype)
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
