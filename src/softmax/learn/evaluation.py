"""How good a classifier is on rows it has not seen.

Rows are held out class by class, so that every class keeps its share on both sides, and every
figure is computed from two things: the log-probabilities of the held-out rows, which lose nothing
where a probability rounds to 0 or 1, and the class each row has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evaluation", "evaluate", "held_out_rows"]


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
        calibration_error=_expected_calibration_error(
            np.exp(log_probability.max(axis=1)), predicted == true
        ),
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


def _expected_calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], n_bins: int = 15
) -> float:
    # Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks", eq. 3:
    # sum over bins of (rows in the bin / n) |accuracy - mean confidence|. Both means have the
    # bin's row count as denominator, which cancels.
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    surplus = np.bincount(bins, weights=correct - confidence.astype(np.float64))
    return float(np.abs(surplus).sum() / confidence.size)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
