"""Every function within its bound in ulp, on every dtype and family of inputs, at every length.

What is exact is the oracle's (test_oracle.py).  The kernels of losses: test_loss_kernels.py.
"""

import functools

import ml_dtypes
import mpmath
import numpy as np
import pytest

import oracle
import softmax as sm
import wide
from catalog import BFLOAT16, BY_NAME, DTYPES, FUNCTIONS, having
from families import LOGITS, draw, families_of
from oracle import ulp_error
from wide import Wide

LENGTHS = (1, 2, 3, 10, 100, 1000, 4097)
FEW_LENGTHS = (3, 1000)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

CASES = [
    pytest.param(f, family, id=f"{f}-{family}") for f in FUNCTIONS for family in families_of(f)
]
VARIANTS = [
    pytest.param(f, variant, id=f"{f}-{variant}") for f in FUNCTIONS for variant in f.variants[1:]
]


@functools.cache
def exact(function, family, length, dtype, variant):
    x = draw(function, family, length, dtype)
    return x, function.exact(x, **dict(variant))


def check(function, family, lengths, dtype, variant):
    if function.kind == "elementwise":
        lengths = lengths[-1:]
    elif function.name == "cumulative_logsumexp":
        lengths = [min(length, 1500) for length in lengths]  # its oracle is slow
    for length in lengths:
        x, expected = exact(function, family, length, dtype, tuple(variant.items()))
        got = function(x, **variant)
        result_dtype = function.result_dtype(dtype)
        assert np.asarray(got).dtype == result_dtype
        errors = function.errors(got, expected, result_dtype)
        worst = np.argmax(errors)
        assert np.ravel(errors)[worst] <= 1, (
            f"{np.ravel(errors)[worst] * function.bound(result_dtype):.3g} ulp at {worst} of "
            f"{length}, allowed {function.bound(result_dtype):.3g}: got {np.ravel(got)[worst]!r}, "
            f"exact {np.ravel(expected.to_float64())[worst]!r}"
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("function", "family"), CASES)
def test_within_bound(kernels, function, family, dtype):
    check(function, family, function.some(LENGTHS), dtype, function.variants[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("function", "variant"), VARIANTS)
def test_within_bound_with_options(kernels, function, variant, dtype):
    for family in families_of(function):
        check(function, family, FEW_LENGTHS, dtype, variant)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", having(keyword="where"), ids=str)
def test_within_bound_under_a_mask(kernels, function, dtype):
    for family in families_of(function):
        x = draw(function, family, 500, dtype)
        where = np.random.default_rng(3).random(500) < 0.5
        got = function(x, where=where)
        errors = function.errors(got, function.exact(x, where=where), dtype)
        assert np.max(errors[where] if function.kind == "map" else errors) <= 1


# What a thousand copies of each entry do to the result.
COPIED = {
    "softmax": lambda p: p / 1000.0,
    "log_softmax": lambda log_p: log_p - wide.log(1000.0),
    "logsumexp": lambda total: total + wide.log(1000.0),
    "entropy": lambda entropy: entropy + wide.log(1000.0),
    "logmeanexp": lambda mean: mean,
}


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("name", COPIED)
def test_no_growth_over_a_million_entries(kernels, name, dtype):
    """A thousand entries, each a thousand times, in any order."""
    function = BY_NAME[name]
    for family in ("N(0,3)", "near ties"):
        x, expected = exact(function, family, 1000, dtype, ())
        order = np.random.default_rng(0).permutation(1_000_000) % 1000
        got = function(x[order])
        expected = COPIED[name](expected)
        expected = expected[order] if function.kind == "map" else expected
        assert np.max(function.errors(got, expected, dtype)) <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", having("map", "reduction"), ids=str)
def test_middle_axis_is_as_exact_as_the_last(kernels, function, dtype):
    x = np.stack([draw(function, "N(0,3)", 300, dtype, seed) for seed in range(6)])
    columns = np.moveaxis(x.reshape(2, 3, 300), -1, 1)
    got = function(columns, axis=1)
    got = np.moveaxis(got, 1, -1) if function.kind == "map" else got
    expected = function.exact(x)
    assert np.max(function.errors(got.reshape(expected.shape), expected, dtype)) <= 1


# All inputs of the 16-bit types.


def every_finite(dtype):
    values = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    return values[np.isfinite(values.astype(np.float32))]


@functools.cache
def exact_for_every_input(function, dtype):
    x = every_finite(dtype)
    if function.domain == "probabilities":
        x = x[(x > 0) & (x < 1)]
    return x, function.exact(x)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
@pytest.mark.parametrize("function", having("elementwise"), ids=str)
def test_every_16_bit_input(kernels, function, dtype):
    x, expected = exact_for_every_input(function, dtype)
    assert np.max(function.errors(function(x), expected, dtype)) <= 1


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
@pytest.mark.parametrize("second", [0.0, -4.25, 7.0])
def test_softmax_of_every_16_bit_input_against_a_fixed_entry(kernels, second, dtype):
    x = every_finite(dtype)
    pairs = np.stack([x, np.full_like(x, second)], -1)
    first = oracle.sigmoid(Wide.of(x) - second)
    other = oracle.sigmoid(second - Wide.of(x))
    got = BY_NAME["softmax"](pairs)
    assert np.max(BY_NAME["softmax"].errors(got[:, 0], first, dtype)) <= 1
    assert np.max(BY_NAME["softmax"].errors(got[:, 1], other, dtype)) <= 1


# Sums that a narrow accumulator loses.


def test_many_small_terms_beside_a_large_one(kernels):
    """exp(-17.33) is half an ulp of 1 in float32: added one by one to 1 they all vanish."""
    x = np.full(100_001, -17.33, np.float32)
    x[0] = 0.0
    terms = 100_000 * mpmath.exp(mpmath.mpf(float(x[1])))
    p = BY_NAME["softmax"](x)
    expected = Wide.from_mpmath(
        [1 / (1 + terms), mpmath.exp(mpmath.mpf(float(x[1]))) / (1 + terms)]
    )
    assert np.max(ulp_error(p[:2], expected, np.float32)) <= 2
    total = BY_NAME["logsumexp"](x)
    assert ulp_error(total, Wide.from_mpmath(mpmath.log1p(terms)), np.float32) <= 2


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_16_bit_sums_do_not_saturate(kernels, dtype):
    """A float16 sum of ones stops at 2048, a bfloat16 sum at 256."""
    x = np.zeros(70_000, dtype)
    expected = Wide.of(1.0) / 70_000.0
    assert np.all(ulp_error(BY_NAME["softmax"](x), expected, dtype) <= 0.5)
    assert ulp_error(BY_NAME["logsumexp"](x), wide.log(70_000.0), dtype) <= 0.501


# Weights and derivatives.


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT32], ids=str)
@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("scale", [1e-20, 1e-12, 1e-8, 1e-6])
def test_weighted_logsumexp_next_to_zero(kernels, dtype, rows, scale):
    """All that is left are small differences, of the weights' sum from 1 and of the entries."""
    rng = np.random.default_rng(8)
    for weights in ([0.5, 0.25, 0.25], [0.75, -0.5, 0.75], [-0.5, -0.5, 0.0], [0.5, 0.5 + 1e-9, 0]):
        x = rng.normal(0, scale, (rows, 3)).astype(dtype)
        got, sign = sm.logsumexp(x, weights=weights, return_sign=True)
        for row, result, its_sign in zip(x, got, sign, strict=True):
            with mpmath.workdps(60):
                terms = [
                    mpmath.mpf(w) * mpmath.exp(mpmath.mpf(float(v)))
                    for w, v in zip(weights, row, strict=True)
                ]
                exact = mpmath.log(abs(mpmath.fsum(terms)))
                unit = abs(exact) * float(ml_dtypes.finfo(dtype).eps)
                assert abs(mpmath.mpf(float(result)) - exact) <= 2 * unit
            assert its_sign == (1 if sum(weights) > 0 else -1)


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize(
    ("x", "weights"),
    [
        ([-60.0, -50.0, -40.5], np.exp([60.0, 50.0, 40.5]) / 3),
        ([-np.inf, np.float32(np.log(2))], np.array([1e30, 0.5])),
        ([3.0, 0.0], np.array([0.0, 1.0])),
    ],
    ids=["importance", "hidden", "left out"],
)
def test_weighted_logsumexp_of_large_terms_that_add_up_to_one(kernels, rows, x, weights):
    """Here small differences of the entries from 1 would cancel worse than the terms."""
    x = np.tile(np.float32(x), (rows, 1))
    exact = np.log((weights * np.exp(x.astype(np.longdouble))).sum(-1))
    assert np.allclose(sm.logsumexp(x, weights=weights), exact, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 40])
