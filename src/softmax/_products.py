"""Matrix products that are put into an array, or added to what it holds; SciPy's compiled BLAS.

NumPy's products need room for what is to be added, and a pass to add it. The BLAS that SciPy was
built with is there for compiled code, and adds. It has threads of its own that keep those of NumPy
waiting for some milliseconds, so large products are all done by the one or all by the other.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np

from softmax._inputs import Array
from softmax._kernels import kernels

Multiply = Callable[[Array, Array, Array, bool], None]
"""Of a, b, out, add: put a b into out, or add it."""


def scipy_function(module: str, name: str) -> Any:
    """Return what SciPy offers to compiled code in a module of scipy.linalg, or None."""
    return offered(module, name) if hasattr(kernels, "matrix_product") else None


@cache
def offered(module: str, name: str) -> Any:
    """Return a capsule, or None without SciPy, or where its integers have not 32 bits."""
    try:
        functions = import_module(f"scipy.linalg.{module}").__pyx_capi__
        blas = import_module("scipy.linalg.cython_blas")
    except ImportError:
        return None
    function = functions.get(name)
    # Since there are others SciPy tells the size of its integers; before, the signature did.
    size = getattr(blas, "_blas_int_size", None)
    known = size() == 4 if size is not None else ", int *" in repr(function)
    return function if known else None


def adding_product(dtype: np.dtype[Any]) -> Multiply | None:
    """Return a product of contiguous matrices, or their transposes, that adds without room."""
    name = {np.dtype(np.float32): "sgemm", np.dtype(np.float64): "dgemm"}.get(dtype)
    gemm = None if name is None else scipy_function("cython_blas", name)
    return None if gemm is None else partial(kernels.matrix_product, gemm)


def product_in_pieces(room: Array, a: Array, b: Array, out: Array, add: bool) -> None:
    """Multiply by NumPy, as many rows at a time as fit the room where they are added or transposed.

    Of all of a large transposed matrix BLAS would make a copy of its own.
    """
    if not add and a.flags.c_contiguous:
        np.matmul(a, b, out=out)
        return
    step = max(1, room.size // max(1, out.shape[1]))
    for start in range(0, len(out), step):
        rows, piece = a[start : start + step], out[start : start + step]
        if add:
            product = room[: piece.size].reshape(piece.shape)
            np.matmul(rows, b, out=product)
            piece += product
        else:
            np.matmul(rows, b, out=piece)
