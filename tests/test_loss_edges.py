"""Where losses of other libraries fail, and what is refused.

The thread stands beside each complaint; the figures are those of the thread where it has any.
"""

import math

import numpy as np
import pytest

import softmax as sm
from catalog import BFLOAT16

inf, nan = np.inf, np.nan
X = np.random.default_rng(0).normal(0, 3, (6, 5))
LABELS = np.array([0, 4, 2, 2, 1, 3])
Q = np.random.default_rng(1).dirichlet(np.ones(5), 6)
CLASS_WEIGHT = np.array([0.5, 2.0, 0.0, 1.25, 1.0])


def test_all_rows_ignored(kernels):
    """pytorch/pytorch#70348: nan."""
    loss, gradient = sm.cross_entropy(X, [-100] * 6, ignore_index=-100, return_grad=True)
    assert loss == 0
    assert not gradient.any()
    loss, gradient = sm.cross_entropy(X, np.zeros_like(X), return_grad=True)
    assert loss == 0
    assert not gradient.any()
    assert sm.cross_entropy(X, LABELS, class_weight=np.zeros(5)) == 0


def test_ignored_rows_leave_no_trace(kernels):
    """pytorch/pytorch#63004, keras-team/keras#6118: nan logits in padding, and shapes kept."""
    logits, labels = X.copy(), LABELS.copy()
    logits[1], labels[1], labels[4] = nan, -1, 255
    options = {"ignore_index": {-1, 255}, "return_grad": True}
    for more in ({}, {"label_smoothing": 0.1}, {"class_weight": CLASS_WEIGHT, "z_loss": 0.1}):
        kept = [0, 2, 3, 5]
        loss, gradient = sm.cross_entropy(logits, labels, **options, **more)
        alone, slopes = sm.cross_entropy(logits[kept], labels[kept], return_grad=True, **more)
        assert loss == pytest.approx(alone, rel=1e-15)
        np.testing.assert_allclose(gradient[kept], slopes, rtol=1e-15)
        assert not gradient[[1, 4]].any()
        each = sm.cross_entropy(logits, labels, ignore_index=(-1, 255), reduction="none", **more)
        assert each.shape == (6,)
        assert not each[[1, 4]].any()


def test_several_ignored_labels(kernels):
    """pytorch/pytorch#12601: only one index."""
    got = sm.cross_entropy(X, LABELS, ignore_index=[2, 4])
    assert got == sm.cross_entropy(X[[0, 4, 5]], LABELS[[0, 4, 5]])
    assert sm.cross_entropy(X, LABELS, ignore_index=[]) == sm.cross_entropy(X, LABELS)


def test_ignored_labels_with_weights_and_smoothing(kernels):
    """pytorch/pytorch#91383, #69339: an index error for -100."""
    labels = np.where(np.arange(6) == 3, -100, LABELS)
    options = {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.1}
    kept = np.arange(6) != 3
    got = sm.cross_entropy(X, labels, ignore_index=-100, **options)
    assert got == pytest.approx(sm.cross_entropy(X[kept], LABELS[kept], **options), rel=1e-15)


@pytest.mark.parametrize("label", [-1, -4, 5, 255])
def test_a_label_that_is_no_class(kernels, label):
    """pytorch/pytorch#12670, google-deepmind/optax#1185: read out of bounds, or silent nan."""
    labels = LABELS.reshape(2, 3).copy()
    labels[1, 1] = label
    with pytest.raises(IndexError, match=rf"target.*classes, 5, .*got {label} at .*\[1, 1\]"):
        sm.cross_entropy(X.reshape(2, 3, 5), labels, ignore_index=-100)
    with pytest.raises(IndexError, match="target must be less than"):
        sm.cross_entropy(X.reshape(2, 3, 5), labels)


def test_nothing_expected_of_an_impossible_class(kernels):
    """google-deepmind/optax#896: 0 * -inf was nan."""
    for target in ([0.0, 1.0, 0.0], 1):
        loss, gradient = sm.cross_entropy([-inf, 0.0, -inf], target, return_grad=True)
        assert loss == 0
        assert not gradient.any()
    assert sm.cross_entropy([-inf, 0.0, 0.0], [0, 0.5, 0.5]) == pytest.approx(math.log(2))
    assert sm.focal_loss([-inf, 0.0, 0.0], [0, 0.5, 0.5]) > 0
    excused = sm.cross_entropy(
        [-inf, 0.0], 1, label_smoothing=0.1, class_weight=[0, 1], return_grad=True
    )
    assert excused[0] == 0
    assert not excused[1].any()


