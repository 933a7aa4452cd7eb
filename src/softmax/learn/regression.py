"""Softmax regression and sigmoid regression with scikit-learn's conventions.

P(class k | x) = softmax(W x + b)_k for classes of which one is true, P(label k | x) =
sigmoid(W x + b)_k for labels that are questions of their own. Both are trained to a certified
distance from the optimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from softmax.binary import log_sigmoid, sigmoid
from softmax.functions import log_softmax, softmax
from softmax.learn.estimator import LinearClassifier
from softmax.learn.inference import Inference, Summary
from softmax.learn.inputs import as_array, check_shares, check_targets
from softmax.learn.loss import SigmoidLoss, SoftmaxLoss
from softmax.learn.model_file import SavedAsFile
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.online import OnlineTraining
from softmax.learn.prediction import LinearPrediction
from softmax.learn.problem import Solution
from softmax.learn.rows import dense
from softmax.learn.targets import is_matrix

__all__ = ["SigmoidRegression", "SoftmaxRegression"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Labels = NDArray[Any]


class SoftmaxRegression(LinearPrediction, SavedAsFile, OnlineTraining):
    r"""Multinomial logistic regression, trained to a certified optimum.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty, positive; smaller is stronger. np.inf is no penalty at all:
        the estimates of maximum likelihood, for which alone there are `standard_errors`.
    l1_ratio : float, default 0.0
        Share of the penalty that is the sum of absolute weights, which makes many weights 0; the
        rest is half the sum of squares. In [0, 1].
    fit_intercept : bool, default True
        Whether the classes have intercepts; they carry no penalty.
    class_weight : mapping from labels to weights, "balanced" or None, default None
        Weights that multiply those of the rows. "balanced" gives all classes the same weight.
    label_smoothing : float, default 0.0
        Share of each target that goes to all classes alike, in [0, 1).
    tol : float, default 1e-4
        Stop where the objective is certified to be within this share of the optimum. It needs no
        adjustment to the scale of the data or to `C`.
    max_iter : int, default 1000
        Most steps of the solver.
    solver : "auto", default "auto"
        There is nothing to choose.
    warm_start : bool, default False
        Start from the last solution, if it has the same features; classes that are new start at 0.
    early_stopping : bool, default False
        Hold out some rows and keep the step with the lowest loss on them; end after five steps
        without a lower one.
    validation_fraction : float, default 0.1
        Share of the rows to hold out, class by class.
    random_state : int, RandomState instance or None, default None
        Chooses the rows from which the solver estimates curvature, where there are many. It moves
        the result within `tol`; None chooses the same rows every time.
    callback : callable or None, default None
        Called before the first step and after each one with an object that has the attributes
        `iteration`, `objective`, `gap` and `seconds`; returning True ends the training.
    verbose : int, default 0
        1: show a bar, or print a line for each step where there is no terminal. 2: print lines.

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
        before the first step and after each one; `validation_loss` with early stopping.

    Raises
    ------
    ValueError
        From `fit`, for arguments out of range, X that is not finite, or labels of one class only.

    Warns
    -----
    ConvergenceWarning
        Where `fit` stopped before it reached `tol`, or where there is no optimum: without penalty,
        for classes that are separated without error.

    Notes
    -----
    The objective, with weights s_i of the rows that sum to S, is

    .. math:: \frac1S \sum_i s_i \, [\operatorname{logsumexp}(W x_i + b) - (W x_i + b)_{y_i}]
              + \frac{1}{C S} \Big( \frac{1 - r}{2} \lVert W \rVert_2^2 + r \lVert W \rVert_1 \Big)

    with r the `l1_ratio`: 1 / S of scikit-learn's for three or more classes, so that the same C
    gives the same model. Two classes keep two rows, W = (-v/2, v/2), whose squares are half of
    those of the one row v which scikit-learn fits: ``SoftmaxRegression(C=C)`` and
    ``LogisticRegression(C=2 * C)`` then give the same probabilities. `SigmoidRegression` keeps the
    one row.

    Training starts from the optimum of a sample where there are many rows, or from the means of the
    classes where there are many classes or columns; what leads there is not counted.

    The bound on the distance to the optimum is the duality gap, for r = 0
    :math:`|\nabla|^2 C S / 2`, with a share for the intercept to second order. Where the penalty is
    so weak that this bound says nothing (a thousand times the distance that second derivatives
    predict), training ends where that prediction, the Newton decrement, is a tenth of `tol`;
    `duality_gap_` stays the bound.

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

    _loss = SoftmaxLoss()

    def standard_errors(self) -> Float64:
        """Return standard errors of the weights relative to those of the first class.

        Returns
        -------
        ndarray of shape (n_classes - 1, n_features + 1), the last column that of the intercepts,
        or (n_classes - 1, n_features) without intercepts

        Raises
        ------
        ValueError
            Where the model was not fitted with ``C=np.inf``, or has more than 2000 parameters.
        """
        return self._known_inference().standard_error

    def summary(self) -> Summary:
        """Return the table of estimates relative to the first class, which prints as text.

        Returns
        -------
        Summary
            Estimates, standard errors, z, p-values, confidence intervals, log-likelihood, pseudo
            R2, AIC and BIC, as statsmodels' MNLogit has them.

        Raises
        ------
        ValueError
            Where the model was not fitted with ``C=np.inf``, or has more than 2000 parameters.

        Examples
        --------
        >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> table = SoftmaxRegression(C=np.inf).fit(X, [0, 1, 0, 1]).summary()
        >>> table.estimate.round(3).tolist()
        [[0.908, -1.362]]
        """
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            names = [f"x{j}" for j in range(self.n_features_in_)]
        intercept = ["intercept"] if self.fit_intercept else []
        return self._known_inference().summary(self.classes_, [*map(str, names), *intercept])

    def to_sigmoid(self) -> SigmoidRegression:
        """Return the same model of two classes with one row of weights, their difference.

        Returns
        -------
        SigmoidRegression

        Raises
        ------
        ValueError
            Where there are not two classes.
        """
        check_is_fitted(self)
        if len(self.classes_) != 2:
            raise ValueError(f"to_sigmoid needs 2 classes and the model has {len(self.classes_)}")
        weight, bias = self._collapsed(self.intercept_.dtype)
        other = SigmoidRegression(**self.get_params())
        give_form(other, self, dense(weight), bias)
        return other

    def _n_outputs(self, classes: Labels) -> int:
        return len(classes)

    def _check_targets(self, y: Any, n_rows: int) -> tuple[NDArray[Any], Labels]:
        return check_targets(y, n_rows)

    def _tolerance(self, objective: CrossEntropyObjective) -> float:
        # Standard errors are read to many digits, and estimates beside them.
        return min(float(self.tol), 1e-12) if Inference.possible(objective) else float(self.tol)

    def _infer(self, objective: CrossEntropyObjective, solution: Solution, counts: Float64) -> None:
        self._inference = None
        if Inference.possible(objective) and solution.converged:
            self._inference = Inference.of(objective, solution.parameters, counts)

    def _known_inference(self) -> Inference:
        check_is_fitted(self)
        inference: Inference | None = getattr(self, "_inference", None)
        if inference is None:
            raise ValueError(
                "standard errors are those of maximum likelihood: a model fitted here with "
                "C=np.inf, to convergence and with at most 2000 parameters, is expected"
            )
        return inference

    def _to_probabilities(self, logits: Array) -> None:
        softmax(logits, out=logits)

    def _to_log_probabilities(self, logits: Array) -> None:
        log_softmax(logits, out=logits)


