"""Where training begins, and how long its first step is, at a price far below that of a pass.

Where nothing is known all classes are alike, and the gradient is the difference between the mean of
each class and that of all rows. Of normal classes that share one covariance those means are the
answer but for their length; how long they should be, a few of the rows tell.

References
----------
Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", 2nd ed., section 4.3, for
linear discriminants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softmax.learn.curvature import column_curvature
from softmax.learn.penalty import square_sum
from softmax.learn.problem import Parameters
from softmax.learn.rows import column_sums, forward, target_sums
from softmax.learn.targets import class_counts

if TYPE_CHECKING:
    from softmax.learn.objective import CrossEntropyObjective

__all__ = ["best_length", "class_means"]

Float64 = NDArray[np.float64]

LONGEST = 1e6
HALVINGS = 5


def class_means(problem: CrossEntropyObjective) -> Float64:
    """Return the means of the classes, as long as serves a few of the rows best."""
    even = 1 / problem.n_classes if problem.loss.coupled else 0.5
    sums = np.zeros((problem.n_classes, problem.n_features))
    counts = np.zeros(problem.n_classes)
    total = np.zeros(problem.n_features)
    for x, target, weights in problem.rows.chunks():
        sums += target_sums(x, target, weights, problem.n_classes)
        counts += class_counts(target, weights, problem.n_classes)
        total += column_sums(x, weights)
    nothing = np.zeros(problem.shape)
    gradient = problem.derivative(
        even * total - sums, even * problem.total_weight - counts, nothing
    )
    confusion = float(problem.intercept_curvature.mean())
    direction = -gradient / column_curvature(problem, confusion)
    return best_length(problem, nothing, direction) * direction


def best_length(
    problem: CrossEntropyObjective, parameters: Parameters, direction: Parameters
) -> float:
    """Return how far along a direction a few of the rows want to go, by bisection."""
    weight, bias = problem.product_form(parameters)
    weight_change, bias_change = problem.product_form(direction)
    rows = [
        (forward(x, weight) + bias, forward(x, weight_change) + bias_change, target, weights)
        for x, target, weights in problem.glance.chunks()
    ]
    total_weight = sum(len(z) if w is None else float(w.sum()) for z, _, _, w in rows) or 1.0
    coef, change = (array[:, : problem.n_features] for array in (parameters, direction))
    pull, stretch = float(np.sum(coef * change)), square_sum(change)

    def slope(length: float) -> float:
        total = 0.0
        for logits, logits_change, target, weights in rows:
            slopes = logits + logits.dtype.type(length) * logits_change
            problem.loss.slope(slopes, target, weights)
            total += float(np.vdot(logits_change, slopes))
        return total / total_weight + problem.penalty.l2 * (pull + length * stretch)

    low, high = 0.5, 1.0
    while slope(high) < 0 and high < LONGEST:
        low, high = high, 2 * high
    while slope(low) > 0 and high > 1 / LONGEST:
        low, high = low / 2, low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2
