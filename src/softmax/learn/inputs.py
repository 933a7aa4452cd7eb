"""What users pass to estimators, brought to arrays that training and prediction can rely on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from softmax.learn.rows import Matrix, bytes_of_a_row, row_chunks
from softmax.learn.targets import check_probabilities, class_positions, is_matrix

__all__ = [
    "Targets",
    "as_array",
    "check_rows",
    "check_shares",
    "check_targets",
    "check_weights",
]

Float64 = NDArray[np.float64]
Labels = NDArray[Any]


class Targets(NamedTuple):
    """Positions of classes (n,) or a matrix (n, K), and what the positions stand for."""

    values: NDArray[Any]
    classes: Labels


def check_rows(estimator: Any, X: Any, *, reset: bool) -> Matrix:
    """Return X as a C-contiguous array or CSR matrix of finite float32 or float64."""
    if not _is_plain(estimator, X, reset):
        X = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            order="C",
            ensure_all_finite=False,
        )
    _check_finite(estimator, X)
    return X


def _is_plain(estimator: Any, X: Any, reset: bool) -> bool:
    """Tell an array that needs no conversion; scikit-learn's check costs a small fit's time."""
    plain = (
        type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.ndim == 2
        and X.size > 0
        and X.flags.c_contiguous
    )
    if not plain or hasattr(estimator, "feature_names_in_"):
        return False
    if reset:
        estimator.n_features_in_ = X.shape[1]
    return bool(X.shape[1] == estimator.n_features_in_)


def _check_finite(estimator: Any, X: Matrix) -> None:
    """Refuse NaN and infinity, and say where; a sum of squares shows whether any can be there."""
    values = X.data[:, None] if sp.issparse(X) else X
    for part in row_chunks(len(values), bytes_of_a_row(values), 0):
        suspect = not math.isfinite(np.vdot(values[part], values[part]))
        if suspect and not np.isfinite(values[part]).all():
            place, column = np.argwhere(~np.isfinite(values[part]))[0]
            value = values[part][place, column]
            row = part.start + int(place)
            if sp.issparse(X):
                row, column = int(np.searchsorted(X.indptr, row, "right")) - 1, X.indices[row]
            name = "NaN" if np.isnan(value) else "infinity"
            raise ValueError(
                f"Input X contains {name} at row {row}, column {column}: "
                f"{type(estimator).__name__} needs finite numbers (inf and NaN cannot be fitted)"
            )


def check_targets(y: Any, n_rows: int, classes: Labels | None = None) -> Targets:
    """Return labels as positions among the classes, or a matrix of probabilities as it is."""
    y = as_array(y)
    if is_matrix(y):
        matrix = check_probabilities(y, n_rows)
        return Targets(matrix, np.arange(matrix.shape[1]))
    labels = check_labels(y, n_rows)
    if classes is None:
        return distinct(labels)
    return Targets(class_positions(labels, classes), classes)


def distinct(labels: Labels) -> Targets:
    """Return positions among the distinct labels; small integers are counted, not sorted."""
    if labels.dtype.kind in "iu" and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if high - low < max(len(labels), 1000) and high < 2**62:
            offsets = labels.astype(np.int64) - low
            there = np.bincount(offsets) > 0
            if there.all():
                return Targets(offsets, np.arange(low, high + 1).astype(labels.dtype))
            found = (np.flatnonzero(there) + low).astype(labels.dtype)
            return Targets((np.cumsum(there) - 1)[offsets], found)
    found, positions = np.unique(labels, return_inverse=True)
    return Targets(positions.astype(np.int64, copy=False), found)


def check_shares(y: Any, n_rows: int) -> Targets:
    """Return a matrix of targets from 0 to 1, each a question of its own."""
    matrix = as_array(y)
    if matrix.dtype.kind == "O":
        matrix = matrix.astype(np.float64)
    if len(matrix) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, {len(matrix)}]"
        )
    if matrix.dtype.kind not in "biuf" or not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError("Unknown label type: y is a matrix with entries beyond 0 and 1")
    return Targets(matrix, np.arange(matrix.shape[1]))


def as_array(y: Any) -> NDArray[Any]:
    """Return a target as an array."""
    if sp.issparse(y):
        raise TypeError("y is a sparse matrix where labels or an array is expected")
    return np.asarray(y.to_numpy() if hasattr(y, "to_numpy") else y)


def check_labels(y: Labels, n_rows: int) -> Labels:
    """Return one label a row."""
    if y.ndim != 1 or y.dtype.kind not in "biuU":
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            name = "NaN" if np.isnan(y).any() else "infinity"
            raise ValueError(f"Input y contains {name}.")
        check_classification_targets(y)
    if len(y) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, {len(y)}]"
        )
    return y


def check_weights(sample_weight: ArrayLike | None, X: Matrix) -> Float64 | None:
    """Return weights of rows as float64, not negative and not all zero, or None."""
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return np.asarray(weights, np.float64)