class SigmoidRegression(LinearPrediction, SavedAsFile, LinearClassifier):
    """Logistic regression of labels that are questions of their own.

    One sigmoid for two classes, one for each class against the rest where there are more, and one
    for each label where a row may have several.

    Parameters
    ----------
    C, l1_ratio, fit_intercept, class_weight, label_smoothing, tol, max_iter, solver, warm_start, \
early_stopping, validation_fraction, random_state, callback, verbose
        As in `SoftmaxRegression`. Smoothing moves a target towards 1/2. `class_weight` weighs rows
        by their label, and is not for rows with several.

    Attributes
    ----------
    coef_ : ndarray of shape (n_outputs, n_features)
        One row for two classes; else a row for each class or label.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts; zero without `fit_intercept`.
    classes_ : ndarray
        The labels, in order; for targets of several labels a row, their positions.
    multilabel_ : bool
        Whether the target was a matrix.
    n_iter_, n_features_in_, feature_names_in_, duality_gap_, history_
        As in `SoftmaxRegression`.

    Notes
    -----
    For two classes the objective is that of scikit-learn's ``LogisticRegression(C=C)``, over the
    sum of weights. Probabilities of classes against the rest are scaled to sum to one; those of
    labels are left as they are.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> Y = np.array([[0, 1], [0, 1], [1, 1], [1, 0]])
    >>> model = SigmoidRegression(C=100.0).fit(X, Y)
    >>> model.predict([[0.0], [3.0]]).tolist()
    [[0, 1], [1, 0]]
    """

    _loss = SigmoidLoss()

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable label of each row, or 0 and 1 for each label.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples,), or of int64 (n_samples, n_labels)
        """
        check_is_fitted(self)
        if not self.multilabel_:
            return super().predict(X)
        rows = self._checked_rows(X)
        answer = np.empty((rows.shape[0], len(self.classes_)), np.int64)
        for part, logits in self._logits(rows):
            answer[part] = logits > 0
        return answer

    def to_softmax(self) -> SoftmaxRegression:
        """Return the same model of two classes with two rows of weights, half of it each way.

        Returns
        -------
        SoftmaxRegression

        Raises
        ------
        ValueError
            Where there are not two classes.
        """
        check_is_fitted(self)
        if not self._two_sided:
            raise ValueError("to_softmax needs a model of 2 classes with one row of weights")
        coef = dense(self.coef_)
        bias = np.concatenate([-self.intercept_, self.intercept_]) / 2
        other = SoftmaxRegression(**self.get_params())
        give_form(other, self, np.vstack([-coef, coef]) / 2, bias)
        return other

    def _n_outputs(self, classes: Labels) -> int:
        return len(classes) if self.multilabel_ or len(classes) > 2 else 1

    def _check_targets(self, y: Any, n_rows: int) -> tuple[NDArray[Any], Labels]:
        y = as_array(y)
        self.multilabel_ = is_matrix(y)
        if not self.multilabel_:
            return check_targets(y, n_rows)
        if self.class_weight is not None:
            raise ValueError("class_weight weighs rows by their label; y has several a row")
        return check_shares(y, n_rows)

    def _check_classes(self, counts: Float64, classes: Labels, weighted: bool) -> None:
        if not self.multilabel_:
            super()._check_classes(counts, classes, weighted)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def _two_sided(self) -> bool:
        return len(self.classes_) == 2 and not self.multilabel_

    def _to_probabilities(self, logits: Array) -> None:
        if self.multilabel_:
            sigmoid(logits, out=logits)
        else:
            # p_k / sum p as softmax(log p): nothing underflows
            log_sigmoid(logits, out=logits)
            softmax(logits, out=logits)

    def _to_log_probabilities(self, logits: Array) -> None:
        log_sigmoid(logits, out=logits)
        if not self.multilabel_:
            log_softmax(logits, out=logits)


def give_form(other: Any, model: Any, coef: Array, intercept: Array) -> None:
    """Give a model of the other kind these weights, and all else of a fitted model."""
    for name, value in vars(model).items():
        if name.endswith("_") and not name.startswith("_"):
            setattr(other, name, value)
    other.coef_, other.intercept_, other.multilabel_ = coef, intercept, False
