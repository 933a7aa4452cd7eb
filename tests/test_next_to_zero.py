"""logsumexp next to zero: as exact as elsewhere, and the same bits alone or among others."""

import decimal

import numpy as np
import pytest

import oracle
import softmax as sm
from catalog import DTYPES


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [1, 2, 3, 10, 24, 30, 100, 700, 2500, 5000])
def test_logarithms_of_sums_next_to_zero(kernels, dtype, length):
    """Those of floats are taken once more, among others and masked, too."""
    x = np.random.default_rng(length).normal(0, 3, (90, length))
    x[::2] -= np.log(np.exp(x[::2]).sum(axis=1, keepdims=True))
    x = x.astype(dtype)
    x[4, 0] = -np.inf
    x[6], x[8], x[30, 0], x[32, 0] = -np.inf, np.inf, np.nan, np.inf
    where = np.ones(x.shape, bool)
    where[10:14, -1] = False
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


def logarithms_of_probabilities(*shape, dtype=np.float32):
    """Rows whose rounding is all that is left of the logarithms of their sums."""
    x = np.random.default_rng(shape[-1]).normal(0, 2, shape)
    return (x - np.log(np.exp(x).sum(axis=-1, keepdims=True))).astype(dtype)


@pytest.mark.parametrize("length", [2, 10, 40, 600])
def test_logarithms_of_sums_next_to_zero_in_any_layout(kernels, length):
    x = logarithms_of_probabilities(10, 8, length)
    mask = np.random.default_rng(0).random((5, length)) < 0.9
    mask[:, 0] = True
    layouts = [
        (x[:, :5], True),
        (x[:, :5], mask),
        (np.ascontiguousarray(x[:, :5]), mask),
        (x[::-1], True),
        (x[:, ::-2], True),
        (x[:, ::2, ::-1], True),
        (np.broadcast_to(x[:, :1], x.shape), True),
        (np.broadcast_to(x[0], x.shape), True),
        (np.moveaxis(np.moveaxis(x, 2, 0).copy(), 0, 2), True),
    ]
    for array, where in layouts:
        takes_part = np.broadcast_to(where, array.shape)
        alone = [
            [sm.logsumexp(row, where=part) for row, part in zip(*rows, strict=True)]
            for rows in zip(array, takes_part, strict=True)
        ]
        assert sm.logsumexp(array, where=where).tobytes() == np.array(alone).tobytes()


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != np.float64], ids=str)
@pytest.mark.parametrize("length", [2, 3, 10, 24, 25, 100, 1000, 70_000])
def test_logarithms_of_sums_at_zero(kernels, dtype, length):
    count = 20_000 if length <= 10 else 150_000 // length
    x = logarithms_of_probabilities(count, length, dtype=dtype)
    got = sm.logsumexp(x)
    assert oracle.ulp_error(got, oracle.logsumexp(x), dtype).max() < 2
    assert got[:5].tobytes() == np.stack([sm.logsumexp(row) for row in x[:5]]).tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [1, 2, 10, 24, 30])
def test_logarithms_of_sums_next_to_zero_of_many_tiles(kernels, dtype, length):
    """More than are taken again together, between rows that are out of the ordinary."""
    x = logarithms_of_probabilities(500, length, dtype=dtype)
    x[::3] += dtype.type(4)
    x[::7], x[9::50], x[5::50, 0] = -np.inf, np.inf, np.nan
    alone = np.stack([sm.logsumexp(row) for row in x])
    assert sm.logsumexp(x).tobytes() == alone.tobytes()


def test_logarithms_of_sums_next_to_zero_around_a_tile_that_goes_row_by_row(kernels):
    x = logarithms_of_probabilities(500, 10)
    x[250, 0] = np.nan
    where = np.arange(10) < 9
    alone = np.stack([sm.logsumexp(row, where=where) for row in x])
    assert sm.logsumexp(x, where=where).tobytes() == alone.tobytes()


def test_logarithms_of_sums_next_to_zero_on_any_number_of_threads(kernels):
    x, results = logarithms_of_probabilities(60_000, 10), []
    for threads in (1, 2, 4):
        with sm.num_threads(threads):
            results.append(sm.logsumexp(x).tobytes())
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("length", [2, 8, 100, 700, 3000, 40_000])
def test_logarithms_of_sums_of_one_entry_far_above_the_others(kernels, length):
    """What these add shows in no float but next to zero."""
    first = np.array([-0.7, 0.6, 1, 1.3, -3, 40, 700, 5000], np.float32)[:, np.newaxis]
    gap = np.linspace(12, 45, 80, dtype=np.float32)[:, np.newaxis, np.newaxis]
    x = np.repeat(first - gap, length, axis=-1)
    x[..., 0] = first[:, 0]
    x = x.reshape(-1, length)[:: 1 if length < 40_000 else 40]
    got = sm.logsumexp(x)
    assert oracle.ulp_error(got, oracle.logsumexp(x), np.float32).max() < 1
    assert got.tobytes() == np.stack([sm.logsumexp(row) for row in x]).tobytes()
    assert got.tobytes() == sm.logsumexp(np.ascontiguousarray(x.T), axis=0).tobytes()


def test_logarithms_of_sums_of_one_large_entry_and_many_tiny_ones(kernels):
    first = np.array([0, 0, 1e-20, -1e-10, 3e-7, -0.0], np.float32)
    others = np.array([-40, -100, -50, -23, -16, -85], np.float32)
    x = np.repeat(others[:, np.newaxis], 300, axis=1)
    x[:, 0] = first
    got = sm.logsumexp(x)
    assert oracle.ulp_error(got, oracle.logsumexp(x), np.float32).max() < 2
    assert (
        sm.logsumexp(x[:, :5].copy()).tobytes()
        == np.stack([sm.logsumexp(row[:5]) for row in x]).tobytes()
    )


def test_logarithms_of_sums_much_nearer_to_zero_than_their_entries_are_rounded(kernels):
    """The third entry makes up for the rounding of two: held against 60 digits."""
    if kernels.__name__.endswith("_reference"):
        pytest.skip("the NumPy twin is exact to 2^-63")
    first = np.random.default_rng(0).uniform(-1.4, -0.2, 200).astype(np.float32).astype(np.float64)
    second = np.log1p(-np.exp(first)).astype(np.float32).astype(np.float64)
    left = -np.expm1(np.logaddexp(first, second))
    rows = np.stack([first, second, np.log(np.where(left > 2e-10, left, np.nan))], axis=1)
    x = rows[np.isfinite(rows).all(axis=1)].astype(np.float32)
    with decimal.localcontext(prec=60):
        exact = [float(sum(decimal.Decimal(float(v)).exp() for v in row).ln()) for row in x]
    assert np.abs(exact).min() < 1e-13
    got = sm.logsumexp(x)
    assert (np.abs(got - exact) / np.spacing(np.abs(exact).astype(np.float32))).max() < 2


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
