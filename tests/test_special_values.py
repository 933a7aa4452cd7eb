"""nan, infinities, masks, empty slices and the limits of temperature: one rule everywhere.

Where a limit exists it is returned, where none does nan; never with a warning (pytest turns those
into errors). Every row stands alone, in a batch, and along a strided axis.
"""

import numpy as np
import pytest

import softmax as sm
from catalog import BY_NAME, DTYPES, having

inf, nan = np.inf, np.nan
LN2 = np.log(2.0)
T, F = True, False

# x, options, softmax, log_softmax, logsumexp (None where it has no such option)
TABLE = {
    "nan": ([1, nan, 2], {}, [nan] * 3, [nan] * 3, nan),
    "nan beside +inf": ([inf, nan, 2], {}, [nan] * 3, [nan] * 3, nan),
    "nan beside -inf": ([-inf, nan], {}, [nan] * 2, [nan] * 2, nan),
    "all -inf": ([-inf, -inf], {}, [nan] * 2, [nan] * 2, -inf),
    "one entry, -inf": ([-inf], {}, [nan], [nan], -inf),
    "some -inf": ([0, -inf, 0], {}, [0.5, 0, 0.5], [-LN2, -inf, -LN2], LN2),
    "one +inf": ([1, inf, -inf], {}, [0, 1, 0], [-inf, 0, -inf], inf),
    "one entry, +inf": ([inf], {}, [1], [0], inf),
    "several +inf": ([inf, 1, inf], {}, [nan] * 3, [nan] * 3, inf),
    "one entry": ([-3.5], {}, [1], [0], -3.5),
    "masked": ([1, 5, 1], {"where": [T, F, T]}, [0.5, 0, 0.5], [-LN2, -inf, -LN2], 1 + LN2),
    "masked nan": ([1, nan, 1], {"where": [T, F, T]}, [0.5, 0, 0.5], [-LN2, -inf, -LN2], 1 + LN2),
    "masked +inf": ([inf, 2, 2], {"where": [F, T, T]}, [0, 0.5, 0.5], [-inf, -LN2, -LN2], 2 + LN2),
    "masked but -inf": ([-inf, 2], {"where": [T, F]}, [nan, 0], [nan, -inf], -inf),
    "masked but +inf": ([inf, inf], {"where": [T, F]}, [1, 0], [0, -inf], inf),
    "everything masked": ([1, 2], {"where": [F, F]}, [0, 0], [-inf, -inf], -inf),
    "nan, all masked": ([nan, inf], {"where": [F, F]}, [0, 0], [-inf, -inf], -inf),
    "T = 0": ([3, 1, 3], {"temperature": 0}, [0.5, 0, 0.5], [-LN2, -inf, -LN2], None),
    "T = 0, one maximum": ([2.5, 1, -inf], {"temperature": 0}, [1, 0, 0], [0, -inf, -inf], None),
    "T = 0, +inf": ([2, inf], {"temperature": 0}, [0, 1], [-inf, 0], None),
    "T = 0, nan": ([2, nan], {"temperature": 0}, [nan] * 2, [nan] * 2, None),
    "T = 0, masked": (
        [9, 1, 1], {"temperature": 0, "where": [F, T, T]}, [0, 0.5, 0.5], [-inf, -LN2, -LN2], None,
    ),
    "T = inf": ([3, -inf, 1], {"temperature": inf}, [0.5, 0, 0.5], [-LN2, -inf, -LN2], None),
    "T = inf, all -inf": ([-inf] * 2, {"temperature": inf}, [nan] * 2, [nan] * 2, None),
    "T = inf, nan": ([3, nan], {"temperature": inf}, [nan] * 2, [nan] * 2, None),
    "T = inf, masked": (
        [3, 8, 1], {"temperature": inf, "where": [F, T, T]},
        [0, 0.5, 0.5], [-inf, -LN2, -LN2], None,
    ),
    "sink": ([0, -inf], {"sink": 0.0}, [0.5, 0], [-LN2, -inf], None),
    "sink takes all": ([-inf, -inf], {"sink": 0.0}, [0, 0], [-inf, -inf], None),
    "infinite sink": ([1, 2], {"sink": inf}, [0, 0], [-inf, -inf], None),
    "sink of -inf": ([1, 1], {"sink": -inf}, [0.5, 0.5], [-LN2, -LN2], None),
    "sink beside +inf": ([inf, 1], {"sink": 0.0}, [1, 0], [0, -inf], None),
    "sink, T = 0": ([0, -1], {"sink": 0.0, "temperature": 0}, [0.5, 0], [-LN2, -inf], None),
}  # fmt: skip


