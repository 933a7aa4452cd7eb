"""Approximations of the second derivative, built from data.

The second derivative is sum_i w_i (diag p_i - p_i p_i') (x) x_i x_i' + lambda. Its blocks on the
diagonal, one for each class k with weights p_ik (1 - p_ik), tell nearly all that matters: on MNIST
they save nine evaluations of ten against the usual bound (1/2) X'X. A class confuses few rows, so
some hundred of them, chosen in proportion to that weight, are enough for its block.

Which structure serves depends on the size alone: the whole matrix for small problems, the class
blocks, or, where those would not fit or where there are more columns than rows, one number for each
column. It is the same for all classes: how far each class is confused changes from step to step,
and a diagonal that follows it misleads quasi-Newton pairs into twice the passes. At the start,
where all classes are alike, one block serves for all.

References
----------
Böhning (1992), "Multinomial logistic regression algorithm", for the bound. Yang et al. (2016),
"Sub-sampled Newton methods with non-uniform sampling", for the choice of rows.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from softmax._kernels import kernels
from softmax.learn.preconditioner import Blocks, Columns, Exact, Preconditioner, SharedBlock
from softmax.learn.problem import Parameters
from softmax.learn.rows import backward

if TYPE_CHECKING:
    from softmax.learn.objective import CrossEntropyObjective

__all__ = [
    "choose_structure",
    "column_curvature",
    "diagonal",
    "has_blocks",
    "is_exact",
    "knows_intercepts",
    "preconditioner",
]

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Structure = Literal["exact", "blocks", "columns"]

EXACT_WORK = 5e7  # multiply-adds to build the whole matrix: a few milliseconds
EXACT_SIZE = 48  # below this size it is cheap for any number of rows
MOST_BYTES = 64 << 20
ROWS_PER_COLUMN = 3  # of the sample from which a block is built
ROWS_PER_CLASS = 20  # of those from which the curvature by the intercepts is taken
LEAST_SAMPLE = 2048
NEGLIGIBLE = 0.2  # of the mean p (1 - p): such rows add less than that share
TINY = float(np.finfo(np.float64).tiny)


@cache
def choose_structure(n_rows: int, n_classes: int, n_columns: int, itemsize: int) -> Structure:
    """Choose by size; `n_columns` counts the intercept."""
    size = n_classes * n_columns
    if size <= EXACT_SIZE or n_rows * size**2 <= EXACT_WORK:
        return "exact"
    block = itemsize * n_columns**2
    return "blocks" if n_classes * block <= MOST_BYTES and n_columns <= n_rows else "columns"


def structure_of(problem: CrossEntropyObjective) -> Structure:
    """Return the structure for a problem's size."""
    rows = problem.rows
    return choose_structure(rows.n_rows, problem.n_classes, problem.shape[1], rows.dtype.itemsize)


def is_exact(problem: CrossEntropyObjective) -> bool:
    """Say whether the whole matrix is built."""
    return structure_of(problem) == "exact"


def has_blocks(problem: CrossEntropyObjective) -> bool:
    """Say whether each class has its block: few classes, which a sample tells apart too."""
    return structure_of(problem) == "blocks"


def preconditioner(problem: CrossEntropyObjective, parameters: Parameters) -> Preconditioner:
    """Return an approximate inverse of the second derivative at `parameters`."""
    structure = structure_of(problem)
    if structure == "exact":
        return Exact(whole_matrix(problem, parameters))
    confusion = mean_confusion(problem, parameters)
    problem.intercept_curvature = np.maximum(confusion, TINY)
    coupled = problem.loss.coupled
    if structure == "columns":
        return Columns(column_curvature(problem, float(confusion.mean())), coupled)
    if not np.any(parameters[:, : problem.n_features]):
        return SharedBlock(*shared_block(problem, parameters, confusion), coupled)
    if problem.rows.n_rows <= sample_size(problem):
        return Blocks(class_curvatures(problem, parameters, NEGLIGIBLE), coupled)
    return Blocks(class_blocks(problem, parameters, confusion), coupled)


