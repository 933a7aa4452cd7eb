"""Filters keep what they say, draws have the probabilities they should, and both twins agree."""

import numpy as np
import pytest
from scipy import stats

import softmax as sm
from catalog import BFLOAT16
from softmax import _reference

inf, nan = np.inf, np.nan


def kept_by_definition(x, temperature=1.0, top_k=None, top_p=None, min_p=None):
    """Sort, add up, and cut: the textbook, for one row without ties."""
    z = np.asarray(x, np.float64) / temperature
    order = np.argsort(-z)
    if top_k is not None:
        order = order[:top_k]
    p = np.exp(z[order] - z[order[0]])
    if top_p is not None:
        order = order[: np.searchsorted(np.cumsum(p / p.sum()), top_p) + 1]
    if min_p is not None:
        order = order[: np.count_nonzero(p[: len(order)] >= min_p)]
    return np.sort(order)


FILTERS = [
    {"top_k": 1}, {"top_k": 7}, {"top_k": 400}, {"top_k": 10_000},
    {"top_p": 0.001}, {"top_p": 0.5}, {"top_p": 0.999},
    {"min_p": 0.3}, {"min_p": 0.001},
    {"top_k": 300, "top_p": 0.9, "min_p": 0.02}, {"top_k": 3, "top_p": 0.7},
]  # fmt: skip


@pytest.mark.parametrize("keywords", FILTERS, ids=str)
@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_filters_keep_what_the_textbook_keeps(kernels, keywords, spread):
    rng = np.random.default_rng(3)
    for length, temperature in ((1, 1.0), (10, 0.3), (600, 1.0), (5000, 2.5)):
        x = rng.normal(0, spread, length)
        got = sm.filter_logits(x, temperature=temperature, **keywords)
        expected = kept_by_definition(x, temperature, **keywords)
        assert np.array_equal(np.flatnonzero(got > -inf), expected)
        np.testing.assert_array_equal(got[expected], x[expected] / temperature)


def test_any_axis_and_dtype(kernels):
    x = np.random.default_rng(0).normal(size=(3, 50, 4))
    rows = [[sm.filter_logits(x[i, :, j], top_k=5, top_p=0.8) for j in range(4)] for i in range(3)]
    got = sm.filter_logits(x, 1, top_k=5, top_p=0.8)
    assert np.array_equal(got, np.moveaxis(np.array(rows), 2, 1))
    both = sm.filter_logits(x, (0, 2), top_k=2)
    assert (np.isfinite(both).sum(axis=(0, 2)) == 2).all()
    for dtype in (np.float16, BFLOAT16, np.float32, np.float64, np.longdouble):
        narrow = x.astype(dtype)
        result = sm.filter_logits(narrow, top_k=2, ties="first")
        assert result.dtype == dtype
        assert (np.isfinite(result.astype(float)).sum(-1) == 2).all()
    strided = np.asfortranarray(x)[::-1, ::3]
    assert np.array_equal(
        sm.filter_logits(strided, min_p=0.5), sm.filter_logits(strided.copy(), min_p=0.5)
    )


def test_ties(kernels):
    x = [1.0, 5.0, 3.0, 3.0, 5.0, 3.0]
    kept = lambda **keywords: np.flatnonzero(sm.filter_logits(x, **keywords) > -inf).tolist()  # noqa: E731
    assert kept(top_k=1) == [1, 4]
    assert kept(top_k=1, ties="first") == [1]
    assert kept(top_k=3) == [1, 2, 3, 4, 5]
    assert kept(top_k=4, ties="first") == [1, 2, 3, 4]
    equal = np.zeros(8)
    assert (sm.filter_logits(equal, top_p=0.5) == 0).all()
    halves = sm.filter_logits(equal, top_p=0.5, ties="first")
    assert np.flatnonzero(halves == 0).tolist() == [0, 1, 2, 3]
    both = sm.filter_logits(equal, top_k=6, top_p=0.5, ties="first")
    assert np.flatnonzero(both == 0).tolist() == [0, 1, 2]
    assert np.flatnonzero(sm.filter_logits([0.0, -0.0, -1.0], top_k=1) == 0).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_that_are_reached_but_for_rounding(kernels, dtype):
    p = np.log(np.array([0.1, 0.5, 0.4])).astype(dtype)
    assert np.isfinite(sm.filter_logits(p, top_p=0.9)).tolist() == [False, True, True]
    assert np.isfinite(sm.filter_logits(p, top_p=0.5)).tolist() == [False, True, False]
    assert np.isfinite(sm.filter_logits(p, min_p=0.2)).all()
    assert np.isfinite(sm.filter_logits(p, top_p=1.0, min_p=0.0)).all()