def test_classes_left_out_by_their_logits(kernels):
    """pytorch/pytorch#63004: of a class that is to play no part, -inf is the logit, not a label."""
    for left_out in (-inf, -1e30):
        logits = np.array([[left_out, 1.0, 1.0], [left_out, 1.0, 1.0]])
        loss, gradient = sm.cross_entropy(logits, [1, 2], return_grad=True, reduction="none")
        np.testing.assert_allclose(loss, math.log(2), rtol=1e-15)
        assert gradient.tolist() == [[0, -0.5, 0.5], [0, 0.5, -0.5]]


@pytest.mark.parametrize("target", [[0, 1], [[1.0, 0.0], [0.0, 1.0]]], ids=["labels", "soft"])
def test_class_weights_weigh_the_smoothed_part_too(kernels, target):
    """pytorch/pytorch#104776: weights move the minimum; by the stated formula, and only by it."""
    logits, weight, s = np.array([[0.3, 0.7], [1.0, -0.5]]), np.array([0.1, 0.9]), 0.1
    t = ((1 - s) * np.eye(2) + s / 2) * weight
    expected = -(t * (logits - np.logaddexp(*logits.T)[:, None])).sum(1)
    options = {"class_weight": weight, "label_smoothing": s}
    got = sm.cross_entropy(logits, target, reduction="none", **options)
    np.testing.assert_allclose(got, expected, rtol=1e-15)
    # The logits whose softmax is the weighted target are the minimum.
    _, gradient = sm.cross_entropy(np.log(t), target, return_grad=True, **options)
    np.testing.assert_allclose(gradient, 0, atol=1e-16)


def test_smoothed_labels_along_any_axis(kernels):
    """google-deepmind/optax#1486: one-hot rows had to be made, smoothed and moved by hand."""
    logits = np.random.default_rng(5).normal(0, 3, (3, 7, 4))
    labels = np.random.default_rng(6).integers(0, 7, (3, 4))
    one_hot = np.moveaxis(np.eye(7)[labels], -1, 1)
    smoothed = 0.8 * one_hot + 0.2 / 7
    by_label = sm.cross_entropy(logits, labels, 1, label_smoothing=0.2, return_grad=True)
    by_hand = sm.cross_entropy(logits, smoothed, 1, return_grad=True)
    assert by_label[0] == pytest.approx(by_hand[0], rel=1e-15)
    np.testing.assert_allclose(by_label[1], by_hand[1], rtol=1e-14, atol=1e-17)


def test_large_logits_are_not_clipped(kernels):
    """keras-team/keras#17634: 16.118, the -log of a clipped 1e-7, where the loss is 35.7."""
    logits = np.array([[14.4, 50.1, 3.5]])
    exact = 50.1 - 14.4 + math.log1p(math.exp(14.4 - 50.1) + math.exp(3.5 - 50.1))
    for target in ([0], [[1, 0, 0]], [[1.0, 0.0, 0.0]]):
        assert sm.cross_entropy(logits, target) == pytest.approx(exact, rel=1e-15)
    assert sm.cross_entropy([[14.4, 10.1, 3.5]], [0]) == pytest.approx(0.01349, abs=1e-5)


def test_smoothing_with_impossible_classes(kernels):
    """An infinite loss, as the formula says, but never nan, and a gradient to go by."""
    loss, gradient = sm.cross_entropy([0.0, 0.0, -inf], 0, label_smoothing=0.3, return_grad=True)
    assert loss == inf
    np.testing.assert_allclose(gradient, [-0.3, 0.4, -0.1], atol=1e-15)


