"""logsumexp of few floats, which are added up as whole numbers."""

import numpy as np
import pytest

import oracle
import softmax as sm
from catalog import DTYPES

NARROW = [dtype for dtype in DTYPES if dtype.itemsize < 8]


def rows_with_limits(length, dtype):
    """More rows than a tile has, those of nan and infinities alone and side by side."""
    x = np.random.default_rng(length).normal(0, 9, (150, length))
    x[3:150:9] *= 12
    x[::11, 0], x[1::11, -1], x[2::11, length // 2] = np.inf, -np.inf, np.nan
    x[4::11], x[5::11] = -np.inf, np.inf
    x[6::22, 0], x[6::22, -1] = np.inf, -np.nan
    x[8::22, 0], x[8::22, -1] = np.nan, np.nan
    x[9::22], x[9::22, -1] = -np.inf, np.nan
    return x.astype(dtype)


def apart(x):
    """The same array with gaps between its rows and between their entries."""
    wide = np.zeros((len(x), 2 * x.shape[1] + 3), x.dtype)
    wide[:, 1 : 1 + 2 * x.shape[1] : 2] = x
    return wide[:, 1 : 1 + 2 * x.shape[1] : 2]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("length", range(1, 18))
def test_the_same_bits_however_slices_lie(kernels, dtype, length):
    x = rows_with_limits(length, dtype)
    alone = np.stack([sm.logsumexp(row) for row in x])
    largest = x.astype(np.float64).max(axis=1)  # nan where there is one
    for row, result in zip(x[np.isfinite(largest)], alone[np.isfinite(largest)], strict=True):
        exact = oracle.logsumexp(row[np.isfinite(row)])
        assert oracle.ulp_error(result, exact, dtype).max() < 2
    limits = ~np.isfinite(largest)
    np.testing.assert_array_equal(alone[limits].astype(np.float64), largest[limits])
    columns = np.ascontiguousarray(x.T)
    padded = np.zeros((150, length + 3), dtype)
    padded[:, :length] = x
    between = np.ascontiguousarray(x.reshape(3, 50, length).swapaxes(1, 2))
    few = [sm.logsumexp(x[i : i + 7]) for i in range(0, 150, 7)]
    for same in (
        sm.logsumexp(x),
        sm.logsumexp(columns, axis=0),
        sm.logsumexp(padded[:, :length]),
        sm.logsumexp(apart(x)),
        sm.logsumexp(apart(columns), axis=0),
        sm.logsumexp(between, axis=1).ravel(),
        np.concatenate(few),
    ):
        assert same.tobytes() == alone.tobytes()


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("length", [1, 2, 5, 8, 11, 16])
def test_what_takes_no_part_is_as_if_it_were_minus_infinity(kernels, dtype, length):
    x = rows_with_limits(length, dtype)
    where = np.random.default_rng(0).random(x.shape) < 0.7
    expected = sm.logsumexp(np.where(where, x, dtype.type(-np.inf))).tobytes()
    assert sm.logsumexp(x, where=where).tobytes() == expected
    assert sm.logsumexp(apart(x), where=where).tobytes() == expected
    columns = np.ascontiguousarray(x.T)
    assert sm.logsumexp(columns, axis=0, where=where.T).tobytes() == expected
    turned = np.ascontiguousarray(where.T)
    assert sm.logsumexp(columns, axis=0, where=turned).tobytes() == expected


@pytest.mark.parametrize("length", range(2, 17))
def test_entries_that_all_round_alike(kernels, length):
    """Below the first some are alike, so that what one loses the others lose, too."""
    random = np.random.default_rng(length)
    count = 40_000
    alike, gap = random.integers(1, length, count), random.uniform(0.01, 9, count)
    least = 0.5 if length < 8 else 1
    target = random.uniform(least, 1.6 * least, count) * random.choice([-1, 1], count)
    first = (target - np.log1p(alike * np.exp(-gap))).astype(np.float32)
    others = (first - gap).astype(np.float32)
    taken = np.arange(length) <= alike[:, np.newaxis]
    x = np.where(taken, others[:, np.newaxis], np.float32(-np.inf))
    x[:, 0] = first
    top = first.astype(np.float64)
    exact = top + np.log1p(np.exp(x[:, 1:] - top[:, np.newaxis]).sum(axis=1))
    got = sm.logsumexp(x)
    units = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(got - exact) / units).max() < 1.9


@pytest.mark.parametrize("length", range(2, 17))
def test_many_entries_that_hardly_show(kernels, length):
    """Each is near half of the unit in which terms are counted, or far below it."""
    gap = np.linspace(15, 130, 500, dtype=np.float32)[:, np.newaxis]
    for first in (-3e38, -700.25, -1.5, 0.75, 1, 2.5, 700, 1e6, 3e38):
        x = np.repeat(np.float32(first) - gap, length, axis=1)
        x[:, 0] = first
        got = sm.logsumexp(x)
        assert oracle.ulp_error(got, oracle.logsumexp(x), np.float32).max() < 1


@pytest.mark.parametrize("length", range(1, 17))
def test_largest_sums(kernels, length):
    """Nothing overflows or is lost where entries are alike; one of them alone is given back."""
    first = np.float32([-3.4e38, -1e30, -1000, -2.75, 1.5, 3, 88.7, 1e10, 3.4e38])
    first = first[:, np.newaxis]
    x = np.repeat(first, length, axis=1)
    got = sm.logsumexp(np.repeat(x, 9, axis=0))[::9]
    assert oracle.ulp_error(got, oracle.logsumexp(x), np.float32).max() < 0.6
    x[:, 1:] = -np.inf
    np.testing.assert_array_equal(sm.logsumexp(x), first[:, 0])
