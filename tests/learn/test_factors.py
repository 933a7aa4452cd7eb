"""Cholesky factors of several matrices at once, and of matrices that hardly have one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softmax._products import offered
from softmax.learn.preconditioner import _Factors

RNG = np.random.default_rng(12)


def matrices(count: int, side: int, dtype: Any) -> Any:
    factors = RNG.normal(size=(count, side, side + 3))
    units = np.exp(RNG.normal(size=(count, side)) * 3)
    return (factors @ factors.transpose(0, 2, 1) * units[:, None] * units[:, :, None]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", [1, 2, 17, 70])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("rows", [1, 4])
def test_solutions(kernels: Any, dtype: Any, side: int, count: int, rows: int) -> None:
    whole = matrices(count, side, dtype)
    right = RNG.normal(size=(count, rows, side))
    factors = _Factors(whole.copy())
    back = np.einsum("mij,mrj->mri", whole.astype(np.float64), factors.solve(right))
    scale = np.sqrt(np.einsum("mii->mi", whole))[:, None]
    tolerance = 2e4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(
        back / scale, right / scale, atol=tolerance * np.abs(right / scale).max()
    )


def test_columns_that_never_vary_get_no_step(kernels: Any) -> None:
    matrix = np.diag([2.0, 0.0, 4.0])
    np.testing.assert_allclose(_Factors(matrix[None]).solve(np.ones(3)), [0.5, 0, 0.25], rtol=1e-12)


def test_a_singular_matrix_gets_a_ridge(kernels: Any) -> None:
    solution = _Factors(np.ones((1, 2, 2))).solve(np.array([1.0, 1.0]))
    np.testing.assert_allclose(solution, [0.5, 0.5], rtol=1e-6)
    assert np.isfinite(_Factors(np.ones((1, 5, 5), np.float32)).solve(np.arange(5.0))).all()


def test_what_is_not_finite_ends(kernels: Any) -> None:
    _Factors(np.full((1, 3, 3), np.nan)).solve(np.ones(3))


def test_what_does_not_fit_is_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    potrf, trsv = offered("cython_lapack", "dpotrf"), offered("cython_blas", "dtrsv")
    held, scales, right = matrices(2, 3, np.float64), np.empty((2, 3)), np.ones(6)
    for bad in ([np.ones((2, 3, 4)), scales], [held, np.ones((2, 2))], [held[:, ::-1], scales]):
        with pytest.raises((TypeError, ValueError)):
            core.factor_blocks(potrf, *bad)
    with pytest.raises((TypeError, ValueError)):
        core.factor_blocks(None, held, scales)
    core.factor_blocks(potrf, held, scales)
    for given in (np.ones(5), np.ones(6, np.float32), np.ones((3, 2)).T, None):
        with pytest.raises((TypeError, ValueError)):
            core.solve_blocks(trsv, held, scales, given, np.ones(6))
    with pytest.raises((TypeError, ValueError)):
        core.solve_blocks(None, held, scales, right, np.ones(6))