def test_limits(kernels):
    x = [1.0, 3.0, 2.0, 3.0, -inf]
    assert sm.filter_logits(x, temperature=0).tolist() == [-inf, 0, -inf, 0, -inf]
    assert sm.filter_logits(x, temperature=inf).tolist() == [0, 0, 0, 0, -inf]
    # The limit of the k largest, not the k largest of the limit.
    assert sm.filter_logits(x, temperature=inf, top_k=3).tolist() == [-inf, 0, 0, 0, -inf]
    assert sm.filter_logits([0.0, inf, 2.0], top_p=0.1).tolist() == [-inf, inf, -inf]
    assert sm.filter_logits([0.0, inf, 2.0], temperature=0).tolist() == [-inf, inf, -inf]
    huge = sm.filter_logits([1e308, 9e307, -1e308], temperature=0.01)
    assert huge[0] == 0
    assert (huge[1:] < -1e300).all()
    assert np.isfinite(sm.filter_logits(np.float16([5, 4]), temperature=1e-4)[0])
    assert sm.filter_logits([-inf, 2.0], top_k=2).tolist() == [-inf, 2]
    assert sm.filter_logits(np.zeros((0, 3)), top_k=1).shape == (0, 3)
    masked = np.ma.MaskedArray([9.0, 1.0, 2.0], [True, False, False])
    assert sm.filter_logits(masked, top_k=1).tolist() == [-inf, -inf, 2]


def test_temperature_of_each_slice(kernels):
    x = np.random.default_rng(1).normal(size=(4, 100)).astype(np.float32)
    temperature = np.array([[0.0], [0.5], [2.0], [inf]])
    got = sm.filter_logits(x, temperature=temperature, top_p=0.6)
    for row, t, result in zip(x, temperature.ravel(), got, strict=True):
        assert np.array_equal(sm.filter_logits(row, temperature=t, top_p=0.6), result)


def test_twins_agree_to_the_last_bit():
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    rng = np.random.default_rng(5)
    for trial in range(150):
        length = int(rng.choice([1, 3, 17, 256, 257, 3000]))
        x = rng.normal(0, rng.choice([0.01, 1, 30]), (2, length))
        x = x.astype(rng.choice([np.float32, np.float64]))
        if trial % 3 == 0:
            x = np.round(x * 2) / 2
        if trial % 4 == 0:
            x[:, 1:][rng.random((2, length - 1)) < 0.3] = -inf
        top_k, top_p = int(rng.integers(0, length + 2)), float(rng.choice([0.1, 0.5, 0.99, 1]))
        temperature = np.full(2, rng.choice([0, 0.7, 1, inf]))
        options = (
            temperature,
            top_k,
            top_p,
            float(rng.choice([-inf, -1.0])),
        )
        uniforms = rng.random((20, 2))
        results = []
        for kernels in (core, _reference):
            kept, drawn = np.empty_like(x), np.empty((20, 2), np.int64)
            valid = np.ones(2, bool)
            kernels.filter_logits(x, kept, valid, *options, trial % 2 == 0)
            kernels.sample(x, uniforms, drawn, valid, *options)
            results.append((kept.tobytes(), drawn.tobytes()))
        assert results[0] == results[1]


def test_frequencies(kernels):
    """Chi-square at a million draws; each of two hundred entries is expected 100 times or more."""
    draws = 1_000_000
    logits = np.random.default_rng(2).normal(0, 1, 200).astype(np.float32)
    for keywords in ({}, {"temperature": 1.7, "top_k": 50, "min_p": 0.01}):
        p = sm.softmax(sm.filter_logits(logits, **keywords).astype(np.float64))
        drawn = sm.sample(logits, draws, rng=11, **keywords)
        counts = np.bincount(drawn, minlength=200)
        assert (counts[p == 0] == 0).all()
        statistic = stats.chisquare(counts[p > 0], draws * p[p > 0] / p.sum())
        assert statistic.pvalue > 1e-3


