"""Predictions of linear models, chunk by chunk: beside the result only one chunk of logits.

Of two classes only the difference of their logits matters, and its sigmoid is the probability of
the second: so it is computed, whether a model keeps two rows of weights or their difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from softmax.binary import log_sigmoid, sigmoid
from softmax.learn.inputs import check_rows
from softmax.learn.rows import Matrix, bytes_of_a_row, row_chunks

__all__ = ["LinearPrediction"]

Array = NDArray[np.floating[Any]]
Labels = NDArray[Any]


class LinearPrediction:
    """Logits, probabilities and labels from `coef_`, `intercept_` and `classes_`."""

    coef_: Any  # an array, or a CSR matrix after `sparsify`
    intercept_: Array
    classes_: Labels

    def decision_function(self, X: ArrayLike) -> Array:
        """Return logits; for two classes the second logit less the first.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        rows = self._checked_rows(X)
        if self._two_sided:
            return self._each_chunk(rows, 1, lambda margin, logits: np.copyto(margin, logits))[:, 0]
        return self._each_chunk(rows, len(self.intercept_), None)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._probabilities(X, sigmoid, self._to_probabilities)

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of the probability of each class for each row, in nats.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._probabilities(X, log_sigmoid, self._to_log_probabilities)

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable label of each row, without building probabilities.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = self._checked_rows(X)
        best = np.empty(rows.shape[0], np.intp)
        for part, logits in self._logits(rows):
            best[part] = logits[:, 0] > 0 if self._two_sided else logits.argmax(1)
        return np.asarray(self.classes_[best])

    def sparsify(self) -> Self:
        """Turn `coef_` into a CSR matrix, which an L1 penalty makes smaller and faster.

        Returns
        -------
        self
        """
        check_is_fitted(self)
        self.coef_ = sp.csr_matrix(self.coef_)
        return self

    def densify(self) -> Self:
        """Turn `coef_` into an array, as it is after `fit`.

        Returns
        -------
        self
        """
        check_is_fitted(self)
        if sp.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def _to_probabilities(self, logits: Array) -> None:
        raise NotImplementedError

    def _to_log_probabilities(self, logits: Array) -> None:
        raise NotImplementedError

    @property
    def _two_sided(self) -> bool:
        """Whether one logit, the second less the first, says all: its sigmoid is P(second)."""
        return len(self.classes_) == 2

    def _probabilities(
        self, X: ArrayLike, side: Callable[..., Any], finish: Callable[[Array], None]
    ) -> Array:
        rows = self._checked_rows(X)
        if not self._two_sided:
            return self._each_chunk(rows, len(self.intercept_), lambda _, logits: finish(logits))

        def both_sides(result: Array, margin: Array) -> None:
            np.negative(margin, out=result[:, :1])
            result[:, 1:] = margin
            side(result, out=result)

        return self._each_chunk(rows, 2, both_sides)

    def _checked_rows(self, X: ArrayLike) -> Matrix:
        check_is_fitted(self)
        return check_rows(self, X, reset=False)

    def _each_chunk(
        self, rows: Matrix, width: int, finish: Callable[[Array, Array], None] | None
    ) -> Array:
        """Return a result of so many columns; `finish` makes a chunk of it from the logits."""
        result = np.empty((rows.shape[0], width), rows.dtype)
        for part, logits in self._logits(rows, None if self._two_sided else result):
            if finish is not None:
                finish(result[part], logits)
        return result

    def _logits(self, rows: Matrix, result: Array | None = None) -> Iterator[tuple[slice, Array]]:
        """Give the logits of each chunk, in their place of the result where there is one."""
        weight, bias = self._collapsed(rows.dtype)
        for part in row_chunks(
            rows.shape[0], bytes_of_a_row(rows), rows.dtype.itemsize * len(bias)
        ):
            logits = None if result is None else result[part]
            if sp.issparse(rows) or sp.issparse(weight):
                product = rows[part] @ weight.T
                product = product.toarray() if sp.issparse(product) else np.asarray(product)
                logits = product if logits is None else logits
                logits[...] = product
            else:
                logits = np.matmul(rows[part], weight.T, out=logits)
            logits += bias
            yield part, logits

    def _collapsed(self, dtype: np.dtype[Any]) -> tuple[Any, Array]:
        """Return weights and intercepts in a dtype, one row where that says all."""
        weight, bias = self.coef_, self.intercept_
        if self._two_sided and len(bias) == 2:
            weight, bias = weight[1:2] - weight[:1], bias[1:] - bias[:1]
        return weight.astype(dtype, copy=False), bias.astype(dtype, copy=False)
