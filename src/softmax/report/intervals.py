"""How far chance can have moved a figure: intervals that hold the truth in 95 of 100 cases.

A share of rows has Wilson's interval, which stays within [0, 1] and says something even where all
rows agree; F1 follows from such a share. Every other figure is computed again on rows drawn with
replacement (the bootstrap), and its interval is where the middle 95 % of those figures fall. The
calibration error is a sum of absolute values, which chance can only make larger: drawing rows again
adds to it what drawing them once has added already. Its interval is therefore reflected at the
figure (the basic bootstrap), and reaches down to 0 where a calibrated model would often show as
much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "f1", "resampled", "wilson"]

Z = 1.959963984540054  # 97.5 % of a normal distribution lie below
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95 % interval; all nan where there is none."""

    value: float
    low: float
    high: float


def wilson(hits: float, n: float) -> Estimate:
    """Return a share of rows with Wilson's score interval.

    Parameters
    ----------
    hits, n : float
        So many of n rows.

    Returns
    -------
    Estimate

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       J. Am. Stat. Assoc. 22, 1927.

    Examples
    --------
    >>> estimate = wilson(9, 10)
    >>> [round(number, 3) for number in (estimate.value, estimate.low, estimate.high)]
    [0.9, 0.596, 0.982]
    """
    if not n:
        return Estimate(math.nan, math.nan, math.nan)
    share = hits / n
    middle = share + Z**2 / (2 * n)
    reach = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    whole = 1 + Z**2 / n
    return Estimate(share, max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole))


def f1(hits: float, either: float) -> Estimate:
    """Return F1 of a class, its interval from that of a share of rows.

    Parameters
    ----------
    hits : float
        Rows that are of the class and were predicted to be.
    either : float
        Rows that are of the class or were predicted to be.

    Returns
    -------
    Estimate
        With J the share of the hits among these rows, F1 = 2 J / (1 + J), and so for its ends.

    Examples
    --------
    >>> round(f1(3, 5).value, 3)
    0.75
    """
    share = wilson(hits, either)
    return Estimate(*(2 * J / (1 + J) for J in (share.value, share.low, share.high)))


def resampled(
    figures: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    n: int,
    *,
    reflected: NDArray[np.bool_],
    seed: int,
    times: int,
    tell: Callable[[float], Any] = lambda share: None,
) -> list[Estimate]:
    """Return figures with bootstrap intervals.

    Parameters
    ----------
    figures : callable
        Takes row numbers and returns m figures of these rows.
    n : int
        Rows there are.
    reflected : ndarray of bool, shape (m,)
        Figures at which the interval is reflected, none of them negative.
    seed : int
        The same seed draws the same rows.
    times : int
        How often n of the n rows are drawn.
    tell : callable, optional
        Told the share of the draws that is done.

    Returns
    -------
    list of Estimate
        One for each figure, in their order; without an interval, which is nan, where drawing
        changes nothing.

    Examples
    --------
    >>> heights = np.array([1.61, 1.75, 1.82, 1.68, 1.79])
    >>> mean, = resampled(lambda rows: np.array([heights[rows].mean()]), 5,
    ...                   reflected=np.array([False]), seed=0, times=1000)
    >>> mean.low < 1.73 < mean.high
    True
    """
    rng = np.random.default_rng(seed)
    found = figures(np.arange(n))
    drawn = np.empty((times, found.size))
    for i in range(times):
        drawn[i] = figures(rng.integers(n, size=n))
        tell((i + 1) / times)
    estimates = []
    for value, column, reflect in zip(found, drawn.T, reflected, strict=True):
        low, high = np.percentile(column, PERCENTILES)
        if column.min() == column.max():
            low, high = math.nan, math.nan
        elif reflect:
            low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
        estimates.append(Estimate(float(value), float(low), float(high)))
    return estimates
