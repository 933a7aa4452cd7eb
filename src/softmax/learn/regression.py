"""Softmax regression (multinomial logistic regression) with scikit-learn's conventions.

P(class k | x) = softmax(W x + b)_k, trained to a certified distance from the optimum. The
objective is in `objective`, the optimiser in `solver`; here stand the checks, the labels and the
predictions.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from softmax.functions import log_softmax, softmax
from softmax.learn.model_io import SavedModel, read_model, write_model
from softmax.learn.objective import CrossEntropyObjective, row_chunks
from softmax.learn.solver import Iteration, Solution, minimise

__all__ = ["SoftmaxRegression"]

Array = NDArray[np.floating[Any]]
Labels = NDArray[Any]


class SoftmaxRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""Multinomial logistic regression, trained to a certified optimum.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the L2 penalty, positive; smaller is stronger. np.inf is not accepted.
    fit_intercept : bool, default True
        Whether the classes have intercepts; they carry no penalty.
    tol : float, default 1e-4
        Stop where the objective is certified to be within this share of the optimum. It needs no
        adjustment to the scale of the data or to `C`.
    max_iter : int, default 1000
        Most steps of the solver.
    warm_start : bool, default False
        Start from the last solution, if it has the same classes and features.
    random_state : int, RandomState instance or None, default None
        Chooses the rows from which the solver estimates curvature, where there are many. It moves
        the result within `tol`; None chooses the same rows every time.
    callback : callable or None, default None
        Called before the first step and after each one with an object that has the attributes
        `iteration`, `objective`, `gap` and `seconds`; returning True ends the training.
    verbose : int, default 0
        Positive: print a line for each step.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features)
        A row of weights for each class, for two classes too. The rows sum to zero.
    intercept_ : ndarray of shape (n_classes,)
        Intercepts; zero without `fit_intercept`.
    classes_ : ndarray of shape (n_classes,)
        The labels, in order.
    n_iter_ : int
        Steps taken.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names that are all strings.
    duality_gap_ : float
        A bound on how far `objective` is above the optimum, in nats.
    history_ : dict of str to list of float
        `objective` (nats per unit of weight, penalty included), `gap` and `seconds`, an entry
        before the first step and after each one.

    Raises
    ------
    ValueError
        From `fit`, for arguments out of range, X that is not finite, or labels of one class only.

    Warns
    -----
    ConvergenceWarning
        Where `fit` stopped before it reached `tol`.

    Notes
    -----
    The objective, with weights s_i of the rows that sum to S, is

    .. math:: \frac1S \sum_i s_i \, [\operatorname{logsumexp}(W x_i + b) - (W x_i + b)_{y_i}]
              + \frac{1}{2 C S} \lVert W \rVert^2,

    1 / S of scikit-learn's for three or more classes, so that the same C gives the same model. Two
    classes keep two rows, W = (-v/2, v/2), whose penalty is half of that of the one row v which
    scikit-learn fits: ``SoftmaxRegression(C=C)`` and ``LogisticRegression(C=2 * C)`` then give the
    same probabilities.

    The bound on the distance to the optimum is the duality gap |gradient|^2 C S / 2, with a share
    for the intercept to second order. Where the penalty is so weak that this bound says nothing
    (a thousand times the distance that second derivatives predict), training ends where that
    prediction, the Newton decrement, is a tenth of `tol`; `duality_gap_` stays the bound.

    Data in float32 stay float32, as do the model and the probabilities.

    References
    ----------
    Shalev-Shwartz & Zhang (2014), "Accelerated proximal stochastic dual coordinate ascent for
    regularized loss minimization", for the dual of the problem.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.predict(X[:3]).tolist()
    [0, 0, 0]
    >>> model.predict_proba(X[:1]).round(2).tolist()
    [[0.98, 0.02, 0.0]]
    >>> model.duality_gap_ <= 1e-4 * model.history_["objective"][-1]
    True
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        callback: Callable[[Iteration], object] | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.callback = callback
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers; float32 is kept, all else becomes float64.
        y : array-like of shape (n_samples,)
            Labels of two classes or more: numbers, booleans or strings.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, not negative and not all zero; by default 1 each.

        Returns
        -------
        self
        """
        self._check_parameters()
        rows: Array
        rows, y = validate_data(
            self, X, y, dtype=(np.float64, np.float32), order="C", ensure_all_finite=False
        )
        self._check_finite(rows)
        check_classification_targets(y)
        classes, target = np.unique(column_or_1d(y), return_inverse=True)
        weights = None
        if sample_weight is not None:
            weights = _checked_weights(sample_weight, rows)
        weighed = classes if weights is None else classes[np.unique(target[weights > 0])]
        if len(weighed) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data "
                f"contains only one class{'' if weights is None else ' with positive weight'}: "
                f"{weighed[0]!r}"
            )
        seed = 0
        if self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        objective = CrossEntropyObjective(
            rows,
            target.astype(np.int64, copy=False),
            weights,
            len(classes),
            C=float(self.C),
            fit_intercept=self.fit_intercept,
            seed=seed,
        )
        solution = minimise(
            objective,
            self._start(objective, classes),
            tol=self.tol,
            max_iter=self.max_iter,
            report=self._report,
        )
        self.classes_ = classes
        self._keep(objective, solution)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return logits, or for two classes the second logit less the first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        rows = self._checked_rows(X)
        if len(self.classes_) == 2:
            weight, bias = self._in_dtype_of(rows)
            return np.asarray(rows @ (weight[1] - weight[0]) + (bias[1] - bias[0]))
        return self._logits(rows)

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable label of each row, without building probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = self._checked_rows(X)
        weight, bias = self._in_dtype_of(rows)
        best = np.empty(len(rows), np.intp)
        for part in row_chunks(len(rows), rows.shape[1], len(bias), rows.dtype.itemsize):
            best[part] = (rows[part] @ weight.T + bias).argmax(1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        logits = self._logits(self._checked_rows(X))
        softmax(logits, out=logits)
        return logits

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of the probability of each class for each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        logits = self._logits(self._checked_rows(X))
        log_softmax(logits, out=logits)
        return logits

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as safetensors; an existing file is replaced at once or not at all.

        Parameters
        ----------
        path : path-like
            Where to write.
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        parameters = {
            "C": float(self.C),
            "fit_intercept": bool(self.fit_intercept),
            "tol": float(self.tol),
            "max_iter": int(self.max_iter),
        }
        write_model(
            path,
            SavedModel(
                coef=self.coef_,
                intercept=self.intercept_,
                classes=self.classes_,
                parameters=parameters,
                n_iter=self.n_iter_,
                duality_gap=self.duality_gap_,
                history=[list(row) for row in zip(*self.history_.values(), strict=True)],
                feature_names=None if names is None else names.tolist(),
            ),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path-like
            A safetensors file.

        Returns
        -------
        SoftmaxRegression

        Raises
        ------
        ValueError
            Where the file is not a whole, unchanged model of a known version.
        """
        saved = read_model(path)
        model = cls()
        try:
            model.set_params(**saved.parameters)
            model._check_parameters()
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{os.fspath(path)!r} is not a usable model file: {reason}") from None
        model.coef_, model.intercept_ = saved.coef, saved.intercept
        model.classes_ = saved.classes
        model.n_features_in_ = saved.coef.shape[1]
        if saved.feature_names is not None:
            model.feature_names_in_ = np.array(saved.feature_names, object)
        model.n_iter_, model.duality_gap_ = saved.n_iter, saved.duality_gap
        columns = zip(*saved.history, strict=True) if saved.history else ((), (), ())
        model.history_ = dict(zip(("objective", "gap", "seconds"), map(list, columns), strict=True))
        return model

    def _check_parameters(self) -> None:
        def refuse(name: str, expected: str) -> None:
            raise ValueError(f"{name} is {getattr(self, name)!r} where {expected} was expected")

        # The negated comparisons refuse nan too.
        if not isinstance(self.C, Real) or not 0 < self.C < np.inf:
            refuse("C", "a positive finite number")
        if not isinstance(self.tol, Real) or not 0 <= self.tol < np.inf:
            refuse("tol", "a finite number >= 0")
        if not isinstance(self.max_iter, Integral) or self.max_iter < 0:
            refuse("max_iter", "an int >= 0")
        for name in ("fit_intercept", "warm_start"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                refuse(name, "True or False")
        if self.callback is not None and not callable(self.callback):
            refuse("callback", "a callable or None")

    def _check_finite(self, X: Array) -> None:
        """Refuse NaN and infinity, and say where; a sum shows at once whether any is there."""
        for part in row_chunks(len(X), X.shape[1], 1, X.dtype.itemsize):
            with np.errstate(over="ignore", invalid="ignore"):
                suspect = not np.isfinite(X[part].sum())
            if suspect and not np.isfinite(X[part]).all():
                row, column = np.argwhere(~np.isfinite(X[part]))[0]
                value = X[part][row, column]
                name = "NaN" if np.isnan(value) else "infinity"
                raise ValueError(
                    f"Input X contains {name} at row {part.start + row}, column {column}: "
                    f"{type(self).__name__} needs finite numbers (inf and NaN cannot be fitted)"
                )

    def _start(self, objective: CrossEntropyObjective, classes: Labels) -> NDArray[np.float64]:
        fitted = self.warm_start and hasattr(self, "coef_")
        same_features = fitted and self.coef_.shape[1] == objective.n_features
        if same_features and np.array_equal(self.classes_, classes):
            return objective.from_model(self.coef_, self.intercept_)
        return np.zeros(objective.shape)

    def _report(self, news: Iteration) -> bool:
        if self.verbose > 0:
            print(
                f"iteration {news.iteration}: objective {news.objective:.6g}, "
                f"gap {news.gap:.2e}, {news.seconds:.2f} s"
            )
        return self.callback is not None and self.callback(news) is True

    def _keep(self, objective: CrossEntropyObjective, solution: Solution) -> None:
        dtype = objective.X.dtype
        coef, intercept = objective.to_model(solution.parameters)
        self.coef_, self.intercept_ = coef.astype(dtype), intercept.astype(dtype)
        history = solution.history
        self.history_ = {
            "objective": [news.objective for news in history],
            "gap": [news.gap for news in history],
            "seconds": [news.seconds for news in history],
        }
        self.n_iter_ = history[-1].iteration
        self.duality_gap_ = history[-1].gap
        if not (solution.converged or solution.interrupted):
            self._warn_not_converged(history[-1])

    def _warn_not_converged(self, last: Iteration) -> None:
        reached = last.gap / last.objective if last.objective else last.gap
        if last.iteration < self.max_iter:
            advice = f"{self.coef_.dtype} cannot resolve less; a larger tol or float64 data helps"
        else:
            advice = f"increase max_iter (now {self.max_iter}) or tol, or standardise the columns"
        warnings.warn(
            f"training stopped after {last.iteration} iterations with a relative duality gap of "
            f"{reached:.1e} where tol={self.tol:g} was asked: {advice}",
            ConvergenceWarning,
            stacklevel=3,
        )

    def _checked_rows(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        rows: Array = validate_data(
            self, X, dtype=(np.float64, np.float32), reset=False, ensure_all_finite=False
        )
        self._check_finite(rows)
        return rows

    def _in_dtype_of(self, X: Array) -> tuple[Array, Array]:
        return self.coef_.astype(X.dtype, copy=False), self.intercept_.astype(X.dtype, copy=False)

    def _logits(self, X: Array) -> Array:
        weight, bias = self._in_dtype_of(X)
        logits = X @ weight.T
        logits += bias
        return logits


def _checked_weights(sample_weight: ArrayLike, X: Array) -> NDArray[np.float64]:
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return np.asarray(weights, np.float64)
