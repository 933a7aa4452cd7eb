"""The kernels of losses within their bounds: losses and gradients of labels, rows and counts."""

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

import oracle
from catalog import BY_NAME, DTYPES
from families import LOGITS, draw
from oracle import ulp_error

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("family", LOGITS)
def test_cross_entropy_kernel(kernels, family, dtype):
    """Loss in float64 and gradient in the dtype of the logits, also next to zero."""
    function = BY_NAME["softmax_vjp"]
    for K in (1, 2, 10, 1000):
        logits = np.stack([draw(function, family, K, dtype, seed) for seed in range(5)])
        top = logits.argmax(-1)
        target = np.array([top[0], top[1], 0, K - 1, -1])
        loss, gradient = np.full(5, np.nan), np.full_like(logits, np.nan)
        kernels.cross_entropy(logits, target, None, loss, gradient)
        exact_loss = oracle.cross_entropy(logits[:4], target[:4])
        exact_gradient = oracle.cross_entropy_gradient(logits[:4], target[:4])
        assert np.max(ulp_error(loss[:4], exact_loss, dtype)) <= 3
        assert np.max(ulp_error(gradient[:4], exact_gradient, dtype)) <= 4
        assert loss[4] == 0
        assert not gradient[4].any()


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("family", [f for f in LOGITS if f != "float extremes"])
def test_soft_cross_entropy_kernel(kernels, family, dtype):
    function = BY_NAME["softmax_vjp"]
    for K in (1, 2, 10, 1000):
        logits = np.stack([draw(function, family, K, dtype, seed) for seed in range(3)])
        target = np.random.default_rng(K).dirichlet(np.ones(K), 3).astype(dtype)
        loss, gradient = np.full(3, np.nan), np.full_like(logits, np.nan)
        kernels.cross_entropy_soft(logits, target, None, loss, gradient)
        exact_loss = oracle.cross_entropy_soft(logits, target)
        exact_gradient = oracle.cross_entropy_soft_gradient(logits, target)
        assert np.max(ulp_error(loss, exact_loss, dtype)) <= 3
        assert np.max(ulp_error(gradient, exact_gradient, dtype, exact_gradient.scale)) <= 4


@pytest.mark.parametrize("smoothing", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("family", [f for f in LOGITS if f != "float extremes"])
def test_smoothed_cross_entropy_kernel(kernels, family, dtype, smoothing):
    function = BY_NAME["softmax_vjp"]
    for K in (1, 2, 10, 60, 100, 1000):
        logits = np.stack([draw(function, family, K, dtype, seed) for seed in range(20)])
        labels = np.arange(20) * 7 % K
        labels[:10] = logits[:10].argmax(-1)
        target = np.full(logits.shape, smoothing / K)
        target[np.arange(20), labels] += 1 - smoothing
        loss, gradient = np.full(20, np.nan), np.full_like(logits, np.nan)
        kernels.cross_entropy(logits, labels, None, loss, gradient, -1, 1.0, 0.0, smoothing)
        exact_loss = oracle.cross_entropy_soft(logits, target)
        exact_gradient = oracle.cross_entropy_soft_gradient(logits, target)
        assert np.max(ulp_error(loss, exact_loss, dtype)) <= 3
        assert np.max(ulp_error(gradient, exact_gradient, dtype, exact_gradient.scale)) <= 4


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_smoothed_label_that_is_a_class_like_others(kernels, dtype):
    """Its p - t is of the size of 1 / K, so that p is to be as exact as others are."""
    logits = np.random.default_rng(0).normal(0, 0.3, (60, 5000)).astype(dtype)
    logits[:, 7] += dtype.type(8.6)
    labels = np.arange(60) + 20
    loss, gradient = np.full(60, np.nan), np.full_like(logits, np.nan)
    kernels.cross_entropy(logits, labels, None, loss, gradient, -1, 1.0, 0.0, 1.0)
    exact = oracle.cross_entropy_soft_gradient(logits, np.full(logits.shape, 1 / 5000))
    assert np.max(ulp_error(gradient, exact, dtype, exact.scale)) <= 4


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("family", [f for f in LOGITS if f != "float extremes"])
def test_counts_cross_entropy_kernel(kernels, family, dtype):
    """Rows of sparse shares: of any entries, none, the largest alone, and all but the largest."""
    function = BY_NAME["softmax_vjp"]
    for K in (1, 2, 10, 1000):
        logits = np.stack([draw(function, family, K, dtype, seed) for seed in range(4)])
        counts = np.random.default_rng(K).poisson(0.5, (4, K)).astype(dtype)
        counts[1:3] = 0
        counts[[2, 3], logits[2:].argmax(-1)] = 3, 0
        counts /= np.maximum(counts.sum(-1, keepdims=True), 1)
        target = scipy.sparse.csr_array(counts)
        starts, places = target.indptr.astype(np.int64), target.indices.astype(np.int64)
        loss, gradient = np.full(4, np.nan), np.full_like(logits, np.nan)
        kernels.cross_entropy_counts(logits, starts, places, target.data, None, loss, gradient)
        exact_loss = oracle.cross_entropy_soft(logits, counts)
        exact_gradient = oracle.cross_entropy_soft_gradient(logits, counts)
        assert np.max(ulp_error(loss, exact_loss, dtype)) <= 3
        assert np.max(ulp_error(gradient, exact_gradient, dtype, exact_gradient.scale)) <= 4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_counts_are_their_dense_rows(kernels, dtype):
    """A place may be named more than once, and rows may begin in the midst of what is stored."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 3, (70, 33)).astype(dtype)
    wide = np.result_type(dtype, FLOAT32)
    starts = np.sort(rng.integers(3, 400, 71))
    places, counts = rng.integers(0, 33, 410), rng.integers(0, 4, 410).astype(wide)
    dense = np.zeros(logits.shape, wide)
    for row in range(70):
        for k in range(starts[row], starts[row + 1]):
            dense[row, places[k]] += counts[k]
    weights = rng.integers(0, 3, 70) / 2.0
    results = [(np.empty(70), np.empty_like(logits)) for _ in range(2)]
    options = (0.25, 0.01)
    kernels.cross_entropy_counts(logits, starts, places, counts, weights, *results[0], *options)
    kernels.cross_entropy_soft(logits, dense, weights, *results[1], -1, *options)
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    a, b = (gradient.astype(float) for _, gradient in results)
    np.testing.assert_allclose(a, b, atol=4 * float(ml_dtypes.finfo(dtype).eps) * abs(b).max())


def test_sparse_rows_that_would_be_read_beyond_their_ends():
    kernels = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    logits, loss = np.zeros((2, 3)), np.empty(2)
    for starts, places in (
        ([0, 2, 5], [0, 1, 2, 0]), ([0, 3, 1], [0, 1, 2]), ([-1, 1, 2], [0, 1]),
        ([0, 1, 2], [0, 3]), ([0, 1, 2], [-1, 0]), ([0, 2], [0, 1]),
    ):  # fmt: skip
        given = np.array(starts), np.array(places), np.ones(len(places))
        with pytest.raises(TypeError, match=r"(starts|places) must be"):
            kernels.cross_entropy_counts(logits, *given, None, loss, None)
