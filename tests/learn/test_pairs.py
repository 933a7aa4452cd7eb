"""Quasi-Newton pairs against the two loops of the textbook."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softmax.learn.pairs import MANY, Pairs


class Doubling:
    """Twice the gradient, for an inverse."""

    def __init__(self, rough: bool) -> None:
        self.rough = rough

    def __call__(self, gradient: Any) -> Any:
        return 2 * gradient


def two_loops(pairs: list[tuple[Any, Any]], gradient: Any, rough: bool) -> Any:
    """Nocedal & Wright, algorithm 7.4."""
    vector, shares = gradient, []
    for step, change in reversed(pairs):
        shares.append(step @ vector / (step @ change))
        vector = vector - shares[-1] * change
    vector = 2 * vector
    if rough:
        step, change = pairs[-1]
        vector = vector * (step @ change) / (2 * change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        vector = vector + (share - change @ vector / (step @ change)) * step
    return vector


@pytest.mark.parametrize("size", [40, MANY + 2])
@pytest.mark.parametrize("rough", [False, True])
def test_products_do_what_two_loops_do(size: int, rough: bool) -> None:
    rng = np.random.default_rng(0)
    curvature = rng.uniform(0.5, 2, size)
    pairs, plain = Pairs(size), []
    for _ in range(30):  # more than are kept
        left, arrived = rng.normal(size=(2, 2, size // 2))
        slopes = curvature.reshape(left.shape)
        pairs.add((left, slopes * left), (arrived, slopes * arrived))
        step = (arrived - left).ravel()
        plain = [*plain, (step, curvature * step)][-len(pairs) :]
        gradient = rng.normal(size=left.shape)
        expected = two_loops(plain, gradient.ravel(), rough)
        got = pairs.apply(gradient, Doubling(rough))
        assert got.shape == gradient.shape
        allowed = 1e-12 if size < MANY else 1e-5
        np.testing.assert_allclose(got.ravel(), expected, atol=allowed * np.abs(expected).max())
    assert len(pairs) == 20


def test_pairs_without_curvature_are_not_kept() -> None:
    pairs = Pairs(4)
    one = np.ones((2, 2))
    pairs.add((0 * one, one), (one, one))
    pairs.add((0 * one, one), (one, 0 * one))
    assert len(pairs) == 0
    np.testing.assert_array_equal(pairs.apply(one, Doubling(True)), 2 * one)
