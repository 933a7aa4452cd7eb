"""How good a classifier is on rows it has not seen.

Rows are held out class by class, so that every class keeps its share on both sides, and every
figure is computed from two things: the log-probabilities of the held-out rows, which lose nothing
where a probability rounds to 0 or 1, and the class each row has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Evaluation",
    "Reliability",
    "class_positions",
    "evaluate",
    "expected_calibration_error",
    "held_out_rows",
    "reliability_bins",
]


@dataclass(frozen=True)
class Evaluation:
    """The figures of one classifier on one table.

    Attributes
    ----------
    accuracy : float
        Share of rows whose most probable class is the true one.
    log_loss : float
        Mean of -log p(true class), in nats.
    calibration_error : float
        Expected calibration error of the most probable class.
    precision, recall, f1 : ndarray of float64, shape (K,)
        Per class; nan where the class was never predicted, never there, or neither.
    support : ndarray of int64, shape (K,)
        Rows of each class.
    confusion : ndarray of int64, shape (K, K)
        Rows by true class (first axis) and predicted class (second axis).
    """

    accuracy: float
    log_loss: float
    calibration_error: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class Reliability:
    """Rows in bins of equal width of the probability of their most probable class.

    Attributes
    ----------
    rows : ndarray of int64, shape (n_bins,)
        Rows of each bin.
    confidence : ndarray of float64, shape (n_bins,)
        Mean probability of the most probable class; nan for an empty bin.
    accuracy : ndarray of float64, shape (n_bins,)
        Share of rows whose most probable class is the true one; nan for an empty bin.
    calibration_error : float
        See `expected_calibration_error`.
    """

    rows: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    calibration_error: float


def evaluate(log_probability: NDArray[np.floating], true: NDArray[np.int64]) -> Evaluation:
    """Compare predicted log-probabilities with the classes that were there.

    Parameters
    ----------
    log_probability : ndarray of floats, shape (n, K)
        Natural logarithms of the predicted probabilities, n >= 1.
    true : ndarray of integers, shape (n,)
        Position of each row's class, in [0, K).

    Returns
    -------
    Evaluation

    Examples
    --------
    >>> import numpy as np
    >>> result = evaluate(np.log([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]]), np.array([0, 1, 1]))
    >>> result.confusion.tolist()
    [[1, 0], [1, 1]]
    >>> round(result.accuracy, 3), round(result.log_loss, 3)
    (0.667, 0.742)
    """
    n, n_classes = log_probability.shape
    predicted = log_probability.argmax(axis=1)
    cells = np.bincount(true * n_classes + predicted, minlength=n_classes * n_classes)
    confusion = cells.reshape(n_classes, n_classes)
    hits = confusion.diagonal()
    support = confusion.sum(axis=1)
    times_predicted = confusion.sum(axis=0)
    return Evaluation(
        accuracy=float(hits.sum() / n),
        # 0.0 - x, so that a loss of nothing prints as 0 and not as -0
        log_loss=float(0.0 - log_probability[np.arange(n), true].mean(dtype=np.float64)),
        calibration_error=_reliability(
            np.exp(log_probability.max(axis=1)), predicted == true
        ).calibration_error,
        precision=_share(hits, times_predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, support + times_predicted),
        support=support,
        confusion=confusion,
    )


def held_out_rows(
    labels: NDArray[np.generic], test_size: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into those to train on and those to hold out, class by class.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        The class of each row.
    test_size : float
        Share of the rows to hold out, in [0, 1).
    seed : int
        The same seed gives the same split.

    Returns
    -------
    training, held_out : ndarray of int64
        Row numbers in ascending order. Every class has at least one row to train on, so fewer
        rows than asked for are held out where classes are very small.

    Raises
    ------
    ValueError
        If `test_size` is not in [0, 1).

    Notes
    -----
    Rows are ordered by class, shuffled within each, and held out at equal steps along that order
    (systematic sampling): each class gives its share to within one row.

    Examples
    --------
    >>> training, held_out = held_out_rows(np.array(["a"] * 8 + ["b"] * 4), 0.25, seed=0)
    >>> (held_out < 8).sum(), (held_out >= 8).sum()
    (np.int64(2), np.int64(1))
    """
    if not 0 <= test_size < 1:
        raise ValueError(f"test_size must be at least 0 and below 1, got {test_size}")
    _, codes = np.unique(labels, return_inverse=True)
    order = np.lexsort((np.random.default_rng(seed).random(codes.size), codes))
    first_of_class = np.diff(codes[order], prepend=-1) > 0
    candidates = order[~first_of_class]
    n_held_out = min(round(test_size * codes.size), candidates.size)
    step = candidates.size / max(n_held_out, 1)
    held_out = np.sort(candidates[((np.arange(n_held_out) + 0.5) * step).astype(np.int64)])
    training = np.setdiff1d(np.arange(codes.size), held_out)
    return training, held_out


