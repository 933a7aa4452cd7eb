"""Data as passes over chunks of rows: an array, a memory map, a CSR matrix, a factory of chunks.

Whoever trains asks for the chunks again and again, and never for the whole. Chunks are as long as
keeps their features in the cache and their logits few. Each holds encoded targets: positions of
classes, or rows of probabilities that sum to one, and the weights that go with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.learn.targets import TargetEncoding, one_hot

__all__ = [
    "ArrayRows",
    "Chunk",
    "ChunkedRows",
    "Rows",
    "backward",
    "bytes_of_a_row",
    "column_sums",
    "dense",
    "forward",
    "row_chunks",
    "summed",
]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Matrix = Any  # ndarray or scipy.sparse CSR matrix, float32 or float64

CHUNK_BYTES = 1 << 20  # of X: about a second-level cache
LOGITS_BYTES = 4 << 20
LEAST_ROWS = 128  # fewer make matrix products slow


def row_chunks(n_rows: int, row_bytes: int, logits_bytes: int, least: int = 1) -> Iterator[slice]:
    """Cut rows into slices whose features fit the cache; both sizes are those of one row."""
    step = min(CHUNK_BYTES // max(row_bytes, 1), LOGITS_BYTES // max(logits_bytes, 1))
    step = max(step, least, LEAST_ROWS)
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def bytes_of_a_row(x: Matrix) -> int:
    """Return the size of a row that the cache must hold.

    Products with a CSR matrix read the weights of its columns in any order, and so hold nothing of
    it; each chunk costs one more pass over them.
    """
    return 0 if sp.issparse(x) else int(x.dtype.itemsize * x.shape[1])


def dense(x: Matrix) -> Array:
    """Return a few rows as an array."""
    return np.asarray(x.toarray() if sp.issparse(x) else x)


def column_sums(x: Matrix, weights: Float64 | None) -> Float64:
    """Return the sums of the columns in float64, of weighted rows where there are weights."""
    if weights is None and x.dtype != np.float64 and not sp.issparse(x):
        return np.asarray(x.sum(0, dtype=np.float64))
    weights = np.ones(x.shape[0]) if weights is None else weights
    return np.asarray(x.T @ weights if sp.issparse(x) else weights @ x, np.float64)


def square_sums(x: Matrix, weights: Float64 | None) -> Float64:
    """Return the sums of the squared columns in float64, of weighted rows where there are."""
    if not sp.issparse(x):
        return column_sums(x * x, weights)
    squares = x.data.astype(np.float64) ** 2
    if weights is not None:
        squares *= np.repeat(weights, np.diff(x.indptr))
    return np.asarray(np.bincount(x.indices, squares, x.shape[1]), np.float64)


def target_sums(
    x: Matrix, target: NDArray[Any], weights: Float64 | None, n_outputs: int
) -> Float64:
    """Return sum of weight * target * row for each output."""
    if target.ndim == 1 and not sp.issparse(x):
        n_rows, n_features = x.shape
        one = np.ones(n_rows, x.dtype) if weights is None else weights.astype(x.dtype)
        member = sp.csr_matrix((one, target, np.arange(n_rows + 1)), (n_rows, n_outputs))
        sums = csr_product(member, x, np.empty((n_outputs, n_features), x.dtype), True)
        return sums.astype(np.float64)
    matrix = one_hot(target, n_outputs, x.dtype) if target.ndim == 1 else target
    if weights is not None:
        matrix = matrix * weights.astype(matrix.dtype)[:, None]
    return backward(x, matrix).astype(np.float64)


class Chunk(NamedTuple):
    """Rows with their targets; weights None is 1 each."""

    x: Matrix
    target: NDArray[Any]
    weights: Float64 | None


class Rows(Protocol):
    """What can be passed over."""

    dtype: np.dtype[Any]
    n_rows: int
    n_features: int
    sparse: bool

    def chunks(self) -> Iterator[Chunk]:
        """Return the rows in order."""

    def sample(self, size: int, seed: int) -> ArrayRows:
        """Return about so many rows, spread over all of them."""

    def work(self) -> float:
        """Return how many numbers a pass reads."""


class ArrayRows:
    """Rows of an array or a CSR matrix, which is never copied."""

    def __init__(
        self,
        x: Matrix,
        target: NDArray[Any],
        weights: Float64 | None,
        encoding: TargetEncoding,
    ) -> None:
        self.x, self.target, self.weights = x, target, weights
        self.encoding = encoding
        self.dtype, self.sparse = x.dtype, sp.issparse(x)
        self.n_rows, self.n_features = x.shape

    def chunks(self) -> Iterator[Chunk]:
        """Return the rows in order."""
        return cut(self.x, self.target, self.weights, self.encoding)

    def sample(self, size: int, seed: int) -> ArrayRows:
        """Return about so many rows, one at random from each of as many equal stretches."""
        if size >= self.n_rows:
            return self
        chosen = spread_indices(self.n_rows, size, seed)
        weights = None if self.weights is None else self.weights[chosen]
        return ArrayRows(self.x[chosen], self.target[chosen], weights, self.encoding)

    def work(self) -> float:
        """Return how many numbers a pass reads."""
        return float(self.x.nnz if sp.issparse(self.x) else self.x.size)


class ChunkedRows:
    """Rows that a factory makes anew for each pass: never more than one of its chunks is held.

    `passes` returns checked (X, target, weights); each later pass must bring what the first did.
    """

    def __init__(
        self,
        passes: Callable[[], Iterable[tuple[Matrix, NDArray[Any], Float64 | None]]],
        n_rows: int,
        n_features: int,
        dtype: np.dtype[Any],
        encoding: TargetEncoding,
        sparse: bool,
    ) -> None:
        self.passes = passes
        self.sparse = sparse
        self.n_rows, self.n_features, self.dtype = n_rows, n_features, dtype
        self.encoding = encoding

    def chunks(self) -> Iterator[Chunk]:
        """Return the rows in order."""
        for x, target, weights in self.passes():
            yield from cut(x, target, weights, self.encoding)

    def sample(self, size: int, seed: int) -> ArrayRows:
        """Return about so many rows, one at random from each of as many equal stretches."""
        chosen = spread_indices(self.n_rows, min(size, self.n_rows), seed)
        first = 0
        kept, targets, all_weights = [], [], []
        room = np.empty((0 if self.sparse else len(chosen), self.n_features), self.dtype)
        for x, target, weights in self.passes():
            begin, end = np.searchsorted(chosen, [first, first + x.shape[0]])
            here = chosen[begin:end] - first
            first += x.shape[0]
            if self.sparse:
                kept.append(x[here])
            else:
                room[begin:end] = x[here]
            targets.append(target[here])
            all_weights += [] if weights is None else [weights[here]]
        rows = sp.vstack(kept, format="csr") if self.sparse else room
        weights = np.concatenate(all_weights) if all_weights else None
        return ArrayRows(rows, np.concatenate(targets), weights, self.encoding)

    def work(self) -> float:
        """Return how many numbers a pass reads."""
        return float(self.n_rows * self.n_features)


def cut(
    x: Matrix, target: NDArray[Any], weights: Float64 | None, encoding: TargetEncoding
) -> Iterator[Chunk]:
    """Cut rows into chunks and encode their targets."""
    logits_bytes = x.dtype.itemsize * encoding.n_outputs
    # Each chunk's sums, a row for each output, are added up in float64: of twice as many rows.
    least = 2 * min(encoding.n_outputs, LOGITS_BYTES // logits_bytes)
    for part in row_chunks(x.shape[0], bytes_of_a_row(x), logits_bytes, least):
        own = None if weights is None else weights[part]
        rows = x if part.stop - part.start == x.shape[0] else x[part]
        yield Chunk(rows, *encoding(target[part], own, x.dtype))


def spread_indices(n_rows: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return one index from each of `size` equal stretches, so that no period is met in step."""
    offsets = np.random.RandomState(seed).uniform(size=size)
    return ((np.arange(size) + offsets) * (n_rows / size)).astype(np.int64)


def forward(x: Matrix, weight: Array) -> Array:
    """Return x weight', a row of logits for each row of x."""
    if not sp.issparse(x):
        return np.asarray(x @ weight.T)
    return csr_product(x, weight.T, np.empty((x.shape[0], len(weight)), x.dtype), False)


def backward(x: Matrix, slopes: Array) -> Array:
    """Return slopes' x, a row for each logit."""
    if not sp.issparse(x):
        return np.asarray(slopes.T @ x)
    columns = np.empty((x.shape[1], slopes.shape[1]), x.dtype)
    return csr_product(x, slopes, columns, True).T


def summed(total: Array | None, part: Array) -> Array:
    """Add the part of a chunk to those before, if there are any, in float64."""
    if total is None:
        return part
    total = total.astype(np.float64, copy=False)
    total += part
    return total


def csr_product(x: Matrix, other: Array, out: Array, transposed: bool) -> Array:
    """Put x other into `out`, or x' other, and return it."""
    starts = x.indptr.astype(x.indices.dtype, copy=False)
    other = np.ascontiguousarray(other, x.dtype)
    kernels.csr_product(starts, x.indices, x.data, other, out, transposed)
    return out
