"""Weighted sums of outer products of rows with themselves."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


def weighted_grams(x: Array, weights: Array, out: Array) -> None:
    """Add X' diag(w) X to each matrix of `out`, where w is a column of `weights`."""
    for matrix, column in zip(out, weights.T, strict=True):
        chosen = column != 0
        rows = x[chosen]
        matrix += rows.T @ (rows * column[chosen, None])
