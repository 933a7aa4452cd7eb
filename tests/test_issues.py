"""What users of other libraries have complained about, each complaint a test.

The thread stands beside the test; the figures are those of the thread where it has any.
"""

import numpy as np
import pytest

import softmax as sm
from catalog import BFLOAT16, DTYPES, having

inf = np.inf
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


# Infinite and very large logits.


@each_dtype
def test_one_infinite_logit_takes_all(kernels, dtype):
    """scipy/scipy#23225, pytorch/pytorch#6864, jax-ml/jax#21495: nan everywhere."""
    for x, p in (
        ([1, 1, inf], [0, 0, 1]), ([0, inf], [0, 1]), ([0, inf, 0], [0, 1, 0]),
        ([-inf, 0, inf], [0, 0, 1]), ([0, -inf], [1, 0]), ([-inf, 0, -inf], [0, 1, 0]),
    ):  # fmt: skip
        x = np.array(x, dtype)
        assert np.array_equal(sm.softmax(x), np.array(p, dtype))
        with np.errstate(divide="ignore"):
            assert np.array_equal(sm.log_softmax(x).astype(float), np.log(p))


def test_a_common_offset_does_not_eat_the_logarithm(kernels):
    """pytorch/pytorch#11752, pytorch/pytorch#38839: log_softmax of large logits was off by 0.69."""
    for offset in (1e8, -1e8, 1e16, -1e30):
        x = np.full((1, 2), offset, np.float32)
        np.testing.assert_allclose(sm.log_softmax(x), -np.log(2), rtol=1e-7)
        np.testing.assert_allclose(sm.softmax(x), 0.5)
        assert sm.logsumexp(x) == np.float32(offset)


def test_logit_beyond_the_range_of_exp(kernels):
    """cornell-brg/hb-pytorch#61, dotnet/machinelearning#3648: -inf or nan above 88."""
    assert sm.log_softmax(np.array([88.72284], np.float32)) == 0
    assert np.isfinite(sm.softmax(np.array([90, 2, -2], np.float32))).all()
    assert np.isfinite(sm.log_softmax(np.array([-1e4, 94.7, -40.1], np.float32))).all()


# Results next to zero.


def test_log_softmax_of_the_top_entry_is_not_0(kernels):
    """scipy/scipy#19521: 0 where the answer is a perfectly good small number."""
    for dtype, gaps in ((np.float32, (17, 40, 80)), (np.float64, (40, 100, 700))):
        for gap in gaps:
            top, other = sm.log_softmax(np.array([gap, 0], dtype))
            np.testing.assert_allclose(top, -np.exp(-float(gap)), rtol=4 * np.finfo(dtype).eps)
            assert other == -gap
    eps = np.finfo(np.float32).eps
    x = np.array([1 - np.log(eps), 0], np.float32)
    np.testing.assert_allclose(sm.log_softmax(x)[0], -np.log1p(np.exp(-float(x[0]))), rtol=3e-7)


def test_logsumexp_next_to_0(kernels):
    """scipy/scipy#18295: 0 for [0, -40], where numpy.logaddexp is right."""
    assert sm.logsumexp([0.0, -40.0]) == pytest.approx(4.248354255291589e-18, rel=1e-15)


def test_logsumexp_with_a_negative_weight(kernels):
    """scipy/scipy#22903: nan although the sum is positive."""
    x, weights = [3.06409428, 0.37251854, 3.87471931], [1.88190708, 2.84174795, -0.85016884]
    assert sm.logsumexp(x, weights=weights) == pytest.approx(1.2452165157907382, rel=1e-14)
    value, sign = sm.logsumexp(x, weights=weights, return_sign=True)
    assert sign == 1
    assert value == pytest.approx(1.2452165157907382, rel=1e-14)


def test_sign_of_an_infinite_sum(kernels):
    """scipy/scipy#23548: the sign was nan."""
    value, sign = sm.logsumexp([inf], return_sign=True)
    assert value == inf
    assert sign == 1
    value, sign = sm.logsumexp([inf, 0.0], weights=[-1.0, 1.0], return_sign=True)
    assert value == inf
    assert sign == -1


def test_log_sigmoid_far_below_0(kernels):
    """pytorch/pytorch#1835: -inf for -300; pytorch/pytorch#20972: 0 for large arguments."""
    assert sm.log_sigmoid(np.float32(-300)) == -300
    assert sm.log_sigmoid(np.float32(50)) == pytest.approx(-np.exp(-50), rel=1e-6)
    assert sm.softplus(np.float32(-50)) == pytest.approx(np.exp(-50), rel=1e-6)


# Rows where nothing takes part.


@each_dtype
def test_a_fully_masked_row_is_0(kernels, dtype):
    """pytorch/pytorch#55056, #41508, allenai/allennlp#890, keras-team/keras#21123."""
    x = np.array([[0.3725, 0.5344], [0.3423, 0.3423]], dtype)
    where = np.array([[True, True], [False, False]])
    p = sm.softmax(x, where=where)
    assert np.array_equal(p[0], sm.softmax(x[0]))
    assert not p[1].any()
    assert not np.isnan(sm.log_softmax(x, where=where).astype(float)).any()
    assert not sm.softmax_vjp(x, np.ones_like(x), where=where)[1].any()


