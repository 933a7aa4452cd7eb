"""What kernels may assume of their caller, and what the plain forms leave to the others."""

import numpy as np
import pytest

import softmax as sm
import softmax.functions
import softmax.threads
from catalog import DTYPES


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
