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


@pytest.mark.parametrize("n_classes", [1, 2, 3, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_curvature(kernels: Any, n_classes: int, weighted: bool) -> None:
    x = RNG.normal(size=(50, 5))
    p = RNG.dirichlet(np.ones(n_classes), 50)
    weights = RNG.integers(0, 3, 50).astype(float) if weighted else None
    size = 5 * n_classes
    before = RNG.normal(size=(size, size))
    got = before.copy()
    kernels.softmax_curvature(x, p, weights, 0.5, got)
    w = np.ones(50) if weights is None else weights
    covariance = np.einsum("ik,kl->ikl", p, np.eye(n_classes)) - np.einsum("ik,il->ikl", p, p)
    expected = np.einsum("i,ikl,ia,ib->kalb", w, covariance, x, x).reshape(size, size)
    np.testing.assert_allclose(got, before + 0.5 * expected, atol=1e-13)


def test_curvature_that_does_not_fit_is_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = [np.ones((5, 3)), np.ones((5, 2)), np.ones(5), 1.0, np.ones((6, 6))]
    core.softmax_curvature(*good)
    bad = {
        0: [np.ones((4, 3)), np.ones((5, 3), np.float32), np.ones((5, 6))[:, ::2]],
        1: [np.ones(5), np.ones((5, 2), np.float32)],
        2: [np.ones(4)],
        4: [np.ones((6, 5)), np.ones((6, 6), np.float32), np.ones((12, 6))[::2]],
    }
    for place, values in bad.items():
        for value in values:
            with pytest.raises((TypeError, ValueError)):
                core.softmax_curvature(*good[:place], value, *good[place + 1 :])


def test_complete_curvature(kernels: Any) -> None:
    before = RNG.normal(size=(15, 15))
    got, own = before.copy(), np.full((3, 5), np.nan)
    kernels.complete_curvature(got, own, 0.5, 4)
    penalty = np.tile([0.5] * 4 + [0.0], 3)
    diagonal = (before.diagonal() + penalty).reshape(3, 5)
    np.testing.assert_allclose(own, diagonal, rtol=1e-14)
    shift = np.kron(np.ones((3, 3)), np.diag(diagonal.sum(0) / 9))
    np.testing.assert_allclose(got, before + np.diag(penalty) + shift, rtol=1e-13, atol=1e-14)


def test_matrices_that_cannot_be_completed_are_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    for matrix, own in [
        (np.ones((6, 5)), np.ones((2, 3))),
        (np.ones((6, 6), np.float32), np.ones((2, 3))),
        (np.ones((6, 6)), np.ones(6)),
        (np.ones((6, 6)).astype(">f8"), np.ones((2, 3))),
    ]:
        with pytest.raises((TypeError, ValueError)):
            core.complete_curvature(matrix, own, 0.5, 2)
    fixed = np.ones((6, 6))
    fixed.flags.writeable = False
    with pytest.raises((TypeError, ValueError)):
        core.complete_curvature(fixed, np.ones((2, 3)), 0.5, 2)
