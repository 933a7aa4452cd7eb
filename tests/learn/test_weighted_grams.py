"""Weighted sums of outer products of rows, against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import softmax as sm

RNG = np.random.default_rng(6)


def rows_and_weights(dtype: Any, n_rows: int, width: int, count: int) -> tuple[Any, Any]:
    weights = RNG.normal(size=(n_rows, count)).astype(dtype)
    weights[RNG.random(weights.shape) < 0.3] = 0
    return RNG.normal(size=(n_rows, width)).astype(dtype), weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [0, 1, 4, 5, 8, 15, 16, 17, 32, 33, 65, 130])
@pytest.mark.parametrize("n_rows", [1, 31, 32, 100])
def test_sums_are_added(kernels: Any, dtype: Any, width: int, n_rows: int) -> None:
    x, weights = rows_and_weights(dtype, n_rows, width, 3)
    before = RNG.normal(size=(3, width, width)).astype(dtype)
    before += before.transpose(0, 2, 1)
    got = before.copy()
    kernels.weighted_grams(x, weights, got)
    wide, factors = x.astype(np.float64), weights.astype(np.float64)
    expected = before + np.einsum("im,ia,ib->mab", factors, wide, wide)
    size = np.abs(before) + np.einsum("im,ia,ib->mab", *map(np.abs, (factors, wide, wide)))
    assert np.all(np.abs(got - expected) <= (n_rows + 3) * np.finfo(dtype).eps / 2 * size)


def test_rows_of_weight_0_may_hold_anything(kernels: Any) -> None:
    x, weights = rows_and_weights(np.float64, 40, 6, 2)
    x[7], weights[7] = np.nan, 0
    got, without = np.zeros((2, 2, 6, 6))
    kernels.weighted_grams(x, weights, got)
    kernels.weighted_grams(np.delete(x, 7, 0), np.delete(weights, 7, 0), without)
    np.testing.assert_allclose(got, without, atol=1e-13)


def test_any_number_of_threads() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    x, weights = rows_and_weights(np.float32, 2000, 50, 7)
    results = []
    for threads in (1, 2, 4):
        got = np.zeros((7, 50, 50), np.float32)
        with sm.num_threads(threads):
            core.weighted_grams(x, weights, got)
        results.append(got.tobytes())
    assert len(set(results)) == 1


def test_what_does_not_fit_is_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = [np.ones((5, 3)), np.ones((5, 2)), np.ones((2, 3, 3))]
    core.weighted_grams(*good)
    for place, bad in [
        (0, np.ones((5, 4))),
        (0, np.ones((4, 3))),
        (0, np.ones((5, 3), np.float32)),
        (0, np.ones((3, 5)).T),
        (1, np.ones((5, 3))),
        (1, np.ones(5)),
        (2, np.ones((2, 3, 4))),
        (2, np.ones((2, 4, 3))),
        (2, np.ones((2, 9))),
    ]:
        with pytest.raises(TypeError, match="must be"):
            core.weighted_grams(*good[:place], bad, *good[place + 1 :])
