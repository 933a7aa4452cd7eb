"""What comes in: kinds of arrays, and bad input refused in one sentence before any work."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pandas
import polars
import pytest
from numpy.exceptions import AxisError

import softmax as sm
import softmax.functions
import softmax.threads
from catalog import BFLOAT16, FUNCTIONS, having


class Logits(np.ndarray):
    """A subclass with a meaning of its own."""

    def __add__(self, other):
        raise AssertionError("results are computed on plain arrays")


X = np.array([[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]])

# call -> error, and a sentence that names the argument, what came and what was expected
BAD = {
    "complex": (lambda: sm.softmax([1j, 2]), TypeError, "x must hold real numbers.*complex128"),
    "strings": (lambda: sm.softmax(["a"]), TypeError, "x must hold real numbers.*list.*<U1"),
    "bytes": (lambda: sm.sigmoid(b"1"), TypeError, "x must hold real numbers.*bytes"),
    "objects": (lambda: sm.logsumexp([Fraction(1)]), TypeError, "x must hold.*object"),
    "None": (lambda: sm.softmax(None), TypeError, "x must hold real numbers.*NoneType"),
    "dates": (lambda: sm.softmax(np.zeros(2, "M8[s]")), TypeError, "x must hold.*datetime64"),
    "records": (lambda: sm.softmax(np.zeros(2, "f4,f4")), TypeError, "x must hold real"),
    "ragged": (lambda: sm.softmax([[1, 2], [3]]), ValueError, "x must be rectangular"),
    "probability": (lambda: sm.logit("x"), TypeError, "p must hold real numbers"),
    "axis": (lambda: sm.softmax(X, 2), AxisError, "axis 2 is out of range .* 2 dimensions"),
    "axis of a number": (lambda: sm.softmax(1.0, 1), AxisError, "axis 1 is out of range"),
    "repeated axis": (lambda: sm.softmax(X, (1, -1)), ValueError, r"axis must.*once.*\(1, -1\)"),
    "no axis": (lambda: sm.softmax(X, 1.5), TypeError, "axis must be an integer.*1.5"),
    "temperature": (lambda: sm.softmax(X, temperature=-2), ValueError, "temperature.*or more.*-2"),
    "temperature of no slices": (
        lambda: sm.softmax(X[:0], temperature=-2), ValueError, "temperature.*or more.*-2",
    ),
    "nan": (lambda: sm.entropy(X, temperature=np.nan), ValueError, "temperature.*nan"),
    "complex temperature": (lambda: sm.softmax(X, temperature=1j), TypeError, "temperature must"),
    "one bad temperature": (
        lambda: sm.softmax(X, temperature=[[1], [-0.5]]), ValueError, "temperature.*-0.5",
    ),
    "temperature's shape": (
        lambda: sm.softmax(X, temperature=[1, 2, 3]),
        ValueError,
        r"temperature must broadcast.*axis of length 1, \(2, 1\), got shape \(3,\)",
    ),
    "sink's shape": (lambda: sm.softmax(X, sink=[1, 2]), ValueError, r"sink.*\(2, 1\).*\(2,\)"),
    "sink": (lambda: sm.softmax(X, sink="0"), TypeError, "sink must hold real numbers"),
    "where": (lambda: sm.softmax(X, where=[1, 0, 1]), TypeError, "where must be boolean.*int64"),
    "where's shape": (
        lambda: sm.softmax(X, where=[True, False]), ValueError, r"where.*\(2, 3\).*\(2,\)",
    ),
    "where too large": (
        lambda: sm.softmax(X[0], where=np.ones((2, 3), bool)), ValueError, r"where.*\(3,\)",
    ),
    "weights": (lambda: sm.logsumexp(X, weights=["1"] * 3), TypeError, "weights must hold"),
    "weights' shape": (lambda: sm.logsumexp(X, weights=[1, 2]), ValueError, r"weights.*\(2,\)"),
    "masked weights": (
        lambda: sm.logsumexp(X, weights=np.ma.array([1, 2, 3], mask=[1, 0, 0])),
        TypeError, "weights must not be a masked array",
    ),
    "dx": (lambda: sm.softmax_jvp(X, [1, 2]), ValueError, r"dx must.*\(2, 3\), got shape \(2,\)"),
    "dp": (lambda: sm.softmax_vjp(X, 1j * X), TypeError, "dp must hold real numbers.*complex"),
    "k": (lambda: sm.smooth_max(X, 0), ValueError, "k must be a number other than 0, got 0"),
    "k nan": (lambda: sm.smooth_max(X, np.nan), ValueError, "k must.*nan"),
    "k's shape": (lambda: sm.smooth_max(X, [1, 2]), TypeError, r"k must be one.*\[1, 2\]"),
    "omega": (lambda: sm.mellowmax(X, "1"), TypeError, "omega must be one real number.*'1'"),
    "omega nan": (lambda: sm.mellowmax(X, np.nan), ValueError, "omega.*nan"),
    "ties": (lambda: sm.hardmax(X, ties="last"), ValueError, 'ties must.*"share".*\'last\''),
    "output": (lambda: sm.softmax_jacobian(X, output=3), IndexError, "output.*3 entries, got 3"),
    "input": (lambda: sm.softmax_jacobian(X, input=-4), IndexError, "input.*3 entries, got -4"),
    "out's dtype": (
        lambda: sm.softmax(X, out=np.empty((2, 3), "f4")), TypeError, "out.*float64.*got float32",
    ),
    "out's shape": (
        lambda: sm.softmax(X, out=np.empty(6)), ValueError, r"out.*\(2, 3\), got \(6,\)",
    ),
    "out a list": (lambda: sm.sigmoid(X, out=[0.0]), TypeError, "out must be a NumPy array.*list"),
    "masked out": (lambda: sm.softmax(X, out=np.ma.zeros((2, 3))), TypeError, "out.*MaskedArray"),
    "threads": (lambda: sm.set_num_threads(0), ValueError, "n must be 1 or more, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(kernels, case):
    call, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_read_only_out_is_refused_and_kept(kernels):
    out = np.full(3, 7.0)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="out must be writable"):
        sm.softmax(X[0], out=out)
    assert (out == 7).all()


def test_nothing_is_written_before_an_error(kernels):
    out = np.full(X.shape, 7.0)
    with pytest.raises(ValueError, match="temperature"):
        sm.softmax(X, temperature=-1, out=out)
    with pytest.raises(ValueError, match="where"):
        sm.log_softmax(X, where=[True] * 2, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("shape", "axis"), [((), -1), ((3,), 0), ((2, 3), None), ((2, 3, 4), (0, 2)), ((0, 3), 1)]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_one_number_for_all_slices(kernels, shape, axis, dtype):
    x = np.linspace(-2, 2, int(np.prod(shape))).reshape(shape).astype(dtype)
    each = np.ones(sm.logsumexp(x, axis, keepdims=True).shape)
    for function in (sm.softmax, sm.log_softmax):
        one = function(x, axis, temperature=0.7, sink=0.3)
        expected = function(x, axis, temperature=0.7 * each, sink=0.3 * each)
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_misaligned_input(kernels, function):
    table = np.zeros(5, dtype=[("flag", "i1"), ("value", "f8")])
    table["value"] = np.linspace(0.1, 0.9, 5)
    assert not table["value"].flags.aligned
    np.testing.assert_array_equal(function(table["value"]), function(table["value"].copy()))


@pytest.mark.parametrize(
    "frame",
    [
        polars.DataFrame({"a": [0.25, 0.5], "b": [0.5, 0.125]}),
        pandas.DataFrame({"a": [0.25, 0.5], "b": [0.5, 0.125]}),
        memoryview(np.array([[0.25, 0.5], [0.5, 0.125]])),
    ],
    ids=["polars", "pandas", "memoryview"],
)
def test_frames(kernels, frame):
    plain = np.array([[0.25, 0.5], [0.5, 0.125]])
    for function in FUNCTIONS:
        result = function(frame)
        assert type(result) in (np.ndarray, np.float64)
        np.testing.assert_array_equal(result, function(plain))


def test_subclass_gives_an_array(kernels):
    result = sm.softmax(X.view(Logits))
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, sm.softmax(X))


def test_mask_and_where_both_leave_out(kernels):
    masked = np.ma.array([1.0, 5.0, 1.0, 9.0], mask=[0, 1, 0, 0])
    p = sm.softmax(masked, where=[True, True, True, False])
    assert type(p) is np.ndarray
    np.testing.assert_array_equal(p, [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(sm.hardmax(masked), [0, 0, 0, 1])
    np.testing.assert_array_equal(sm.hardmax(masked[:3], ties="first"), [1, 0, 0])
    np.testing.assert_array_equal(sm.softmax_jacobian(masked)[1], np.zeros(4))
    assert sm.cumulative_logsumexp(masked)[1] == 1.0
    assert sm.softmax(np.ma.array([1.0, 1.0])).sum() == 1.0


def test_elementwise_functions_keep_a_mask(kernels):
    result = sm.sigmoid(np.ma.array([0.0, 1.0], mask=[False, True]))
    assert result.mask.tolist() == [False, True]
    assert result[0] == 0.5


def test_dtype_that_only_looks_like_bfloat16(kernels):
    integers = np.zeros(3, ml_dtypes.int4)
    with pytest.raises(TypeError, match=r"x must hold real numbers.*int4"):
        sm.softmax(integers)
    assert sm.softmax(np.zeros(2, BFLOAT16)).dtype == BFLOAT16


def test_a_given_1_is_the_default(kernels):
    for temperature in (1, 1.0, np.float32(1), [[1.0], [1.0]]):
        np.testing.assert_array_equal(sm.softmax(X, temperature=temperature), sm.softmax(X))
    np.testing.assert_array_equal(sm.softmax(X, 1), sm.softmax(X))
    np.testing.assert_array_equal(sm.softmax(X, (1,)), sm.softmax(X))


def test_no_axes_make_every_entry_a_slice_of_one(kernels):
    np.testing.assert_array_equal(sm.softmax(X, ()), np.ones_like(X))
    np.testing.assert_array_equal(sm.logsumexp(X, ()), X)
    assert sm.softmax(3.0, None) == sm.softmax(3.0, 0) == 1.0
    assert sm.logsumexp(3.0, keepdims=True) == 3.0


OUT_AND_OPTIONS = [
    pytest.param(function, options, id=f"{function}-{options}")
    for function in having(keyword="out")
    for options in ({}, {"axis": 0}, {"axis": None})[
        : 1 + function.takes("axis") + function.takes("axes")
    ]
]


@pytest.mark.parametrize(("function", "options"), OUT_AND_OPTIONS)
def test_result_is_out_itself(kernels, function, options):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (4, 5))
    expected = function(x, **options)
    for out in (np.empty((5, 4)).T, np.empty((4, 10))[:, ::2], x.copy(), x.copy().view(Logits)):
        given = out if np.shares_memory(out, x) else x
        assert function(given, out=out, **options) is out
        np.testing.assert_array_equal(np.asarray(out), expected)
    assert function(x, out=x, **options) is x
    np.testing.assert_array_equal(x, expected)


def test_out_may_overlap_the_options(kernels):
    x = np.arange(12.0).reshape(3, 4)
    expected = sm.softmax(x, 0, temperature=np.full((1, 4), 2.0))
    out = np.full((3, 4), 2.0)
    assert sm.softmax(x, 0, temperature=out[1:2], out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_results_never_alias_the_input(kernels):
    for function in FUNCTIONS:
        for x in (np.array([0.5]), np.array([[0.5]])):
            assert not np.shares_memory(function(x), x)
    x = np.array(0.5)
    for function in having(keyword="0d"):
        assert not np.shares_memory(function(x), x)


def test_hardmax_of_several_axes(kernels):
    x = np.array([[[1.0, 5], [5, 0]], [[2, 2], [2, 2]]])
    shared = sm.hardmax(x, axis=(1, 2))
    np.testing.assert_array_equal(shared[0], [[0, 0.5], [0.5, 0]])
    first = sm.hardmax(x, axis=(1, 2), ties="first")
    np.testing.assert_array_equal(first, [[[0, 1], [0, 0]], [[1, 0], [0, 0]]])
    assert sm.hardmax(np.float32(2)).dtype == np.float32


def test_jacobian_along_any_axis(kernels):
    x = np.random.default_rng(1).normal(size=(4, 3, 2))
    whole = sm.softmax_jacobian(x, axis=1)
    assert whole.shape == (4, 2, 3, 3)
    for i in range(4):
        for j in range(2):
            np.testing.assert_array_equal(whole[i, j], sm.softmax_jacobian(x[i, :, j]))
    assert sm.softmax_jacobian(x, axis=(0, 2)).shape == (3, 8, 8)
    assert sm.softmax_jacobian(2.0).shape == (1, 1)
    temperature = np.array([0.5, 2.0])
    cooled = sm.softmax_jacobian(x, axis=1, temperature=temperature[None, None, :])
    for j in range(2):
        one = sm.softmax_jacobian(x[:, :, j], temperature=temperature[j])
        np.testing.assert_array_equal(cooled[:, j], one)
    np.testing.assert_array_equal(sm.softmax_jacobian(x, axis=1, output=-1), whole[..., -1, :])


def test_tangents_meet_in_the_common_dtype(kernels):
    x = np.float32([0.0, 1.0])
    assert sm.softmax_jvp(x, np.float32([1, 0])).dtype == np.float32
    assert sm.softmax_jvp(x, [1, 0]).dtype == np.float64
    assert sm.softmax_vjp(np.zeros(2, BFLOAT16), np.float32([1, 0])).dtype == np.float32
    np.testing.assert_array_equal(sm.softmax_jvp(X, 1.0), np.zeros_like(X))