def test_weighted_logsumexp_of_entries_next_to_zero(kernels, dtype, rows):
    """The weights add up to 1: what is left is the entry itself."""
    limits = ml_dtypes.finfo(dtype)
    for entry in np.geomspace(float(limits.smallest_normal), 0.1, 40).astype(dtype):
        for weights in ([1.0], [0.5, 0.25, 0.25], [0.75, -0.5, 0.75]):
            x = np.full((rows, len(weights)), entry)
            got, sign = sm.logsumexp(x, weights=weights, return_sign=True)
            assert (np.abs(got.astype(float) - float(entry)) <= entry * limits.eps).all()
            assert (sign == 1).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", LOGITS)
def test_weighted_logsumexp(kernels, family, dtype):
    function = BY_NAME["logsumexp"]
    rng = np.random.default_rng(5)
    for length in (1, 3, 1000, 40_000):
        x = draw(function, family, length, dtype)
        positive = rng.uniform(0.1, 3.0, length)
        got = sm.logsumexp(x, weights=positive)
        expected = oracle.logsumexp(x, weights=positive)
        assert np.max(function.errors(got, expected, dtype)) <= 1
        signed = positive * rng.choice([-1, 1], length)
        magnitude, sign = sm.logsumexp(x, weights=signed, return_sign=True)
        expected = oracle.logsumexp(x, weights=signed)
        assert sign == expected.sign
        units = ulp_error(magnitude, expected, dtype, expected.scale)
        assert units <= function.bound(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", LOGITS)
@pytest.mark.parametrize("shape", [(70, 10), (40, 100), (10, 300)])
def test_slices_with_something_beside(kernels, shape, family, dtype):
    """Tangents, and weights in the dtype of the entries or in float64, along either axis."""
    vjp, logsumexp = BY_NAME["softmax_vjp"], BY_NAME["logsumexp"]
    rows = [draw(vjp, family, shape[1], dtype, seed) for seed in range(shape[0])]
    x = np.stack(rows)
    (tangent,) = vjp.second(x)
    exact = oracle.softmax_vjp(x, tangent)
    for weights in (abs(tangent) + dtype.type(0.5), np.linspace(0.1, 3.0, shape[1])):
        total = oracle.logsumexp(x, weights=weights)
        across = weights.T if weights.ndim == 2 else weights[:, None]
        for got in (
            sm.logsumexp(x, weights=weights),
            sm.logsumexp(x.T.copy(), 0, weights=across.copy()),
        ):
            assert np.max(logsumexp.errors(got, total, dtype)) <= 1
    assert np.max(vjp.errors(sm.softmax_vjp(x, tangent), exact, dtype)) <= 1
    across = sm.softmax_vjp(x.T.copy(), tangent.T.copy(), 0).T
    assert np.max(vjp.errors(across, exact, dtype)) <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", LOGITS)
def test_derivative_of_a_row_of_several_chunks(kernels, family, dtype):
    """Chunks may lie so far below the largest entry that their results are subnormal."""
    check(BY_NAME["softmax_vjp"], family, (100_000,), dtype, {})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_derivative_of_a_row_with_nothing_in_a_chunk(kernels, dtype):
    function = BY_NAME["softmax_vjp"]
    for level in (0, -1000):
        x = draw(function, "N(0,3)", 70_000, dtype) + dtype.type(level)
        x[:32_768] = -np.inf
        (tangent,) = function.second(x)
        exact = oracle.softmax_vjp(x[32_768:], tangent[32_768:])
        beside = tangent.copy()
        beside[[5, 6]] = np.inf, np.nan
        for change, options in ((tangent, {}), (tangent, {"where": x > -np.inf}), (beside, {})):
            sm.softmax(np.full_like(x, np.nan))  # what the memory of the next result may hold
            got = sm.softmax_vjp(x, change, **options)
            assert not got[:32_768].any()
            assert np.max(function.errors(got[32_768:], exact, dtype)) <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("temperature", [1e-30, 1e-12, 1e-4, 1e12, 1e30])
def test_derivative_of_a_long_row_at_extreme_temperatures(kernels, dtype, temperature):
    check(BY_NAME["softmax_vjp"], "N(0,3)", (5000,), dtype, {"temperature": temperature})


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != np.float16], ids=str)
@pytest.mark.parametrize("shape", [(40, 10), (3, 500), (1, 40_000)], ids=str)
@pytest.mark.parametrize("middle", [-1e5, 1e5])
@pytest.mark.parametrize("over_temperature", [300, 1e6, 1e8, 1e10])
def test_derivative_of_entries_far_from_zero(kernels, dtype, shape, middle, over_temperature):
    """From some point on powers of two alone no longer bring them near zero."""
    function = BY_NAME["softmax_vjp"]
    rng = np.random.default_rng(4)
    temperature = abs(middle) / over_temperature
    spacing = max(abs(middle) * float(ml_dtypes.finfo(dtype).eps), temperature)
    x = (middle + spacing * rng.integers(-2, 3, shape)).astype(dtype)
    tangent = rng.normal(size=shape).astype(dtype)
    exact = oracle.softmax_vjp(x, tangent, temperature=temperature)
    got = sm.softmax_vjp(x, tangent, temperature=temperature)
    assert np.max(function.errors(got, exact, dtype)) <= 1


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != np.float16], ids=str)
@pytest.mark.parametrize("size", [1e-35, 1e8, 1e10, 1e37])
@pytest.mark.parametrize("below", [0, -60, -90, -130])
def test_derivative_of_a_long_row_along_extreme_tangents(kernels, dtype, size, below):
    """Large tangents beside probabilities that are 0 in the dtype."""
    function = BY_NAME["softmax_vjp"]
    x = draw(function, "N(0,3)", 5000, dtype)
    x[::2] += dtype.type(below)
    (tangent,) = function.second(x)
    tangent = tangent * dtype.type(size)
    exact = oracle.softmax_vjp(x, tangent)
    assert np.max(function.errors(sm.softmax_vjp(x, tangent), exact, dtype)) <= 1


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != np.float16], ids=str)
def test_derivative_along_one_extreme_tangent_of_another_chunk(kernels, dtype):
    function = BY_NAME["softmax_vjp"]
    x, tangent = np.zeros(70_000, dtype), np.ones(70_000, dtype)
    x[40_000], tangent[40_000] = 10, 1e37
    exact = oracle.softmax_vjp(x, tangent)
    assert np.max(function.errors(sm.softmax_vjp(x, tangent), exact, dtype)) <= 1


@pytest.mark.parametrize("length", [2, 10, 1000, 100_000])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_entries_that_leave_the_range_over_the_temperature(kernels, dtype, length):
    """Of entries that no number holds any longer the lower is as far below as any other."""
    x = np.zeros(length, dtype)
    x[[0, -1]] = 1e30, 2e30
    top = np.eye(1, length, length - 1)[0]
    for temperature in (1e-290, 1e-300):
        assert np.array_equal(sm.softmax(x, temperature=temperature), top)
        assert not sm.softmax_vjp(x, top.astype(dtype), temperature=temperature).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", LOGITS)
def test_jacobian(kernels, family, dtype):
    function = BY_NAME["softmax_jvp"]
    x = draw(function, family, 40, dtype)
    got = sm.softmax_jacobian(x)
    exact = oracle.softmax_jacobian(x)
    assert got.dtype == dtype
    assert np.max(function.errors(got, exact, dtype)) <= 1
    for i, j in [(0, 0), (3, 17)]:
        assert np.array_equal(sm.softmax_jacobian(x, output=i), got[i])
        assert np.array_equal(sm.softmax_jacobian(x, input=j), got[:, j])
        assert np.array_equal(sm.softmax_jacobian(x, output=i, input=j), got[i, j])
