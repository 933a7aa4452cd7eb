"""logsumexp next to zero: as exact as elsewhere, and the same bits alone or among others."""

import numpy as np
import pytest

import oracle
import softmax as sm
from catalog import DTYPES


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [2, 3, 10, 30, 100, 700, 2500, 5000])
def test_logarithms_of_sums_next_to_zero(kernels, dtype, length):
    """Those of floats are taken once more, among others and masked, too."""
    x = np.random.default_rng(length).normal(0, 3, (90, length))
    x[::2] -= np.log(np.exp(x[::2]).sum(axis=1, keepdims=True))
    x = x.astype(dtype)
    x[4, 0] = -np.inf
    x[6], x[8], x[30, 0] = -np.inf, np.inf, np.nan
    where = np.ones(x.shape, bool)
    where[10:14, 1] = False
    for mask in (None, where):
        alone = [
            sm.logsumexp(row) if mask is None else sm.logsumexp(row, where=mask[i])
            for i, row in enumerate(x)
        ]
        expected = np.stack(alone).tobytes()
        assert sm.logsumexp(x, where=mask).tobytes() == expected
        columns = np.ascontiguousarray(x.T)
        turned = None if mask is None else np.ascontiguousarray(mask.T)
        assert sm.logsumexp(columns, axis=0, where=turned).tobytes() == expected


def errors(got, x):
    """In units in the last place of what the rows' logarithms are in float64, near 1."""
    exact = np.log(np.exp(x.astype(np.float64)).sum(axis=1))
    return np.abs(got - exact) / np.spacing(np.abs(exact).astype(np.float32))


@pytest.mark.parametrize("length", [2, 3, 5, 7, 8, 20, 300, 3000, 20000])
def test_logarithms_of_sums_of_equal_entries(kernels, length):
    """All round alike, and the more there are, the further they lie below a result near zero."""
    entries = (np.linspace(0.4, 2.2, 400) - np.log(length)).astype(np.float32)
    x = np.repeat(entries[:, np.newaxis], length, axis=1)
    assert errors(sm.logsumexp(x), x).max() < 1.9


@pytest.mark.parametrize(
    ("length", "first", "others"),
    [
        (4, -0.8590965270996094, -0.8955272436141968),
        (7, -1.3565113544464111, -1.4616190195083618),
        (30_000, -2.984121561050415, -9.327703475952148),
        (32_000, -3.3393394947052, -9.386590957641602),
        (1_000_000, -2.568387031555176, -12.8441162109375),
    ],
)
def test_logarithms_of_sums_just_below_a_power_of_two(kernels, length, first, others):
    """Below 0.5 and 1 units are half as large: what rounds up to these is taken again, too."""
    x = np.full((3, length), others, np.float32)
    x[:, 0] = first
    assert errors(sm.logsumexp(x), x).max() < 2


@pytest.mark.parametrize("length", [2, 3, 10, 24, 25, 100, 1000])
def test_logarithms_of_sums_at_zero(kernels, length):
    """Rows of logarithms of probabilities, whose rounding is all that is left of the results."""
    x = np.random.default_rng(length).normal(0, 2, (min(20_000, 200_000 // length), length))
    x = (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype(np.float32)
    got = sm.logsumexp(x)
    assert oracle.ulp_error(got, oracle.logsumexp(x), np.float32).max() < 2


@pytest.mark.parametrize("border", [-1, -0.5, 0.5, 1])
@pytest.mark.parametrize("length", [2, 7, 8, 100, 700, 3000, 40_000])
def test_logarithms_of_sums_where_they_are_next_to_zero_no_more(kernels, length, border):
    """A few units before and behind: within two of them, and alone and among others the same."""
    x = np.random.default_rng(length).normal(0, 2, (700 if length < 1000 else 70, length))
    target = border * (1 + np.linspace(-5, 5, len(x))[:, np.newaxis] * 2.0**-23)
    x = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) + target).astype(np.float32)
    got = sm.logsumexp(x)
    assert errors(got, x).max() < 2
    assert got.tobytes() == np.stack([sm.logsumexp(row) for row in x]).tobytes()
    assert got.tobytes() == sm.logsumexp(np.ascontiguousarray(x.T), axis=0).tobytes()