def test_gradient_under_a_mask_is_finite(kernels):
    """jax-ml/jax#23842, jax-ml/jax#17070: nan where an entry is left out."""
    x, where = np.array([0.0, 100.0, -inf, np.nan]), np.array([True, False, True, False])
    assert np.array_equal(sm.softmax(x, where=where), [1, 0, 0, 0])
    assert np.array_equal(sm.softmax_vjp(x, np.ones(4), where=where), np.zeros(4))


def test_logsumexp_of_nothing(kernels):
    """rmcgibbo/logsumexp#2, pytorch/pytorch#91843: nan or an error instead of -inf."""
    assert sm.logsumexp([-inf, -inf]) == -inf
    assert sm.logsumexp([]) == -inf
    assert np.array_equal(sm.cumulative_logsumexp([-inf, -inf]), [-inf, -inf])


# Integers and 16-bit floats.


@pytest.mark.parametrize("integer", [np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_integers_do_not_wrap_around(kernels, integer):
    """SciPy, JAX and Keras subtract in the integer type: uint8 [0, 255] gives [0.731, 0.269]."""
    x = np.array([0, np.iinfo(integer).max], integer)
    expected = np.array([np.exp(-float(x[1])), 1.0])
    np.testing.assert_allclose(sm.softmax(x), expected, rtol=1e-15)
    lowest = np.array([np.iinfo(integer).min, np.iinfo(integer).max], integer)
    assert sm.softmax(lowest)[1] == 1
    assert sm.logsumexp(x) == float(x[1])


def test_integers_are_no_error(kernels):
    """pytorch/pytorch#56132, #77472: 'value cannot be converted to type int64_t'."""
    assert sm.logsumexp([20, 30, 100]) == 100
    assert sm.logsumexp([1, 2, 3]) == pytest.approx(3.4076059644443806, rel=1e-15)
    assert sm.softmax([True, False])[0] == pytest.approx(0.7310585786300049, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
@pytest.mark.parametrize("length", [512, 4096, 65536])
def test_16_bit_sums_do_not_saturate(kernels, dtype, length):
    """pytorch/executorch#20089: 512 equal bfloat16 logits gave 1/256 each."""
    x = np.full(length, 3.0, dtype)
    assert np.array_equal(sm.softmax(x), np.full(length, 1 / length).astype(dtype))
    assert sm.logsumexp(x) == np.asarray(3 + np.log(length)).astype(dtype)


def test_large_bfloat16_logits_do_not_overflow(kernels):
    """pytorch/pytorch#63132: nan for logits near 1000 along an inner axis."""
    x = np.full((2, 5, 3), 1000.0, BFLOAT16)
    for axis in range(3):
        total = sm.softmax(x, axis=axis).astype(float).sum(axis)
        np.testing.assert_allclose(total, 1, rtol=1e-2)


def test_float16_logsumexp_near_the_end_of_its_range(kernels):
    """apple/coremltools#2690: 32 logits of 7.64 summed to more than float16 holds."""
    x = np.full(32, 7.640625, np.float16)
    assert sm.logsumexp(x) == np.float16(7.640625 + np.log(32))


# The same row in other company.


@pytest.mark.parametrize("shape", [(2, 3), (2, 65), (33, 781), (3, 40_960)])
def test_a_row_does_not_depend_on_its_batch_or_axis(kernels, shape):
    """pytorch/pytorch#49841, #147284, thinking-machines-lab/batch_invariant_ops#13."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole = sm.softmax(x)
    assert np.array_equal(sm.softmax(x[:1]), whole[:1])
    np.testing.assert_allclose(sm.softmax(x.T, axis=0).T, whole, rtol=5e-7)
    np.testing.assert_allclose(sm.softmax(np.zeros(shape)), 1 / shape[1], rtol=1e-15)


@pytest.mark.parametrize(
    "function", [f for f in having("map", "reduction") if f.name != "hardmax"], ids=str
)
def test_negative_zero_and_subnormal_logits_are_ordinary(kernels, function):
    tiny = np.finfo(np.float32).smallest_subnormal
    close = function(np.array([0.0, -0.0, tiny], np.float32))
    np.testing.assert_allclose(close, function(np.zeros(3, np.float32)), atol=1e-6)


def test_entries_further_apart_than_the_largest_number(kernels):
    largest = np.finfo(np.float64).max
    x = np.array([largest, -largest])
    assert sm.logsumexp(x) == largest
    assert np.array_equal(sm.softmax(x), [1, 0])
    assert np.array_equal(sm.log_softmax(x), [0, -np.inf])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_mean_keeps_what_large_entries_leave(kernels, dtype):
    large = {"f4": np.finfo("f4").max, "f8": 2.0**90}[dtype]
    x = np.array([large, 1, -large, 3], dtype)
    assert sm.mellowmax(x, 0.0) == 1
    largest = np.finfo(dtype).max
    assert sm.mellowmax(np.full(3, largest, dtype), 0.0) == largest
    assert sm.mellowmax(np.array([np.inf, 1], dtype), 0.0) == np.inf