def expectations():
    for label, (x, options, p, log_p, total) in TABLE.items():
        for function, expected in ((sm.softmax, p), (sm.log_softmax, log_p), (sm.logsumexp, total)):
            if expected is not None:
                yield pytest.param(
                    function.__name__, x, options, expected, id=f"{function.__name__}-{label}"
                )


def check(got, expected, dtype):
    got = np.asarray(got)
    assert got.dtype == dtype
    rtol = 4 * float(np.finfo(np.float32 if dtype.itemsize == 4 else np.float64).eps)
    if dtype.itemsize == 2:
        rtol = 1e-2
    np.testing.assert_allclose(got.astype(float), expected, rtol=rtol, strict=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "x", "options", "expected"), [*expectations()])
def test_table(kernels, name, x, options, expected, dtype):
    function = getattr(sm, name)
    x = np.array(x, dtype)
    expected = np.array(expected, float)
    check(function(x, **options), expected, dtype)

    # Next to ordinary rows, and with the axis strided.
    ordinary = np.linspace(-1, 1, x.size).astype(dtype)
    batch = np.stack([ordinary, x, ordinary])
    alone = function(ordinary, **options)
    result = function(batch, **options)
    check(result[1], expected, dtype)
    assert np.asarray(result[0]).tobytes() == np.asarray(alone).tobytes()
    columns = np.asfortranarray(batch)[:, None].transpose(2, 1, 0)
    if "where" in options:
        options = options | {"where": np.array(options["where"])[:, None, None]}
    strided = function(columns, axis=0, **options)
    check(strided[..., 0, 1], expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_entry_at_every_place_of_a_row(kernels, dtype):
    for length in (1, 2, 7, 70, 261):
        rows = np.linspace(-2, 2, length * length).reshape(length, length).astype(dtype)
        here = np.eye(length, dtype=bool)
        with_nan, with_inf = rows.copy(), rows.copy()
        with_nan[here], with_inf[here] = nan, inf
        for function in (sm.softmax, sm.log_softmax, sm.logsumexp, sm.entropy):
            assert np.isnan(function(with_nan).astype(float)).all()
        assert np.array_equal(sm.softmax(with_inf), here.astype(dtype))
        only = np.where(here, rows, dtype.type(-inf)).astype(dtype)
        assert np.array_equal(sm.softmax(only), here.astype(dtype))
        assert np.array_equal(sm.logsumexp(only), np.diagonal(rows))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty(kernels, dtype):
    for function in having("map", "elementwise"):
        for shape in ((0,), (3, 0), (0, 3)):
            if shape[-1] >= function.shortest:
                result = function(np.zeros(shape, dtype))
                assert result.shape == shape
                assert result.dtype == dtype
    for function in having("reduction"):
        for shape in ((0, 3), (2, 0, 3)):
            result = function(np.zeros(shape, dtype))
            assert result.shape == shape[:-1]
            assert result.dtype == dtype
    for shape, reduced in (((0,), ()), ((3, 0), (3,)), ((0, 3), (0,)), ((2, 0, 3), (2, 0))):
        result = np.asarray(sm.logsumexp(np.zeros(shape, dtype)))
        assert result.shape == reduced
        assert np.all(result == -inf)
    assert np.array_equal(sm.logsumexp(np.zeros((2, 0, 3), dtype), axis=1), np.full((2, 3), -inf))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_0d_is_a_slice_of_one(kernels, dtype):
    x = np.array(2.5, dtype)
    for function in having("map", keyword="0d"):
        alone = function(x)
        assert np.shape(alone) == ()
        assert alone.dtype == dtype
        assert alone == function(x.reshape(1))[0]
    assert sm.logsumexp(x) == 2.5
    assert np.isnan(np.float64(sm.softmax(dtype.type(-inf))))
    assert sm.softmax(2.5) == 1.0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("name", "x", "options", "expected"),
    [
        ("smooth_max", [1, 3, 2], {"k": inf}, 3),
        ("smooth_max", [1, 3, 2], {"k": -inf}, 1),
        ("smooth_max", [1, nan], {"k": inf}, nan),
        ("smooth_max", [1, nan], {"k": 2.0}, nan),
        ("smooth_max", [-inf, -inf], {"k": 2.0}, -inf),
        ("smooth_max", [-inf, 1], {"k": 2.0}, 1),
        ("smooth_max", [-inf, 1], {"k": -2.0}, -inf),
        ("smooth_max", [inf, inf, 1], {"k": 2.0}, inf),
        ("smooth_max", [inf, inf, 1], {"k": -2.0}, 1),
        ("smooth_max", [inf, inf], {"k": -2.0}, inf),
        ("smooth_max", [5, 1, 2], {"k": inf, "where": [F, T, T]}, 2),
        ("smooth_max", [nan, 1], {"k": 2.0, "where": [F, T]}, 1),
        ("smooth_max", [1, 2], {"k": 2.0, "where": [F, F]}, -inf),
        ("mellowmax", [1, 3, 2], {"omega": 0}, 2),
        ("mellowmax", [1, 3, 2], {"omega": inf}, 3),
        ("mellowmax", [1, 3, 2], {"omega": -inf}, 1),
        ("mellowmax", [1, nan], {}, nan),
        ("mellowmax", [-inf, -inf], {}, -inf),
        ("mellowmax", [2, -inf], {}, 2 - LN2),
        ("mellowmax", [2, inf], {}, inf),
        ("mellowmax", [2, nan, 2], {"where": [T, F, T]}, 2),
        ("mellowmax", [1, 9, 3], {"where": [T, F, T], "omega": 0}, 2),
        ("logmeanexp", [4, 4, nan], {"where": [T, T, F]}, 4),
        ("logmeanexp", [inf, inf], {}, inf),
        ("logmeanexp", [-inf, -inf], {}, -inf),
        ("entropy", [0, -inf, 0], {}, LN2),
        ("entropy", [3, inf], {}, 0),
        ("entropy", [nan, 1], {}, nan),
        ("entropy", [-inf, -inf], {}, nan),
        ("entropy", [1, nan, 1], {"where": [T, F, T]}, LN2),
        ("entropy", [3, 1, 3], {"temperature": 0}, LN2),
        ("entropy", [3, 1], {"temperature": inf}, LN2),
        ("cumulative_logsumexp", [-inf, 0, 0], {}, [-inf, 0, LN2]),
        ("cumulative_logsumexp", [1, nan, 2], {}, [1, nan, nan]),
        ("cumulative_logsumexp", [0, inf, 1], {}, [0, inf, inf]),
        ("cumulative_logsumexp", [0, inf, 1], {"reverse": True}, [inf, inf, 1]),
        ("cumulative_logsumexp", [inf, inf, -inf], {}, [inf, inf, inf]),
        ("hardmax", [1, 3, 3], {}, [0, 0.5, 0.5]),
        ("hardmax", [1, 3, 3], {"ties": "first"}, [0, 1, 0]),
        ("hardmax", [1, inf, -inf], {}, [0, 1, 0]),
        ("hardmax", [1, nan], {}, [nan, nan]),
        ("sigmoid", [-inf, 0, inf, nan], {}, [0, 0.5, 1, nan]),
        ("log_sigmoid", [-inf, 0, inf, nan], {}, [-inf, -LN2, 0, nan]),
        ("softplus", [-inf, 0, inf, nan], {}, [0, LN2, inf, nan]),
        ("logit", [0, 0.5, 1, nan, -0.25, 2, inf], {}, [-inf, 0, inf, nan, nan, nan, nan]),
    ],
)
def test_the_other_functions(kernels, name, x, options, expected, dtype):
    check(getattr(sm, name)(np.array(x, dtype), **options), np.array(expected, float), dtype)


