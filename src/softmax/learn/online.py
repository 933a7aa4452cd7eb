"""Training on one batch after another, without steps to tune.

What has been learnt is kept as a normal distribution of the parameters: the model is its mean, and
its precision, a number for each parameter, is the curvature of all batches so far on top of the
penalty's. A new batch is an ordinary training problem in which that distribution is the penalty.

References
----------
Spiegelhalter & Lauritzen (1990), "Sequential updating of conditional probabilities on directed
graphical structures". Chapelle & Li (2011), "An empirical evaluation of Thompson sampling",
algorithm 3, for two classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softmax.learn.estimator import LinearClassifier
from softmax.learn.inputs import check_rows, check_weights
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.preconditioner import Diagonal, Preconditioner
from softmax.learn.problem import Iteration, Problem, Solution
from softmax.learn.rows import ArrayRows
from softmax.learn.solver import minimise
from softmax.learn.targets import TargetEncoding, class_counts, class_weights

__all__ = ["OnlineTraining"]

Float64 = NDArray[np.float64]
Labels = NDArray[Any]

LEAST_PRECISION = 1e-12
INTERCEPT_PRECISION = 1e-6  # of the penalty's: free, but not before anything was seen


class OnlineTraining(LinearClassifier):
    """`partial_fit` for a model whose outputs are its classes."""

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from one batch more; a class never seen before is added.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows of the batch.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like, optional
            Labels that are to come; they need not be named.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        self

        Notes
        -----
        After batches that together hold the same rows the model is near that of `fit`, not equal to
        it: of what was learnt before, a mean and a precision for each parameter is kept.
        """
        self._check_parameters()
        first = not hasattr(self, "_online")
        rows = check_rows(self, X, reset=first)
        target, found = self._check_targets(y, rows.shape[0])
        if target.ndim != 1:
            raise ValueError("partial_fit takes labels, not a matrix of probabilities")
        weights = check_weights(sample_weight, rows)
        named = found if classes is None else np.union1d(found, np.asarray(classes))
        all_classes = named if first else np.union1d(self.classes_, named)
        self._extend_knowledge(all_classes, first)
        target = np.searchsorted(all_classes, found)[target]
        self._online.counts += class_counts(target, weights, len(all_classes))
        own = class_weights(self.class_weight, all_classes, self._online.counts)
        encoding = TargetEncoding(len(all_classes), float(self.label_smoothing), own)
        batch = CrossEntropyObjective(
            ArrayRows(rows, target, weights, encoding),
            self._loss,
            len(all_classes),
            C=np.inf,
            fit_intercept=bool(self.fit_intercept),
            centre=False,
        )
        solution = self._online.learn(batch, float(self.tol), int(self.max_iter))
        history = solution.history
        self.history_ = {
            "objective": [news.objective for news in history],
            "gap": [news.gap for news in history],
            "seconds": [news.seconds for news in history],
        }
        self._keep(batch, solution)
        self._inference = None
        return self

    def _extend_knowledge(self, classes: Labels, first: bool) -> None:
        if first:
            penalty = max(1 / float(self.C), LEAST_PRECISION)
            self._online = _Knowledge(
                len(classes), self.n_features_in_, bool(self.fit_intercept), penalty
            )
        elif not np.array_equal(classes, self.classes_):
            before = np.searchsorted(self.classes_, classes)
            before[before == len(self.classes_)] = 0
            known = self.classes_[before] == classes
            self._online.rearrange(np.where(known, before, -1))
        self.classes_ = classes


class _Knowledge:
    """Mean and precision of the parameters, (K, d + 1) or (K, d) without intercept."""

    def __init__(self, n_classes: int, n_features: int, fit_intercept: bool, penalty: float):
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.mean = np.zeros((0, n_features + fit_intercept))
        self.precision = self.mean.copy()
        self.counts = np.zeros(0)
        self.rearrange(np.full(n_classes, -1))

    def rearrange(self, before: NDArray[np.int64]) -> None:
        """Give each class what it had at position `before`; -1 is a class never seen."""
        mean = np.zeros((len(before), self.mean.shape[1]))
        precision = np.full(mean.shape, self.penalty)
        if self.fit_intercept:
            precision[:, -1] *= INTERCEPT_PRECISION
        counts = np.zeros(len(before))
        known = before >= 0
        mean[known], precision[known] = self.mean[before[known]], self.precision[before[known]]
        counts[known] = self.counts[before[known]]
        self.mean, self.precision, self.counts = mean, precision, counts

    def learn(self, batch: CrossEntropyObjective, tol: float, max_iter: int) -> Solution:
        """Move to the parameters that fit a batch and what was known best, and remember it."""
        if len(self.mean) == 1:  # nothing to tell apart yet
            return Solution(self.mean, converged=True, history=[Iteration(0, 0.0, 0.0, 0.0)])
        problem = _Posterior(batch, self.mean, self.precision / batch.total_weight)
        solution = minimise(
            problem, self.mean, tol=tol, max_iter=max_iter, report=lambda *news: False
        )
        self.mean = solution.parameters
        self.precision = self.precision + batch.total_weight * batch.diagonal(self.mean)
        return solution


class _Posterior:
    """The mean loss of a batch plus sum(precision (parameters - mean)^2) / 2."""

    dtype = np.dtype(np.float64)

    def __init__(self, batch: CrossEntropyObjective, mean: Float64, precision: Float64) -> None:
        self.batch = batch
        self.mean = mean
        self.precision = precision

    def evaluate(self, parameters: Float64) -> tuple[float, Float64]:
        objective, gradient = self.batch.evaluate(parameters)
        moved = parameters - self.mean
        pull = self.precision * moved
        return objective + 0.5 * float(np.vdot(moved, pull)), gradient + pull

    def hessian_product(self, parameters: Float64, direction: Float64) -> Float64:
        return self.batch.hessian_product(parameters, direction) + self.precision * direction

    def preconditioner(self, parameters: Float64) -> Preconditioner:
        return Diagonal(self.batch.diagonal(parameters) + self.precision, coupled=False)

    def gap(self, parameters: Float64, objective: float, gradient: Float64) -> float:
        return 0.5 * float((gradient**2 / self.precision).sum())

    def rounded(self, tol: float) -> Problem:
        return self

    def unrounded(self) -> Problem:
        return self

    def bundle(self, tol: float) -> None:
        return None

    def certificate(
        self, parameters: Float64, objective: float, gradient: Float64
    ) -> tuple[float, float]:
        return objective, self.gap(parameters, objective, gradient)

    def path(self) -> Sequence[Problem]:
        return [self]

    def sample(self) -> None:
        return None

    def guess(self) -> None:
        return None

    def best_length(self, parameters: Float64, direction: Float64) -> float:
        return 1.0

    def steered(self, direction: Float64, parameters: Float64, gradient: Float64) -> Float64:
        return direction

    def settled(self, parameters: Float64, gradient: Float64, allowed: float) -> None:
        return None

    def unbounded(self) -> bool:
        return False
