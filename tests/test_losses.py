"""The losses: their values, their gradients, and what they refuse."""

import math

import mpmath
import numpy as np
import pytest

import oracle
import softmax as sm
from catalog import BY_NAME as FUNCTION
from catalog import DTYPES, once_rounded
from families import LOGITS, draw

inf, nan = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_family = pytest.mark.parametrize("family", LOGITS)


def rows(family, classes, dtype, count=5):
    vjp = FUNCTION["softmax_vjp"]
    return np.stack([draw(vjp, family, classes, dtype, seed) for seed in range(count)])


def within(got, exact, ulp):
    assert np.max(oracle.ulp_error(got, exact, got.dtype)) <= once_rounded(ulp, got.dtype)


# Values and gradients against exact ones.


@each_dtype
@each_family
def test_labels(kernels, family, dtype):
    """The largest entry among the labels: a loss next to 0."""
    for classes in (1, 2, 10, 100, 3000):
        logits = rows(family, classes, dtype)
        top = logits.argmax(-1)
        target = np.array([top[0], top[1], 0, classes - 1, classes // 2])
        loss, gradient = sm.cross_entropy(logits, target, reduction="none", return_grad=True)
        exact_loss = oracle.cross_entropy(logits, target)
        exact_gradient = oracle.cross_entropy_gradient(logits, target)
        assert loss.dtype == gradient.dtype == dtype
        within(loss, exact_loss, 3)
        within(gradient, exact_gradient, 4)
        assert np.array_equal(loss, sm.cross_entropy(logits, target, reduction="none"))


def test_next_to_zero(kernels):
    """PyTorch and Optax give 0 here."""
    loss, gradient = sm.cross_entropy(np.array([0, -20], np.float32), 0, return_grad=True)
    assert str(loss) == "2.0611537e-09"
    assert gradient.tolist() == [-np.float32(2.0611537e-9), np.float32(2.0611537e-9)]
    assert sm.cross_entropy([0.0, -700.0], 0) == pytest.approx(math.exp(-700), rel=1e-15)


@pytest.mark.parametrize("classes", [10, 300, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_the_gradient_sum_to_0(kernels, classes, dtype):
    for family in LOGITS:
        logits = rows(family, classes, np.dtype(dtype))
        _, gradient = sm.cross_entropy(logits, logits.argmax(-1), return_grad=True)
        total = gradient.sum(-1, dtype=np.float64)
        info = np.finfo(dtype)
        lost = classes * info.smallest_subnormal
        assert np.all(abs(total) <= 4 * info.eps * abs(gradient).max(-1) + lost)


def mp_cross_entropy(x, t, z=0):
    """Return sum(t (-log p)) + sum(t) z logsumexp^2 of a row, and its gradient."""
    p = [mpmath.exp(v) for v in x]
    total = mpmath.fsum(p)
    p, lse, mass = [v / total for v in p], mpmath.log(total), mpmath.fsum(t)
    loss = mpmath.fsum(-a * mpmath.log(b) for a, b in zip(t, p, strict=True)) + mass * z * lse**2
    return loss, [mass * (1 + 2 * z * lse) * b - a for a, b in zip(t, p, strict=True)]


def mp_rows(function, logits, *others):
    with mpmath.workdps(60):
        results = []
        for row in zip(logits, *others, strict=True):
            given = [[mpmath.mpf(float(v)) for v in np.atleast_1d(part)] for part in row]
            results.append(function(*given))
        loss, gradient = zip(*results, strict=True)
        return np.array(loss, float), np.array(gradient, float)


X = np.random.default_rng(0).normal(0, 3, (6, 5))
LABELS = np.array([0, 4, 2, 2, 1, 3])
Q = np.random.default_rng(1).dirichlet(np.ones(5), 6)
CLASS_WEIGHT = np.array([0.5, 2.0, 0.0, 1.25, 1.0])
SAMPLE_WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 3.0, 1.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT])
@pytest.mark.parametrize("sample_weight", [None, SAMPLE_WEIGHT])
@pytest.mark.parametrize("target", [LABELS, Q], ids=["labels", "probabilities"])
def test_formula(kernels, target, sample_weight, class_weight, smoothing):
    """The formula of the docstring, in mpmath, with a z-loss, in all reductions."""
    of_class = np.ones(5) if class_weight is None else class_weight
    of_sample = np.ones(6) if sample_weight is None else sample_weight
    if target is LABELS:
        t = (1 - smoothing) * np.eye(5)[target] * of_class[target][:, None]
        t, whole = t + smoothing / 5 * of_class, (of_sample * of_class[target]).sum()
    else:
        t, whole = ((1 - smoothing) * target + smoothing / 5) * of_class, of_sample.sum()
    losses, slopes = mp_rows(lambda x, t: mp_cross_entropy(x, t, mpmath.mpf("0.01")), X, t)
    losses, slopes = losses * of_sample, slopes * of_sample[:, None]
    for reduction, loss, gradient in (
        ("none", losses, slopes),
        ("sum", losses.sum(), slopes),
        ("mean", losses.sum() / whole, slopes / whole),
    ):
        got = sm.cross_entropy(
            X, target, sample_weight=sample_weight, class_weight=class_weight,
            label_smoothing=smoothing, z_loss=0.01, reduction=reduction, return_grad=True,
        )  # fmt: skip
        np.testing.assert_allclose(got[0], loss, rtol=3e-15)
        np.testing.assert_allclose(got[1], gradient, rtol=1e-13, atol=1e-16)


# torch 2.13.0, F.cross_entropy and the first row of its gradient
LOGITS_OF_TORCH = [[1.5, -0.5, 0.25], [0.0, 2.0, -1.0], [-3.0, 0.5, 4.0]]
PROBABILITIES = [[0.2, 0.3, 0.5], [1, 0, 0], [0.25, 0.25, 0.5]]
WEIGHTED = {"class_weight": [0.5, 2.0, 1.25]}
OF_TORCH = [
    ([0, 2, 1], {}, 2.350811020928687, [-0.09889534132607536, 0.031727732049724996]),
    (PROBABILITIES, {}, 2.134144354262021, [0.1677713253405913, -0.068272267950275]),
    (
        [0, 2, 1],
        {"label_smoothing": 0.2},
        2.3341443542620204,
        [-0.05445089688163094, 0.009505509827502766],
    ),
    (
        PROBABILITIES,
        {"label_smoothing": 0.2},
        2.1608110209286875,
        [0.1588824364517024, -0.07049449017249722],
    ),
    ([0, 2, 1], WEIGHTED, 2.986547684053522, [-0.039558136530430145, 0.012691092819889999]),
    (PROBABILITIES, WEIGHTED, 2.0652677345335246, [0.2772970060762835, -0.15796075503411436]),
    (
        [0, 2, 1],
        {"label_smoothing": 0.2, **WEIGHTED},
        2.796067018095222,
        [0.006352200288218587, -0.019057134889698558],
    ),
    (
        PROBABILITIES,
        {"label_smoothing": 0.2, **WEIGHTED},
        2.1607502761923247,
        [0.2693359917517302, -0.1628811154593047],
    ),
    (
        [0, 2, 1],
        {"label_smoothing": 0.2, "reduction": "sum", **WEIGHTED},
        10.485251317857083,
        [0.023820751080819717, -0.07146425583636959],
    ),
    (
        [0, 2, 1],
        {"ignore_index": 2, **WEIGHTED},
        2.89489851630214,
        [-0.05933720479564522, 0.019036639229835],
    ),
]


@pytest.mark.parametrize(("target", "options", "loss", "slopes"), OF_TORCH)
def test_the_same_as_torch(kernels, target, options, loss, slopes):
    got, gradient = sm.cross_entropy(LOGITS_OF_TORCH, target, return_grad=True, **options)
    np.testing.assert_allclose(got, loss, rtol=1e-14)
    np.testing.assert_allclose(gradient[0, :2], slopes, rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("target", [LABELS, Q], ids=["labels", "probabilities"])
def test_focal_loss(kernels, target, gamma):
    """The definition in mpmath; and next to 0, where 1 - p must not be a difference."""

    def focal(x, t):
        p = [mpmath.exp(v) for v in x]
        total = mpmath.fsum(p)
        p = [v / total for v in p]
        terms = [-a * (1 - b) ** gamma * mpmath.log(b) for a, b in zip(t, p, strict=True)]
        pulls = [
            a * ((1 - b) ** gamma - gamma * b * (1 - b) ** (gamma - 1) * mpmath.log(b))
            for a, b in zip(t, p, strict=True)
        ]
        whole = mpmath.fsum(pulls)
        return mpmath.fsum(terms), [b * whole - a for a, b in zip(pulls, p, strict=True)]

    sharp = X.copy()
    sharp[0, 0] = 45
    t = np.eye(5)[target] if target is LABELS else target
    losses, slopes = mp_rows(focal, sharp, t)
    got = sm.focal_loss(sharp, target, gamma=gamma, reduction="none", return_grad=True)
    np.testing.assert_allclose(got[0], losses, rtol=1e-13)
    np.testing.assert_allclose(got[1], slopes, rtol=1e-12, atol=1e-16 if target is Q else 0)
    weighted = sm.focal_loss(
        X, LABELS, gamma=0, class_weight=CLASS_WEIGHT, ignore_index=[2], label_smoothing=0.1
    )
    same = sm.cross_entropy(
        X, LABELS, class_weight=CLASS_WEIGHT, ignore_index=[2], label_smoothing=0.1
    )
    assert weighted == pytest.approx(same, rel=1e-14)


@pytest.mark.parametrize("gap", [3.0, 1e-3, 1e-7, 1e-12])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kl_divergence(kernels, gap, temperature):
    """Near p = q the terms p log(p / q) cancel: the result must not."""
    q_logits = X + gap * np.random.default_rng(2).normal(size=X.shape)

    def divergence(x, y):
        p, q = ([mpmath.exp(v / temperature) for v in part] for part in (x, y))
        p_sum, q_sum = mpmath.fsum(p), mpmath.fsum(q)
        p, q = [v / p_sum for v in p], [v / q_sum for v in q]
        terms = (a * mpmath.log(a / b) for a, b in zip(p, q, strict=True))
        slopes = [(b - a) / temperature for a, b in zip(p, q, strict=True)]
        return mpmath.fsum(terms), slopes

    losses, slopes = mp_rows(divergence, X, q_logits)
    options = {"temperature": temperature, "return_grad": True}
    got = sm.kl_divergence(X, q_logits, reduction="none", **options)
    np.testing.assert_allclose(got[0], losses, rtol=2e-14)
    np.testing.assert_allclose(got[1], slopes, rtol=2e-14, atol=4e-16 * abs(slopes).max())
    loss, gradient = sm.kl_divergence(X, q_logits, **options)
    assert loss == pytest.approx(losses.mean(), rel=2e-14)
    np.testing.assert_allclose(gradient * 6, got[1], rtol=1e-14)


def test_kl_divergence_at_its_limits(kernels):
    assert sm.kl_divergence([0.0, 1.0], [5.0, 6.0]) == 0
    assert sm.kl_divergence([0.0, 1.0], [0.0, -inf]) == inf
    assert sm.kl_divergence([0.0, -inf], [0.0, 0.0]) == pytest.approx(math.log(2), rel=1e-15)
    assert sm.kl_divergence([0.0, -inf, 1.0], [1.0, -inf, 2.0]) == 0
    assert np.isnan(sm.kl_divergence([0.0, nan], [0.0, 0.0]))
    assert sm.kl_divergence([0.0, 800.0], [800.0, 0.0]) == 800
    assert sm.kl_divergence([0.0, 3.0], [1.0, 0.0], temperature=inf) == 0
    by_row = sm.kl_divergence(X, Q, temperature=np.arange(1.0, 7.0)[:, None], reduction="none")
    assert by_row[2] == sm.kl_divergence(X[2], Q[2], temperature=3)


def test_distillation_loss(kernels):
    """Hinton, Vinyals and Dean: T^2 for the soft part, alpha for the hard one."""
    soft, soft_slopes = sm.kl_divergence(Q, X, temperature=3, return_grad=True)
    hard, hard_slopes = sm.cross_entropy(X, LABELS, return_grad=True)
    options = {"temperature": 3, "alpha": 0.3, "return_grad": True}
    loss, gradient = sm.distillation_loss(X, Q, LABELS, **options)
    assert loss == pytest.approx(0.7 * 9 * soft + 0.3 * hard, rel=1e-14)
    np.testing.assert_allclose(gradient, 0.7 * 9 * soft_slopes + 0.3 * hard_slopes, atol=1e-15)
    assert sm.distillation_loss(X, Q, temperature=3) == pytest.approx(9 * soft, rel=1e-14)
    assert sm.distillation_loss(X.astype(np.float32), Q.astype(np.float32)).dtype == np.float32


def test_binary_cross_entropy(kernels):
    x = np.array([-40.0, -1.5, 0.0, 2.0, 40.0, 800.0])
    t = np.array([0.0, 0.25, 1.0, 0.5, 1.0, 1.0])

    def entry(x, t):
        (x,), (t,) = x, t
        t = t * mpmath.mpf("0.9") + mpmath.mpf("0.05")
        up = mpmath.log1p(mpmath.exp(x))
        s = 1 / (1 + mpmath.exp(-x))
        return 3 * t * (up - x) + (1 - t) * up, [(1 - t) * s - 3 * t * (1 - s)]

    losses, slopes = mp_rows(entry, x, t)
    options = {"pos_weight": 3.0, "label_smoothing": 0.1, "return_grad": True}
    loss, gradient = sm.binary_cross_entropy(x, t, reduction="none", **options)
    np.testing.assert_allclose(loss, losses, rtol=1e-15)
    np.testing.assert_allclose(gradient, slopes[:, 0], rtol=1e-14, atol=1e-16)
    weights = np.arange(6.0)
    loss, gradient = sm.binary_cross_entropy(x, t, sample_weight=weights, **options)
    assert loss == pytest.approx((losses * weights).sum() / 15, rel=1e-14)
    np.testing.assert_allclose(gradient, slopes[:, 0] * weights / 15, rtol=1e-14, atol=1e-16)
    assert sm.binary_cross_entropy(40.0, True) == pytest.approx(math.exp(-40), rel=1e-15)
    small = sm.binary_cross_entropy(np.float32([-20, 20]), [0, 1], reduction="none")
    np.testing.assert_allclose(small, np.float32(2.0611537e-9), rtol=2e-7)


GRADIENTS = {
    "labels": lambda x: sm.cross_entropy(
        x, LABELS, class_weight=CLASS_WEIGHT + 1, z_loss=0.1, return_grad=True
    ),
    "first axis": lambda x: sm.cross_entropy(
        x, [5, 0, 1, 2, 2], 0, label_smoothing=0.1, return_grad=True
    ),
    "probabilities": lambda x: sm.cross_entropy(
        x, Q, sample_weight=SAMPLE_WEIGHT, return_grad=True
    ),
    "binary": lambda x: sm.binary_cross_entropy(
        x, Q, pos_weight=[1, 2, 3, 4, 5.0], return_grad=True
    ),
    "focal": lambda x: sm.focal_loss(
        x, LABELS, ignore_index=2, label_smoothing=0.1, return_grad=True
    ),
    "divergence": lambda x: sm.kl_divergence(Q, x, temperature=0.7, return_grad=True),
    "distillation": lambda x: sm.distillation_loss(x, Q, LABELS, return_grad=True),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_central_differences(kernels, name):
    function = GRADIENTS[name]
    _, gradient = function(X)
    for direction in np.random.default_rng(3).normal(size=(3, *X.shape)):

        def slope(step, direction=direction):
            return (function(X + step * direction)[0] - function(X - step * direction)[0]) / (
                2 * step
            )

        numerical = (4 * slope(1e-3) - slope(2e-3)) / 3
        assert numerical == pytest.approx((gradient * direction).sum(), abs=2e-9)


def test_a_distillation_loss_beyond_float16_is_infinite(kernels):
    """Without the warning of a cast."""
    loss = sm.distillation_loss(np.float16([6e4, -6e4]), np.float16([-6e4, 6e4]), 1)
    assert loss == inf
    assert loss.dtype == np.float16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_focal_gradient_of_small_probabilities(kernels, dtype):
    """p must not be exp(log p), which magnifies the rounding of log p."""
    x = np.array([700.0, 0.3, 12.7], np.float64) / (1 if dtype == np.float64 else 8)
    x = x.astype(dtype)
    _, gradient = sm.focal_loss(x, 1, return_grad=True)
    exact = oracle.focal_loss_gradient(x, 1)
    assert np.max(oracle.ulp_error(gradient, exact, dtype)) <= 4
