"""Softmax regression as a smooth convex function: the one place that sees data.

The objective is the weighted mean of the rows' cross-entropies plus |W|^2 / (2 C S), where S is
the sum of the weights; the intercept carries no penalty. Rows are read in chunks that fit the
cache: logits by one matrix product, loss and gradient by one fused kernel in the place of the
logits, then the second product. There is never more than one chunk of logits. Products are taken
in the dtype of the data; sums over chunks, and the parameters, are float64.

The solver sees features moved to mean zero, while the data stay as they are: with W and the
intercept c of the moved features, the logits are W x + (c - W mean). It keeps the intercept from
being tied to every weight.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.learn.curvature import (
    Blocks,
    Diagonal,
    Exact,
    SharedBlock,
    Structure,
    choose_structure,
)
from softmax.learn.solver import Preconditioner

__all__ = ["CrossEntropyObjective", "row_chunks"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]

CHUNK_BYTES = 1 << 20  # of X: about a second-level cache
LOGITS_BYTES = 4 << 20
LEAST_ROWS = 128  # fewer make matrix products slow
STRONG_PENALTY = 5e-5  # of the median variance of a column: from here on no path is needed
PENALTY_STEP = 100.0
GLANCE_ROWS = 2048  # evenly spread, to learn how much each class is confused
ROWS_PER_COLUMN = 3  # of the sample from which a block is built
LEAST_SAMPLE = 2048


def row_chunks(n_rows: int, n_columns: int, n_classes: int, itemsize: int) -> Iterator[slice]:
    """Cut rows into slices whose features fit the cache."""
    step = min(CHUNK_BYTES // (itemsize * n_columns), LOGITS_BYTES // (itemsize * n_classes))
    step = max(step, LEAST_ROWS)
    return (slice(start, start + step) for start in range(0, n_rows, step))


class CrossEntropyObjective:
    """Mean cross-entropy of softmax(W x + b) with an L2 penalty on W.

    Parameters are one float64 array of shape (K, d + 1), the last column the intercept c of the
    centred features, or (K, d) without intercept. `to_model` and `from_model` translate.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n, d)
        Features; never copied.
    target : ndarray of int64, shape (n,)
        Positions of the classes.
    weights : ndarray of float64, shape (n,), or None
        Weights of the rows, not negative; None is 1 each.
    n_classes : int
        K.
    C : float
        Inverse strength of the penalty, on the scale of the sum of losses.
    fit_intercept : bool
        Whether b is fitted; else it is 0.
    seed : int
        Chooses the rows from which class blocks of the preconditioner are built.

    Notes
    -----
    The dual of the problem is the maximum of the mean entropy of rows P less
    |X'(P - Y) / S|^2 / (2 lambda), lambda = 1 / (C S), subject to columns of P and Y that agree in
    their means (the intercept is free). At P = softmax(logits) the difference of the two is
    |gradient|^2 / (2 lambda). With centred features the columns are brought to agree at the price
    of `intercept_gap`, the distance that the intercept alone is from its best, to second order.
    """

    def __init__(
        self,
        X: Array,
        target: NDArray[np.int64],
        weights: Float64 | None,
        n_classes: int,
        *,
        C: float,
        fit_intercept: bool,
        seed: int = 0,
    ) -> None:
        self.X = X
        self.target = target
        self.weights = weights
        self.n_classes = n_classes
        self.n_rows, self.n_features = X.shape
        self.fit_intercept = fit_intercept
        self.total_weight = float(self.n_rows if weights is None else weights.sum())
        self.penalty = self.last_penalty = 1 / (C * self.total_weight)
        self.mean = self._weighted_mean() if fit_intercept else np.zeros(self.n_features)
        self._intercept_curvature = np.full(n_classes, (1 - 1 / n_classes) / n_classes)
        self._offsets = np.random.RandomState(seed).uniform(size=n_classes)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the parameters."""
        return self.n_classes, self.n_features + self.fit_intercept

    def to_model(self, parameters: Float64) -> tuple[Float64, Float64]:
        """Return weights (K, d) and intercepts (K,) for the data as they are."""
        if not self.fit_intercept:
            return parameters.copy(), np.zeros(self.n_classes)
        coef = parameters[:, :-1].copy()
        return coef, parameters[:, -1] - coef @ self.mean

    def from_model(self, coef: Array, intercept: Array) -> Float64:
        """Return the parameters of a model for the data as they are."""
        parameters = np.zeros(self.shape)
        parameters[:, : self.n_features] = coef
        if self.fit_intercept:
            parameters[:, -1] = intercept + parameters[:, :-1] @ self.mean
        return parameters

    def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
        """Return the objective and its gradient, in one pass over the data."""
        weight, bias = self._product_form(parameters)
        loss = 0.0
        gradient = np.zeros((self.n_classes, self.n_features))
        columns = np.zeros(self.n_classes)
        for part, x in self._chunks():
            logits = x @ weight.T
            logits += bias
            losses = np.empty(len(x))
            kernels.cross_entropy(logits, self.target[part], self._weights(part), losses, logits)
            loss += float(losses.sum())
            gradient += logits.T @ x
            columns += np.ones(len(x), x.dtype) @ logits
        coef = parameters[:, : self.n_features]
        objective = loss / self.total_weight + 0.5 * self.penalty * float(np.vdot(coef, coef))
        return objective, self._derivative(gradient, columns, parameters)

    def hessian_product(self, parameters: Float64, direction: Float64) -> Float64:
        """Return the second derivative at `parameters` applied to `direction`."""
        weight, bias = self._product_form(parameters)
        weight_change, bias_change = self._product_form(direction)
        both = np.vstack([weight, weight_change])
        product = np.zeros((self.n_classes, self.n_features))
        columns = np.zeros(self.n_classes)
        for part, x in self._chunks():
            logits, change = np.split(x @ both.T, 2, axis=1)
            logits += bias
            change += bias_change
            moved = np.empty(change.shape, change.dtype)
            kernels.softmax_jvp(logits, change, moved, 1, None, None)
            weights = self._weights(part)
            if weights is not None:
                moved *= weights[:, None]
            product += moved.T @ x
            columns += np.ones(len(x), x.dtype) @ moved
        return self._derivative(product, columns, direction)

    def gap(self, gradient: Float64) -> float:
        """Return the duality gap at a point with this gradient; see the class's Notes."""
        return self._gap(gradient, self.penalty)

    def _gap(self, gradient: Float64, penalty: float) -> float:
        coef = gradient[:, : self.n_features]
        return float(np.vdot(coef, coef)) / (2 * penalty) + self.intercept_gap(gradient)

    def intercept_gap(self, gradient: Float64) -> float:
        """Return how much the intercept alone can gain, to second order."""
        if not self.fit_intercept:
            return 0.0
        return float((gradient[:, -1] ** 2 / self._intercept_curvature).sum())

    def certificate(
        self, parameters: Float64, objective: float, gradient: Float64
    ) -> tuple[float, float]:
        """Return the objective and the gap with the last penalty of the path."""
        surplus = self.penalty - self.last_penalty
        if not surplus:
            return objective, self.gap(gradient)
        coef = parameters[:, : self.n_features]
        gradient = gradient.copy()
        gradient[:, : self.n_features] -= surplus * coef
        objective -= 0.5 * surplus * float(np.vdot(coef, coef))
        return objective, self._gap(gradient, self.last_penalty)

    def path(self) -> list[CrossEntropyObjective]:
        """Return this problem with penalties that fall to its own, if that is very weak.

        Without penalty a row that is confidently wrong has a slope but no curvature, and steps
        towards it are of no size. The stronger penalty before has mended such rows.
        """
        if self._structure() == "exact":
            return [self]
        centred = self._centred(self.X[self._spread_rows(GLANCE_ROWS)])[:, : self.n_features]
        variances = np.einsum("ij,ij->j", centred, centred, dtype=np.float64) / len(centred)
        varying = variances[variances > 0]
        usual = STRONG_PENALTY * float(np.median(varying)) if varying.size else 0.0
        ratio = max(usual / self.last_penalty, 1.0)
        n_stages = math.ceil(math.log(ratio, PENALTY_STEP) - 0.5)
        stages = []
        for power in range(n_stages, 0, -1):
            stage = copy.copy(self)
            stage.penalty = self.last_penalty * ratio ** (power / n_stages)
            stages.append(stage)
        return [*stages, self]

    def preconditioner(self, parameters: Float64) -> Preconditioner:
        """Return an approximate inverse of the second derivative at `parameters`."""
        structure = self._structure()
        if structure == "exact":
            return Exact(self._whole_matrix(parameters))
        confusion = self._glance(parameters)
        self._set_intercept_curvature(confusion)
        if structure == "diagonal":
            return Diagonal(self._diagonal(parameters))
        if structure == "shared" or not np.any(parameters[:, : self.n_features]):
            return self._shared_block(parameters, confusion)
        return self._blocks(parameters, confusion)

    def _structure(self) -> Structure:
        return choose_structure(self.n_rows, self.n_classes, self.shape[1], self.X.dtype.itemsize)

    def _chunks(self) -> Iterator[tuple[slice, Array]]:
        itemsize = self.X.dtype.itemsize
        for part in row_chunks(self.n_rows, self.n_features, self.n_classes, itemsize):
            yield part, self.X[part]

    def _weights(self, part: slice) -> Float64 | None:
        return None if self.weights is None else self.weights[part]

    def _weighted_mean(self) -> Float64:
        total = np.zeros(self.n_features)
        for part, x in self._chunks():
            weights = self._weights(part)
            total += x.sum(0, dtype=np.float64) if weights is None else weights @ x
        return total / self.total_weight

    def _product_form(self, parameters: Float64) -> tuple[Array, Array]:
        """Return weights and bias for the data as they are, in their dtype."""
        coef, bias = self.to_model(parameters)
        return coef.astype(self.X.dtype), bias.astype(self.X.dtype)

    def _derivative(self, products: Float64, columns: Float64, penalised: Float64) -> Float64:
        """Move sums over uncentred rows to the centred features and add the penalty's share."""
        derivative = np.empty(self.shape)
        coef = derivative[:, : self.n_features]
        coef[...] = products - columns[:, None] * self.mean
        if self.fit_intercept:
            derivative[:, -1] = columns
        derivative /= self.total_weight
        coef += self.penalty * penalised[:, : self.n_features]
        return derivative

    def _probabilities(self, x: Array, parameters: Float64) -> Array:
        weight, bias = self._product_form(parameters)
        logits = x @ weight.T
        logits += bias
        kernels.softmax(logits, logits, 1, None, None, None)
        return logits

    def _centred(self, x: Array) -> Array:
        """Return a copy of a few rows, centred, with a column of ones for the intercept."""
        rows = np.ones((len(x), self.shape[1]), x.dtype)
        np.subtract(x, self.mean, out=rows[:, : self.n_features], casting="same_kind")
        return rows

    def _spread_rows(self, most: int) -> slice:
        return slice(0, None, -(-self.n_rows // most))

    def _glance(self, parameters: Float64) -> Float64:
        """Return the mean of p (1 - p) of each class over evenly spread rows."""
        part = self._spread_rows(GLANCE_ROWS)
        p = self._probabilities(self.X[part], parameters).astype(np.float64)
        weights = self._weights(part)
        if weights is None or not weights.any():
            weights = np.ones(len(p))
        confusion: Float64 = weights @ (p * (1 - p)) / weights.sum()
        return confusion

    def _penalised(self, block: Array, penalty: float) -> Array:
        """Add the penalty to the diagonal of a block in place; the intercept has none."""
        index = np.arange(self.n_features)
        block[index, index] += penalty
        return block

    def _shared_block(self, parameters: Float64, confusion: Float64) -> SharedBlock:
        """Weight rows by 1 - |p|^2, the sum of p (1 - p) over the classes."""
        part = self._spread_rows(max(GLANCE_ROWS, ROWS_PER_COLUMN * self.shape[1]))
        x = self.X[part]
        p = self._probabilities(x, parameters)
        row_weights = 1 - np.einsum("ij,ij->i", p, p, dtype=np.float64)
        weights = self._weights(part)
        if weights is not None:
            row_weights *= weights
        row_weights = np.maximum(row_weights, np.finfo(np.float32).tiny)
        rows = self._centred(x)
        rows *= np.sqrt(row_weights / row_weights.sum()).astype(rows.dtype)[:, None]
        scale = np.maximum(confusion, 1e-3 * confusion.max() + 1e-30) * self._exchange
        return SharedBlock(self._penalised(rows.T @ rows, self.penalty / scale.mean()), scale)

    @property
    def _exchange(self) -> float:
        """What one class gains the others lose: exact for equal probabilities and two classes."""
        return self.n_classes / (self.n_classes - 1)

    def _blocks(self, parameters: Float64, confusion: Float64) -> Blocks:
        """Build each class's block from rows chosen in proportion to p (1 - p)."""
        wanted = max(LEAST_SAMPLE, ROWS_PER_COLUMN * self.shape[1])
        rate = wanted / np.maximum(confusion * self.total_weight, np.finfo(float).tiny)
        drawn = self._offsets.copy()
        kept: list[Array] = []
        chosen: list[NDArray[np.bool_]] = []
        row_weights: list[Float64] = []
        for part, x in self._chunks():
            p = self._probabilities(x, parameters).astype(np.float64)
            importance = p * (1 - p)
            weights = self._weights(part)
            if weights is not None:
                importance *= weights[:, None]
            share = np.minimum(importance * rate, 1)
            position = drawn + np.cumsum(share, axis=0)
            taken = np.floor(position) > np.floor(position - share)
            drawn = position[-1] % 1
            some = taken.any(1)
            kept.append(self._centred(x[some]))
            chosen.append(taken[some])
            row_weights.append(importance[some] / np.where(taken, share, 1)[some])
        rows, taken = np.concatenate(kept), np.concatenate(chosen)
        weight = np.concatenate(row_weights) * (self._exchange / self.total_weight)
        return Blocks([self._block(rows, taken[:, k], weight[:, k]) for k in range(self.n_classes)])

    def _block(self, rows: Array, taken: NDArray[np.bool_], weight: Float64) -> Array:
        sample = rows[taken]
        sample *= np.sqrt(weight[taken]).astype(rows.dtype)[:, None]
        return self._penalised(sample.T @ sample, self.penalty)

    def _set_intercept_curvature(self, confusion: Float64) -> None:
        self._intercept_curvature = np.maximum(confusion, np.finfo(float).tiny)

    def _whole_matrix(self, parameters: Float64) -> Float64:
        """Return the whole second derivative, in float64."""
        n_classes, n_columns = self.shape
        matrix = np.zeros((n_classes, n_columns, n_classes, n_columns))
        for part, x in self._chunks():
            p = self._probabilities(x, parameters).astype(np.float64)
            rows = self._centred(x.astype(np.float64))
            weights = self._weights(part)
            if weights is not None:
                rows *= np.sqrt(weights)[:, None]
            spread = (p[:, :, None] * rows[:, None, :]).reshape(len(x), -1)
            matrix -= (spread.T @ spread).reshape(matrix.shape)
            for k in range(n_classes):
                matrix[k, :, k] += (rows * p[:, k, None]).T @ rows
        matrix /= self.total_weight
        self._set_intercept_curvature(np.einsum("kjkj->kj", matrix)[:, -1])
        for k in range(n_classes):
            self._penalised(matrix[k, :, k], self.penalty)
        # Gradients sum to zero over the classes, so that curvature along a shift of all classes
        # is free to choose; without it the intercepts' part is singular.
        curvature = np.einsum("kjkj->j", matrix) / n_classes**2
        columns = np.arange(n_columns)
        matrix[:, columns, :, columns] += np.maximum(curvature, 1e-30)[:, None, None]
        return matrix.reshape(n_classes * n_columns, -1)

    def _diagonal(self, parameters: Float64) -> Float64:
        diagonal = np.zeros((self.n_classes, self.n_features))
        columns = np.zeros(self.n_classes)
        for part, x in self._chunks():
            p = self._probabilities(x, parameters)
            importance = p * (1 - p)
            weights = self._weights(part)
            if weights is not None:
                importance *= weights[:, None]
            diagonal += importance.T @ (x * (x - 2 * self.mean.astype(x.dtype)))
            columns += importance.sum(0, dtype=np.float64)
        diagonal += columns[:, None] * self.mean**2
        scaled = np.empty(self.shape)
        scaled[:, : self.n_features] = np.maximum(diagonal, 0)
        if self.fit_intercept:
            scaled[:, -1] = np.maximum(columns, 1e-30)
        scaled *= self._exchange / self.total_weight
        scaled[:, : self.n_features] += self.penalty
        return scaled
