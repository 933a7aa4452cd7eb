"""The same objective for data that fit the cache whole: centred once, in float64.

A pass over a few hundred rows costs less arithmetic than bookkeeping. Here the features are moved
to mean zero, with a column of ones for the intercept, and targets are encoded before the first
pass. A pass of softmax regression is then one call of a kernel, and one of sigmoids two products
with their losses between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.learn.loss import Loss
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.penalty import ElasticNet
from softmax.learn.rows import CHUNK_BYTES, LOGITS_BYTES, ArrayRows, Matrix, Rows

__all__ = ["SmallObjective", "objective_of"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]


def objective_of(rows: Rows, loss: Loss, n_classes: int, **options: Any) -> CrossEntropyObjective:
    """Return the objective in the form that serves the size; see `CrossEntropyObjective`."""
    width = rows.n_features + 1
    small = 8 * rows.n_rows * width <= CHUNK_BYTES and 8 * rows.n_rows * n_classes <= LOGITS_BYTES
    if small and isinstance(rows, ArrayRows):
        return SmallObjective(rows, loss, n_classes, **options)
    return CrossEntropyObjective(rows, loss, n_classes, **options)


class SmallObjective(CrossEntropyObjective):
    """Mean loss of logits W x + b with a penalty on W, of rows kept centred."""

    rows: ArrayRows

    def __init__(self, rows: ArrayRows, loss: Loss, n_classes: int, **options: Any) -> None:
        super().__init__(rows, loss, n_classes, **options)
        (chunk,) = rows.chunks()
        self._centred = self.centred(chunk.x, np.float64)
        self._weights = chunk.weights
        target = chunk.target
        self._target = target if target.ndim == 1 else target.astype(np.float64)
        self._slopes = np.empty((rows.n_rows, n_classes))
        self._losses = np.empty(rows.n_rows)
        # Labels, or the shares of each class.
        self._targets = (self._target, None) if target.ndim == 1 else (None, self._target)
        self._passed: Float64 | None = None  # the parameters of the last softmax pass

    def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
        """Return the smooth part of the objective and its gradient."""
        if self.loss.coupled:
            objective, gradient = self._softmax_pass(parameters)
        else:
            np.matmul(self._centred, parameters.T, out=self._slopes)
            losses = self.loss.slope(self._slopes, self._target, self._weights)
            self._losses[...] = losses / self.total_weight
            objective = float(self._losses.sum())
            objective += self.penalty.quadratic(parameters[:, : self.n_features])
            gradient = self._mean_product(self._slopes, parameters)
        if self.penalty.none:
            self.largest_loss = 0.0
            self._note_largest(self._losses * self.total_weight, self._weights)
        return objective, gradient

    def _softmax_pass(self, parameters: Float64) -> tuple[float, Float64]:
        self._passed = None
        gradient = np.empty(self.shape)
        objective = kernels.layer_loss(
            self._centred,
            parameters,
            *self._targets,
            self._weights,
            1 / self.total_weight,
            self.penalty.l2,
            self.n_features,
            self._losses,
            self._slopes,
            gradient,
        )
        self._passed = parameters
        return objective, gradient

    def hessian_product(self, parameters: Float64, direction: Float64) -> Float64:
        """Return the second derivative at `parameters` applied to `direction`."""
        change = self._centred @ direction.T
        self.loss.curve(self.probabilities(self.rows.x, parameters), change)
        if self._weights is not None:
            change *= self._weights[:, None]
        return self._mean_product(change, direction)

    def probabilities(self, x: Matrix, parameters: Float64) -> Array:
        """Return the probabilities of a few rows."""
        if x is not self.rows.x:
            return super().probabilities(x, parameters)
        p = self._remembered(x, parameters)
        if p is None:
            if parameters is self._passed:
                p = np.empty(self._slopes.shape)
                scale = 1 / self.total_weight
                kernels.layer_probabilities(self._slopes, *self._targets, self._weights, scale, p)
            else:
                p = self._centred @ parameters.T
                self.loss.probabilities(p)
            self._remember(x, parameters, p)
        return p

    def designs(self, parameters: Float64) -> Iterator[tuple[Array, Array, Float64 | None]]:
        """Return centred rows, their probabilities and weights."""
        yield self._centred, self.probabilities(self.rows.x, parameters), self._weights

    def _with(self, penalty: ElasticNet) -> Self:
        other = super()._with(penalty)
        if other is not self:
            other._slopes, other._losses = np.empty_like(self._slopes), np.empty_like(self._losses)
        return other

    def _mean_product(self, slopes: Array, penalised: Float64) -> Float64:
        product = slopes.T @ self._centred
        product /= self.total_weight
        d = self.n_features
        product[:, :d] += self.penalty.l2 * penalised[:, :d]
        return product
