"""Approximate inverses of the second derivative of softmax regression.

The second derivative is sum_i w_i (diag p_i - p_i p_i') (x) x_i x_i' + lambda. Its blocks on the
diagonal, one for each class k with weights p_ik (1 - p_ik), tell nearly all that matters: on MNIST
they save nine evaluations of ten against the usual bound (1/2) X'X. A class confuses few rows, so
some hundred of them, chosen in proportion to that weight, are enough for its block.

Which structure serves depends on the size alone: the whole matrix for small problems, the class
blocks, one block that all classes share, or the diagonal where a block would not fit.

References
----------
Böhning (1992), "Multinomial logistic regression algorithm", for the bound. Yang et al. (2016),
"Sub-sampled Newton methods with non-uniform sampling", for the choice of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

__all__ = ["Blocks", "Diagonal", "Exact", "SharedBlock", "Structure", "choose_structure"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Structure = Literal["exact", "blocks", "shared", "diagonal"]

EXACT_WORK = 5e7  # multiply-adds to build the whole matrix: a few milliseconds
EXACT_SIZE = 48  # below this size it is cheap for any number of rows
MOST_BYTES = 64 << 20


def choose_structure(n_rows: int, n_classes: int, n_columns: int, itemsize: int) -> Structure:
    """Choose by size; `n_columns` counts the intercept."""
    size = n_classes * n_columns
    if size <= EXACT_SIZE or n_rows * size**2 <= EXACT_WORK:
        return "exact"
    block = itemsize * n_columns**2
    if n_classes * block <= MOST_BYTES:
        return "blocks"
    return "shared" if block <= MOST_BYTES else "diagonal"


def without_common_shift(step: Float64) -> Float64:
    """Take out, in place, what all classes share: it changes no probability."""
    step -= step.mean(0)
    return step


class _Factor:
    """Cholesky factor of a matrix scaled to unit diagonal: the units of columns do not matter."""

    def __init__(self, matrix: Array) -> None:
        diagonal = np.maximum(matrix.diagonal(), np.finfo(matrix.dtype).tiny)
        self.scale = (1 / np.sqrt(diagonal)).astype(matrix.dtype)
        matrix = matrix * self.scale * self.scale[:, None]
        potrf, self.potrs = lapack.get_lapack_funcs(("potrf", "potrs"), (matrix,))
        # Rounding can leave a matrix of correlated columns slightly indefinite.
        ridge = 10 * float(np.finfo(matrix.dtype).eps)
        failed = 1
        while failed:
            np.fill_diagonal(matrix, 1 + ridge)
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

    def __init__(self, matrix: Float64) -> None:
        self._factor = _Factor(matrix)

    def __call__(self, gradient: Float64) -> Float64:
        """Return the inverse applied to a gradient."""
        return self._factor.solve(gradient.ravel()).reshape(gradient.shape)


class Blocks:
    """One block for each class."""

    exact = False

    def __init__(self, blocks: Sequence[Array]) -> None:
        self._factors = [_Factor(block) for block in blocks]

    def __call__(self, gradient: Float64) -> Float64:
        """Return the inverse applied to a gradient."""
        result = np.empty_like(gradient)
        for row, factor, part in zip(result, self._factors, gradient, strict=True):
            row[...] = factor.solve(part)
        return without_common_shift(result)


class SharedBlock:
    """One block, scaled for each class by the mean of p (1 - p)."""

    exact = False

    def __init__(self, block: Array, class_scale: Float64) -> None:
        self._factor = _Factor(block)
        self._scale = class_scale[:, None]

    def __call__(self, gradient: Float64) -> Float64:
        """Return the inverse applied to a gradient."""
        result = self._factor.solve(gradient.T).T / self._scale
        return without_common_shift(result)


class Diagonal:
    """The diagonal alone."""

    exact = False

    def __init__(self, diagonal: Float64) -> None:
        self._diagonal = diagonal

    def __call__(self, gradient: Float64) -> Float64:
        """Return the inverse applied to a gradient."""
        result = gradient / self._diagonal
        return without_common_shift(result)
