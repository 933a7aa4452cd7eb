"""The losses of arrays of all kinds: dtypes, places, neighbours, sizes."""

import math
import tracemalloc

import numpy as np
import pytest

import softmax as sm
from catalog import BFLOAT16, DTYPES
from catalog import BY_NAME as FUNCTION
from families import draw, odd_rows, sure_rows

X = np.random.default_rng(0).normal(0, 3, (6, 5))
LABELS = np.array([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("classes", [5, 100, 3000, 5000, 40_000])
def test_out(kernels, dtype, classes):
    """The gradient in a given array, the logits themselves among them."""
    logits = np.random.default_rng(0).normal(0, 3, (6, classes)).astype(dtype)
    logits[1, 2] = 90  # nearly one-hot: the sum of the others is taken apart
    target = np.array([0, 2, 3, 4, 1, 0])
    loss, gradient = sm.cross_entropy(logits, target, return_grad=True)
    for out in (np.empty_like(logits), np.empty_like(logits.T).T, logits.copy()):
        x = out if np.array_equal(out, logits) else logits
        got, returned = sm.cross_entropy(x, target, return_grad=True, out=out)
        assert returned is out
        assert got == loss
        assert np.array_equal(out, gradient)


@pytest.mark.parametrize("integer", np.typecodes["AllInteger"])
def test_labels_of_any_integer_dtype(kernels, integer):
    labels = LABELS.astype(integer)
    for loss in (sm.cross_entropy, sm.focal_loss):
        assert loss(X, labels) == loss(X, LABELS)
        assert loss(X, labels, ignore_index=2) == loss(X, LABELS, ignore_index=2)
        assert loss(X, labels, ignore_index=[-100, 2]) == loss(X, LABELS, ignore_index=2)
    beyond = np.array([0, np.iinfo(integer).max, 2, 2, 1, 3], integer)
    with pytest.raises(IndexError, match=rf"got {beyond[1]} at position \[1\]"):
        sm.cross_entropy(X, beyond)
    assert sm.cross_entropy(X.tolist(), LABELS.tolist()) == sm.cross_entropy(X, LABELS)


def test_same_bits_on_any_number_of_threads(kernels):
    logits = np.random.default_rng(0).normal(0, 3, (3000, 90)).astype(np.float32)
    target = np.arange(3000) % 90
    results = []
    for threads in (1, 2, 4):
        with sm.num_threads(threads):
            loss, gradient = sm.cross_entropy(logits, target, z_loss=0.01, return_grad=True)
        results.append((loss, gradient.tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["plain", "weighted", "smoothed"])
@pytest.mark.parametrize("classes", [3, 10, 25, 100, 129, 500, 2100])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_same_bits_alone_or_among_many(kernels, dtype, classes, kind, z_loss):
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 3, (7, 11, classes)).astype(dtype)
    logits[0] = odd_rows(11, classes, dtype)
    logits[3:6] = sure_rows(33, classes, dtype).reshape(3, 11, classes)
    logits[5, 5, 0] = np.nan
    target = rng.integers(classes, size=(7, 11))
    target[2] = target[6, 10] = -100
    options = {
        "plain": {},
        "weighted": {"class_weight": rng.random(classes)},
        "smoothed": {"label_smoothing": 0.1},
    }[kind]

    def bits(logits, target, axis=-1, out=None):
        """Return those of each slice's loss and gradient."""
        losses, gradient = sm.cross_entropy(
            logits, target, axis, ignore_index=-100, z_loss=z_loss, reduction="none",
            return_grad=True, out=out, **options,
        )  # fmt: skip
        rows = np.moveaxis(gradient, axis, -1).reshape(-1, classes)
        return [(a.tobytes(), b.tobytes()) for a, b in zip(losses.ravel(), rows, strict=True)]

    rows, labels = logits.reshape(-1, classes), target.reshape(-1)
    expected = [bits(x[None].copy(), t[None])[0] for x, t in zip(rows, labels, strict=True)]
    assert bits(logits, target) == expected
    assert bits(rows, labels) == expected
    assert bits(rows[:70], labels[:70]) == expected[:70]
    columns = np.moveaxis(logits, -1, 1).copy()
    assert bits(columns, target, 1) == expected
    assert bits(columns, target, 1, out=columns) == expected
    assert bits(rows, labels, out=rows) == expected


@pytest.mark.parametrize("shape", [(3, 20, 5), (2, 20, 150), (2, 70, 150), (3000, 9), (40_000, 3)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_smoothed_labels_of_columns_have_the_bits_of_rows(kernels, dtype, shape):
    axis = len(shape) - 2
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, shape).astype(dtype)
    logits[..., 0, 1] = -np.inf
    logits[..., 1, 2] = np.inf
    target = rng.integers(shape[axis], size=shape[:axis] + shape[axis + 1 :])
    target[..., 0] = -100
    rows = np.moveaxis(logits, axis, -1).copy()
    for weight in (None, rng.random(target.shape)):
        options = {"label_smoothing": 0.1, "ignore_index": -100, "reduction": "none"}
        options["sample_weight"] = weight
        losses, gradient = sm.cross_entropy(logits, target, axis, return_grad=True, **options)
        expected, slopes = sm.cross_entropy(rows, target, return_grad=True, **options)
        assert losses.tobytes() == expected.tobytes()
        assert np.moveaxis(gradient, axis, -1).tobytes() == slopes.tobytes()
        alone = sm.cross_entropy(logits, target, axis, **options)
        assert alone.tobytes() == expected.tobytes()


@pytest.mark.parametrize("classes", [5, 17, 60, 100, 3000, 40_000])
@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=str)
def test_16_bit_targets_are_widened_as_they_are_read(kernels, dtype, classes):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20, classes)).astype(dtype)
    target = sm.softmax(rng.normal(0, 1, (20, classes))).astype(dtype)
    results = []
    for t in (target, target.astype(np.float32)):
        loss, gradient = np.full(20, np.nan), np.zeros_like(logits)
        kernels.cross_entropy_soft(logits, t, None, loss, gradient)
        results.append((loss.tobytes(), gradient.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("classes", [10, 100])
def test_smoothing_makes_no_rows(kernels, classes, axis):
    if not kernels.build_info()["native"]:
        pytest.skip("NumPy makes them")
    shape = (1 << 20, classes) if axis else (classes, 1 << 20)
    logits = np.random.default_rng(0).standard_normal(shape, np.float32)
    labels = np.arange(1 << 20) % classes
    tracemalloc.start()
    try:
        sm.cross_entropy(logits, labels, axis, label_smoothing=0.1, return_grad=True, out=logits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < labels.nbytes + (1 << 20)  # a float64 loss for each label


@pytest.mark.parametrize("length", [513, 1000, 3000])
def test_gradients_that_wait_for_the_next_batch(kernels, length):
    x = np.random.default_rng(length).normal(0, 3, (90, length)).astype(np.float32)
    labels = np.arange(90) * 7 % length
    labels[::9] = x[::9].argmax(axis=1)
    x[45, labels[45]] = 60
    x[20] -= 3000
    alone = [
        sm.cross_entropy(row, label, reduction="sum", return_grad=True)
        for row, label in zip(x, labels, strict=True)
    ]
    results = x.copy()
    for out in (None, results):
        logits = x if out is None else results
        total, gradient = sm.cross_entropy(
            logits, labels, reduction="sum", return_grad=True, out=out
        )
        np.testing.assert_allclose(total, sum(loss for loss, _ in alone), rtol=1e-6)
        assert gradient.tobytes() == np.stack([gradient for _, gradient in alone]).tobytes()


@pytest.mark.parametrize("classes", [2, 3, 10, 25, 100, 129, 500, 2100])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_logits_are_left_as_they_are(kernels, dtype, classes):
    logits = odd_rows(40, classes, dtype)
    labels = np.arange(40) % classes
    for x, axis in ((logits, -1), (logits.T.copy(), 0)):
        before = x.tobytes()
        losses = sm.cross_entropy(x, labels, axis, reduction="none")
        assert x.tobytes() == before
        each, _ = sm.cross_entropy(x, labels, axis, reduction="none", return_grad=True)
        assert losses.tobytes() == each.tobytes()
        sm.cross_entropy(x, labels, axis)
        sm.cross_entropy(logits, np.eye(classes)[labels])
        assert x.tobytes() == before


@pytest.mark.parametrize("shape", [(1000, 10), (300, 50), (200, 700), (40, 3000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_wherever_arrays_lie(kernels, dtype, shape):
    x = np.random.default_rng(0).normal(0, 3, shape).astype(dtype)
    labels = np.arange(shape[0]) % shape[1]
    for logits, axis in ((x, -1), (x.T.copy(), 0)):
        means = []
        for offset in (0, 1, 3, 8):
            buffer = np.empty(x.size + offset, dtype)[offset:].reshape(logits.shape)
            buffer[...] = logits
            means += [sm.cross_entropy(buffer, labels, axis)]
            means += [sm.cross_entropy(buffer, labels, axis, return_grad=True)[0]]
            means += [sm.cross_entropy(buffer, labels, axis, return_grad=True, out=buffer)[0]]
        assert len(set(means)) == 1


def test_nothing_at_all(kernels):
    assert sm.cross_entropy(np.zeros((0, 3)), []) == 0
    loss, gradient = sm.cross_entropy(np.zeros((0, 3)), np.zeros((0, 3)), return_grad=True)
    assert loss == 0
    assert gradient.shape == (0, 3)
    assert sm.binary_cross_entropy([], []) == 0
    assert sm.kl_divergence(np.zeros((0, 3)), np.zeros((0, 3))) == 0


def test_no_classes(kernels):
    """Rows of nothing expect nothing: they do not count."""
    nothing = np.zeros((3, 0))
    for loss in (sm.cross_entropy, sm.focal_loss, sm.kl_divergence, sm.distillation_loss):
        assert loss(nothing, nothing) == 0
        each, gradient = loss(nothing, nothing, reduction="none", return_grad=True)
        assert each.tolist() == [0, 0, 0]
        assert gradient.shape == (3, 0)


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=str)
def test_16_bit_means_are_summed_wide(kernels, dtype):
    """A float16 sum of losses of log 2 would stop at 2048."""
    logits = np.zeros((70_000, 2), dtype)
    target = np.zeros(70_000, int)
    assert sm.cross_entropy(logits, target) == np.asarray(np.log(2)).astype(dtype)
    assert sm.cross_entropy(logits[:9000], target[:9000], reduction="sum") == np.asarray(
        9000 * np.log(2)
    ).astype(dtype)


# The short way of plain arguments, which a list of labels does not take.


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("z_loss", [0, 0.25])
def test_plain_arguments_give_the_same_bits(kernels, dtype, reduction, z_loss):
    """But native sums of float64 losses are taken in another order, and may end an ulp apart."""
    reordered = dtype == np.float64 and kernels.__name__ == "softmax._core"
    for shape, axis in (((1, 1000), -1), ((9,), 0), ((300, 7), 1), ((3, 5, 4), 1)):
        logits = draw(FUNCTION["softmax"], "N(0,3)", math.prod(shape), dtype, 1).reshape(shape)
        labels = np.random.default_rng(1).integers(0, shape[axis], np.delete(shape, axis))
        options = {"axis": axis, "reduction": reduction, "z_loss": z_loss}
        loss, gradient = sm.cross_entropy(logits, labels.tolist(), return_grad=True, **options)
        plain = [sm.cross_entropy(logits, labels, **options)]
        in_place = logits.copy()
        for given, out in ((logits, None), (logits, np.empty_like(logits)), (in_place, in_place)):
            value, slopes = sm.cross_entropy(given, labels, return_grad=True, out=out, **options)
            plain.append(value)
            assert out is None or slopes is out
            assert slopes.tobytes() == gradient.tobytes()
        for value in plain:
            assert type(value) is type(loss)
            assert value == loss or (reordered and abs(value - loss) <= np.spacing(loss))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_string_of_numpy_goes_the_same_way(kernels, reduction):
    logits = draw(FUNCTION["softmax"], "N(0,3)", 15_000, np.dtype("f8"), 1).reshape(3000, 5)
    labels = np.random.default_rng(1).integers(0, 5, 3000)
    loss = sm.cross_entropy(logits, labels, reduction=reduction)
    assert sm.cross_entropy(logits, labels, reduction=np.str_(reduction)) == loss


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_plain_loss_beyond_the_dtype_is_infinite(dtype):
    largest = np.finfo(dtype).max
    logits = np.array([[largest, -largest]])
    assert sm.cross_entropy(logits, np.array([1])) == np.inf
    assert sm.cross_entropy(logits, np.array([0])) == 0
    assert sm.cross_entropy(logits / 2, np.array([1])) == largest
