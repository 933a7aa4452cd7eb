"""Cross-entropy of short rows, whose losses are added up as one logarithm of a product."""

import numpy as np
import pytest

import oracle
import softmax as sm
from catalog import DTYPES

NARROW = [dtype for dtype in DTYPES if dtype.itemsize < 8]
LENGTHS = (1, 2, 3, 5, 10, 16, 24, 25, 40, 64, 65)


def logits_of(length, rows, dtype, spread=3.0):
    """Rows of which some are dominated, beyond the frames of others, or of one class alone."""
    x = np.random.default_rng(length).normal(0, spread, (rows, length))
    x[5::17, 0] += 40
    x[7::19] += 3000
    x[9::23, 1:] = -1000
    return x.astype(dtype)


def labels_of(x):
    labels = np.random.default_rng(1).integers(0, x.shape[1], len(x))
    labels[::3] = x[::3].argmax(-1)
    return labels


def pieces(x, labels):
    """The same slices as rows, in place of their logits, as columns, and apart."""
    wide = np.zeros((len(x), x.shape[1] + 3), x.dtype)
    wide[:, : x.shape[1]] = x
    for logits, axis in ((x, 1), (np.ascontiguousarray(x.T), 0), (wide[:, : x.shape[1]], 1)):
        for out in (None, logits.copy()):
            given = logits if out is None else out
            loss, gradient = sm.cross_entropy(given, labels, axis, return_grad=True, out=out)
            yield loss, np.moveaxis(gradient, axis, 1)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rows", [1, 7, 63, 64, 200])
def test_gradients_have_the_same_bits_however_slices_lie(kernels, rows, length, dtype):
    x = logits_of(length, rows, dtype)
    labels = labels_of(x)
    for reduction in ("sum", "none"):
        options = {"reduction": reduction, "return_grad": True}
        together = sm.cross_entropy(x, labels, **options)[1]
        for i in range(rows):
            alone = sm.cross_entropy(x[i], labels[i], **options)[1]
            assert alone.tobytes() == together[i].tobytes()
    assert (
        together.tobytes()
        == sm.cross_entropy(x, labels, reduction="sum", return_grad=True)[1].tobytes()
    )
    first, *others = pieces(x, labels)
    for loss, gradient in others:
        assert gradient.tobytes() == first[1].tobytes()
        assert oracle.ulp_error(loss, first[0], dtype).max() <= 1


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("spread", [0.3, 3, 20])
def test_sums_and_gradients_within_their_bounds(kernels, length, spread):
    x = logits_of(length, 150, np.float32, spread)
    labels = labels_of(x)
    exact = oracle.cross_entropy(x, labels)
    loss, gradient = sm.cross_entropy(x, labels, reduction="sum", return_grad=True)
    assert oracle.ulp_error(loss, exact.sum(), np.float32).max() <= 1
    exact = oracle.cross_entropy_gradient(x, labels)
    assert oracle.ulp_error(gradient, exact, np.float32).max() <= 4


@pytest.mark.parametrize("length", [2, 10, 40, 64])
@pytest.mark.parametrize("rows", [1, 8, 64, 65, 300])
@pytest.mark.parametrize("gap", [8, 16, 17.5, 18.5, 30, [9, 40]])
def test_sums_next_to_zero(kernels, gap, rows, length):
    """Labels are sure: their losses are 1e-4 to 1e-17, in one array also both."""
    x = np.random.default_rng(0).normal(0, 0.1, (rows, length)).astype(np.float32)
    labels = np.arange(rows) % length
    x[np.arange(rows), labels] += np.resize(gap, rows).astype(np.float32)
    exact = oracle.cross_entropy(x, labels)
    loss = sm.cross_entropy(x, labels, reduction="sum")
    assert oracle.ulp_error(loss, exact.sum(), np.float32).max() <= 3
    assert loss == sm.cross_entropy(x, labels, reduction="sum", return_grad=True)[0]