def test_infinite_logits(kernels):
    """On the right class nothing is lost, on another everything; the gradient is finite."""
    for target in (0, [1.0, 0.0, 0.0]):
        loss, gradient = sm.cross_entropy([inf, 0.0, -inf], target, return_grad=True)
        assert loss == 0
        assert not gradient.any()
    for target in (1, [0.0, 1.0, 0.0]):
        loss, gradient = sm.cross_entropy([inf, 0.0, -inf], target, return_grad=True)
        assert loss == inf
        assert gradient.tolist() == [1, -1, 0]
    loss, gradient = sm.cross_entropy([0.0, -inf], 1, return_grad=True)
    assert loss == inf
    assert gradient.tolist() == [1, -1]
    for undefined in ([inf, inf], [-inf, -inf], [nan, 0.0]):
        for target in (0, [0.5, 0.5]):
            loss, gradient = sm.cross_entropy(undefined, target, return_grad=True)
            assert np.isnan(loss)
            assert np.isnan(gradient).all()


def test_infinite_logits_of_independent_labels(kernels):
    """pytorch/pytorch#102894, #49844: nan; #51906: nan for nothing and for large logits."""
    assert sm.binary_cross_entropy([inf, 1.0], [1, 0]) == pytest.approx(0.6566308, rel=1e-6)
    assert sm.binary_cross_entropy(-inf, 0) == 0
    loss, gradient = sm.binary_cross_entropy(-inf, 0.9, return_grad=True)
    assert loss == inf
    assert gradient == -0.9
    assert np.isfinite(sm.binary_cross_entropy([-2.3135e307, 6.6756e307], [1, 1]))
    assert sm.binary_cross_entropy([0.0, -120.0], [0, 1], pos_weight=1) == pytest.approx(60.346574)


def test_divergence_of_softmaxes_that_rule_classes_out(kernels):
    """What p rules out is q's gain; logits as large as there are, at any temperature."""
    loss, gradient = sm.kl_divergence([-inf, 0.0], [0.0, 0.0], temperature=0.5, return_grad=True)
    assert loss == pytest.approx(math.log(2), rel=1e-15)
    assert gradient.tolist() == [1, -1]
    loss, gradient = sm.kl_divergence([700.0, 0.0, -inf], [700.0, 0.0, -1.7e308], return_grad=True)
    assert loss == 0
    assert not gradient.any()
    loss, gradient = sm.kl_divergence([0.0, 1e300], [1e300, 0.0], temperature=4, return_grad=True)
    assert loss == 2.5e299
    assert gradient.tolist() == [0.25, -0.25]
    assert sm.kl_divergence([1.7e308, -1.7e308], [-1.7e308, 1.7e308]) == inf


def test_focal_loss_of_impossible_and_distant_classes(kernels):
    loss, gradient = sm.focal_loss([-inf, 3.5], 0, return_grad=True)
    assert loss == inf
    assert gradient.tolist() == [-1, 1]
    for gamma in (0.0, 2.0):
        loss, gradient = sm.focal_loss([1.7e308, 0.0], 1, gamma=gamma, return_grad=True)
        assert loss == 1.7e308
        assert gradient.tolist() == [1, -1]
    assert sm.focal_loss([inf, 0.0], 0) == 0
    assert np.isnan(sm.focal_loss([inf, inf], 0))


# Bad input.

