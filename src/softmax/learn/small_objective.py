"""The same objective for data that fit the cache whole: centred once, whatever their dtype.

A pass over a few hundred rows costs less arithmetic than bookkeeping. Here the features are moved
to mean zero, with a column of ones for the intercept, and targets are encoded before the first
pass. A pass of softmax regression is then one call of a kernel, and one of sigmoids two products
with their losses between.

Far from the optimum float32 tells as well where to go, and a pass over it takes half as long.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.learn.curvature import is_exact
from softmax.learn.loss import Loss
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.penalty import ElasticNet
from softmax.learn.problem import Parameters
from softmax.learn.rows import CHUNK_BYTES, LOGITS_BYTES, ArrayRows, Matrix, Rows

__all__ = ["SmallObjective", "objective_of"]

SMALLEST, LARGEST = 1e-12, 1e12  # entries and weights of which float32 holds products of three

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]


def objective_of(rows: Rows, loss: Loss, n_classes: int, **options: Any) -> CrossEntropyObjective:
    """Return the objective in the form that serves the size; see `CrossEntropyObjective`."""
    width = rows.n_features + 1
    small = 8 * rows.n_rows * width <= CHUNK_BYTES and 8 * rows.n_rows * n_classes <= LOGITS_BYTES
    if small and isinstance(rows, ArrayRows):
        return SmallObjective(rows, loss, n_classes, **options)
    return CrossEntropyObjective(rows, loss, n_classes, **options)


def within(sizes: Float64 | None) -> bool:
    """Say whether float32 holds all that are not 0, and their squares."""
    if sizes is None:
        return True
    present = sizes[sizes != 0]
    return bool(((present > SMALLEST) & (present < LARGEST)).all())


class SmallObjective(CrossEntropyObjective):
    """Mean loss of logits W x + b with a penalty on W, of rows kept centred."""

    rows: ArrayRows

    def __init__(self, rows: ArrayRows, loss: Loss, n_classes: int, **options: Any) -> None:
        super().__init__(rows, loss, n_classes, **options)
        target, self._weights = rows.encoding(rows.target, rows.weights, rows.dtype)
        self._losses = np.empty(rows.n_rows)
        self._original = self  # whose rows are float64
        self._hold(self.centred(rows.x, np.float64), target)

    def _hold(self, centred: Array, target: NDArray[Any]) -> None:
        """Work with these rows and targets, in the dtype of the rows."""
        self._centred = centred
        self.design_dtype = centred.dtype
        self._target = target if target.ndim == 1 else target.astype(centred.dtype, copy=False)
        # Labels, or the shares of each class.
        self._targets = (self._target, None) if target.ndim == 1 else (None, self._target)
        self._slopes = np.empty((len(centred), self.n_classes), centred.dtype)
        self._passed: Float64 | None = None  # the parameters of the last softmax pass
        self._known = None

    def sample(self) -> None:
        """Return None: all rows are few."""

    def rounded(self, tol: float) -> Self:
        """Return this problem with rows of float32, where a fit is made of passes over them."""
        if is_exact(self):
            return self
        if not (within(np.abs(self._centred).max(0)) and within(self._weights)):
            return self
        other = copy.copy(self)
        other._hold(self._centred.astype(np.float32), self._target)
        return other

    def unrounded(self) -> SmallObjective:
        """Return this problem with rows of float64, and what is known of the intercepts."""
        self._original.intercept_curvature = self.intercept_curvature
        return self._original

    def evaluate(self, parameters: Parameters) -> tuple[float, Parameters]:
        """Return the smooth part of the objective and its gradient."""
        if self.loss.coupled:
            objective, gradient = self._softmax_pass(parameters)
        else:
            np.matmul(self._centred, self._as_rows(parameters).T, out=self._slopes)
            losses = self.loss.slope(self._slopes, self._target, self._weights)
            self._losses[...] = losses / self.total_weight
            objective = float(self._losses.sum())
            objective += self.penalty.quadratic(parameters[:, : self.n_features])
            gradient = self._mean_product(self._slopes, parameters)
        if self.penalty.none:
            self.largest_loss = 0.0
            self._note_largest(self._losses * self.total_weight, self._weights)
        return objective, gradient

    def _softmax_pass(self, parameters: Parameters) -> tuple[float, Parameters]:
        self._passed = None
        gradient = np.empty(self.shape, self.design_dtype)
        objective = kernels.layer_loss(
            self._centred,
            self._as_rows(parameters),
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
        return objective, gradient.astype(np.float64, copy=False)

    def hessian_product(self, parameters: Parameters, direction: Parameters) -> Parameters:
        """Return the second derivative at `parameters` applied to `direction`."""
        change = self._centred @ self._as_rows(direction).T
        self.loss.curve(self.probabilities(self.rows.x, parameters), change)
        if self._weights is not None:
            change *= self._weights.astype(change.dtype)[:, None]
        return self._mean_product(change, direction)

    def probabilities(self, x: Matrix, parameters: Parameters) -> Array:
        """Return the probabilities of a few rows."""
        if x is not self.rows.x:
            return super().probabilities(x, parameters)
        p = self._remembered(x, parameters)
        if p is None:
            if parameters is self._passed:
                p = np.empty_like(self._slopes)
                scale = 1 / self.total_weight
                kernels.layer_probabilities(self._slopes, *self._targets, self._weights, scale, p)
            else:
                p = self._centred @ self._as_rows(parameters).T
                self.loss.probabilities(p)
            self._remember(x, parameters, p)
        return p

    def designs(self, parameters: Parameters) -> Iterator[tuple[Array, Array, Float64 | None]]:
        """Return centred rows, their probabilities and weights."""
        yield self._centred, self.probabilities(self.rows.x, parameters), self._weights

    def glance_designs(
        self, parameters: Parameters
    ) -> Iterator[tuple[Array, Array, Float64 | None]]:
        """Return a few centred rows, their probabilities and weights."""
        all_rows = self.glance is self.rows
        return self.designs(parameters) if all_rows else super().glance_designs(parameters)

    def _as_rows(self, parameters: Parameters) -> Array:
        return parameters.astype(self.design_dtype, copy=False)

    def _with(self, penalty: ElasticNet) -> Self:
        other = super()._with(penalty)
        if other is not self:
            other._original = other
            other._losses = np.empty_like(self._losses)
            other._hold(self._centred, self._target)
        return other

    def _mean_product(self, slopes: Array, penalised: Parameters) -> Parameters:
        product: Float64 = (slopes.T @ self._centred).astype(np.float64, copy=False)
        product /= self.total_weight
        d = self.n_features
        product[:, :d] += self.penalty.l2 * penalised[:, :d]
        return product
