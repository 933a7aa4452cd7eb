"""What comes in: kinds of arrays, and bad input refused in one sentence before any work."""

import os
import subprocess
import sys
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
from catalog import BFLOAT16, DTYPES, FUNCTIONS, having


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


class WatchedKernels:
    """Kernels that hold their caller to what a kernel may assume, before they run."""

    def __init__(self, kernels):
        self.kernels = kernels
        self.calls = 0
        self.threads = 4

    def softmax(self, x, out, axis, where, temperature, sink):
        self.calls += 1
        assert 0 <= axis < x.ndim
        assert out.dtype == x.dtype
        assert out.shape == x.shape
        assert x.dtype.isnative
        assert x.flags.aligned
        in_place = out.ctypes.data == x.ctypes.data and out.strides == x.strides
        assert in_place or not np.may_share_memory(out, x)
        assert where is None or (where.dtype == bool and where.shape == x.shape)
        reduced = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        for per_slice in (temperature, sink):
            assert per_slice is None or per_slice.shape == reduced
            assert per_slice is None or per_slice.dtype == np.float64
            assert per_slice is None or not np.may_share_memory(out, per_slice)
        self.kernels.softmax(x, out, axis, where, temperature, sink)

    def plain_softmax(self, x, axis, temperature, out):
        return None

    def empty(self, shape, dtype):
        return self.kernels.empty(shape, dtype)

    def set_num_threads(self, n):
        self.threads = n

    def get_num_threads(self):
        return self.threads


def test_kernels_get_what_they_may_assume(kernels, monkeypatch):
    watched = WatchedKernels(kernels)
    x = np.arange(24.0).reshape(2, 3, 4)
    memory = np.arange(30.0)
    overlapping = memory[:24].reshape(x.shape), memory[6:].reshape(x.shape)
    swapped = x.astype(x.dtype.newbyteorder())
    table = np.zeros(5, dtype=[("flag", "i1"), ("value", "f4")])
    calls = [
        lambda: sm.softmax(x),
        lambda: sm.softmax(2.0, None),
        lambda: sm.softmax(x.tolist(), (0, 2), temperature=2, sink=1),
        lambda: sm.softmax(swapped, 0, where=[True, False, True, True]),
        lambda: sm.softmax(table["value"]),
        lambda: sm.softmax(overlapping[0], 1, out=overlapping[1]),
        lambda: sm.softmax(overlapping[1], None, out=overlapping[0]),
        lambda: sm.softmax(x, (2, 0), out=x),
        lambda: sm.softmax(x, 1, out=x[:, ::-1]),
        lambda: sm.softmax(x.swapaxes(0, 1).copy(), 1, sink=x[0, :1, :1], out=x.swapaxes(0, 1)),
    ]
    expected = [np.array(call()) for call in calls[:7]]
    monkeypatch.setattr(sm.functions, "kernels", watched)
    memory[:] = np.arange(30.0)
    results = [np.array(call()) for call in calls]
    assert watched.calls == len(calls)
    for result, same in zip(results[:6], expected[:6], strict=True):
        np.testing.assert_array_equal(result, same)


MEMORY = np.arange(24.0)


class Subclass(np.ndarray):
    pass


