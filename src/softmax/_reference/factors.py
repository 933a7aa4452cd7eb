"""Cholesky factors of several matrices, by SciPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def factor_blocks(potrf: object, matrices: Array, scales: Array) -> None:
    """Put the factor of each matrix, scaled to unit diagonal, in its place."""
    from scipy.linalg import lapack

    factor = lapack.spotrf if matrices.dtype == np.float32 else lapack.dpotrf
    limits = np.finfo(matrices.dtype)
    for matrix, scale in zip(matrices, scales, strict=True):
        diagonal = matrix.diagonal()
        known = diagonal > limits.tiny  # else no step: a column that never varies
        scale[:] = known / np.sqrt(np.maximum(diagonal, limits.tiny))
        scaled = matrix * scale * scale[:, None]
        # Rounding can leave a matrix of correlated columns slightly indefinite.
        ridge, failed = 10 * float(limits.eps), 1
        while failed and ridge < 1e6:
            np.fill_diagonal(scaled, 1 + ridge)
            found, failed = factor(scaled.T, lower=False, clean=False)
            ridge *= 10
        matrix[...] = found.T


def solve_blocks(trsv: object, matrices: Array, scales: Array, right: Array, out: Array) -> None:
    """Solve for rows of `right`, as many for each matrix as there are."""
    from scipy.linalg import lapack

    solve = lapack.spotrs if matrices.dtype == np.float32 else lapack.dpotrs
    parts = (array.reshape(len(matrices), -1, matrices.shape[1]) for array in (right, out))
    for matrix, scale, rows, result in zip(matrices, scales, *parts, strict=True):
        solution, _ = solve(matrix.T, (rows * scale).T, lower=False)
        result[...] = solution.T * scale