def test_frequencies_over_many_blocks(kernels):
    """One draw from each of many equal rows falls on each tenth of a long row as often."""
    row = np.random.default_rng(4).normal(0, 2, 3000)
    drawn = sm.sample(row, 20_000, rng=1)
    expected = np.add.reduceat(sm.softmax(row), np.arange(0, 3000, 300))
    counts = np.bincount(drawn // 300, minlength=10)
    assert stats.chisquare(counts, 20_000 * expected / expected.sum()).pvalue > 1e-3


def test_the_inverse_transform(kernels):
    """A uniform number u gives the first entry whose cumulative probability exceeds u."""
    x = np.random.default_rng(6).normal(0, 3, 2000)
    uniforms = np.random.default_rng(9).random(500)
    expected = np.searchsorted(np.cumsum(sm.softmax(x)), uniforms, side="right")
    assert np.array_equal(sm.sample(x, 500, rng=9), expected)


def test_the_ends_of_the_unit_interval(kernels):
    """0 and the number below 1 fall on the first and the last entry that has a probability."""
    x = np.full((1, 1000), -inf)
    x[0, 300:800] = np.random.default_rng(0).normal(size=500)
    uniforms, drawn, valid = (
        np.array([[0.0], [1 - 2.0**-53]]),
        np.empty((2, 1), int),
        np.ones(1, bool),
    )
    kernels.sample(x, uniforms, drawn, valid, None, 0, 1.0, -inf)
    assert drawn.ravel().tolist() == [300, 799]
    largest = np.sort(np.argsort(x[0])[-20:])
    kernels.sample(x, uniforms, drawn, valid, None, 20, 1.0, -inf)
    assert drawn.ravel().tolist() == [largest[0], largest[-1]]


def test_reproducible_and_shaped(kernels):
    x = np.random.default_rng(7).normal(size=(3, 5, 40))
    draw = lambda **keywords: sm.sample(x, rng=np.random.default_rng(0), **keywords)  # noqa: E731
    assert np.array_equal(draw(), draw())
    assert draw().shape == (3, 5)
    assert draw(size=7).shape == (7, 3, 5)
    assert draw(size=(2, 7), axis=1).shape == (2, 7, 3, 40)
    assert draw(size=0).shape == (0, 3, 5)
    assert draw(axis=None).shape == ()
    assert draw().dtype == np.int64
    assert sm.sample(3.0) == 0
    assert sm.sample([-inf, 0.0], 100, rng=0).all()
    assert (sm.sample([0.0, inf, 5.0], 10, rng=0) == 1).all()
    assert (sm.sample([0.0, 2.0, 1.0], 10, temperature=0, rng=0) == 1).all()
    assert set(sm.sample([0.0, -inf, 99.0], 99, temperature=inf, rng=0).tolist()) == {0, 2}
    with sm.num_threads(2):
        two = draw(axis=0, top_p=0.7)
    assert np.array_equal(two, draw(axis=0, top_p=0.7))


def test_gumbel_softmax(kernels):
    logits = np.log([0.2, 0.5, 0.3])
    rows = np.broadcast_to(logits, (30_000, 3))
    for keywords in ({"temperature": 0}, {"temperature": 0.5, "hard": True}):
        drawn = sm.gumbel_softmax(rows, rng=3, **keywords)
        assert set(np.unique(drawn)) == {0, 1}
        counts = drawn.sum(0)
        assert stats.chisquare(counts, 30_000 * np.exp(logits)).pvalue > 1e-3
    soft = sm.gumbel_softmax(rows[:10], temperature=0.7, rng=3)
    assert np.array_equal(
        soft.argmax(-1), sm.gumbel_softmax(rows[:10], hard=True, rng=3).argmax(-1)
    )
    np.testing.assert_allclose(soft.sum(-1), 1)
    assert (sm.gumbel_softmax([1.0, -inf, 5.0], temperature=inf, rng=0) == [0.5, 0, 0.5]).all()
    assert np.isnan(sm.gumbel_softmax([1.0, nan], rng=0)).all()
    masked = np.ma.MaskedArray([[0.0, 9.0, 0.0]], [[False, True, False]])
    assert sm.gumbel_softmax(masked, rng=0)[0, 1] == 0
    for dtype in (np.float16, BFLOAT16, np.float32, np.longdouble):
        assert sm.gumbel_softmax(logits.astype(dtype), rng=0).dtype == dtype


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"temperature": -1}, "temperature must be 0 or more, got -1.0"),
        ({"temperature": nan}, "temperature must be 0 or more, got nan"),
        ({"top_k": 0}, "top_k must be 1 or more, got 0"),
        ({"top_p": 0}, "top_p must be above 0 and at most 1, got 0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"top_p": nan}, "top_p must be above 0 and at most 1, got nan"),
        ({"min_p": -0.1}, "min_p must be between 0 and 1, got -0.1"),
        ({"min_p": nan}, "min_p must be between 0 and 1, got nan"),
    ],
)
@pytest.mark.parametrize("function", [sm.filter_logits, sm.sample])
def test_arguments_out_of_range(function, keywords, message):
    with pytest.raises(ValueError, match=message):
        function([1.0, 2.0], **keywords)


@pytest.mark.parametrize("function", [sm.filter_logits, sm.sample])
def test_no_distribution(kernels, function):
    for row, reason in (
        ([-inf, -inf], "nothing but -inf"), ([inf, inf], "several"), ([1, nan], "has nan"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"this one .*{reason}"):
            function(row)
        with pytest.raises(ValueError, match=rf"slice at \(1, 0\) .*{reason}"):
            function([[[0.0, 1.0]], [row]], top_k=1)


def test_other_bad_input():
    with pytest.raises(TypeError, match=r"top_k must be an integer, got 1\.5"):
        sm.filter_logits([1.0], top_k=1.5)
    with pytest.raises(ValueError, match='ties must be "all" or "first"'):
        sm.filter_logits([1.0], ties="last")
    with pytest.raises(TypeError, match="size must be an integer"):
        sm.sample([1.0], size="3")
    with pytest.raises(ValueError, match="size must be 0 or more, got -1"):
        sm.sample([1.0], size=-1)
    with pytest.raises(ValueError, match="logits must have an entry along axis"):
        sm.sample(np.zeros((2, 0)))
    with pytest.raises(TypeError, match="logits must hold real numbers"):
        sm.sample(["a"])
    with pytest.raises(ValueError, match="temperature must be 0 or more"):
        sm.gumbel_softmax([1.0], temperature=-1)
