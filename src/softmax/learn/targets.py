"""Targets: labels or probabilities, class weights and label smoothing, brought to one form.

Labels are positions among the classes; probabilities are rows that sum to one. Weights of classes
become weights of rows: a row with target t weighs sum_k t_k weight_k, and its target is t_k
weight_k over that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TargetEncoding",
    "check_probabilities",
    "class_counts",
    "class_positions",
    "class_weights",
    "is_matrix",
]

Float64 = NDArray[np.float64]
Labels = NDArray[Any]

ROUNDING = 1e-4  # of a row of probabilities that should sum to one


@dataclass(frozen=True)
class TargetEncoding:
    """How raw targets of a chunk become those of the loss.

    `n_outputs` is the number of logits; `class_weight` has an entry for each, or is None.
    """

    n_outputs: int
    smoothing: float = 0.0
    class_weight: Float64 | None = None
    exclusive: bool = True  # False: each output is a question of its own

    def __call__(
        self, target: NDArray[Any], weights: Float64 | None, dtype: np.dtype[Any]
    ) -> tuple[NDArray[Any], Float64 | None]:
        """Return targets, of `dtype` where they are matrices, and weights of the rows."""
        if not self.exclusive:
            if self.class_weight is not None:
                own = self.class_weight[target]
                weights = own if weights is None else weights * own
            return self._independent(target, dtype), weights
        if self.class_weight is not None:
            target, weights = self._weighed(target, weights)
        if self.smoothing and target.ndim == 1:
            target = one_hot(target, self.n_outputs, dtype)
        if target.ndim == 1:
            return target, weights
        target = np.asarray(target, dtype, order="C")
        if self.smoothing:
            target = (1 - self.smoothing) * target + target.dtype.type(
                self.smoothing / self.n_outputs
            )
        return target, weights

    def _weighed(
        self, target: NDArray[Any], weights: Float64 | None
    ) -> tuple[NDArray[Any], Float64]:
        if target.ndim == 1:
            own = np.asarray(self.class_weight)[target]
        else:
            target = target * self.class_weight
            own = target.sum(1)
            target = target / np.where(own > 0, own, 1)[:, None]
            target[own == 0, 0] = 1  # such a row weighs nothing
        return target, own if weights is None else weights * own

    def _independent(self, target: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        if target.ndim == 1 and self.n_outputs == 1:
            matrix = target.astype(dtype)[:, None]
        elif target.ndim == 1:
            matrix = one_hot(target, self.n_outputs, dtype)
        else:
            matrix = np.asarray(target, dtype, order="C")
        if self.smoothing:
            matrix = (1 - self.smoothing) * matrix + matrix.dtype.type(self.smoothing / 2)
        return matrix


def one_hot(labels: NDArray[np.int64], n_classes: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a row for each label with 1 at its position."""
    matrix = np.zeros((len(labels), n_classes), dtype)
    matrix[np.arange(len(labels)), labels] = 1
    return matrix


def class_positions(labels: Labels, classes: Labels) -> NDArray[np.int64]:
    """Return where each label stands among sorted classes; one that is not there is refused."""
    positions = np.searchsorted(classes, labels)
    positions[positions == len(classes)] = 0
    unknown = classes[positions] != labels
    if np.any(unknown):
        raise ValueError(f"y has the label {labels[unknown][0]!r}, which is not among the classes")
    return positions.astype(np.int64, copy=False)


def class_weights(
    class_weight: Mapping[Any, float] | str | None, classes: Labels, counts: Float64
) -> Float64 | None:
    """Return the weight of each class, or None for 1 each; `counts` are sums of row weights."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str):  # "balanced": every class that is there weighs the same
        present = counts > 0
        balanced = counts.sum() / (present.sum() * np.where(present, counts, 1))
        return np.asarray(balanced, np.float64)
    weights = np.ones(len(classes))
    unknown = []
    known = classes.tolist()
    for label, weight in class_weight.items():
        if label in known:
            weights[known.index(label)] = weight
        else:
            unknown.append(label)
    if unknown:
        raise ValueError(f"The classes, {unknown}, are not in class_weight's data")
    return weights


def is_matrix(y: Any) -> bool:
    """Tell a target of two columns or more from a column of labels."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return len(shape) == 2 and shape[1] > 1


def check_probabilities(y: NDArray[Any], n_rows: int) -> NDArray[Any]:
    """Refuse a target that is not a matrix of rows that sum to one."""
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y is a matrix of dtype {y.dtype} where probabilities were expected")
    if len(y) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, {len(y)}]"
        )
    y = y if y.dtype in (np.float32, np.float64) else y.astype(np.float64)
    sums = y.sum(1)
    bad = ~((y >= 0).all(1) & (np.abs(sums - 1) <= ROUNDING))  # negated: nan is bad too
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"Unknown label type: y is a matrix whose row {row}, {y[row]}, is no row of "
            "probabilities: not negative and 1 in sum were expected"
        )
    return y


def class_counts(target: NDArray[Any], weights: Float64 | None, n_classes: int) -> Float64:
    """Return the sum of weights of each class."""
    if target.ndim == 1:
        return np.bincount(target, weights, n_classes).astype(np.float64)
    weights = np.ones(len(target)) if weights is None else weights
    return np.asarray(weights @ target, np.float64)