def column_curvature(problem: CrossEntropyObjective, confusion: float) -> Float64:
    """Return the second derivative along each column, for classes confused alike."""
    confusion *= problem.loss.exchange(problem.n_classes)
    curvature = np.full(problem.shape[1], confusion)
    curvature[: problem.n_features] *= problem.variances
    curvature[: problem.n_features] += problem.penalty.l2
    return np.asarray(np.maximum(curvature, 1e-30))


def mean_confusion(problem: CrossEntropyObjective, parameters: Parameters) -> Float64:
    """Return the mean of p (1 - p) of each class over a few rows."""
    total = np.zeros(problem.n_classes)
    weight = 0.0
    for x, _, weights in problem.glance.chunks():
        p = problem.probabilities(x, parameters)
        weights = np.ones(len(p)) if weights is None else weights
        total += weights.astype(p.dtype, copy=False) @ (p - p * p)
        weight += float(weights.sum())
    return total / max(weight, TINY)


def knows_intercepts(problem: CrossEntropyObjective) -> bool:
    """Say whether the few rows are enough to tell the classes' intercepts apart."""
    return bool(problem.glance.n_rows >= ROWS_PER_CLASS * problem.n_classes)


def intercept_matrix(problem: CrossEntropyObjective, parameters: Parameters) -> Float64:
    """Return the second derivative by the intercepts alone, over a few rows."""
    matrix = np.zeros((problem.n_classes, problem.n_classes))
    weight = 0.0
    for x, _, weights in problem.glance.chunks():
        p = problem.probabilities(x, parameters).astype(np.float64)
        weighted = p if weights is None else p * weights[:, None]
        own = weighted.sum(0) if problem.loss.coupled else (weighted * (1 - p)).sum(0)
        matrix += np.diag(own)
        if problem.loss.coupled:
            matrix -= weighted.T @ p
        weight += len(p) if weights is None else float(weights.sum())
    matrix /= weight
    common = float(np.trace(matrix)) / problem.n_classes
    # Gradients sum to zero over the classes: curvature along a shift of all is free to choose.
    matrix += common / problem.n_classes
    matrix[np.diag_indices_from(matrix)] += 1e-6 * common + TINY
    return matrix


def penalised(problem: CrossEntropyObjective, block: Array, penalty: float) -> Array:
    """Add the penalty to the diagonal of a block in place; the intercept has none."""
    index = np.arange(problem.n_features)
    block[index, index] += penalty
    return block


def shared_block(
    problem: CrossEntropyObjective, parameters: Parameters, confusion: Float64
) -> tuple[Array, Float64]:
    """Return a block of rows weighted by sum p (1 - p), and a scale for each class."""
    n_columns = problem.shape[1]
    block: Any = 0.0
    total = 0.0
    for rows, p, weights in problem.glance_designs(parameters):
        row_weights = (p - p * p).sum(1, dtype=np.float64)
        if weights is not None:
            row_weights *= weights
        row_weights = np.maximum(row_weights, np.finfo(np.float32).tiny).astype(rows.dtype)
        part = np.zeros((1, n_columns, n_columns), rows.dtype)
        kernels.weighted_grams(rows, row_weights[:, None], part)
        block = block + part[0]
        total += float(row_weights.sum(dtype=np.float64))
    block /= total
    scale = np.maximum(confusion, 1e-3 * confusion.max() + 1e-30)
    scale *= problem.loss.exchange(problem.n_classes)
    return penalised(problem, block, problem.penalty.l2 / float(scale.mean())), scale


def sample_size(problem: CrossEntropyObjective) -> int:
    """Return how many rows of a class are enough for its block."""
    return max(LEAST_SAMPLE, ROWS_PER_COLUMN * problem.shape[1])


