"""Calibration after training: probabilities that say how often a classifier is right.

The classes keep their order; only the confidence changes. Temperature scaling fits one number on
rows that were held out, vector scaling a factor and an offset for each class. Both losses are
convex in what is fitted, so Newton's method finds the optimum itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d

from softmax.functions import log_softmax, logsumexp, softmax
from softmax.learn.evaluation import class_positions

__all__ = ["TemperatureScaling"]

Float64 = NDArray[np.float64]

ROOT_TOL = 1e-13  # relative step of 1 / T at which the root is found
NEWTON_STEPS = 200
DECREMENT_TOL = 1e-14  # nats


class TemperatureScaling(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""Divide logits by the temperature that fits held-out labels best.

    Parameters
    ----------
    estimator : classifier or None, default None
        A fitted classifier; its `decision_function` gives the logits, or its `predict_log_proba`
        where it has no other. It is not fitted again. None: X is the logits.
    method : {"temperature", "vector"}, default "temperature"
        One temperature for all classes, or a factor and an offset for each.
    bounds : (float, float), default (1e-3, 1e3)
        Least and largest temperature; 1 lies between them. Labels that are the largest logit in
        every row have no best temperature, and get the least.

    Attributes
    ----------
    temperature_ : float
        The temperature, within `bounds`. Of vector scaling: where it started from.
    scale_ : ndarray of shape (n_classes,)
        Factors of the logits; 1 / `temperature_` each for one temperature.
    offset_ : ndarray of shape (n_classes,)
        What is added then; zero for one temperature.
    classes_ : ndarray of shape (n_classes,)
        The labels in the order of the logits.
    log_loss_, uncalibrated_log_loss_ : float
        Mean negative log-likelihood of the rows fitted to, in nats, with and without scaling.
    n_iter_ : int
        Newton steps taken.

    Raises
    ------
    TypeError
        From `fit`, if the classifier has neither `decision_function` nor `predict_log_proba`.
    ValueError
        From `fit`, for arguments out of range, logits that are not finite, labels that do not fit.

    Notes
    -----
    With beta = 1 / T and a row's logits z less that of its label, the loss is the mean of
    logsumexp(beta z). Its derivative is the mean of z under softmax(beta z), which grows with
    beta; its root is found to 1e-13 by Newton's method within a bracket. Only logits are
    understood: probabilities given in their place would be scaled as if they were logits.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural
       Networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax.learn import TemperatureScaling
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(0, 2, (20_000, 3))
    >>> labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    >>> scaling = TemperatureScaling().fit(3 * logits, labels)    # over-confident threefold
    >>> abs(scaling.temperature_ - 3) < 0.1
    True
    >>> scaling.log_loss_ < scaling.uncalibrated_log_loss_
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "temperature",
        bounds: tuple[float, float] = (1e-3, 1e3),
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.bounds = bounds

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Fit the scaling to rows that the classifier was not trained on.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or (n_samples, n_classes), or (n_samples,)
            What the classifier takes. Without a classifier the logits, or for two classes the
            second logit less the first.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, not negative and not all zero; by default 1 each.
        classes : array-like of shape (n_classes,), optional
            Without a classifier: the label of each column of logits. By default the different
            labels in order if there are as many as columns, else 0, 1, 2 and so on.

        Returns
        -------
        self
        """
        low, high = self._checked_bounds()
        logits = self._logits(X)
        if self.estimator is not None:
            classes = self.estimator.classes_
        labels = column_or_1d(y)
        if len(labels) != len(logits):
            raise ValueError(f"y has {len(labels)} labels where X has {len(logits)} rows")
        self.classes_, target = class_positions(labels, logits.shape[1], classes)
        weights = normalised_weights(sample_weight, len(logits))
        relative = logits - np.take_along_axis(logits, target[:, None], axis=1)
        self.uncalibrated_log_loss_ = mean_loss(relative, weights)
        inverse, self.n_iter_ = best_inverse_temperature(relative, weights, 1 / high, 1 / low)
        self.temperature_ = 1 / inverse
        self.scale_ = np.full(logits.shape[1], inverse)
        self.offset_ = np.zeros(logits.shape[1])
        if self.method == "vector":
            self._fit_vector(logits, target, weights)
        self.log_loss_ = mean_loss(self._scaled(logits), weights, target)
        self.n_features_in_ = 1 if np.ndim(X) == 1 else np.shape(X)[1]
        return self

    def decision_function(self, X: ArrayLike) -> Float64:
        """Return scaled logits, or for two classes the second less the first.

        Parameters
        ----------
        X : array-like
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        scaled = self._scaled(self._checked_logits(X))
        return scaled[:, 1] - scaled[:, 0] if scaled.shape[1] == 2 else scaled

    def predict_proba(self, X: ArrayLike) -> Float64:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array-like
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities: Float64 = softmax(self._scaled(self._checked_logits(X)))
        return probabilities

    def predict_log_proba(self, X: ArrayLike) -> Float64:
        """Return the logarithms of calibrated probabilities, in nats.

        Parameters
        ----------
        X : array-like
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        logarithms: Float64 = log_softmax(self._scaled(self._checked_logits(X)))
        return logarithms

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable labels: with one temperature, those without calibration.

        Parameters
        ----------
        X : array-like
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        best = self._scaled(self._checked_logits(X)).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def _checked_bounds(self) -> tuple[float, float]:
        if self.method not in ("temperature", "vector"):
            raise ValueError(f'method must be "temperature" or "vector", got {self.method!r}')
        try:
            low, high = map(float, self.bounds)
        except (TypeError, ValueError):
            raise ValueError(f"bounds must be two numbers, got {self.bounds!r}") from None
        if not (0 < low <= 1 <= high < math.inf):
            raise ValueError(f"bounds must be finite, positive and around 1, got {self.bounds!r}")
        return low, high

    def _checked_logits(self, X: ArrayLike) -> Float64:
        check_is_fitted(self)
        logits = self._logits(X)
        if logits.shape[1] != len(self.classes_):
            raise ValueError(
                f"X gives {logits.shape[1]} logits a row where {len(self.classes_)} were fitted"
            )
        return logits

    def _logits(self, X: ArrayLike) -> Float64:
        """Return one finite logit for each class."""
        if self.estimator is None:
            values, source = X, "X"
        else:
            values, source = decision_values(self.estimator, X)
        logits = np.asarray(values, np.float64)
        if logits.ndim == 2 and logits.shape[1] == 1:
            logits = logits[:, 0]
        if logits.ndim == 1:
            logits = np.stack([-logits / 2, logits / 2], axis=1)
        if logits.ndim != 2 or len(logits) == 0:
            raise ValueError(f"{source} must hold rows of logits, got shape {np.shape(values)}")
        if not np.isfinite(logits).all():
            row, column = np.argwhere(~np.isfinite(logits))[0]
            raise ValueError(
                f"{source} must hold finite logits, got {logits[row, column]} in row {row}"
            )
        return logits

    def _scaled(self, logits: Float64) -> Float64:
        return np.asarray(logits * self.scale_ + self.offset_)

    def _fit_vector(self, logits: Float64, target: NDArray[np.int64], weights: Float64) -> None:
        start = np.stack([self.scale_, self.offset_])
        loss = VectorLoss(logits, target, weights)
        (self.scale_, offset), steps = newton(loss, start)
        self.offset_ = offset - offset.mean()
        self.n_iter_ += steps


