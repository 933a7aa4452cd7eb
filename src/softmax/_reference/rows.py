"""See any array and axis as rows, and walk through the rows in blocks that fit the cache.

Every kernel over slices has this shape: take a block of rows in the working precision, reduce it,
map it, and round the result once on its way out.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from softmax._reference.pairs import Array

BLOCK = 2**14  # entries; about ten temporaries of this size stay in a second-level cache


def working_dtype(dtype: np.dtype[Any]) -> Any:
    """Return the precision to compute in."""
    return np.longdouble if dtype == np.longdouble else np.float64


def as_rows(array: Array, axis: int) -> Array:
    """Return the array as a matrix whose rows run along axis, a copy where they have to move."""
    if axis not in (-1, array.ndim - 1):
        array = np.moveaxis(array, axis, -1)
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def widen(block: Array | None, dtype: Any) -> Array | None:
    """Return a block in the working precision; masks stay masks."""
    if block is None or block.dtype == np.bool_:
        return block
    return block.astype(dtype, order="C")


def each_block(
    function: Callable[..., Array],
    out: Array,
    axis: int,
    x: Array,
    where: Array | None,
    *others: Array | None,
) -> None:
    """Write function(x, where, *others) of each block of rows into out.

    Nothing is written before everything is read, so out may be x itself.
    """
    if out.size == 0:
        return
    if x.shape[axis] == 0:  # a slice of nothing is a slice of one entry that takes no part
        where = np.zeros(out.shape, np.bool_)
        x = np.zeros(out.shape, x.dtype)
    dtype = working_dtype(x.dtype)
    matrices = [None if a is None else as_rows(a, axis) for a in (x, where, *others)]
    result = as_rows(np.empty(out.shape, out.dtype), axis)
    step = max(1, BLOCK // x.shape[axis])
    with np.errstate(all="ignore"):
        for start in range(0, len(result), step):
            part = slice(start, start + step)
            rows = [widen(None if m is None else m[part], dtype) for m in matrices]
            result[part] = function(*rows)
        moved = np.moveaxis(out, axis, -1)
        moved[...] = result.reshape(moved.shape)
