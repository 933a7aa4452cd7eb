"""The cross-entropy of a softmax layer, with never more than a chunk of its logits in memory.

Three matrix products are unavoidable: the logits, and from their gradient G those of X and of the
weights. Between the first and the others a fused kernel turns logits into G in place. As long as
some rows with all their classes fit the scratch, each product is done once; where not even those
fit, the classes are chunked too and the logits computed twice: once for the states of the chunks,
once, with what all other classes add up to, for their probabilities.
"""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from softmax._inputs import Array, kernel_for
from softmax._kernels import kernels
from softmax._products import Multiply, adding_product, product_in_pieces
from softmax._targets import Target
from softmax.functions import logsumexp

# Fewer rows than these make products so slow that to compute the logits twice costs less.
LEAST_ROWS = 32
# Products of other numbers of rows leave lanes of their last tile idle.
ROW_TILE = 32
# Of a product that is added: larger ones are faster, smaller sums stay in the cache.
PIECE_BYTES = 8 << 20
# From here on a BLAS that adds is worth some 40 MiB: its code, and what its threads work in.
MANY_CHUNKS = 8


@dataclass
class Layer:
    """A softmax layer, its target, and where the gradients go (all None if they are not wanted)."""

    X: Array
    weight: Array
    bias: Array | None
    target: Target
    grad_x: Array | None = None
    grad_weight: Array | None = None
    grad_bias: Array | None = None
    multiply: Multiply = field(init=False)  # by `choose_products`

    def logits(self, part: slice, classes: slice, out: Array) -> Array:
        """Write the logits of some rows and classes into the beginning of out."""
        x, w = self.X[part], self.weight[classes]
        logits = out[: len(x) * len(w)].reshape(len(x), len(w))
        self.multiply(x, w.T, logits, False)
        if self.bias is not None:
            logits += self.bias[classes]
        return logits

    def add_gradients(self, part: slice, classes: slice, slopes: Array) -> None:
        """Add what the gradient of a chunk of logits means for X, weights and bias."""
        if self.grad_x is None or self.grad_weight is None:
            return
        x, w = self.X[part], self.weight[classes]
        self.multiply(slopes, w, self.grad_x[part], classes.start > 0)
        self.multiply(slopes.T, x, self.grad_weight[classes], part.start > 0)
        if self.grad_bias is not None:
            column_sums = np.empty((1, len(w)), x.dtype)
            self.multiply(np.ones((1, len(x)), x.dtype), slopes, column_sums, False)
            self.grad_bias[classes] += column_sums[0]

    def choose_products(self, n_chunks: float, piece_bytes: int) -> None:
        """Choose how to multiply; pieces are room for products that are added."""
        entries = max(piece_bytes // self.X.itemsize, self.X.shape[1])
        self.multiply = partial(product_in_pieces, np.empty(entries, self.X.dtype))
        if n_chunks >= MANY_CHUNKS and self.grad_weight is not None:
            matrices = self.X, self.weight, self.grad_x, self.grad_weight
            if all(m is not None and m.flags.c_contiguous for m in matrices):
                self.multiply = adding_product(self.X.dtype) or self.multiply


def layer_losses(layer: Layer, scale: float, z_loss: float, scratch: int) -> Array:
    """Return the weighted loss of each row, and write the gradients."""
    n_rows, n_features = layer.X.shape
    n_classes = len(layer.weight)
    itemsize = layer.X.dtype.itemsize
    losses = np.empty(n_rows)
    piece = min(PIECE_BYTES, scratch // 8, n_features * n_classes * itemsize)
    entries = max(1, (scratch - max(piece, n_features * itemsize)) // itemsize)
    # Rows of a target that must be written out take as much as the logits.
    as_given = layer.target.whole_labels or layer.target.plain_counts
    fitting = entries // (max(1, n_classes) * (1 if as_given else 2))
    layer.choose_products(n_rows / max(1, fitting), piece)
    if fitting < min(LEAST_ROWS, n_rows):
        # There logits, their logarithms, the target and masks are held side by side.
        return class_chunks(layer, losses, entries // 6, scale, z_loss)
    step = min(max(1, fitting), -(-even_step(n_rows, fitting) // ROW_TILE) * ROW_TILE)
    chunk = np.empty(step * n_classes, layer.X.dtype)
    classes = slice(0, n_classes)
    for start in range(0, n_rows, step):
        part = slice(start, min(start + step, n_rows))
        logits = layer.logits(part, classes, chunk)
        slopes = None if layer.grad_x is None else logits
        layer.target.write_losses(logits, part, losses[part], slopes, scale, z_loss)
        layer.add_gradients(part, classes, logits)
    return losses


def even_step(length: int, most: int) -> int:
    """Return the length of parts that are about equally long, and at most `most`."""
    parts = -(-length // max(1, most))
    return -(-length // max(1, parts)) or 1


def class_chunks(layer: Layer, losses: Array, entries: int, scale: float, z_loss: float) -> Array:
    """Do the work of `layer_losses` in chunks of rows and classes."""
    n_rows, n_classes = len(layer.X), len(layer.weight)
    step = even_step(n_rows, max(LEAST_ROWS, math.isqrt(entries)))
    width = even_step(n_classes, max(1, entries // step))
    chunk = np.empty(step * width, layer.X.dtype)
    columns = [slice(c, min(c + width, n_classes)) for c in range(0, n_classes, width)]
    for start in range(0, n_rows, step):
        part = slice(start, min(start + step, n_rows))
        weights = layer.target.weights_of(part, scale)
        sums = np.stack([log_sums(layer.logits(part, c, chunk)) for c in columns], axis=1)
        targets = (layer.target.rows(part, chunk.dtype, c) for c in columns)
        mass = sum(target.sum(1, dtype=np.float64) for target in targets)
        log_partition = logsumexp(sums)
        with np.errstate(invalid="ignore"):
            penalty = mass * z_loss * log_partition**2 if z_loss else 0.0
            growth = mass * (1 + 2 * z_loss * log_partition) if z_loss else mass
        total = np.zeros(len(mass)) + penalty
        for number, classes in enumerate(columns):
            others = logsumexp(np.delete(sums, number, axis=1))
            logits = layer.logits(part, classes, chunk)
            target = layer.target.rows(part, chunk.dtype, classes)
            total += surprises(logits, target, others)
            if layer.grad_x is not None:
                elsewhere = np.exp(others - log_partition)
                one_hot = layer.target.plain_labels
                to_slopes(logits, target, others, elsewhere, weights, growth, one_hot)
                layer.add_gradients(part, classes, logits)
        losses[part] = np.where(weights == 0, 0, weights * total)
    return losses


def log_sums(logits: Array) -> Array:
    """Return the logsumexp of each row in float64, whatever the dtype of the logits."""
    largest = np.argmax(logits, axis=1)
    rest = np.empty(len(logits))
    kernel = kernel_for(logits.dtype, kernels, "cross_entropy")
    kernel(logits, largest, None, rest, None)
    top = np.take_along_axis(logits, largest[:, None], axis=1)[:, 0].astype(np.float64)
    return np.where(top == -np.inf, top, top + rest)


def surprises(logits: Array, target: Array, others: Array) -> Array:
    """Return the sum of t (-log p) of each row, where `others` is the logsumexp of all else."""
    log_p = np.empty_like(logits)
    kernel = kernel_for(logits.dtype, kernels, "log_softmax")
    kernel(logits, log_p, 1, None, None, others[:, None])
    np.multiply(log_p, target, out=log_p, where=target != 0)
    total: Array = -log_p.sum(1, dtype=np.float64, where=target != 0)
    return total


def to_slopes(
    logits: Array,
    target: Array,
    others: Array,
    elsewhere: Array,
    weights: Array,
    growth: Array,
    one_hot: bool,
) -> None:
    """Turn logits into weight * (growth * p - t), in place.

    Of a label, p - 1 is taken as minus all other probabilities, `elsewhere` among them.
    """
    kernel = kernel_for(logits.dtype, kernels, "softmax")
    kernel(logits, logits, 1, None, None, others[:, None])
    if one_hot:
        row, label = np.nonzero(target)
        p = logits[row, label].astype(np.float64)
        logits[row, label] = 0
        missing = logits[row].sum(1, dtype=np.float64) + elsewhere[row]
        logits *= (weights * growth).astype(logits.dtype)[:, None]
        logits[row, label] = weights[row] * ((growth[row] - 1) * p - missing)
    else:
        logits *= (weights * growth).astype(logits.dtype)[:, None]
        target *= weights.astype(logits.dtype)[:, None]
        logits -= target
    logits[weights == 0] = 0