def decision_values(estimator: Any, X: ArrayLike) -> tuple[Any, str]:
    """Return what a fitted classifier decides by, and the name of it."""
    for name in ("decision_function", "predict_log_proba"):
        if hasattr(estimator, name):
            check_is_fitted(estimator)
            return getattr(estimator, name)(X), f"{type(estimator).__name__}.{name}"
    raise TypeError(
        f"estimator must have decision_function or predict_log_proba, got {estimator!r}"
    )


def normalised_weights(sample_weight: ArrayLike | None, n_rows: int) -> Float64:
    """Return weights of the rows that sum to 1."""
    if sample_weight is None:
        return np.full(n_rows, 1 / n_rows)
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},), got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("sample_weight must be finite, not negative and not all zero")
    return np.asarray(weights / weights.sum())


def mean_loss(logits: Float64, weights: Float64, target: NDArray[np.int64] | None = None) -> float:
    """Return the mean negative log-likelihood; without a target its logits are 0."""
    if target is not None:
        logits = logits - np.take_along_axis(logits, target[:, None], axis=1)
    return float(weights @ logsumexp(logits))


def best_inverse_temperature(
    relative: Float64, weights: Float64, low: float, high: float
) -> tuple[float, int]:
    """Return where the slope of the loss is 0, or the bound it falls towards, and the steps."""

    def slope_and_curvature(inverse: float) -> tuple[float, float]:
        p = softmax(relative, temperature=1 / inverse)
        mean = np.einsum("ij,ij->i", p, relative)
        square = np.einsum("ij,ij,ij->i", p, relative, relative)
        return float(weights @ mean), float(weights @ (square - mean * mean))

    if slope_and_curvature(low)[0] >= 0:
        return low, 0
    if slope_and_curvature(high)[0] <= 0:
        return high, 0
    inverse, moved, steps = 1.0, math.inf, 0
    while moved > ROOT_TOL * inverse and steps < NEWTON_STEPS:
        steps += 1
        slope, curvature = slope_and_curvature(inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        after = inverse - slope / curvature if curvature > 0 else math.inf
        if not low <= after <= high:
            after = math.sqrt(low * high)
        moved, inverse = abs(after - inverse), after
    return inverse, steps


class VectorLoss:
    """The mean negative log-likelihood of softmax(scale * logits + offset)."""

    def __init__(self, logits: Float64, target: NDArray[np.int64], weights: Float64) -> None:
        self.logits, self.target, self.weights = logits, target, weights

    def __call__(self, parameters: Float64) -> float:
        """Return the loss at scales and offsets, two rows."""
        return mean_loss(self.logits * parameters[0] + parameters[1], self.weights, self.target)

    def derivatives(self, parameters: Float64) -> tuple[Float64, Float64]:
        """Return gradient and Hessian, the scales before the offsets."""
        p = softmax(self.logits * parameters[0] + parameters[1])
        error = p.copy()
        error[np.arange(len(p)), self.target] -= 1
        both = np.hstack([p * self.logits, p])
        gradient = self.weights @ np.hstack([error * self.logits, error])
        hessian = -(both.T * self.weights) @ both
        k = p.shape[1]
        scales, offsets = np.arange(k), np.arange(k, 2 * k)
        hessian[scales, scales] += self.weights @ (p * self.logits**2)
        hessian[offsets, offsets] += self.weights @ p
        mixed = self.weights @ (p * self.logits)
        hessian[scales, offsets] += mixed
        hessian[offsets, scales] += mixed
        return gradient, hessian


def newton(loss: VectorLoss, start: Float64) -> tuple[Float64, int]:
    """Descend from start until nothing is left to gain; return the parameters and the steps.

    A trace of the identity in the Hessian holds the direction that changes nothing, all offsets
    alike. Labels that no finite scale fits best end where the loss is within 1e-14 of its limit.
    """
    parameters, value = start, loss(start)
    steps = 0
    while steps < NEWTON_STEPS:
        gradient, hessian = loss.derivatives(parameters)
        hessian += 1e-12 * np.trace(hessian) * np.eye(len(hessian))
        direction = np.asarray(-np.linalg.solve(hessian, gradient), np.float64)
        decrement = -float(direction @ gradient) / 2
        arrived = None
        if decrement > DECREMENT_TOL:
            arrived = descend(loss, parameters, value, direction.reshape(2, -1), decrement)
        if arrived is None:
            break
        parameters, value = arrived
        steps += 1
    return parameters, steps


def descend(
    loss: Callable[[Float64], float],
    parameters: Float64,
    value: float,
    direction: Float64,
    decrement: float,
) -> tuple[Float64, float] | None:
    """Return a lower point along the direction and its loss, None where rounding hides it."""
    length = 1.0
    while length > 1e-8:
        trial = parameters + length * direction
        lower = loss(trial)
        if lower < value - 1e-4 * length * decrement:
            return trial, lower
        length /= 2
    return None
