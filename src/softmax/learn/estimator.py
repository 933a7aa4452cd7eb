"""What the two regressions share: parameters, checks, and the way from data to a fitted model.

The objective is in `objective`, the optimisers in `solver` and `proximal`, predictions in
`prediction`; a regression says which loss it has and what its labels mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from softmax.learn.chunk_source import ChunkSource, is_chunk_source
from softmax.learn.inputs import check_rows, check_weights
from softmax.learn.loss import Loss
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.problem import Iteration, Solution
from softmax.learn.progress import share_done, steps
from softmax.learn.proximal import minimise_with_corners
from softmax.learn.rows import ArrayRows, ChunkedRows, Rows, dense
from softmax.learn.small_objective import objective_of
from softmax.learn.solver import minimise
from softmax.learn.stopping import HeldOut
from softmax.learn.targets import TargetEncoding, class_counts, class_weights

__all__ = ["LinearClassifier", "TrainingData"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Labels = NDArray[Any]


class TrainingData(NamedTuple):
    """Rows to train on, what the outputs stand for, and rows that are held out, if any."""

    rows: Rows
    classes: Labels
    counts: Float64  # sums of weights of the classes
    held_out: ArrayRows | None = None


class LinearClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Parameters and training of a linear model with a cross-entropy loss."""

    coef_: Any
    intercept_: Array
    classes_: Labels
    _inference: Any

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
        label_smoothing: float = 0.0,
        tol: float = 1e-4,
        max_iter: int = 1000,
        solver: str = "auto",
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        callback: Callable[[Iteration], object] | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.tol = tol
        self.max_iter = max_iter
        self.solver = solver
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.callback = callback
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), or a factory of chunks
            Finite numbers; float32 is kept, all else becomes float64. For data larger than memory
            a function, or an iterable that can be passed over again, that gives (X, y) or
            (X, y, sample_weight) for each chunk of rows, with y left out.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels: numbers, booleans or strings; or the target of each output.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, not negative and not all zero; by default 1 each.

        Returns
        -------
        self
        """
        self._check_parameters()
        seed = self._seed()
        data = self._training_data(X, y, sample_weight, seed)
        objective = self._objective(data.rows, self._n_outputs(data.classes), seed)
        start = self._start(objective, data.classes)
        held_out = None if data.held_out is None else HeldOut(objective, data.held_out)
        self.history_: dict[str, list[float]] = {"objective": [], "gap": [], "seconds": []}
        if held_out is not None:
            self.history_["validation_loss"] = []

        def report(news: Iteration, parameters: Float64) -> bool:
            self.history_["objective"].append(news.objective)
            self.history_["gap"].append(news.gap)
            self.history_["seconds"].append(news.seconds)
            if held_out is not None:
                self.history_["validation_loss"].append(held_out.see(parameters))
            if self.verbose:
                tell(
                    f"iteration {news.iteration}: objective {news.objective:.6g}, "
                    f"gap {news.gap:.2e}, {news.seconds:.2f} s",
                    share_done(news.gap, abs(news.objective), self.tol * abs(news.objective)),
                )
            asked = self.callback is not None and self.callback(news) is True
            return asked or (held_out is not None and held_out.exhausted)

        method = minimise_with_corners if self.l1_ratio and np.isfinite(self.C) else minimise
        tol = self._tolerance(objective)
        with steps(self.verbose) as tell:
            solution = method(objective, start, tol=tol, max_iter=self.max_iter, report=report)
        # What was told last may have been of less precision.
        last = solution.history[-1]
        self.history_["objective"][-1], self.history_["gap"][-1] = last.objective, last.gap
        if held_out is not None:
            solution.parameters = held_out.best
            solution.history[-1] = replace(
                solution.history[-1], gap=self.history_["gap"][held_out.best_step]
            )
        self.classes_ = data.classes
        self._keep(objective, solution)
        self._infer(objective, solution, data.counts)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # What a regression must say.

    _loss: Loss

    def _n_outputs(self, classes: Labels) -> int:
        raise NotImplementedError

    def _check_targets(self, y: Any, n_rows: int) -> tuple[NDArray[Any], Labels]:
        raise NotImplementedError

    def _infer(self, objective: CrossEntropyObjective, solution: Solution, counts: Float64) -> None:
        """Keep what inference needs, if there is any."""

    def _tolerance(self, objective: CrossEntropyObjective) -> float:
        return float(self.tol)

    def _check_parameters(self) -> None:
        def refuse(name: str, expected: str) -> None:
            raise ValueError(f"{name} is {getattr(self, name)!r} where {expected} was expected")

        # The negated comparisons refuse nan too.
        if not isinstance(self.C, Real) or not 0 < self.C <= np.inf:
            refuse("C", "a positive number")
        if not isinstance(self.l1_ratio, Real) or not 0 <= self.l1_ratio <= 1:
            refuse("l1_ratio", "a number from 0 to 1")
        if not isinstance(self.label_smoothing, Real) or not 0 <= self.label_smoothing < 1:
            refuse("label_smoothing", "a number from 0 to below 1")
        if not isinstance(self.tol, Real) or not 0 <= self.tol < np.inf:
            refuse("tol", "a finite number >= 0")
        if not isinstance(self.max_iter, Integral) or self.max_iter < 0:
            refuse("max_iter", "an int >= 0")
        if self.solver != "auto":
            refuse("solver", "'auto'")
        if not isinstance(self.validation_fraction, Real) or not 0 < self.validation_fraction < 1:
            refuse("validation_fraction", "a number between 0 and 1")
        for name in ("fit_intercept", "warm_start", "early_stopping"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                refuse(name, "True or False")
        if self.callback is not None and not callable(self.callback):
            refuse("callback", "a callable or None")
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                refuse("class_weight", "a mapping from labels to weights, 'balanced' or None")
        elif self.class_weight is not None:
            if not isinstance(self.class_weight, Mapping):
                refuse("class_weight", "a mapping from labels to weights, 'balanced' or None")
            if not all(0 <= weight < np.inf for weight in self.class_weight.values()):
                refuse("class_weight", "weights that are finite and not negative")

    def _check_classes(self, counts: Float64, classes: Labels, weighted: bool) -> None:
        present = classes[counts > 0]
        if len(present) < 2:
            only = f": {present[0]!r}" if len(present) else ""
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data "
                f"contains only one class{' with positive weight' if weighted else ''}{only}"
            )

    def _seed(self) -> int:
        if self.random_state is None:
            return 0
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _training_data(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, seed: int
    ) -> TrainingData:
        if is_chunk_source(X, y):
            return self._chunked_data(X, sample_weight)
        if y is None:
            validate_data(self, X, y, accept_sparse="csr", ensure_all_finite=False)
        rows = check_rows(self, X, reset=True)
        n_rows = rows.shape[0]
        target, classes = self._check_targets(y, n_rows)
        weights = check_weights(sample_weight, rows)
        counts = class_counts(target, weights, len(classes))
        encoding = self._encoding(counts, classes, weights is not None)
        if not self.early_stopping:
            return TrainingData(ArrayRows(rows, target, weights, encoding), classes, counts)
        held_out = HeldOut.split(target, self.validation_fraction, seed)
        # Weight 0 leaves the held-out rows where they are: no copy of all the others.
        own = np.ones(n_rows) if weights is None else weights.copy()
        kept = ArrayRows(rows[held_out], target[held_out], own[held_out], encoding)
        own[held_out] = 0
        return TrainingData(ArrayRows(rows, target, own, encoding), classes, counts, kept)

    def _chunked_data(self, X: Any, sample_weight: ArrayLike | None) -> TrainingData:
        if sample_weight is not None:
            raise ValueError(
                "sample_weight goes into the chunks, (X, y, sample_weight), where X is a factory"
            )
        if self.early_stopping:
            raise ValueError("early_stopping needs X as one array, not a factory of chunks")
        source = ChunkSource(self, X, self._check_targets)
        encoding = self._encoding(source.counts, source.classes, source.weighted)
        rows = ChunkedRows(
            source.passes,
            source.n_rows,
            self.n_features_in_,
            source.dtype,
            encoding,
            source.sparse,
        )
        return TrainingData(rows, source.classes, source.counts)

    def _encoding(self, counts: Float64, classes: Labels, weighted: bool) -> TargetEncoding:
        self._check_classes(counts, classes, weighted)
        return TargetEncoding(
            self._n_outputs(classes),
            float(self.label_smoothing),
            class_weights(self.class_weight, classes, counts),
            self._loss.coupled,
        )

    def _objective(self, rows: Rows, n_outputs: int, seed: int) -> CrossEntropyObjective:
        return objective_of(
            rows,
            self._loss,
            n_outputs,
            C=float(self.C),
            l1_ratio=float(self.l1_ratio),
            fit_intercept=bool(self.fit_intercept),
            seed=seed,
        )

    def _start(self, objective: CrossEntropyObjective, classes: Labels) -> Float64:
        """Return the last solution, class by class, where it has the same features."""
        fitted = self.warm_start and hasattr(self, "coef_")
        if not fitted or self.coef_.shape[1] != objective.n_features:
            return np.zeros(objective.shape)
        coef_before = dense(self.coef_)
        if np.array_equal(self.classes_, classes):
            return objective.from_model(coef_before, self.intercept_)
        coef = np.zeros((objective.n_classes, objective.n_features))
        intercept = np.zeros(objective.n_classes)
        if objective.n_classes == len(classes) and len(self.intercept_) == len(self.classes_):
            known = np.isin(classes, self.classes_)
            before = np.searchsorted(self.classes_, classes[known])
            coef[known], intercept[known] = coef_before[before], self.intercept_[before]
        return objective.from_model(coef, intercept)

    def _keep(self, objective: CrossEntropyObjective, solution: Solution) -> None:
        dtype = objective.rows.dtype
        coef, intercept = objective.to_model(solution.parameters)
        self.coef_, self.intercept_ = coef.astype(dtype), intercept.astype(dtype)
        last = solution.history[-1]
        self.n_iter_ = last.iteration
        self.duality_gap_ = last.gap
        if solution.unbounded:
            self._warn(
                "the classes are separated without error: without a penalty there is no optimum "
                "and longer weights are always better, so training stopped at weights that "
                "separate them; a finite C gives a model with an optimum"
            )
        elif not (solution.converged or solution.interrupted):
            self._warn_not_converged(last)

    def _warn_not_converged(self, last: Iteration) -> None:
        reached = last.gap / last.objective if last.objective else last.gap
        if last.iteration < self.max_iter:
            advice = f"{self.coef_.dtype} cannot resolve less; a larger tol or float64 data helps"
        else:
            advice = f"increase max_iter (now {self.max_iter}) or tol, or standardise the columns"
        self._warn(
            f"training failed to converge: it stopped after {last.iteration} iterations with a "
            f"relative duality gap of {reached:.1e} where tol={self.tol:g} was asked: {advice}"
        )

    def _warn(self, message: str) -> None:
        warnings.warn(message, ConvergenceWarning, stacklevel=4)