@pytest.mark.parametrize("k", [0.0, nan])
def test_smooth_max_has_no_limit_at_0(kernels, k):
    with pytest.raises(ValueError, match="k"):
        sm.smooth_max([1.0, 2.0], k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["softmax_jvp", "softmax_vjp"])
def test_gradients_are_finite_and_zero_where_masked(kernels, name, dtype):
    gradient = getattr(sm, name)
    where = np.array([[T, F, T, F], [F, F, F, F], [T, T, T, T]])
    x = np.array([[1, nan, 2, inf], [nan, inf, -inf, 0], [0, -inf, 1, 2]], dtype)
    direction = np.array([[1, nan, -1, inf], [nan, 1, inf, 0], [1, 2, 3, 4]], dtype)
    result = gradient(x, direction, where=where)
    assert np.isfinite(result.astype(float)).all()
    assert not result[~where].any()
    assert result[0, 0] == -result[0, 2] != 0
    assert result[2, 1] == 0


@pytest.mark.parametrize(
    ("x", "options"),
    [([1, inf, 3], {}), ([1, 5, 3], {"temperature": 0}), ([1, 5, 3], {"temperature": inf})],
)
def test_gradient_of_a_constant_limit_is_zero(kernels, x, options):
    for name in ("softmax_jvp", "softmax_vjp"):
        assert not getattr(sm, name)(np.array(x, float), np.array([3.0, 1, 2]), **options).any()


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("length", [3, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_temperatures_near_their_limits(kernels, dtype, length, rows):
    """Reciprocals that are out of the range of the entries, and products that are."""
    wide = np.zeros((rows, length), dtype)
    wide[:, 0], wide[:, 2] = 1, -inf
    for axis, x in ((1, wide), (0, wide.T.copy())):
        for cold in (1e-39, 1e-45, 1e-300, 1e-310, 5e-324):
            p = np.moveaxis(sm.softmax(x, axis, temperature=cold), axis, 1)
            logs = np.moveaxis(sm.log_softmax(x, axis, temperature=cold), axis, 1)
            assert np.array_equal(p, np.eye(1, length, dtype=dtype).repeat(rows, 0)), cold
            assert (logs[:, 0] == 0).all()
            assert (logs[:, 1:] < -1e38).all()
        for hot in (1e37, 1e38, 1e300, 1e307, 1.7e308):
            p = np.moveaxis(sm.softmax(x, axis, temperature=hot), axis, 1)
            assert (p[:, 2] == 0).all(), hot
            np.testing.assert_allclose(np.delete(p, 2, 1), 1 / (length - 1), rtol=1e-6)


@pytest.mark.parametrize("temperature", [-1.0, nan, -inf, [1.0, -2.0]])
@pytest.mark.parametrize("function", having("map", "reduction", keyword="temperature"), ids=str)
def test_impossible_temperature(kernels, function, temperature):
    temperature = np.reshape(temperature, (-1, 1)) if np.ndim(temperature) else temperature
    with pytest.raises(ValueError, match=r"temperature.*(-1|nan|-inf|-2)"):
        function(np.zeros((2, 3)), temperature=temperature)


def test_hardmax_is_softmax_at_temperature_0(kernels):
    x = np.random.default_rng(0).integers(-2, 3, (40, 5)).astype(float)
    assert np.array_equal(BY_NAME["hardmax"](x), sm.softmax(x, temperature=0))
