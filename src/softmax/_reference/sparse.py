"""Products of a matrix in compressed rows with a dense one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def csr_product(
    indptr: Array,
    indices: Array,
    data: Array,
    dense: Array,
    out: Array,
    transposed: bool,
) -> None:
    """Put A `dense` into `out`, or A' `dense`; column by column, summed in float64."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    read, written = (rows, indices) if transposed else (indices, rows)
    for column in range(dense.shape[1]):
        terms = data * dense[read, column]
        out[:, column] = np.bincount(written, terms, len(out))