@pytest.mark.parametrize("length", [3, 10, 30, 64])
@pytest.mark.parametrize("limit", [np.nan, np.inf, -np.inf])
def test_limits_of_one_row_stay_in_it(kernels, limit, length):
    x = logits_of(length, 130, np.float32)
    labels = labels_of(x)
    _, before = sm.cross_entropy(x, labels, reduction="sum", return_grad=True)
    x[70, 1], labels[70] = limit, 1
    loss, gradient = sm.cross_entropy(x, labels, reduction="sum", return_grad=True)
    others = np.arange(130) != 70
    assert gradient[others].tobytes() == before[others].tobytes()
    if limit == np.inf:
        assert np.isfinite(loss)
        assert not gradient[70].any()
    elif limit == -np.inf:
        assert loss == np.inf
        assert gradient[70, 1] == -1
    else:
        assert np.isnan(loss)
        assert np.isnan(gradient[70]).all()


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("length", [5, 24, 25, 60, 64, 70])
def test_rows_left_out_and_weighted(kernels, length, dtype):
    """The gradient of each is that of its row, times its weight; of those left out it is 0."""
    x = logits_of(length, 100, dtype)
    labels, weights = labels_of(x), np.arange(100) % 4 / 4
    counts = (np.arange(100) % 7 != 0) & (weights > 0)
    exact = [
        sm.cross_entropy(row.astype(np.float64), label, return_grad=True)
        for row, label in zip(x, labels, strict=True)
    ]
    labels[::7] = -100
    options = {"ignore_index": -100, "reduction": "sum", "return_grad": True}
    loss, gradient = sm.cross_entropy(x, labels, sample_weight=weights, **options)
    assert not gradient[~counts].any()
    for i in np.flatnonzero(counts):
        assert oracle.ulp_error(gradient[i], weights[i] * exact[i][1], dtype).max() <= 4
    total = sum(weights[i] * exact[i][0] for i in np.flatnonzero(counts))
    assert oracle.ulp_error(loss, total, dtype).max() <= 3


@pytest.mark.parametrize("length", [5, 30, 100])
def test_signs_of_zero(kernels, length):
    """A z-loss of logits far below zero turns gradients round, also those that are nothing."""
    x = np.random.default_rng(0).normal(-10, 1, (130, length)).astype(np.float32)
    x[:, 1], x[70] = -np.inf, -np.inf
    labels = np.full(130, 2)
    options = {"z_loss": 1.0, "reduction": "sum", "return_grad": True}
    _, gradient = sm.cross_entropy(x, labels, **options)
    columns = sm.cross_entropy(np.ascontiguousarray(x.T), labels, 0, **options)[1].T
    for i in range(130):
        alone = sm.cross_entropy(x[i], labels[i], **options)[1]
        assert gradient[i].tobytes() == alone.tobytes() == columns[i].tobytes()


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("length", [2, 10, 40, 64, 100, 3000])
def test_weights_near_the_limits_of_their_range(kernels, length, dtype):
    """Of a row that one class takes, labelled and not, among rows of ordinary weight."""
    x = np.zeros((70, length), dtype)
    x[:, 1] = 60 if dtype == np.float32 else 800
    labels = np.arange(70) % 2
    weights = np.ones(70)
    weights[10:30] = np.repeat([1e-20, 1e-30, 1e-33, 1e-36, 1e-38], 4)
    weights[30:34] = 3e37
    if dtype == np.float64:
        weights[10:30] = np.repeat([1e-150, 1e-230, 1e-260, 1e-290, 1e-307], 4)
        weights[30:34] = 1e250
    options = {"reduction": "sum", "return_grad": True}
    _, gradient = sm.cross_entropy(x, labels, sample_weight=weights, **options)
    exact = np.where(labels == 1, 0, weights)  # to the last digit
    assert oracle.ulp_error(gradient[:, 1][labels == 0], exact[labels == 0], dtype).max() <= 1
    assert oracle.ulp_error(gradient[:, 0][labels == 0], -exact[labels == 0], dtype).max() <= 1
    for i in range(70):
        row = sm.cross_entropy(x[i], labels[i], sample_weight=weights[i], **options)[1]
        assert row.tobytes() == gradient[i].tobytes()
