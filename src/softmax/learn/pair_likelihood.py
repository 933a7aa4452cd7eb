"""The likelihood of word pairs under softmax(U v), from their counts alone.

The negative log-likelihood of all pairs is `linear_cross_entropy` of the layer with features v and
weights U against the counts as a sparse target: words are rows, contexts are classes. A pass costs
three products of V x d with d x V, whatever the size of the corpus was, and holds a few rows of
logits at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from sklearn.utils.extmath import randomized_svd

from softmax._logit_chunks import Layer, layer_losses
from softmax.layer import SCRATCH_BYTES, count_target, linear_cross_entropy

__all__ = ["PairLoss", "Progress", "log_likelihood", "maximise", "spectral_start"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SMOOTHING = 5.0  # pairs added to what was counted and to what was expected, for the start
DAMPING = 0.25  # frequent words count by this power of their frequency at the start
MEMORY = 10  # pairs of the quasi-Newton recursion


def log_likelihood(
    counts: sparse.csr_array, vectors: NDArray[Any], contexts: NDArray[Any]
) -> float:
    """Return the mean of log p(context | word) over all pairs, in nats, by float64 products."""
    v, u = vectors.astype(np.float64), contexts.astype(np.float64)
    return -float(linear_cross_entropy(v, u, counts, reduction="sum")) / float(counts.sum())


class PairLoss:
    """The mean loss of counted pairs and its gradients, as training asks for them again and again.

    It is `linear_cross_entropy` with float32 products, the counts checked once, and the loss left
    in float64: the gain of a step near the optimum is less than a float32 can tell.

    Parameters
    ----------
    counts : csr_array of shape (n_words, n_words)
        How often each word (row) had each context (column).
    """

    def __init__(self, counts: sparse.csr_array) -> None:
        self.row_totals: Float64 = np.asarray(counts.sum(axis=1), np.float64).ravel()
        self.column_totals: Float64 = np.asarray(counts.sum(axis=0), np.float64).ravel()
        self.total = float(self.row_totals.sum())
        self.target = count_target(counts, counts.shape, None, None, 0.0)

    def __call__(self, vectors: Float32, contexts: Float32) -> tuple[float, Float32, Float32]:
        """Return the mean of -log p(context | word), in nats, and its gradients."""
        gradients = np.empty_like(vectors), np.empty_like(contexts)
        layer = Layer(vectors, contexts, None, self.target, *gradients)
        losses = layer_losses(layer, 1 / self.total, 0.0, SCRATCH_BYTES)
        return float(losses.sum()), *gradients


@dataclass(frozen=True)
class Progress:
    """What is known after one step: objective and gradient in the units of `maximise`."""

    iteration: int
    objective: float
    gradient_norm: float


def spectral_start(counts: sparse.csr_array, dim: int, seed: int) -> tuple[Float64, Float64]:
    """Return vectors and context vectors near the optimum: frequencies, and what they leave.

    The first dimension holds the logarithms of the contexts' frequencies, so that the model starts
    no worse than they are; the others are the largest singular vectors of the logarithm of counted
    over expected pairs.
    """
    rows, columns = np.asarray(counts.sum(axis=1)).ravel(), np.asarray(counts.sum(axis=0)).ravel()
    total = rows.sum()
    frequency = np.maximum(columns, 0.5) / total
    centred = np.log(frequency) - np.log(frequency).mean()
    size = np.mean(centred**2) ** 0.25 or 1.0
    vectors, contexts = np.zeros((2, len(rows), dim))
    vectors[:, 0], contexts[:, 0] = size, centred / size
    rank = min(dim, len(rows)) - 1
    if rank > 0:
        pairs = sparse.coo_array(counts)
        i, j = pairs.coords
        surprise = np.log((pairs.data + SMOOTHING) / (rows[i] * frequency[j] + SMOOTHING))
        weight = (np.maximum(rows, 1) / total) ** DAMPING
        ratio = sparse.csr_matrix((surprise * weight[i] * weight[j], (i, j)), shape=counts.shape)
        left, values, right = randomized_svd(ratio, rank, n_iter=2, random_state=seed)
        root = np.sqrt(values) / weight[:, None]
        vectors[:, 1 : rank + 1], contexts[:, 1 : rank + 1] = left * root, right.T * root
    return vectors, contexts


def maximise(
    pair_loss: PairLoss,
    start: tuple[Float64, Float64],
    *,
    l2: float,
    tol: float,
    max_iter: int,
    report: Callable[[Progress], bool],
) -> tuple[Float64, Float64]:
    """Minimise loss + l2 / (2 pairs) * (|vectors|^2 + |contexts|^2) by L-BFGS.

    A row is multiplied by the square root of its share of the pairs, in which the loss bends about
    equally in all directions. The norm of the gradient is taken there: half its square is about
    what is left to gain, in nats per pair. Ends when it is at most tol, or report returns True.
    """
    total = pair_loss.total
    shares = np.stack([pair_loss.row_totals, pair_loss.column_totals])[..., None] + l2
    scale = np.sqrt(total / np.maximum(shares, 1.0))
    shape = (2, *start[0].shape)
    latest = Progress(0, np.inf, np.inf)

    def objective(flat: Float64) -> tuple[float, Float64]:
        nonlocal latest
        both = flat.reshape(shape) * scale
        loss, *slopes = pair_loss(*both.astype(np.float32))
        value = loss + l2 / (2 * total) * float(np.vdot(both, both))
        gradient = (np.stack(slopes) + (l2 / total) * both) * scale
        latest = Progress(latest.iteration, value, float(np.linalg.norm(gradient)))
        return value, gradient.ravel()

    def after_step(_: Float64) -> None:
        nonlocal latest
        latest = Progress(latest.iteration + 1, latest.objective, latest.gradient_norm)
        if report(latest) or latest.gradient_norm <= tol:
            raise StopIteration

    begin = (np.stack(start) / scale).ravel()
    options = {"maxiter": max_iter, "maxcor": MEMORY, "gtol": 0.0, "ftol": 0.0, "maxfun": 10**9}
    result = minimize(
        objective, begin, jac=True, method="L-BFGS-B", callback=after_step, options=options
    )
    vectors, contexts = result.x.reshape(shape) * scale
    return vectors, contexts