def class_blocks(
    problem: CrossEntropyObjective, parameters: Parameters, confusion: Float64
) -> Array:
    """Build each class's block from rows chosen in proportion to p (1 - p)."""
    rate = sample_size(problem) / np.maximum(confusion * problem.total_weight, TINY)
    drawn = np.random.RandomState(problem.seed).uniform(size=problem.n_classes)
    kept: list[Any] = []
    chosen: list[NDArray[np.bool_]] = []
    row_weights: list[Float64] = []
    for x, _, weights in problem.rows.chunks():
        p = problem.probabilities(x, parameters).astype(np.float64)
        importance = p * (1 - p)
        if weights is not None:
            importance *= weights[:, None]
        share = np.minimum(importance * rate, 1)
        position = drawn + np.cumsum(share, axis=0)
        taken = np.floor(position) > np.floor(position - share)
        drawn = position[-1] % 1
        some = taken.any(1)
        kept.append(x[some])
        chosen.append(taken[some])
        row_weights.append(importance[some] / np.where(taken, share, 1)[some])
    rows = sp.vstack(kept, format="csr") if sp.issparse(kept[0]) else np.concatenate(kept)
    taken = np.concatenate(chosen)
    scale = problem.loss.exchange(problem.n_classes) / problem.total_weight
    weight = np.concatenate(row_weights) * scale
    blocks = np.empty((problem.n_classes, problem.shape[1], problem.shape[1]), rows.dtype)
    for k, block in enumerate(blocks):
        sample = problem.centred(rows[taken[:, k]])
        sample *= np.sqrt(weight[taken[:, k], k]).astype(sample.dtype)[:, None]
        np.matmul(sample.T, sample, out=block)
        penalised(problem, block, problem.penalty.l2)
    return blocks


def class_curvatures(
    problem: CrossEntropyObjective, parameters: Parameters, negligible: float
) -> Array:
    """Return each class's block, without rows that add less than a share of what others do."""
    n_classes, n_columns = problem.shape
    blocks = np.zeros((n_classes, n_columns, n_columns), problem.design_dtype)
    scale = problem.loss.exchange(n_classes) / problem.total_weight
    for rows, p, weights in problem.designs(parameters):
        importance = p * (1 - p)
        if weights is not None:
            importance *= weights.astype(p.dtype)[:, None]
        importance[importance <= negligible * importance.mean(0)] = 0
        importance *= scale
        kernels.weighted_grams(rows, importance, blocks)
    for block in blocks:
        penalised(problem, block, problem.penalty.l2)
    return blocks


def whole_matrix(problem: CrossEntropyObjective, parameters: Parameters) -> Float64:
    """Return the whole second derivative, in float64."""
    n_classes, n_columns = problem.shape
    size = n_classes * n_columns
    matrix = np.zeros((size, size))
    if not problem.loss.coupled:
        # By class and column, then class and column: the same memory.
        parts = matrix.reshape(n_classes, n_columns, n_classes, n_columns)
        blocks = np.einsum("kikj->kij", parts)
        blocks += class_curvatures(problem, parameters, 0.0)
        own = np.einsum("kii->ki", blocks)
    else:
        for rows, p, weights in problem.designs(parameters):
            kernels.softmax_curvature(rows, p, weights, 1 / problem.total_weight, matrix)
        own = np.empty(problem.shape)
        kernels.complete_curvature(matrix, own, problem.penalty.l2, problem.n_features)
    problem.intercept_curvature = np.maximum(own[:, -1], TINY)
    return matrix


def diagonal(problem: CrossEntropyObjective, parameters: Parameters) -> Float64:
    """Return the diagonal of the second derivative."""
    weighted_squares = np.zeros((problem.n_classes, problem.n_features))
    columns = np.zeros(problem.n_classes)
    cross = np.zeros((problem.n_classes, problem.n_features))
    for x, _, weights in problem.rows.chunks():
        p = problem.probabilities(x, parameters)
        importance = p * (1 - p)
        if weights is not None:
            importance *= weights.astype(p.dtype)[:, None]
        squared = x.multiply(x).tocsr() if sp.issparse(x) else x * x
        weighted_squares += backward(squared, importance)
        cross += backward(x, importance)
        columns += importance.sum(0, dtype=np.float64)
    mean = problem.mean
    result = np.empty(problem.shape)
    moved = weighted_squares - 2 * cross * mean + columns[:, None] * mean**2
    result[:, : problem.n_features] = np.maximum(moved, 0)
    if problem.fit_intercept:
        # A class that no row confuses has no curvature here, and must not get all the step.
        result[:, -1] = np.maximum(columns, 1e-3 * columns.max())
    result *= problem.loss.exchange(problem.n_classes) / problem.total_weight
    result[:, : problem.n_features] += problem.penalty.l2
    return np.maximum(result, 1e-30)
