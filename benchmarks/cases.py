"""What is measured: the table of operations, shapes and variants, and the arrays of one case.

A case is one cell of the matrix: an operation, a variant of it, a dtype, a shape and an axis.
Its arrays are made when first asked for, always the same ones, and freed with it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import ml_dtypes
import numpy as np

DTYPES = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
LAST, FIRST = -1, 0
FILTERS = ("top_k", "top_p", "min_p")
TARGETS = ("smoothed", "soft")  # of a loss: labels with label_smoothing, and probabilities
VARIANTS = ("plain", "masked", "tempered", "weighted", *TARGETS, *FILTERS, "sweep")

# Call overhead, then rows that fit each cache, then batches of long, middling and short rows,
# then the axis that is not contiguous.
CALL = ((1, 10), LAST)
MATRIX = (
    ((1, 1000), LAST),
    ((1, 32000), LAST),
    ((1, 256000), LAST),
    ((32, 32000), LAST),
    ((256, 128256), LAST),
    ((65536, 1000), LAST),
    ((100000, 100), LAST),
    ((1000000, 10), LAST),
    ((1000, 65536), FIRST),
)
VARIANT_SHAPES = (
    ((1, 32000), LAST),
    ((32, 32000), LAST),
    ((65536, 1000), LAST),
    ((1000000, 10), LAST),
    ((1000, 65536), FIRST),
)
LOSS_SHAPES = (
    ((1, 1000), LAST),
    ((32, 32000), LAST),
    ((8192, 32000), LAST),
    ((65536, 1000), LAST),
    ((100000, 100), LAST),
    ((1000000, 10), LAST),
)
LAYER_SHAPES = (((2048, 512, 32000), LAST), ((8192, 768, 50257), LAST))  # rows, features, classes
SAMPLE_SHAPES = (((1, 1000), LAST), ((1, 128256), LAST), ((64, 128256), LAST))
ELEMENTWISE_SHAPES = (
    ((1, 10), LAST),
    ((1, 1000), LAST),
    ((1, 32000), LAST),
    ((1, 256000), LAST),
    ((32, 32000), LAST),
    ((256, 128256), LAST),
)
# One total, 64 MiB of float32, cut into rows of every length: the data of the plot.
SWEEP_ROWS = (4, 10, 32, 100, 320, 1000, 3200, 10000, 32000, 100000, 320000, 1000000)
SWEEP_SHAPES = tuple(((2**24 // row, row), LAST) for row in SWEEP_ROWS)

Shapes = tuple[tuple[tuple[int, ...], int], ...]


@dataclass(frozen=True)
class Operation:
    """A row of the table: where an operation is measured, and what bounds its speed."""

    baseline: str
    shapes: Shapes
    variants: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = tuple(DTYPES)
    variant_shapes: Shapes = VARIANT_SHAPES


SLICES = (CALL, *MATRIX)
OPERATIONS = {
    "softmax": Operation("copy", SLICES, ("masked", "tempered")),
    "log_softmax": Operation("copy", SLICES, ("masked", "tempered")),
    "logsumexp": Operation("sum", SLICES, ("masked", "weighted")),
    "softmax_vjp": Operation("copy", SLICES),
    "cross_entropy": Operation(
        "softmax in place", LOSS_SHAPES, TARGETS, variant_shapes=LOSS_SHAPES[1:]
    ),
    "linear_cross_entropy": Operation("matrix products", LAYER_SHAPES, dtypes=("float32",)),
    "sample": Operation(
        "sum", SAMPLE_SHAPES, ("tempered", *FILTERS), ("float32", "float64"), SAMPLE_SHAPES
    ),
    "sigmoid": Operation("copy", ELEMENTWISE_SHAPES),
    "log_sigmoid": Operation("copy", ELEMENTWISE_SHAPES),
    "softplus": Operation("copy", ELEMENTWISE_SHAPES),
}


@dataclass(frozen=True)
class Case:
    operation: str
    dtype: str
    shape: tuple[int, ...]
    axis: int = LAST
    variant: str = "plain"

    @property
    def shape_text(self) -> str:
        return "x".join(map(str, self.shape))

    @property
    def axis_text(self) -> str:
        return {LAST: "last", FIRST: "first"}.get(self.axis, str(self.axis))

    @property
    def nbytes(self) -> int:
        """Bytes of the logits, whether they are ever held or not."""
        layer = self.operation == "linear_cross_entropy"
        shape = (self.shape[0], self.shape[-1]) if layer else self.shape
        return math.prod(shape) * DTYPES[self.dtype].itemsize

    def __str__(self) -> str:
        variant = "" if self.variant == "plain" else f"{self.variant} "
        return f"{variant}{self.operation} {self.dtype} {self.shape_text} {self.axis_text}"


def all_cases() -> Iterator[Case]:
    for name, operation in OPERATIONS.items():
        for dtype in operation.dtypes:
            for shape, axis in operation.shapes:
                yield Case(name, dtype, shape, axis)
            for variant in operation.variants:
                for shape, axis in operation.variant_shapes:
                    yield Case(name, dtype, shape, axis, variant)
    for shape, axis in SWEEP_SHAPES:
        yield Case("softmax", "float32", shape, axis, "sweep")


class Arrays:
    """The inputs of one case: x from N(0, 3), and what goes with it, unless given by name."""

    temperature = 0.7
    top_k = 50
    top_p = 0.9
    min_p = 0.05
    smoothing = 0.1

    def __init__(self, case: Case, **given: object):
        self.case = case
        self.axis = case.axis
        self.dtype = DTYPES[case.dtype]
        vars(self).update(given)

    def _normal(self, seed: int, shape: tuple[int, ...], scale: float) -> np.ndarray:
        drawn = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        drawn *= np.float32(scale)
        return drawn.astype(self.dtype, copy=False)

    @cached_property
    def x(self) -> np.ndarray:
        return self._normal(0, self.case.shape, 3.0)

    @cached_property
    def dp(self) -> np.ndarray:
        """The gradient that arrives at the probabilities."""
        return self._normal(1, self.x.shape, 1.0)

    @cached_property
    def mask(self) -> np.ndarray:
        """Nine entries in ten take part, the first of every slice among them."""
        mask = np.random.default_rng(2).random(self.x.shape, dtype=np.float32) < 0.9
        np.moveaxis(mask, self.axis, 0)[0] = True
        return mask

    @cached_property
    def weights(self) -> np.ndarray:
        return np.abs(self._normal(3, self.x.shape, 1.0)) + self.dtype.type(0.5)

    @cached_property
    def target(self) -> np.ndarray:
        rows, classes = self.case.shape[0], self.case.shape[-1]
        return np.random.default_rng(4).integers(classes, size=rows)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """A target of probabilities for each row."""
        scores = self._normal(7, self.x.shape, 1.0).astype(np.result_type(self.dtype, np.float32))
        np.exp(scores, out=scores)
        return (scores / scores.sum(axis=-1, keepdims=True)).astype(self.dtype)

    @cached_property
    def features(self) -> np.ndarray:
        """X of a softmax layer; `weight` is its matrix."""
        rows, width, _ = self.case.shape
        return self._normal(5, (rows, width), 1.0)

    @cached_property
    def weight(self) -> np.ndarray:
        _, width, classes = self.case.shape
        return self._normal(6, (classes, width), width**-0.5)

    def empty_result(self) -> np.ndarray:
        """An array that `out=` may name, touched so that its pages exist."""
        shape = list(self.case.shape)
        if self.case.operation == "logsumexp":
            del shape[self.axis]
        return np.ones(shape, self.dtype)
