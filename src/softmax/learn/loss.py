"""Two losses of a chunk of logits: one softmax over all outputs, or a sigmoid for each.

Both have the gradient p - t, p (1 - p) on the diagonal of the second derivative, and a conjugate
that is 0 at a target of certainty: what the objective, the certificate and the preconditioners
rest on.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.binary import sigmoid, softplus

__all__ = ["Loss", "SigmoidLoss", "SoftmaxLoss"]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]


class Loss(Protocol):
    """A loss of rows of logits."""

    coupled: bool

    def slope(self, logits: Array, target: NDArray[Any], weights: Float64 | None) -> Float64:
        """Put the gradient in the place of the logits, and return the loss of each row."""

    def probabilities(self, logits: Array) -> None:
        """Put probabilities in the place of the logits."""

    def curve(self, p: Array, change: Array) -> None:
        """Put the second derivative at `p` times a change of logits in the place of the change."""

    def exchange(self, n_outputs: int) -> float:
        """Return what p (1 - p) of a class must be multiplied with to stand for the whole."""


class SoftmaxLoss:
    """Cross-entropy of softmax(logits)."""

    coupled = True  # a shift of all outputs changes nothing

    def slope(self, logits: Array, target: NDArray[Any], weights: Float64 | None) -> Float64:
        """Put p - t, weighted, in the place of the logits, and return the loss of each row."""
        losses = np.empty(len(logits))
        labels = target.ndim == 1
        kernel = kernels.cross_entropy if labels else kernels.cross_entropy_soft
        kernel(logits, target, weights, losses, logits)
        return losses

    def probabilities(self, logits: Array) -> None:
        """Put softmax(logits) in their place."""
        kernels.softmax(logits, logits, 1, None, None, None)

    def curve(self, p: Array, change: Array) -> None:
        """Put (diag p - p p') change of each row in the place of the change."""
        change *= p
        change -= p * (change @ np.ones(p.shape[1], p.dtype))[:, None]

    def exchange(self, n_outputs: int) -> float:
        """Return K / (K - 1), exact for equal probabilities: what one gains the others lose."""
        return n_outputs / max(n_outputs - 1, 1)


class SigmoidLoss:
    """Sum over outputs of the cross-entropy of sigmoid(logit): each is a question of its own."""

    coupled = False

    def slope(self, logits: Array, target: NDArray[Any], weights: Float64 | None) -> Float64:
        """Put p - t, weighted, in the place of the logits, and return the loss of each row."""
        # log(1 + exp(z)) - t z as t softplus(-z) + (1 - t) softplus(z): never a difference
        terms = target * softplus(-logits) + (1 - target) * softplus(logits)
        losses = np.asarray(terms.sum(1, dtype=np.float64))
        sigmoid(logits, out=logits)
        logits -= target
        if weights is not None:
            losses *= weights
            logits *= weights.astype(logits.dtype)[:, None]
        return losses

    def probabilities(self, logits: Array) -> None:
        """Put sigmoid(logits) in their place."""
        sigmoid(logits, out=logits)

    def curve(self, p: Array, change: Array) -> None:
        """Put p (1 - p) change in the place of the change."""
        change *= p * (1 - p)

    def exchange(self, n_outputs: int) -> float:
        """Return 1: nothing is exchanged."""
        return 1.0
