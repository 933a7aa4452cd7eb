"""What the losses have in common: targets, the weights of rows, and how losses become one number.

Whatever comes as target (labels, probabilities, sparse counts) is a row t of one formula, the sum
of t (-log p), which the kernels know by label or by row.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import (
    FLOAT32,
    FLOAT64,
    LONGDOUBLE,
    Array,
    as_array,
    as_floating,
    broadcast,
    kernel_for,
    normalize_axes,
    refuse_mask,
)
from softmax._kernels import kernels
from softmax._reference.rows import as_rows
from softmax.maxima import as_number

IgnoreIndex = int | Collection[int] | None
REDUCTIONS = "none", "sum", "mean"
BLOCK_ENTRIES = 1 << 20  # of logits that are widened, or get rows of targets, at a time


@dataclass(frozen=True)
class Target:
    """The target of each of n rows, and what each row weighs."""

    n_classes: int
    labels: Array | None  # (n,) positions, -1 where a row does not count
    matrix: Any  # (n, K) array or sparse matrix; None where there are labels
    weights: Array | None  # (n,) float64, 0 where a row does not count; None for 1 each
    total: float  # what a mean divides by
    class_weight: Array | None = None  # (K,) still to be multiplied into the rows
    smoothing: float = 0.0  # still to be done

    @property
    def plain_labels(self) -> bool:
        """Whether the labels say all, and no rows need to be made."""
        return self.labels is not None and not self.smoothing

    @property
    def whole_labels(self) -> bool:
        """Whether no rows need to be made where slices lie well: kernels smooth labels."""
        return self.labels is not None and (not self.smoothing or self.class_weight is None)

    @property
    def plain_counts(self) -> bool:
        """Whether sparse rows are as they are wanted, and need not be written out."""
        sparse = self.labels is None and not isinstance(self.matrix, np.ndarray)
        return sparse and self.class_weight is None and not self.smoothing

    @property
    def plain_rows(self) -> bool:
        """Whether rows of an array are as they are wanted."""
        return (
            isinstance(self.matrix, np.ndarray)
            and not self.smoothing
            and (self.class_weight is None)
        )

    def counts(self, part: slice, dtype: npt.DTypeLike) -> tuple[Array, Array, Array]:
        """Return sparse rows as starts, places and counts, as kernels take them."""
        starts = self.matrix.indptr[part.start : part.stop + 1].astype(np.int64)
        stored = slice(starts[0], starts[-1])
        places = self.matrix.indices[stored].astype(np.int64, copy=False)
        return starts - starts[0], places, self.matrix.data[stored].astype(dtype, copy=False)

    def rows(self, part: slice, dtype: npt.DTypeLike, classes: slice = slice(None)) -> Array:
        """Return the rows t of a part, or some columns of them, smoothed and weighted by class."""
        first, last, _ = classes.indices(self.n_classes)
        if self.labels is not None:
            labels = self.labels[part] - first
            rows = np.zeros((len(labels), last - first), dtype)
            here = np.flatnonzero((self.labels[part] >= first) & (labels < last - first))
            rows[here, labels[here]] = 1
        else:
            changes = self.smoothing > 0 or self.class_weight is not None
            given = self.matrix[part, classes]
            if isinstance(given, np.ndarray):
                rows = given.astype(dtype, order="C", copy=changes)
            else:
                rows = given.astype(dtype).toarray(order="C")
        if self.smoothing:
            rows *= 1 - self.smoothing
            rows += self.smoothing / self.n_classes
        if self.class_weight is not None:
            rows *= self.class_weight[classes].astype(dtype)
        return rows

    def weights_of(self, part: slice, scale: float) -> Array:
        """Return the weights of a part of the rows, 0 where a row does not count."""
        if self.weights is not None:
            return self.weights[part] * scale
        return np.full(part.stop - part.start, scale)

    def write_losses(
        self,
        logits: Array,
        part: slice,
        losses: Array,
        gradient: Array | None,
        scale: float,
        z_loss: float,
    ) -> None:
        """Write the weighted losses of a part of the rows, and their gradient."""
        # 16-bit logits are widened by the kernel, as targets like them are; others are not rounded.
        wide = np.result_type(logits.dtype, FLOAT32)
        weights = None if self.weights is None else self.weights[part]
        if self.plain_counts:
            kernel = kernel_for(logits.dtype, kernels, "cross_entropy_counts")
            kernel(logits, *self.counts(part, wide), weights, losses, gradient, scale, z_loss)
            return
        options: list[float] = [-1, scale, z_loss]
        if self.labels is not None and self.whole_labels:
            name, target = "cross_entropy", self.labels[part]
            options.append(self.smoothing)
        else:
            given = self.plain_rows and self.matrix.dtype == logits.dtype
            name, target = "cross_entropy_soft", self.rows(part, logits.dtype if given else wide)
        kernel = kernel_for(logits.dtype, kernels, name)
        kernel(logits, target, weights, losses, gradient, *options)


def read_logits(logits: npt.ArrayLike, axis: int, name: str = "logits") -> tuple[Array, int]:
    """Return contiguous logits and the one axis of the classes, counted from the front."""
    refuse_mask(logits, name)
    x = as_floating(logits, name)
    axes = normalize_axes(axis, x.ndim)
    if len(axes) != 1:
        raise ValueError(f"axis must be one integer, and {name} have it, got axis {axis!r}")
    return np.ascontiguousarray(x), axes[0]


def without_axis(x: Array, axis: int) -> tuple[int, ...]:
    """Return the shape of one number for each slice."""
    return x.shape[:axis] + x.shape[axis + 1 :]


def read_target(
    x: Array,
    target: npt.ArrayLike,
    axis: int,
    class_weight: npt.ArrayLike | None,
    sample_weight: npt.ArrayLike | None,
    ignore_index: IgnoreIndex,
    smoothing: float,
) -> Target:
    """Return what the losses are taken relative to."""
    refuse_mask(target, "target")
    given = as_array(target, "target")
    shape = without_axis(x, axis)
    of_classes = class_weights(class_weight, x.shape[axis])
    of_slices = read_weights(sample_weight, shape, "sample_weight")
    if given.shape == shape:
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(
                f"target must hold integer labels where its shape is {shape}, got {given.dtype}"
            )
        return label_target(given, x.shape[axis], ignore_index, of_classes, of_slices, smoothing)
    if given.shape == x.shape:
        rows = as_rows(given, axis)
        counted = check_probabilities(rows, shape)
        return matrix_target(rows, counted, of_classes, of_slices, smoothing)
    raise ValueError(
        f"target must have the shape of labels, {shape}, or of probabilities, {x.shape}, "
        f"got {given.shape}"
    )


def shaped(slopes: Array, x: Array, axis: int) -> Array:
    """Return rows in the shape of x, from whose slices along the axis they came."""
    shape = (*without_axis(x, axis), x.shape[axis])
    return np.ascontiguousarray(np.moveaxis(slopes.reshape(shape), -1, axis))


def row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Cut rows into parts of a few megabytes; rows of nothing have none."""
    step = max(1, BLOCK_ENTRIES // max(1, n_columns))
    n_rows = n_rows if n_columns else 0
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def wide_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that losses are summed in."""
    return LONGDOUBLE if dtype == LONGDOUBLE else FLOAT64


def label_target(
    labels: Array,
    n_classes: int,
    ignore_index: IgnoreIndex,
    class_weight: Array | None,
    sample_weight: Array | None,
    smoothing: float,
) -> Target:
    """Check labels of any shape and flatten them."""
    left_out = ignored_labels(labels, ignore_index)
    check_labels(labels, n_classes, left_out)
    # A view, as NumPy takes C's long long for int64 where kernels know only one of the two.
    flat = np.ascontiguousarray(labels.reshape(-1).astype(np.int64, copy=False)).view(np.int64)
    counted = None
    if left_out is not None:
        counted = ~left_out.reshape(-1)
        flat = np.where(counted, flat, -1)
    weights = times(sample_weight, counted)
    if class_weight is None:
        return Target(n_classes, flat, None, weights, total(weights, len(flat)), None, smoothing)
    by_class = class_weight[flat] if weights is None else class_weight[flat] * weights
    if smoothing:
        return Target(n_classes, flat, None, weights, total(by_class, 0), class_weight, smoothing)
    return Target(n_classes, flat, None, by_class, total(by_class, 0))


def matrix_target(
    matrix: Any,
    counted: Array,
    class_weight: Array | None,
    sample_weight: Array | None,
    smoothing: float,
) -> Target:
    """Put together rows of probabilities or counts, of which some have anything in them."""
    weights = times(sample_weight, None if counted.all() else counted)
    n_rows, n_classes = matrix.shape
    whole = total(weights, n_rows)
    return Target(n_classes, None, matrix, weights, whole, class_weight, smoothing)


def times(sample_weight: Array | None, counted: Array | None) -> Array | None:
    """Return the weights of the rows, 0 where a row does not count."""
    if counted is None:
        return sample_weight
    return counted.astype(np.float64) if sample_weight is None else sample_weight * counted


def total(weights: Array | None, n_rows: int) -> float:
    """Return the sum of the weights."""
    return float(n_rows) if weights is None else float(weights.sum())


def ignored_labels(labels: Array, ignore_index: IgnoreIndex) -> Array | None:
    """Return which labels are to be left out, None where none can be."""
    if ignore_index is None:
        return None
    wanted = np.asarray(
        list(ignore_index) if isinstance(ignore_index, Collection) else ignore_index
    )
    if wanted.size and (wanted.dtype.kind not in "iu" or isinstance(ignore_index, str | bytes)):
        raise TypeError(f"ignore_index must be integers, got {ignore_index!r}")
    return labels == wanted if wanted.ndim == 0 else np.isin(labels, wanted)


def check_labels(labels: Array, n_classes: int, left_out: Array | None) -> None:
    """Raise where a label that counts is no class."""
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < n_classes):
        return
    wrong = (labels < 0) | (labels >= n_classes)
    if left_out is not None:
        wrong &= ~left_out
    if wrong.any():
        first = np.unravel_index(int(np.argmax(wrong)), labels.shape)
        place = ", ".join(str(int(i)) for i in first)
        raise IndexError(
            f"target must be less than the number of classes, {n_classes}, and not negative, "
            f"got {labels[first]} at position [{place}]"
        )


def check_probabilities(matrix: Array, shape: tuple[int, ...]) -> Array:
    """Return which rows have anything in them; raise where one is no distribution.

    `shape` is that of the slices, to name the one that is wrong.
    """
    coarse = as_floating(matrix[:0], "target").dtype
    tolerance = math.sqrt(np.finfo(coarse).eps if coarse.kind == "f" else 2**-7)
    sums = np.zeros(len(matrix))
    kernel = kernel_for(coarse, kernels, "target_sums")
    for part in row_blocks(*matrix.shape):
        kernel(np.ascontiguousarray(as_floating(matrix[part], "target")), sums[part])
    wrong = ~((abs(sums - 1) <= tolerance) | (sums == 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        place = ", ".join(str(int(i)) for i in np.unravel_index(row, shape or (1,)))
        what = "is negative or nan somewhere and " if np.isnan(sums[row]) else ""
        raise ValueError(
            "target must be integer labels or probabilities, at least 0, that sum to 1, "
            f"but row [{place}] {what}sums to {matrix[row].astype(np.float64).sum()!s}"
        )
    counted: Array = sums > 0
    return counted


def check_counts(matrix: Any, shape: tuple[int, ...]) -> Array:
    """Return which rows of a sparse matrix have anything in them; raise where one is negative."""
    if matrix.shape != shape:
        raise ValueError(f"target must have shape {shape}, got {matrix.shape}")
    wrong = ~((matrix.data >= 0) & (matrix.data < math.inf))
    if wrong.any():
        row = int(np.searchsorted(matrix.indptr, np.argmax(wrong), side="right")) - 1
        raise ValueError(
            f"target must hold finite counts, at least 0, but row [{row}] has "
            f"{matrix.data[wrong][0]!s}"
        )
    counted: Array = np.asarray(matrix.sum(axis=1)).reshape(-1) > 0
    return counted


def read_weights(value: npt.ArrayLike | None, shape: tuple[int, ...], name: str) -> Array | None:
    """Return weights, one for each class or row, as flat float64."""
    if value is None:
        return None
    refuse_mask(value, name)
    weights = as_array(value, name).astype(np.float64)
    target = "the shape of the logits" if name == "pos_weight" else "the shape of what is weighted"
    weights = np.ascontiguousarray(broadcast(weights, shape, name, target)).reshape(-1)
    wrong = ~((weights >= 0) & (weights < math.inf))
    if wrong.any():
        raise ValueError(f"{name} must be finite and not negative, got {weights[wrong][0]!s}")
    return weights


def class_weights(value: npt.ArrayLike | None, n_classes: int) -> Array | None:
    """Return one weight for each class."""
    if value is not None and np.shape(value) != (n_classes,):
        raise ValueError(
            f"class_weight must have one entry for each class, ({n_classes},), "
            f"got shape {np.shape(value)}"
        )
    return read_weights(value, (n_classes,), "class_weight")


def check_options(reduction: str, **options: float) -> None:
    """Raise where the reduction is unknown or an option is not a number in its range."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be "none", "sum" or "mean", got {reduction!r}')
    for name, value in options.items():
        number = as_number(value, name)
        highest = 1.0 if name in ("label_smoothing", "alpha") else math.inf
        if not 0 <= number <= highest or number == math.inf:
            interval = "between 0 and 1" if highest == 1 else "finite and not negative"
            raise ValueError(f"{name} must be {interval}, got {value!r}")


def scale_for(reduction: str, weight: float) -> float:
    """Return what each weighted loss is multiplied by before they are added up."""
    if reduction != "mean":
        return 1.0
    return 1 / weight if weight > 0 else 0.0


def reduced(losses: Array, reduction: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return the losses as they are, or their sum, in the dtype of the logits."""
    wide = losses.reshape(shape) if reduction == "none" else losses.sum()
    with np.errstate(over="ignore"):
        return np.asarray(wide).astype(dtype)[()]
