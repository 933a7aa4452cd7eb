"""Linear models with a cross-entropy loss as a convex function: the one place that sees data.

The objective is the weighted mean of the rows' losses plus a penalty on W; the intercept carries
none. Rows are read in chunks that fit the cache: logits by one matrix product, loss and gradient
by one fused kernel in the place of the logits, then the second product. There is never more than
one chunk of logits. Products are taken in the dtype of the data; sums over chunks are float64, and
so are the parameters unless they are many.

The solver sees features moved to mean zero, while the data stay as they are: with W and the
intercept c of the moved features, the logits are W x + (c - W mean). It keeps the intercept from
being tied to every weight.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.learn.bundle import MANY, SINGLE_TOL, Bundle
from softmax.learn.curvature import (
    ROWS_PER_CLASS,
    TINY,
    diagonal,
    has_blocks,
    intercept_matrix,
    is_exact,
    knows_intercepts,
    mean_confusion,
    preconditioner,
)
from softmax.learn.loss import Loss
from softmax.learn.penalty import ElasticNet, square_sum
from softmax.learn.preconditioner import Preconditioner
from softmax.learn.problem import Parameters
from softmax.learn.rows import (
    ArrayRows,
    Matrix,
    Rows,
    backward,
    column_sums,
    dense,
    forward,
    square_sums,
    summed,
)
from softmax.learn.start import best_length, class_means

__all__ = ["CrossEntropyObjective"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]

STRONG_PENALTY = 5e-5  # of the median variance of a column: from here on no path is needed
PENALTY_STEP = 100.0
GLANCE_ROWS = 2048  # to learn how much each class is confused, and a block that all share
ROWS_PER_COLUMN = 3  # of the sample from which a block is built
SETTLED = 1e-3  # share of the allowed gap that the intercepts may have
DEAR_PASS = 1000  # numbers of a column that a pass reads, from which on a plane is cheap beside it
SAMPLE_SHARE = 8  # a starting point is found on one row of so many
SAMPLE_WORK = 5e7  # multiply-adds of a pass from which on that pays


class CrossEntropyObjective:
    """Mean loss of logits W x + b with an elastic net penalty on W.

    Parameters are one array of shape (K, d + 1), the last column the intercept c of the
    centred features, or (K, d) without intercept. `to_model` and `from_model` translate.

    Parameters
    ----------
    rows : Rows
        Features, targets and weights.
    loss : Loss
        Softmax or sigmoid cross-entropy of a chunk of logits.
    n_classes : int
        K, the number of logits.
    C : float
        Inverse strength of the penalty, on the scale of the sum of losses; inf is none.
    l1_ratio : float
        Share of the penalty that is |W|_1 instead of |W|^2 / 2.
    fit_intercept : bool
        Whether b is fitted; else it is 0.
    centre : bool
        Whether the solver sees centred features; only with an intercept.
    seed : int
        Chooses the rows of samples.

    Notes
    -----
    Steps of the solver see `evaluate`, the smooth part of the objective. With the intercept free,
    dual points are those whose columns sum to zero; with centred features they are brought there at
    the price of `intercept_gap`, the distance that the intercept alone is from its best, to second
    order.
    """

    def __init__(
        self,
        rows: Rows,
        loss: Loss,
        n_classes: int,
        *,
        C: float,
        l1_ratio: float = 0.0,
        fit_intercept: bool,
        centre: bool = True,
        seed: int = 0,
    ) -> None:
        self.rows = rows
        self.loss = loss
        self.n_classes = n_classes
        self.n_features = rows.n_features
        self.fit_intercept = fit_intercept
        self.shape = n_classes, rows.n_features + fit_intercept  # of the parameters
        self.seed = seed
        self.total_weight, self.mean = self._weight_and_mean(centre and fit_intercept)
        strength = 1 / (C * self.total_weight)
        self.penalty = ElasticNet(l1_ratio * strength, (1 - l1_ratio) * strength)
        self.last_penalty = self.penalty
        self.largest_loss = math.inf  # of a row at the last evaluation
        start = (1 - 1 / n_classes) / n_classes if loss.coupled else 0.25
        self.intercept_curvature: Float64 = np.full(n_classes, start)
        self._glance: ArrayRows | None = None
        self._variances: Float64 | None = None
        self._known: tuple[Matrix, Float64, Array] | None = None

    design_dtype: np.dtype[Any] = np.dtype(np.float64)  # of `designs`
    dtype: np.dtype[Any] = np.dtype(np.float64)  # of gradients

    @property
    def glance(self) -> ArrayRows:
        """A few rows, spread over all."""
        if self._glance is None:
            enough = ROWS_PER_COLUMN * self.shape[1] if has_blocks(self) else 0
            self._glance = self.rows.sample(max(GLANCE_ROWS, enough), self.seed)
        return self._glance

    @property
    def variances(self) -> Float64:
        """Mean square of each column of the centred features."""
        if self._variances is None:
            total = np.zeros(self.n_features)
            for x, _, weights in self.rows.chunks():
                total += square_sums(x, weights)
            self._variances = np.maximum(total / self.total_weight - self.mean**2, 0)
        return self._variances

    def guess(self) -> Float64 | None:
        """Return the means of the classes, where no sample serves better."""
        return None if is_exact(self) or has_blocks(self) else class_means(self)

    def best_length(self, parameters: Parameters, direction: Parameters) -> float:
        """Return how far along a direction a few of the rows want to go."""
        return best_length(self, parameters, direction)

    def to_model(self, parameters: Parameters) -> tuple[Float64, Float64]:
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

    def evaluate(self, parameters: Parameters) -> tuple[float, Parameters]:
        """Return the smooth part of the objective and its gradient, in one pass over the data."""
        weight, bias = self.product_form(parameters)
        loss = self.largest_loss = 0.0
        gradient: Any = None
        columns = np.zeros(self.n_classes)
        for x, target, weights in self.rows.chunks():
            logits = forward(x, weight)
            logits += bias
            losses = self.loss.slope(logits, target, weights)
            loss += float(losses.sum())
            self._note_largest(losses, weights)
            gradient = summed(gradient, backward(x, logits))
            columns += np.ones(len(logits), logits.dtype) @ logits
        objective = loss / self.total_weight
        objective += self.penalty.quadratic(parameters[:, : self.n_features])
        return objective, self.derivative(gradient, columns, parameters)

    def hessian_product(self, parameters: Parameters, direction: Parameters) -> Parameters:
        """Return the second derivative at `parameters` applied to `direction`."""
        weight, bias = self.product_form(parameters)
        weight_change, bias_change = self.product_form(direction)
        product: Any = None
        columns = np.zeros(self.n_classes)
        for x, _, weights in self.rows.chunks():
            p = self._remembered(x, parameters)
            if p is None:
                both = forward(x, np.vstack([weight, weight_change]))
                p, change = both[:, : self.n_classes] + bias, both[:, self.n_classes :]
                self.loss.probabilities(p)
                self._remember(x, parameters, p)
            else:
                change = forward(x, weight_change)
            change = change + bias_change
            self.loss.curve(p, change)
            if weights is not None:
                change *= weights.astype(change.dtype)[:, None]
            product = summed(product, backward(x, change))
            columns += np.ones(len(change), change.dtype) @ change
        return self.derivative(product, columns, direction)

    def gap(self, parameters: Parameters, objective: float, gradient: Parameters) -> float:
        """Return how far the point can be above the optimum; see `penalty`."""
        if self.penalty.l2 and not self.penalty.l1:
            curvature = self.intercept_curvature if self.fit_intercept else None
            return float(kernels.quadratic_gap(gradient, self.penalty.l2, curvature))
        d = self.n_features
        gap = self.penalty.gap(parameters[:, :d], objective, gradient[:, :d])
        return gap + self.intercept_gap(gradient)

    def rounded(self, tol: float) -> Self:
        """Return this problem with float32 parameters, where they are many and serve `tol`.

        Then a good part of a fit goes over them, not over the data, which are float32 as well.
        """
        many = self.n_classes * self.n_features > MANY and tol >= SINGLE_TOL
        if not many or self.rows.dtype != np.float32:
            return self
        other = copy.copy(self)
        other.dtype = self.rows.dtype
        return other

    def unrounded(self) -> CrossEntropyObjective:
        """Return this problem: it is exact enough."""
        return self

    def bundle(self, tol: float) -> Bundle | None:
        """Return what bounds the distance closer by several points, where that serves `tol`."""
        # With a better curvature the gradient goes steadily, and there is nothing to cancel.
        curved = is_exact(self) or has_blocks(self)
        if curved or self.penalty.l1 or not self.penalty.l2:
            return None
        dear = self.rows.work() >= DEAR_PASS * self.n_features
        serves = Bundle.serves(self.n_classes * self.n_features, tol)
        return Bundle(self) if dear and serves else None

    def intercept_gap(self, gradient: Parameters) -> float:
        """Return how much the intercept alone can gain, to second order."""
        if not self.fit_intercept:
            return 0.0
        return float(gradient[:, -1] @ (gradient[:, -1] / self.intercept_curvature))

    def certificate(
        self, parameters: Parameters, objective: float, gradient: Parameters
    ) -> tuple[float, float]:
        """Return the whole objective and the gap with the last penalty of the path."""
        coef = parameters[:, : self.n_features]
        surplus = self.penalty.l2 - self.last_penalty.l2
        if surplus:
            gradient = gradient.copy()
            gradient[:, : self.n_features] -= surplus * coef
            objective -= 0.5 * surplus * square_sum(coef)
        gap = self._with(self.last_penalty).gap(parameters, objective, gradient)
        return objective + self.last_penalty.absolute(coef), gap

    def path(self) -> list[CrossEntropyObjective]:
        """Return this problem with penalties that fall to its own, if that is very weak.

        Without penalty a row that is confidently wrong has a slope but no curvature, and steps
        towards it are of no size. The stronger penalty before has mended such rows.
        """
        if is_exact(self):
            return [self]
        variances = square_sums(self.glance.x, None) / self.glance.n_rows - self.mean**2
        varying = variances[variances > 0]
        usual = STRONG_PENALTY * float(np.median(varying)) if varying.size else 0.0
        # No penalty at all is led to by one that leaves no trace in the result.
        last = max(self.penalty.l2, 1e-9 * usual)
        ratio = max(usual / last, 1.0) if last else 1.0
        n_stages = math.ceil(math.log(ratio, PENALTY_STEP) - 0.5)
        easier = [
            self._with(ElasticNet(self.penalty.l1, last * ratio ** (power / n_stages)))
            for power in range(n_stages, 0, -1)
        ]
        return [*easier, self]

    def sample(self) -> CrossEntropyObjective | None:
        """Return this problem on a few of the rows, where a starting point is worth its price."""
        if not has_blocks(self):
            return None
        work = self.rows.work() * self.n_classes
        size = self.rows.n_rows // SAMPLE_SHARE
        enough = max(ROWS_PER_COLUMN * self.shape[1], ROWS_PER_CLASS * self.n_classes)
        if work < SAMPLE_WORK or size < enough:
            return None
        smaller = copy.copy(self)
        smaller.rows = self.rows.sample(size, self.seed)
        smaller.total_weight, _ = smaller._weight_and_mean(False)
        return smaller if smaller.total_weight > 0 else None

    def settled(
        self, parameters: Parameters, gradient: Parameters, allowed: float
    ) -> Parameters | None:
        """Return the parameters with better intercepts, where those are far from their best.

        What the gap says of intercepts leaves out how the weights would follow them.
        """
        if not self.fit_intercept or not knows_intercepts(self):
            return None
        # That of the last preconditioner may be of a point far behind.
        self.intercept_curvature = np.maximum(mean_confusion(self, parameters), TINY)
        if self.intercept_gap(gradient) <= SETTLED * allowed:
            return None
        moved = parameters.copy()
        moved[:, -1] += self._intercept_step(parameters, gradient)
        return moved

    def steered(
        self, direction: Parameters, parameters: Parameters, gradient: Parameters
    ) -> Parameters:
        """Put the intercepts' own Newton step into a direction, where a few rows tell it."""
        if self.fit_intercept and knows_intercepts(self):
            direction[:, -1] = self._intercept_step(parameters, gradient)
        return direction

    def _intercept_step(self, parameters: Parameters, gradient: Parameters) -> Float64:
        step = np.linalg.solve(intercept_matrix(self, parameters), -gradient[:, -1])
        return np.asarray(step, np.float64)

    @property
    def corners(self) -> Float64:
        """Return the weight of |W| for each parameter."""
        weights = np.full(self.shape, self.penalty.l1)
        weights[:, self.n_features :] = 0
        return weights

    def diagonal(self, parameters: Parameters) -> Float64:
        """Return the diagonal of the second derivative of the smooth part."""
        return diagonal(self, parameters)

    def unbounded(self) -> bool:
        """Say whether, without a penalty, every row's own class had more than half: scale it up."""
        return self.penalty.none and self.largest_loss < math.log(2)

    def preconditioner(self, parameters: Parameters) -> Preconditioner:
        """Return an approximate inverse of the second derivative at `parameters`."""
        return preconditioner(self, parameters)

    def product_form(self, parameters: Parameters) -> tuple[Array, Array]:
        """Return weights and bias for the data as they are, in their dtype."""
        coef = parameters[:, : self.n_features]
        mean = self.mean.astype(parameters.dtype, copy=False)
        bias = parameters[:, -1] - coef @ mean if self.fit_intercept else np.zeros(len(coef))
        # Products with compressed rows read what belongs to a column.
        order: Literal["C", "F"] = "F" if self.rows.sparse else "C"
        return coef.astype(self.rows.dtype, order=order), bias.astype(self.rows.dtype)

    def probabilities(self, x: Matrix, parameters: Parameters) -> Array:
        """Return the probabilities of a few rows."""
        known = self._remembered(x, parameters)
        if known is not None:
            return known
        weight, bias = self.product_form(parameters)
        logits = forward(x, weight)
        logits += bias
        self.loss.probabilities(logits)
        self._remember(x, parameters, logits)
        return logits

    # Where all rows are one chunk its probabilities are kept: no more than that chunk of logits.

    def _remember(self, x: Matrix, parameters: Parameters, p: Array) -> None:
        if x is getattr(self.rows, "x", None):
            self._known = (x, parameters, p)

    def _remembered(self, x: Matrix, parameters: Parameters) -> Array | None:
        if self._known is None or self._known[0] is not x or self._known[1] is not parameters:
            return None
        return self._known[2]

    def _note_largest(self, losses: Float64, weights: Float64 | None) -> None:
        if self.penalty.none:
            own = losses if weights is None else losses / np.where(weights > 0, weights, 1)
            self.largest_loss = max(self.largest_loss, float(own.max(initial=0.0)))

    def designs(self, parameters: Parameters) -> Iterator[tuple[Array, Array, Float64 | None]]:
        """Return centred rows, their probabilities and weights, chunk by chunk in float64."""
        for x, _, weights in self.rows.chunks():
            p = self.probabilities(x, parameters).astype(np.float64, copy=False)
            yield self.centred(x, np.float64), p, weights

    def glance_designs(
        self, parameters: Parameters
    ) -> Iterator[tuple[Array, Array, Float64 | None]]:
        """Return a few centred rows, their probabilities and weights, in the dtype of the rows."""
        for x, _, weights in self.glance.chunks():
            yield self.centred(x), self.probabilities(x, parameters), weights

    def centred(self, x: Matrix, dtype: Any = None) -> Array:
        """Return a copy of a few rows, centred, with a column of ones for the intercept."""
        x = dense(x)
        rows = np.ones((len(x), self.shape[1]), dtype or x.dtype)
        np.subtract(x, self.mean, out=rows[:, : self.n_features], casting="same_kind")
        return rows

    def _with(self, penalty: ElasticNet) -> Self:
        if penalty is self.penalty:
            return self
        other = copy.copy(self)
        other.penalty = penalty
        return other

    def _weight_and_mean(self, centre: bool) -> tuple[float, Parameters]:
        total = np.zeros(self.n_features)
        weight = 0.0
        for x, _, weights in self.rows.chunks():
            weight += x.shape[0] if weights is None else float(weights.sum())
            if centre:
                total += column_sums(x, weights)
        return weight, total / weight if centre else total

    def derivative(self, products: Array, columns: Float64, penalised: Parameters) -> Parameters:
        """Move sums over uncentred rows to the centred features and add the penalty's share."""
        derivative = np.empty(self.shape, penalised.dtype)
        kernels.layer_derivative(
            products,
            columns,
            self.mean,
            self.total_weight,
            self.penalty.l2,
            np.ascontiguousarray(penalised),
            derivative,
        )
        return derivative