def expected_calibration_error(
    y_true: ArrayLike, y_prob: ArrayLike, *, n_bins: int = 15, classes: ArrayLike | None = None
) -> float:
    """Return how far confidence and accuracy are apart, over bins of equal confidence.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_prob : array-like of shape (n, K), or (n,) for the second of two classes
        Predicted probabilities.
    n_bins : int, default 15
        How many bins of equal width [0, 1] is cut into.
    classes : array-like of shape (K,), optional
        The label of each column; by default the different labels in order if there are K, else
        0, 1, 2 and so on.

    Returns
    -------
    float
        The sum over bins of (rows in the bin / n) * abs(accuracy - mean confidence), in [0, 1].

    Raises
    ------
    ValueError
        If a shape or a label does not fit, a probability is not in [0, 1], or `n_bins` is below 1.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural
       Networks", ICML 2017, eq. 3.

    Examples
    --------
    >>> probability = [[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]]
    >>> expected_calibration_error([0, 1, 1, 0], probability)
    0.25
    """
    return reliability_bins(y_true, y_prob, n_bins=n_bins, classes=classes).calibration_error


def reliability_bins(
    y_true: ArrayLike, y_prob: ArrayLike, *, n_bins: int = 15, classes: ArrayLike | None = None
) -> Reliability:
    """Return confidence and accuracy over bins of equal confidence.

    Parameters
    ----------
    y_true, y_prob, n_bins, classes
        As in `expected_calibration_error`.

    Returns
    -------
    Reliability

    Raises
    ------
    ValueError
        As `expected_calibration_error` does.

    Examples
    --------
    >>> bins = reliability_bins([0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], n_bins=2)
    >>> bins.rows.tolist(), bins.confidence.round(2).tolist(), bins.accuracy.round(2).tolist()
    ([0, 3], [nan, 0.8], [nan, 0.67])
    """
    probability = np.asarray(y_prob, np.float64)
    if probability.ndim == 1:
        probability = np.stack([1 - probability, probability], axis=1)
    labels = np.asarray(y_true)
    if probability.ndim != 2 or labels.shape != probability.shape[:1] or not labels.size:
        raise ValueError(
            f"y_prob must have a row for each label, got shapes {np.shape(y_prob)} and "
            f"{labels.shape}"
        )
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("y_prob must hold probabilities between 0 and 1")
    if n_bins < 1:
        raise ValueError(f"n_bins must be 1 or more, got {n_bins!r}")
    _, true = class_positions(labels, probability.shape[1], classes)
    correct = probability.argmax(axis=1) == true
    return _reliability(probability.max(axis=1), correct, n_bins)


def class_positions(
    labels: NDArray[Any], n_classes: int, classes: ArrayLike | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the label of each column and the column of each label.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Labels.
    n_classes : int
        How many columns there are.
    classes : array-like of shape (n_classes,), optional
        The label of each column; by default the different labels in order if there are as many as
        columns, else 0, 1, 2 and so on.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    positions : ndarray of int64, shape (n,)

    Raises
    ------
    ValueError
        If the classes are not as many as the columns, or a label is none of them.

    Examples
    --------
    >>> class_positions(np.array(["b", "a", "b"]), 2)[1]
    array([1, 0, 1])
    >>> class_positions(np.array([2, 0]), 4)[0]
    array([0, 1, 2, 3])
    """
    if classes is None:
        classes = np.unique(labels)
        if len(classes) != n_classes:
            classes = np.arange(n_classes)
    names = np.asarray(classes)
    if names.shape != (n_classes,):
        raise ValueError(f"classes must name {n_classes} columns, got shape {names.shape}")
    order = np.argsort(names)
    places = np.minimum(np.searchsorted(names, labels, sorter=order), n_classes - 1)
    positions = order[places]
    known = names[positions] == labels
    if not known.all():
        raise ValueError(
            f"labels must be among the classes {names.tolist()}, got {labels[~known][0]!r}"
        )
    return names, positions.astype(np.int64)


def _reliability(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], n_bins: int = 15
) -> Reliability:
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    rows, claimed, hits = (
        np.bincount(bins, weights, n_bins) for weights in (None, confidence, correct)
    )
    # Both means of a bin have its row count as denominator, which cancels.
    surplus = np.bincount(bins, correct - confidence.astype(np.float64))
    return Reliability(
        rows=rows,
        confidence=_share(claimed, rows),
        accuracy=_share(hits, rows),
        calibration_error=float(np.abs(surplus).sum() / confidence.size),
    )


def _share(part: NDArray[Any], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
