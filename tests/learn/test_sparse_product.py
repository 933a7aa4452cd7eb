"""Products with matrices in compressed rows, against dense ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import softmax as sm

RNG = np.random.default_rng(5)
MATRIX = sp.random(70, 45, 0.1, format="csr", random_state=3)
MATRIX.data -= 0.5


def product(kernels: Any, matrix: Any, dense: Any, transposed: bool) -> Any:
    out = np.full((matrix.shape[transposed], dense.shape[1]), np.nan, dense.dtype)
    kernels.csr_product(matrix.indptr, matrix.indices, matrix.data, dense, out, transposed)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("width", [0, 1, 3, 8, 16, 20, 47, 64, 65, 130])
def test_both_products(kernels: Any, dtype: Any, index: Any, width: int) -> None:
    matrix = MATRIX.astype(dtype)
    matrix.indptr, matrix.indices = matrix.indptr.astype(index), matrix.indices.astype(index)
    assert np.diff(matrix.indptr).min() == 0  # an empty row
    for transposed in (False, True):
        dense = RNG.normal(size=(matrix.shape[not transposed], width)).astype(dtype)
        whole = matrix.toarray().astype(np.float64)
        expected = (whole.T if transposed else whole) @ dense.astype(np.float64)
        got = product(kernels, matrix, dense, transposed)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_any_number_of_threads() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    matrix = sp.random(3000, 2000, 0.01, format="csr", random_state=0, dtype=np.float32)
    for transposed in (False, True):
        dense = RNG.normal(size=(matrix.shape[not transposed], 150)).astype(np.float32)
        results = []
        for threads in (1, 2, 4):
            with sm.num_threads(threads):
                results.append(product(core, matrix, dense, transposed).tobytes())
        assert len(set(results)) == 1


def test_duplicates_add_up(kernels: Any) -> None:
    twice = sp.csr_matrix(([1.0, 2.0, 5.0], [1, 1, 0], [0, 2, 3]), (2, 3))
    dense = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(product(kernels, twice, dense, False), [[6, 9], [0, 5]])
    np.testing.assert_array_equal(
        product(kernels, twice, np.eye(2), True), [[0, 5], [3, 0], [0, 0]]
    )


def test_entries_beyond_the_shape_are_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = [np.array([0, 1, 2]), np.array([0, 1]), np.ones(2), np.ones((2, 3)), np.ones((2, 3))]
    core.csr_product(*good, False)
    for place, bad in [
        (0, np.array([0, 1, 3])),
        (0, np.array([0, 3, 2])),
        (0, np.array([-1, 1, 2])),
        (1, np.array([0, 2])),
        (1, np.array([0, -1])),
        (2, np.ones(3)),
        (2, np.ones(2, np.float32)),
        (3, np.ones((2, 4))),
        (3, np.ones(6)),
        (4, np.ones((3, 3))),
    ]:
        with pytest.raises(TypeError, match="must be"):
            core.csr_product(*good[:place], bad, *good[place + 1 :], False)
