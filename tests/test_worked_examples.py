"""The worked examples of the textbooks, with the figures that stand there."""

import numpy as np
import pytest

import softmax as sm

close = np.testing.assert_allclose


def test_1_shift_invariance(kernels):
    x = np.array([12.0, 25.0, 44.0])
    expected = [1.26641655e-14, 5.60279641e-09, 9.99999994e-01]
    close(sm.softmax(x), expected, rtol=5e-9)
    close(sm.softmax(x + 100), expected, rtol=5e-9)
    close(sm.softmax(x + 100), sm.softmax(x), rtol=1e-15)


def test_2_no_overflow(kernels):
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(np.exp([1000.0, 2000, 3000]) / np.exp([1000.0, 2000, 3000]).sum()).all()
    close(sm.softmax([123, 456, 789]), [5.75274406e-290, 2.39848787e-145, 1], rtol=5e-9)
    assert np.array_equal(sm.softmax([1000.0, 2000, 3000]), [0, 0, 1])


def test_2_no_entry_is_ever_0_in_logarithms(kernels):
    assert np.array_equal(sm.log_softmax([1000.0, 2000, 3000]), [-2000, -1000, 0])


def test_3_one_two_three(kernels):
    close(sm.softmax([1.0, 2, 3]), [0.09003057, 0.24472847, 0.66524096], atol=5e-9)


def test_4_two_classes(kernels):
    close(sm.softmax([14.0, 12]), [0.88079708, 0.11920292], atol=5e-9)
    close(sm.sigmoid(12.0 - 14.0), 0.11920292202211755, rtol=1e-15)
    x = np.linspace(-5, 5, 21)
    close(sm.softmax(np.stack([x, 0 * x], -1))[:, 0], sm.sigmoid(x), rtol=1e-15)


def test_5_smooth_maximum(kernels):
    close(sm.logsumexp([1.0, 2]), 2.3132616875182226, rtol=1e-15)
    close(sm.smooth_max([1.0, 2], 1), 2.3132616875182226, rtol=1e-15)
    close(sm.smooth_max([1.0, 2], 10), 2.0000045398899218, rtol=1e-15)


def test_5_larger_k_is_nearer_to_max_and_convex(kernels):
    k = np.arange(1, 11)
    values = np.array([sm.smooth_max([1.0, 2], float(each)) for each in k])
    assert np.all(np.diff(values) < 0)
    assert np.all(values > 2)
    a, b = np.array([[0.0, 3.0], [2.5, -1.0]])
    for each in k:
        middle = sm.smooth_max((a + b) / 2, float(each))
        assert middle <= (sm.smooth_max(a, float(each)) + sm.smooth_max(b, float(each))) / 2


def test_5_the_gradient_is_the_softmax_of_today(kernels):
    x, h = np.array([0.3, -1.2, 0.9]), 1e-5
    slope = [(sm.logsumexp(x + h * e) - sm.logsumexp(x - h * e)) / (2 * h) for e in np.eye(3)]
    close(slope, sm.softmax(x), atol=1e-10)


def test_6_log_of_a_sum_rounds_the_corner_of_max(kernels):
    x = np.linspace(0, 6, 61)
    smooth = sm.logsumexp(np.stack([x, np.full_like(x, 3.0)]), axis=0)
    gap = smooth - np.maximum(x, 3)
    assert np.argmax(gap) == 30
    close(gap.max(), np.log(2), rtol=1e-14)


def test_7_jacobian(kernels):
    x = np.array([1.0, 2, 3])
    S = sm.softmax(x)
    close(sm.softmax_jacobian(x), np.diag(S) - np.outer(S, S), rtol=1e-14)
    close(sm.softmax_jacobian(x, output=1, input=2), -S[1] * S[2], rtol=1e-14)
    close(sm.softmax_jacobian(x, output=1, input=1), S[1] * (1 - S[1]), rtol=1e-14)


def test_9_hard_and_soft(kernels):
    x = np.array([0.25, 1.23, -0.8])
    assert np.array_equal(sm.hardmax(x), [0, 1, 0])
    assert not sm.softmax_jvp(x, [1.0, 2, 3], temperature=0).any()
    close(x / x.sum(), [0.368, 1.809, -1.176], atol=5e-4)
    assert np.array([-0.25, 1, -0.75]).sum() == 0
    close(sm.softmax([0, 0.9, 0.1]), [0.219, 0.539, 0.242], atol=5e-4)


def test_13_temperature(kernels):
    q = np.array([1.0, 3.0, 2.0])
    assert np.array_equal(sm.softmax(q, temperature=np.inf), np.full(3, 1 / 3))
    assert np.array_equal(sm.softmax(q, temperature=0), [0, 1, 0])
    close(sm.softmax(q, temperature=1e6), np.full(3, 1 / 3), rtol=1e-5)
    close(sm.softmax(q, temperature=1e-3), [0, 1, 0], atol=1e-300)
    close(sm.softmax(q, temperature=2.5), np.exp(q / 2.5) / np.exp(q / 2.5).sum(), rtol=1e-15)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_14_gradient_of_cross_entropy_is_p_minus_y(kernels, label):
    logits = np.array([[1.0, 2.0, 3.0]])
    loss, gradient = np.empty(1), np.empty((1, 3))
    kernels.cross_entropy(logits, np.array([label]), None, loss, gradient)
    close(gradient, sm.softmax(logits) - np.eye(3)[label], rtol=1e-14)
    close(loss, -sm.log_softmax(logits)[0, label], rtol=1e-15)
