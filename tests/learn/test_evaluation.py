"""The figures against scikit-learn's, and the split against its promises."""

import numpy as np
import pytest
from sklearn import metrics

from softmax.learn.evaluation import evaluate, held_out_rows


@pytest.fixture(params=[2, 3, 7])
def predictions(request):
    rng = np.random.default_rng(request.param)
    logits = rng.normal(0, 2, (200, request.param))
    log_probability = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probability, rng.integers(0, request.param, 200)


def test_figures_agree_with_scikit_learn(predictions):
    log_probability, true = predictions
    judged = evaluate(log_probability, true)
    predicted = log_probability.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(true, predicted)
    assert judged.accuracy == metrics.accuracy_score(true, predicted)
    assert judged.log_loss == pytest.approx(metrics.log_loss(true, np.exp(log_probability)))
    np.testing.assert_allclose(judged.precision, precision)
    np.testing.assert_allclose(judged.recall, recall)
    np.testing.assert_allclose(judged.f1, f1)
    np.testing.assert_array_equal(judged.support, support)
    np.testing.assert_array_equal(judged.confusion, metrics.confusion_matrix(true, predicted))


def test_calibration_error_agrees_with_its_definition(predictions):
    log_probability, true = predictions
    confidence = np.exp(log_probability.max(axis=1))
    correct = log_probability.argmax(axis=1) == true
    expected = 0.0
    for lower in range(15):
        inside = (confidence >= lower / 15) & (confidence < (lower + 1) / 15)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert evaluate(log_probability, true).calibration_error == pytest.approx(expected)


def test_log_loss_keeps_what_a_probability_would_lose():
    log_probability = np.array([[-1e-30, -69.0], [-800.0, -1e-300]])
    assert evaluate(log_probability, np.array([0, 1])).log_loss == pytest.approx(5e-31)
    assert evaluate(log_probability, np.array([0, 0])).log_loss == pytest.approx(400.0)


def test_a_certain_and_right_prediction_costs_nothing():
    judged = evaluate(np.array([[0.0, -np.inf]]), np.array([0]))
    assert (str(judged.log_loss), judged.calibration_error) == ("0.0", 0.0)


def test_what_is_undefined_is_nan():
    # class 1 is there and never predicted, class 2 is predicted and never there
    judged = evaluate(np.log([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]), np.array([0, 1]))
    np.testing.assert_array_equal(judged.precision, [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(judged.recall, [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(judged.f1, [1.0, 0.0, 0.0])


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5, 0.9])
def test_each_class_keeps_its_share(test_size):
    labels = np.repeat(["a", "b", "c"], [600, 300, 100])
    np.random.default_rng(1).shuffle(labels)
    training, held_out = held_out_rows(labels, test_size, seed=0)
    assert held_out.size == round(1000 * test_size)
    np.testing.assert_array_equal(np.sort(np.r_[training, held_out]), np.arange(1000))
    for name, count in [("a", 600), ("b", 300), ("c", 100)]:
        assert abs((labels[held_out] == name).sum() - count * test_size) <= 2


def test_every_class_is_trained_on():
    labels = np.repeat(np.arange(40), [1, 2] * 20)
    training, held_out = held_out_rows(labels, 0.9, seed=0)
    np.testing.assert_array_equal(np.unique(labels[training]), np.arange(40))
    assert held_out.size == 20


def test_the_seed_decides():
    labels = np.arange(100) % 4
    first, again, other = (held_out_rows(labels, 0.25, seed)[1].tolist() for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_nothing_held_out():
    training, held_out = held_out_rows(np.array([0, 1, 0]), 0.0, seed=0)
    assert training.tolist() == [0, 1, 2]
    assert held_out.size == 0


@pytest.mark.parametrize("test_size", [-0.1, 1.0, 3.0, np.nan])
def test_a_share_that_is_none(test_size):
    with pytest.raises(ValueError, match="test_size must be at least 0 and below 1"):
        held_out_rows(np.array([0, 1, 0, 1]), test_size, seed=0)