def test_plain_forms_leave_what_kernels_do_not_take(kernels):
    if kernels.build_info()["target"] == "reference":
        pytest.skip("NumPy leaves everything")
    x = MEMORY.reshape(2, 3, 4)
    read_only = np.empty_like(x)
    read_only.flags.writeable = False
    misaligned = np.zeros(5, dtype=[("flag", "i1"), ("value", "f4")])["value"]
    results = [
        [[1.0, 2.0]],
        read_only,
        np.empty((2, 3)),
        np.empty((2, 3, 4), "f4"),
        np.empty((2, 3, 4), ">f8"),
        x[::-1],
        MEMORY.view(Subclass).reshape(2, 3, 4) + 1,
    ]
    for odd in (1.0, [1.0], None, x.astype(int), x.astype("g"), x.astype(">f8"), misaligned,
                x.view(Subclass), np.ma.array(x), np.array(2.0)):  # fmt: skip
        assert kernels.plain_softmax(odd, -1, 1.0, None) is None
        assert kernels.plain_logsumexp(odd, -1) is None
        assert kernels.plain_derivative(odd, x, -1, 1.0) is None
        assert kernels.plain_derivative(x, odd, -1, 1.0) is None
        assert kernels.plain_sigmoid(odd, None) is None
    for other in (x[:1], x.astype("f4"), x.T, x[0]):
        assert kernels.plain_derivative(x, other, -1, 1.0) is None
    for axis in (3, -4, None, (0, 1), 1.0, True, 2**70, np.int64(0)):
        assert kernels.plain_softmax(x, axis, 1.0, None) is None
        assert kernels.plain_logsumexp(x, axis) is None
        assert kernels.plain_derivative(x, x, axis, 1.0) is None
    for temperature in (-1.0, np.nan, None, np.float64(1), "1", [1.0], 10**400):
        assert kernels.plain_softmax(x, -1, temperature, None) is None
        assert kernels.plain_derivative(x, x, -1, temperature) is None
    for out in results:
        assert kernels.plain_softmax(x, 0, 1.0, out) is None
        assert kernels.plain_sigmoid(x, out) is None
    np.testing.assert_array_equal(MEMORY, np.arange(24.0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_plain_forms_agree_with_the_others(kernels, dtype):
    x = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(dtype)
    for given in (x, x.T, x[::-1, ::2], x[:, :, ::-1], x[:0], x[:, :1]):
        mask = np.ones(given.shape, bool)
        for axis in (0, 1, 2, -1):
            for function in (sm.softmax, sm.log_softmax, sm.logsumexp):
                plain, other = function(given, axis), function(given, axis, where=mask)
                assert type(plain) is type(other)
                assert plain.shape == other.shape
                np.testing.assert_array_equal(plain, other)
            for temperature in (0, 0.5, 3, np.inf):
                plain = sm.softmax(given, axis, temperature=temperature)
                other = sm.softmax(given, axis, temperature=np.float64(temperature))
                np.testing.assert_array_equal(plain, other)
        for function in (sm.sigmoid, sm.log_sigmoid, sm.softplus, sm.logit):
            same = function(np.ma.array(given, mask=np.zeros(given.shape, bool)))
            np.testing.assert_array_equal(function(given).astype(float), same.data.astype(float))
    assert type(sm.logsumexp(x[0, 0])) is type(x[0, 0, 0])


def test_threads_are_given_back(kernels, monkeypatch):
    watched = WatchedKernels(kernels)
    monkeypatch.setattr(sm.threads, "kernels", watched)
    limit = sm.num_threads(2)
    with pytest.raises(KeyError), limit:
        raise KeyError(sm.get_num_threads())
    assert sm.get_num_threads() == 4
    with sm.num_threads(3):
        assert sm.get_num_threads() == 3
    assert sm.get_num_threads() == 4


def in_fresh_python(code):
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_import_pulls_in_numpy_alone():
    code = (
        "import sys, numpy, numpy.typing; before = set(sys.modules); import softmax;"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert in_fresh_python(code) == "softmax"


def test_import_is_quick():
    code = (
        "import numpy, time; start = time.process_time(); import softmax;"
        "print(time.process_time() - start)"
    )
    assert min(float(in_fresh_python(code)) for _ in range(3)) < 0.1


def test_table_of_contents():
    for name in sm.__all__:
        assert getattr(sm, name).__doc__
    assert set(sm.__all__) == set(dir(sm)) & set(sm.__all__)


def plain_cross_entropy(kernels, logits, target, **changed):
    """Return what the plain form gives for the default arguments, but for those changed."""
    arguments = {"axis": -1, "label_smoothing": 0.0, "z_loss": 0.0, "reduction": "mean",
                 "return_grad": True, "out": None} | changed  # fmt: skip
    return kernels.plain_cross_entropy(logits, target, **arguments)


def test_plain_cross_entropy_leaves_what_the_kernel_does_not_take(kernels):
    if kernels.build_info()["target"] == "reference":
        pytest.skip("NumPy leaves everything")
    x, labels = np.ones((3, 4)), np.array([0, 1, 3])
    assert plain_cross_entropy(kernels, x, labels) is not None
    for odd in (None, x.tolist(), x.astype(int), x.astype(">f8"), x.view(Subclass), x.T.copy().T,
                np.ma.array(x), np.empty((3, 0)), np.ones(4)):  # fmt: skip
        assert plain_cross_entropy(kernels, odd, labels) is None
    for odd in (None, 1, [0, 1, 3], labels.astype("i4"), labels.astype(">i8"), labels[:2], x,
                labels[:, None], labels - 1, labels + 1, labels.view(Subclass),
                np.repeat(labels, 2)[::2]):  # fmt: skip
        assert plain_cross_entropy(kernels, x, odd) is None
    for changed in (
        {"axis": 2}, {"axis": True}, {"axis": None}, {"label_smoothing": 0.1},
        {"label_smoothing": None}, {"z_loss": -1.0}, {"z_loss": np.inf}, {"z_loss": np.nan},
        {"reduction": "none"}, {"reduction": "means"}, {"reduction": b"mean"},
        {"reduction": None}, {"return_grad": 1}, {"out": np.ones((3, 4), "f4")},
        {"out": np.ones((4, 3)).T}, {"out": np.ones(13)[1:]}, {"return_grad": False, "out": x},
    ):  # fmt: skip
        assert plain_cross_entropy(kernels, x, labels, **changed) is None, changed
    np.testing.assert_array_equal(x, 1)
