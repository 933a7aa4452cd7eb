"""Weighted sums of outer products of rows with themselves, and the second derivative of a loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def weighted_grams(x: Array, weights: Array, out: Array) -> None:
    """Add X' diag(w) X to each matrix of `out`, where w is a column of `weights`."""
    for matrix, column in zip(out, weights.T, strict=True):
        chosen = column != 0
        rows = x[chosen]
        matrix += rows.T @ (rows * column[chosen, None])


def softmax_curvature(x: Array, p: Array, weights: Array | None, scale: float, out: Array) -> None:
    """Add scale times the sum over the rows of weight (diag p - p p') (x) x x' to `out`."""
    n_classes, width = p.shape[1], x.shape[1]
    matrix = out.reshape(n_classes, width, n_classes, width)
    weighted = scale * (p if weights is None else p * weights[:, None])
    for k in range(n_classes):
        matrix[k, :, k] += x.T @ (x * weighted[:, k, None])
        for other in range(n_classes):
            matrix[k, :, other] -= x.T @ (x * (weighted[:, k] * p[:, other])[:, None])


def complete_curvature(matrix: Array, own: Array, l2: float, penalised: int) -> None:
    """Add the penalty, write the diagonal into `own`, and add curvature along a common shift."""
    n_classes, width = own.shape
    parts = matrix.reshape(n_classes, width, n_classes, width)
    diagonal = np.einsum("kjkj->kj", parts)
    diagonal[:, :penalised] += l2
    own[...] = diagonal
    np.einsum("kjlj->klj", parts)[...] += own.sum(0) / n_classes**2