BAD = {
    "float labels": (
        lambda: sm.cross_entropy(X, LABELS * 1.0),
        TypeError,
        r"target.*integer labels.*\(6,\), got float64",
    ),
    "boolean labels": (
        lambda: sm.cross_entropy(X, LABELS > 0),
        TypeError,
        "target must hold integer.*bool",
    ),
    "text": (lambda: sm.cross_entropy(X, ["a"] * 6), TypeError, "target must hold real numbers"),
    "shape": (
        lambda: sm.cross_entropy(X, [0, 1]),
        ValueError,
        r"target.*labels, \(6,\), or.*\(6, 5\), got \(2,\)",
    ),
    "one column": (
        lambda: sm.cross_entropy(X, LABELS[:, None]),
        ValueError,
        r"target.*got \(6, 1\)",
    ),
    "sum": (
        lambda: sm.cross_entropy(X, Q * [[1], [1], [1.01], [1], [1], [1]]),
        ValueError,
        r"row \[2\] sums to 1\.0",
    ),
    "negative": (
        lambda: sm.cross_entropy([0.0, 0.0], [-0.5, 1.5]),
        ValueError,
        r"row \[0\] is negative or nan.*1.0",
    ),
    "nan target": (lambda: sm.cross_entropy([0.0, 0.0], [nan, 1.0]), ValueError, "negative or nan"),
    "row of an image": (
        lambda: sm.cross_entropy(np.zeros((2, 3, 2)), np.ones((2, 3, 2))),
        ValueError,
        r"row \[0, 0\] sums to 2",
    ),
    "masked": (
        lambda: sm.cross_entropy(np.ma.array(X, mask=X > 9e9), LABELS),
        TypeError,
        "logits must not be a masked",
    ),
    "masked target": (
        lambda: sm.cross_entropy(X, np.ma.array(LABELS, mask=LABELS > 1)),
        TypeError,
        "target must not",
    ),
    "number": (lambda: sm.cross_entropy(1.0, 0), ValueError, "axis must be one integer"),
    "two axes": (lambda: sm.cross_entropy(X, 0, (0, 1)), ValueError, "axis must be one integer"),
    "class_weight": (
        lambda: sm.cross_entropy(X, LABELS, class_weight=[1, 2]),
        ValueError,
        r"class_weight.*\(5,\), got shape \(2,\)",
    ),
    "negative class_weight": (
        lambda: sm.cross_entropy(X, LABELS, class_weight=[1, 1, 1, -2, 1]),
        ValueError,
        "class_weight.*not negative, got -2",
    ),
    "sample_weight": (
        lambda: sm.cross_entropy(X, LABELS, sample_weight=[1] * 5),
        ValueError,
        r"sample_weight must broadcast.*\(6,\), got shape \(5,\)",
    ),
    "nan sample_weight": (
        lambda: sm.cross_entropy(X, LABELS, sample_weight=nan),
        ValueError,
        "sample_weight.*nan",
    ),
    "infinite weight": (
        lambda: sm.cross_entropy(X, LABELS, sample_weight=inf),
        ValueError,
        "sample_weight must be finite",
    ),
    "reduction": (
        lambda: sm.cross_entropy(X, LABELS, reduction="avg"),
        ValueError,
        'reduction must be "none", "sum" or "mean", got \'avg\'',
    ),
    "smoothing": (
        lambda: sm.cross_entropy(X, LABELS, label_smoothing=1.5),
        ValueError,
        "label_smoothing must be between 0 and 1, got 1.5",
    ),
    "smoothing text": (
        lambda: sm.cross_entropy(X, LABELS, label_smoothing="0"),
        TypeError,
        "label_smoothing must be one real",
    ),
    "z_loss": (
        lambda: sm.cross_entropy(X, LABELS, z_loss=-1),
        ValueError,
        "z_loss must be finite and not negative, got -1",
    ),
    "ignore_index": (
        lambda: sm.cross_entropy(X, LABELS, ignore_index=1.5),
        TypeError,
        "ignore_index must be integers, got 1.5",
    ),
    "ignore_index text": (
        lambda: sm.cross_entropy(X, LABELS, ignore_index="12"),
        TypeError,
        "ignore_index must be integers",
    ),
    "out": (
        lambda: sm.cross_entropy(X, LABELS, return_grad=True, out=np.empty(3)),
        ValueError,
        r"out must have the shape.*\(6, 5\)",
    ),
    "out alone": (
        lambda: sm.cross_entropy(X, LABELS, out=X.copy()),
        ValueError,
        "out.*return_grad=True",
    ),
    "gamma": (
        lambda: sm.focal_loss(X, LABELS, gamma=-1),
        ValueError,
        "gamma.*not negative, got -1",
    ),
    "alpha": (
        lambda: sm.distillation_loss(X, X, alpha=2),
        ValueError,
        "alpha must be between 0 and 1, got 2",
    ),
    "temperature": (
        lambda: sm.distillation_loss(X, X, temperature=0),
        ValueError,
        "temperature must be above 0 and finite, got 0",
    ),
    "teacher": (
        lambda: sm.distillation_loss(X, X[:2]),
        ValueError,
        r"teacher_logits.*\(6, 5\), got \(2, 5\)",
    ),
    "q": (
        lambda: sm.kl_divergence(X, X[0]),
        ValueError,
        r"q_logits must have the shape.*\(6, 5\), got \(5,\)",
    ),
    "kl temperature": (
        lambda: sm.kl_divergence(X, X, temperature=-1),
        ValueError,
        "temperature must be 0 or more, got -1",
    ),
    "binary target": (
        lambda: sm.binary_cross_entropy(X, X),
        ValueError,
        "target must be between 0 and 1, got",
    ),
    "binary shape": (
        lambda: sm.binary_cross_entropy(X, X[:, :1]),
        ValueError,
        r"target.*\(6, 5\), got \(6, 1\)",
    ),
    "pos_weight": (
        lambda: sm.binary_cross_entropy(X, Q, pos_weight=[1, 2]),
        ValueError,
        r"pos_weight must broadcast.*\(2,\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(kernels, case):
    call, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [3, 100, 2500])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_z_loss_of_a_row_with_one_infinite_logit(kernels, dtype, classes):
    logits = np.zeros((20, classes), dtype)
    logits[:, 0] = inf
    _, gradient = sm.cross_entropy(
        logits, np.ones(20, int), z_loss=0.01, reduction="none", return_grad=True
    )
    assert np.all(gradient[:, 0] == inf)
    assert np.all(gradient[:, 1] == -1)
    assert not gradient[:, 2:].any()


def test_smoothed_losses_do_not_overflow_on_the_way(kernels):
    logits = np.full((1, 20), -1e308)
    logits[0, 0] = 0
    loss = sm.cross_entropy(logits, [0], label_smoothing=1e-3)
    assert loss == pytest.approx(19 * (1e-3 / 20 * 1e308), rel=1e-12)


def test_what_is_tiny_beside_a_nearly_certain_target_counts(kernels):
    logits, target = np.array([[0, -60]], "f4"), np.array([[1, 1e-20]], "f4")
    _, gradient = sm.cross_entropy(logits, target, return_grad=True, reduction="none")
    assert gradient.sum() == 0
    assert gradient[0, 0] > 9e-21


def test_smoothed_labels_of_no_classes(kernels):
    loss, gradient = sm.cross_entropy(
        np.zeros((3, 0)), np.full(3, -100), ignore_index=-100, label_smoothing=0.1,
        return_grad=True, reduction="none",
    )  # fmt: skip
    assert not loss.any()
    assert gradient.shape == (3, 0)


@pytest.mark.parametrize("classes", [1, 3, 16, 17, 40])
@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16, np.float32, np.float64], ids=str)
def test_no_entry_of_a_distribution_is_overlooked(kernels, dtype, classes):
    for wrong in (-1.0, nan, 3.0, inf):
        for at in range(classes):
            target = np.zeros((2, classes), dtype)
            target[:, 0] = 1
            target[1, at] = wrong
            with pytest.raises(ValueError, match=r"row \[1\]"):
                sm.cross_entropy(np.zeros((2, classes)), target)


def test_rounded_probabilities_are_taken(kernels):
    """What float32 or float16 rounding leaves of a distribution is one."""
    for dtype in (np.float16, np.float32, BFLOAT16):
        p = sm.softmax(X).astype(dtype)
        assert sm.cross_entropy(X, p) == pytest.approx(sm.entropy(X).mean(), rel=0.02)
    with pytest.raises(ValueError, match="sums to"):
        sm.cross_entropy(X, sm.softmax(X) + 1e-6)


@pytest.mark.parametrize("classes", [5, 16, 64, 128, 300])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_row_of_nan_spoils_no_other(kernels, dtype, classes):
    logits = np.random.default_rng(0).normal(size=(3, classes)).astype(dtype)
    q = np.full((3, classes), 1 / classes).astype(dtype)
    logits[0] = nan
    losses, gradient = sm.cross_entropy(logits, q, reduction="none", return_grad=True)
    alone, slopes = sm.cross_entropy(logits[1:], q[1:], reduction="none", return_grad=True)
    np.testing.assert_array_equal(losses, [nan, *alone])
    np.testing.assert_array_equal(gradient, [[nan] * classes, *slopes])
