"""A linear layer with its cross-entropy for rows that fit the cache, and its derivative."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from softmax._reference.losses import cross_entropy, cross_entropy_soft

Float64 = NDArray[np.float64]


def layer_loss(
    x: Float64,
    parameters: Float64,
    labels: NDArray[Any] | None,
    targets: Float64 | None,
    weights: Float64 | None,
    scale: float,
    l2: float,
    penalised: int,
    loss: Float64,
    slopes: Float64,
    gradient: Float64,
) -> float:
    """Return the sum of the losses and the penalty, and write both gradients."""
    np.matmul(x, parameters.T, out=slopes)
    if labels is not None:
        cross_entropy(slopes, labels, weights, loss, slopes, -1, scale)
    elif targets is not None:
        cross_entropy_soft(slopes, targets, weights, loss, slopes, -1, scale)
    np.matmul(slopes.T, x, out=gradient)
    gradient[:, :penalised] += l2 * parameters[:, :penalised]
    return float(loss.sum() + l2 / 2 * np.sum(parameters[:, :penalised] ** 2))


def layer_probabilities(
    slopes: Float64,
    labels: NDArray[Any] | None,
    targets: Float64 | None,
    weights: Float64 | None,
    scale: float,
    out: Float64,
) -> None:
    """Write the probabilities of a pass, from its gradient by the logits; 0 where no weight is."""
    own = np.full(len(slopes), scale) if weights is None else scale * weights
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(slopes, own[:, None], out=out)
    if labels is not None:
        out[np.arange(len(out)), labels] += 1
    elif targets is not None:
        out += targets
    out[own == 0] = 0


def layer_derivative(
    products: NDArray[Any],
    sums: Float64,
    mean: Float64,
    total: float,
    l2: float,
    parameters: Float64,
    out: Float64,
) -> None:
    """Move products with features to those less `mean`, and add the penalty's share."""
    d = products.shape[1]
    out[:, :d] = (products - sums[:, None] * mean) / total + l2 * parameters[:, :d]
    out[:, d:] = sums[:, None] / total


def loss_gradient(
    parameters: Float64, gradient: Float64, l2: float, out: NDArray[Any]
) -> tuple[float, float]:
    """Write the gradient without the penalty's; return sums of squares and products."""
    width = out.size // len(parameters)
    coef, slope = parameters[:, :width], gradient[:, :width]
    out.reshape(coef.shape)[...] = slope - l2 * coef
    return float(np.sum(coef * coef)), float(np.sum(coef * slope))


def quadratic_gap(gradient: NDArray[Any], l2: float, curvature: Float64 | None) -> float:
    """Return the squares over twice l2; of the last column, if it has a curvature, over that."""
    if curvature is None:
        return float(np.square(gradient, dtype=np.float64).sum() / (2 * l2))
    squares = np.square(gradient, dtype=np.float64)
    return float(squares[:, :-1].sum() / (2 * l2) + (squares[:, -1] / curvature).sum())
