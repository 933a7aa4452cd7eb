"""Training data that a user's factory makes chunk by chunk, for what does not fit into memory.

A first pass learns the classes, the number of rows and their sum; every later pass must bring the
same, or it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from softmax.learn.inputs import check_rows, check_weights
from softmax.learn.rows import Matrix, dense
from softmax.learn.targets import class_counts, class_positions

__all__ = ["ChunkSource", "is_chunk_source"]

Float64 = NDArray[np.float64]
EncodedChunk = tuple[Matrix, NDArray[Any], Float64 | None]


def is_chunk_source(X: Any, y: Any) -> bool:
    """Tell a factory of chunks: something to call, or to iterate again, where no y is given."""
    if y is not None:
        return False
    return callable(X) or (
        isinstance(X, Iterable)
        and not isinstance(X, (str, bytes, dict))
        and not hasattr(X, "__array__")
        and not hasattr(X, "shape")
        and not hasattr(X, "columns")
        and _holds_tuples(X)
    )


def _holds_tuples(X: Any) -> bool:
    """Tell a sequence of (X, y) pairs from a table written as lists."""
    if not isinstance(X, (list, tuple)):
        return True
    return bool(X) and isinstance(X[0], tuple) and np.ndim(X[0][0]) == 2


class ChunkSource:
    """Checked chunks of one factory.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_`, and `feature_names_in_` where chunks have names.
    factory : callable or iterable
        Called, or iterated, for each pass; gives (X, y) or (X, y, sample_weight).
    check_targets : callable
        Returns checked targets of a chunk and what they stand for.
    """

    def __init__(
        self,
        estimator: Any,
        factory: Callable[[], Any] | Iterable[Any],
        check_targets: Callable[[Any, int], tuple[NDArray[Any], NDArray[Any]]],
    ) -> None:
        if isinstance(factory, Iterator):
            raise ValueError(
                "X is an iterator, which can be passed over once; a function that returns a new "
                "one for each pass, or an iterable such as a list, is expected"
            )
        self.estimator = estimator
        self.factory = factory
        self.check_targets = check_targets
        self.n_rows = 0
        self.total = 0.0
        self.weighted = False
        self._survey()

    def passes(self) -> Iterator[EncodedChunk]:
        """Give the chunks once more, and refuse them where they are not those of the first pass."""
        n_rows, total = 0, 0.0
        for x, y, sample_weight in self._raw():
            rows = check_rows(self.estimator, x, reset=False)
            n_rows += rows.shape[0]
            total += float(rows.sum(dtype=np.float64))
            rows = rows if rows.dtype == self.dtype else rows.astype(self.dtype)
            if sp.issparse(rows) != self.sparse:
                rows = sp.csr_matrix(rows) if self.sparse else dense(rows)
            target = self._target(y, rows.shape[0])
            weights = check_weights(sample_weight, rows)
            if weights is None and self.weighted:
                weights = np.ones(rows.shape[0])
            yield rows, target, weights
        if n_rows != self.n_rows or total != self.total:
            raise ValueError(
                f"the chunks changed between passes: {self.n_rows} rows with sum {self.total:.17g} "
                f"at first, {n_rows} rows with sum {total:.17g} later"
            )

    def _survey(self) -> None:
        classes = np.empty(0)
        self.dtype = np.dtype(np.float32)
        n_chunks = 0
        for x, y, sample_weight in self._raw():
            rows = check_rows(self.estimator, x, reset=not n_chunks)
            self.n_rows += rows.shape[0]
            self.total += float(rows.sum(dtype=np.float64))
            self.dtype = np.result_type(self.dtype, rows.dtype)
            self.sparse = sp.issparse(rows)
            self.weighted = self.weighted or sample_weight is not None
            _, found = self.check_targets(y, rows.shape[0])
            if not n_chunks:
                classes = found
            elif not np.array_equal(classes, found):
                classes = np.union1d(classes, found)
            n_chunks += 1
        if not n_chunks:
            raise ValueError("X gave no chunk where at least one of (X, y) was expected")
        self.classes = classes
        self.counts = np.zeros(len(classes))
        for _, target, weights in self.passes():
            self.counts += class_counts(target, weights, len(classes))

    def _raw(self) -> Iterator[tuple[Any, Any, Any]]:
        for chunk in self.factory() if callable(self.factory) else self.factory:
            if not isinstance(chunk, (tuple, list)) or len(chunk) not in (2, 3):
                raise ValueError(
                    f"a chunk is {type(chunk).__name__} where (X, y) or (X, y, sample_weight) was "
                    "expected"
                )
            yield chunk[0], chunk[1], chunk[2] if len(chunk) == 3 else None

    def _target(self, y: Any, n_rows: int) -> NDArray[Any]:
        values, found = self.check_targets(y, n_rows)
        if values.ndim == 2 or np.array_equal(found, self.classes):
            return values
        return np.asarray(class_positions(found, self.classes)[values])
