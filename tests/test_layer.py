"""The softmax layer: its derivatives, and its loss without the logits of all rows."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse

import softmax as sm

RNG = np.random.default_rng(0)
N, D, K = 37, 5, 23
X = RNG.normal(size=(N, D))
WEIGHT = RNG.normal(size=(K, D))
BIAS = RNG.normal(size=K)
LABELS = RNG.integers(0, K, N)
LOGITS = X @ WEIGHT.T + BIAS
COUNTS = RNG.poisson(0.3, (N, K)).astype(float)
COUNTS[3] = 0
Q = RNG.dirichlet(np.ones(K), N)

# From everything at once to a few entries at a time; with 4000 bytes classes are chunked.
SCRATCH = [64 << 20, 20_000, 4000, 1000, 1]


def test_the_layer_is_softmax_of_its_logits(kernels):
    np.testing.assert_allclose(sm.softmax_layer(X, WEIGHT, BIAS), sm.softmax(LOGITS), rtol=1e-13)
    tempered = sm.softmax_layer(X, WEIGHT, temperature=2.0)
    np.testing.assert_allclose(tempered, sm.softmax(X @ WEIGHT.T, temperature=2), rtol=1e-13)
    single = sm.softmax_layer(X.astype(np.float32), WEIGHT.astype(np.float32))
    assert single.dtype == np.float32
    assert sm.softmax_layer(X.astype(np.float16), WEIGHT.astype(np.float16)).dtype == np.float32
    assert sm.softmax_layer([[1, 2]], [[1, 0], [0, 1]]).dtype == np.float64


def test_jacobian_entry_by_entry(kernels):
    """dS_t / dW_ij = S_t (delta_ti - S_i) x_j, W linearised row by row."""
    jacobian = sm.softmax_layer_jacobian(X[0], WEIGHT, BIAS)
    assert jacobian.shape == (K, K * D)
    s = sm.softmax(LOGITS[0])
    for t, i, j in [(0, 0, 0), (3, 3, 4), (5, 2, 1), (22, 7, 3)]:
        expected = s[t] * ((t == i) - s[i]) * X[0, j]
        assert jacobian[t, i * D + j] == pytest.approx(expected, rel=1e-12)


def test_jacobian_by_central_differences(kernels):
    jacobian = sm.softmax_layer_jacobian(X[0], WEIGHT, BIAS)
    direction = RNG.normal(size=WEIGHT.shape)

    def slope(step):
        ahead = sm.softmax_layer(X[:1], WEIGHT + step * direction, BIAS)
        return (ahead - sm.softmax_layer(X[:1], WEIGHT - step * direction, BIAS))[0] / (2 * step)

    numerical = (4 * slope(1e-3) - slope(2e-3)) / 3
    np.testing.assert_allclose(jacobian @ direction.reshape(-1), numerical, atol=2e-10)


def test_vjp_is_the_jacobian_times_dp(kernels):
    dp = RNG.normal(size=(N, K))
    dX, dweight, dbias = sm.softmax_layer_vjp(X, WEIGHT, dp, BIAS)
    rows = [sm.softmax_layer_jacobian(X[i], WEIGHT, BIAS) for i in range(N)]
    expected = sum(dp[i] @ rows[i] for i in range(N))
    np.testing.assert_allclose(dweight.reshape(-1), expected, rtol=1e-11, atol=1e-14)
    by_logit = np.stack([sm.softmax_jacobian(row) for row in LOGITS])
    slopes = np.einsum("nt,nti->ni", dp, by_logit)
    np.testing.assert_allclose(dbias, slopes.sum(0), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(dX, slopes @ WEIGHT, rtol=1e-11, atol=1e-14)
    assert sm.softmax_layer_vjp(X, WEIGHT, dp)[2] is None


TARGETS = {
    "labels": (LABELS, {}),
    "ignored": (np.where(np.arange(N) % 5 == 0, -100, LABELS), {"ignore_index": -100}),
    "smoothed": (LABELS, {"label_smoothing": 0.1, "class_weight": RNG.uniform(0, 2, K)}),
    "weighted": (LABELS, {"class_weight": RNG.uniform(0, 2, K), "z_loss": 0.01}),
    "probabilities": (Q, {"sample_weight": RNG.integers(0, 3, N), "z_loss": 0.01}),
}


@pytest.mark.parametrize("scratch", SCRATCH)
@pytest.mark.parametrize("name", TARGETS)
def test_loss_in_chunks_is_the_loss(kernels, name, scratch):
    target, options = TARGETS[name]
    for reduction in ("mean", "sum"):
        loss, slopes = sm.cross_entropy(
            LOGITS, target, reduction=reduction, return_grad=True, **options
        )
        got, (dX, dweight, dbias) = sm.linear_cross_entropy(
            X, WEIGHT, target, BIAS,
            reduction=reduction, return_grad=True, scratch_bytes=scratch, **options,
        )  # fmt: skip
        assert got == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(dX, slopes @ WEIGHT, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(dweight, slopes.T @ X, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(dbias, slopes.sum(0), rtol=1e-10, atol=1e-14)
    each = sm.linear_cross_entropy(
        X, WEIGHT, target, BIAS, reduction="none", scratch_bytes=scratch, **options
    )
    expected = sm.cross_entropy(LOGITS, target, reduction="none", **options)
    np.testing.assert_allclose(each, expected, rtol=1e-12)


@pytest.mark.parametrize("scratch", SCRATCH)
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_sparse_counts(kernels, kind, scratch):
    """Each count is a loss of its own; the rows of counts may have any sum."""
    p = sm.softmax(LOGITS)
    slopes = COUNTS.sum(1, keepdims=True) * p - COUNTS
    losses = -(COUNTS * sm.log_softmax(LOGITS)).sum(1)
    options = {"reduction": "sum", "return_grad": True, "scratch_bytes": scratch}
    loss, (dX, dweight, dbias) = sm.linear_cross_entropy(X, WEIGHT, kind(COUNTS), BIAS, **options)
    assert loss == pytest.approx(losses.sum(), rel=1e-13)
    np.testing.assert_allclose(dX, slopes @ WEIGHT, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dweight, slopes.T @ X, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dbias, slopes.sum(0), rtol=1e-10, atol=1e-12)
    counted = np.count_nonzero(COUNTS.sum(1))
    mean = sm.linear_cross_entropy(X, WEIGHT, kind(COUNTS), BIAS)
    assert mean == pytest.approx(losses.sum() / counted, rel=1e-13)


@pytest.mark.parametrize("scratch", SCRATCH)
def test_next_to_zero_loss(kernels, scratch):
    """Confident rows keep their small losses and gradients in chunks of classes too."""
    weight, x = np.zeros((K, 1)), np.array([[60.0], [35.0]])
    weight[7] = 1
    loss, (dX, dweight, _) = sm.linear_cross_entropy(
        x, weight, [7, 7], reduction="sum", return_grad=True, scratch_bytes=scratch
    )
    others = (K - 1) * np.exp(-x[:, 0])
    assert loss == pytest.approx(np.log1p(others).sum(), rel=1e-14)
    missing = others / (1 + others)
    np.testing.assert_allclose(dX[:, 0], -missing, rtol=1e-13)
    assert dweight[7, 0] == pytest.approx(-(missing * x[:, 0]).sum(), rel=1e-13)
    assert abs(dweight.sum()) <= 1e-13 * abs(dweight[7, 0])


@pytest.mark.parametrize("scratch", [64 << 20, 2000])
def test_central_differences(kernels, scratch):
    options = {"label_smoothing": 0.1, "z_loss": 0.05, "scratch_bytes": scratch}
    _, gradients = sm.linear_cross_entropy(X, WEIGHT, Q, BIAS, return_grad=True, **options)
    directions = [RNG.normal(size=part.shape) for part in (X, WEIGHT, BIAS)]

    def value(step):
        x, w, b = (a + step * v for a, v in zip((X, WEIGHT, BIAS), directions, strict=True))
        return sm.linear_cross_entropy(x, w, Q, b, **options)

    slopes = [(value(step) - value(-step)) / (2 * step) for step in (1e-3, 2e-3)]
    along = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
    assert (4 * slopes[0] - slopes[1]) / 3 == pytest.approx(along, abs=1e-8)


def test_dtypes(kernels):
    for dtype, result in ((np.float32, np.float32), (np.float16, np.float32), (int, np.float64)):
        x, w = (10 * X).astype(dtype), (10 * WEIGHT).astype(dtype)
        loss, (dX, dweight, dbias) = sm.linear_cross_entropy(x, w, LABELS, return_grad=True)
        assert loss.dtype == dX.dtype == dweight.dtype == result
        assert dbias is None
        wide = sm.cross_entropy(x.astype(float) @ w.astype(float).T, LABELS)
        assert loss == pytest.approx(wide, rel=1e-5)


def test_a_sum_of_many_small_losses_is_not_lost(kernels):
    """float32 losses are added up in float64: 300,000 of 3e-7 are 0.09."""
    x = np.full((300_000, 1), 15.0, np.float32)
    loss = sm.linear_cross_entropy(x, np.float32([[1], [0]]), np.zeros(300_000, int))
    assert loss == pytest.approx(np.log1p(np.exp(-15)), rel=2e-7)


@pytest.mark.parametrize("scratch", [2 << 20, 300_000])
@pytest.mark.parametrize("sparse", [False, True])
def test_memory(kernels, scratch, sparse):
    """Beside arguments and gradients there is never more than the scratch."""
    if kernels.__name__.endswith("_reference"):
        pytest.skip("the NumPy twin has working arrays of its own")
    rows, features, classes = 400, 20, 5000
    x = RNG.normal(size=(rows, features)).astype(np.float32)
    weight = RNG.normal(size=(classes, features)).astype(np.float32)
    target = RNG.integers(0, classes, rows)
    if sparse:
        target = scipy.sparse.csr_array((np.ones(rows), (np.arange(rows), target)))
        target.resize(rows, classes)
    gradients = x.nbytes + weight.nbytes
    losses_and_weights = 64 * rows
    sm.linear_cross_entropy(x[:2], weight, target[:2])  # what is imported when first needed
    tracemalloc.start()
    sm.linear_cross_entropy(x, weight, target, return_grad=True, scratch_bytes=scratch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= gradients + scratch + losses_and_weights + 40_000
    assert rows * classes * 4 > 3 * scratch  # or nothing was shown


def test_no_rows(kernels):
    loss, (dX, dweight, _) = sm.linear_cross_entropy(X[:0], WEIGHT, [], return_grad=True)
    assert loss == 0
    assert dX.shape == (0, D)
    assert not dweight.any()


def with_count(value):
    counts = COUNTS.copy()
    counts[4, 2] = value
    return scipy.sparse.csr_array(counts)


BAD = {
    "X": (
        lambda: sm.softmax_layer(X[0], WEIGHT),
        ValueError,
        r"X must have shape \(n, d\), got \(5,\)",
    ),
    "x": (
        lambda: sm.softmax_layer_jacobian(X, WEIGHT),
        ValueError,
        r"x must have shape \(d,\), got \(37, 5\)",
    ),
    "weight": (
        lambda: sm.softmax_layer(X, WEIGHT.T),
        ValueError,
        r"weight must have shape \(K, 5\), got \(5, 23\)",
    ),
    "bias": (
        lambda: sm.softmax_layer(X, WEIGHT, [1.0]),
        ValueError,
        r"bias must have shape \(23,\), got \(1,\)",
    ),
    "complex": (
        lambda: sm.softmax_layer(X, 1j * WEIGHT),
        TypeError,
        "weight must hold real numbers.*complex",
    ),
    "masked": (
        lambda: sm.softmax_layer(np.ma.array(X, mask=X > 1), WEIGHT),
        TypeError,
        "X must not be a masked",
    ),
    "dp": (
        lambda: sm.softmax_layer_vjp(X, WEIGHT, X),
        ValueError,
        r"dp must have shape \(37, 23\), got \(37, 5\)",
    ),
    "label": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, LABELS + 9),
        IndexError,
        r"classes, 23.*position \[",
    ),
    "target": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, LABELS[:5]),
        ValueError,
        r"labels, \(37,\), or.*\(37, 23\), got \(5,\)",
    ),
    "float labels": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, LABELS * 1.0),
        TypeError,
        "target must hold integer",
    ),
    "counts' shape": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, scipy.sparse.eye_array(3)),
        ValueError,
        r"target must have shape \(37, 23\), got \(3, 3\)",
    ),
    "negative count": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, with_count(-2)),
        ValueError,
        r"row \[4\] has -2.0",
    ),
    "nan count": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, with_count(np.nan)),
        ValueError,
        r"row \[4\] has nan",
    ),
    "dense counts": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, COUNTS),
        ValueError,
        "row .* sums to",
    ),
    "reduction": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, LABELS, reduction="all"),
        ValueError,
        "reduction must be",
    ),
    "rows' gradients": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, LABELS, reduction="none", return_grad=True),
        ValueError,
        "reduction must.*return_grad",
    ),
    "scratch": (
        lambda: sm.linear_cross_entropy(X, WEIGHT, LABELS, scratch_bytes=0),
        ValueError,
        "scratch_bytes must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(kernels, case):
    call, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
