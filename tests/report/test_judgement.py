"""What the report says of a model: figures, and a temperature that has not seen what it judges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from sklearn import metrics
from sklearn.datasets import load_wine

from softmax.learn import SoftmaxRegression
from softmax.learn.evaluation import held_out_rows
from softmax.learn.preprocessing import Preprocessing
from softmax.report import Run, judgement


def silent(what, share):
    """Hear nothing."""


def run_of(X, labels, C=1.0, seed=0):
    training, held_out = held_out_rows(labels, 0.25, seed)
    columns = pl.DataFrame({f"x{j}": X[:, j] for j in range(X.shape[1])})
    preprocessing = Preprocessing.learn(columns[training], "y")
    features = preprocessing.features(columns)
    model = SoftmaxRegression(C=C).fit(features[training], labels[training])
    return Run(
        data="made", n_rows=len(labels), row_numbers=np.arange(1, len(labels) + 1),
        columns=columns, left_out={}, X=features, labels=labels, training=training,
        held_out=held_out, model=model, preprocessing=preprocessing,
        model_file=Path("made.safetensors"), seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def blurred():
    """Three classes that overlap."""
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], 300)
    return run_of(rng.normal(size=(300, 4)) + (labels == "a")[:, None], labels)


def test_figures_are_those_of_scikit_learn(blurred, monkeypatch):
    monkeypatch.setattr(judgement, "DRAWS", 50)
    found = judgement.judge(blurred, silent)
    true = blurred.labels[blurred.held_out]
    p = blurred.model.predict_proba(blurred.X[blurred.held_out])
    predicted = blurred.model.predict(blurred.X[blurred.held_out])
    assert found.accuracy.value == metrics.accuracy_score(true, predicted)
    assert found.quality.log_loss.value == pytest.approx(metrics.log_loss(true, p))
    assert found.macro_f1.value == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    assert found.quality.calibration_error.value == pytest.approx(
        found.evaluated.calibration_error, abs=1e-12
    )
    for average, name in ((metrics.precision_score, "precision"), (metrics.recall_score, "recall")):
        expected = average(true, predicted, average=None, zero_division=0)
        np.testing.assert_allclose([getattr(one, name).value for one in found.per_class], expected)
    for estimate in (found.accuracy, found.macro_f1, found.quality.log_loss):
        assert estimate.low < estimate.value < estimate.high

    shares = np.array([(blurred.labels[blurred.training] == c).mean() for c in "abc"])
    constant = np.broadcast_to(shares, (true.size, 3))
    assert found.baseline_log_loss == pytest.approx(metrics.log_loss(true, constant))
    assert found.baseline_accuracy == (true == "abc"[shares.argmax()]).mean()


def test_scaling_is_that_of_the_temperature(blurred, monkeypatch):
    monkeypatch.setattr(judgement, "DRAWS", 50)
    found = judgement.judge(blurred, silent)
    expected = found.log_probability / found.temperature
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.scaled, expected, atol=1e-12)


def test_held_out_labels_do_not_move_the_temperature(blurred):
    labels = blurred.labels.copy()
    labels[blurred.held_out] = "a"
    one, other = (
        judgement.cross_validated_temperature(run, silent).temperature_
        for run in (blurred, replace(blurred, labels=labels))
    )
    assert one == other


def test_rows_a_model_was_trained_on_do_not_set_the_temperature():
    """Without a penalty the best temperature is 1 on the rows trained on, and far above apart."""
    rng = np.random.default_rng(1)
    run = run_of(rng.normal(size=(160, 30)), rng.choice([0, 1], 160), C=1e6)
    assert judgement.cross_validated_temperature(run, silent).temperature_ > 3


def test_no_temperature_without_a_mistake():
    X, labels = load_wine(return_X_y=True)
    centres = 100.0 * labels[:, None] * np.ones(3)
    assert judgement.cross_validated_temperature(run_of(centres + X[:, :3], labels), silent) is None


def test_folds_keep_every_class_on_both_sides():
    labels = np.array(["a"] * 23 + ["b"] * 2 + ["c"] + ["d"] * 5)
    folds = judgement.assigned_folds(labels, seed=3)
    assert set(folds[labels != "c"].tolist()) == set(range(5))
    assert folds[labels == "c"].tolist() == [-1]
    for fold in range(5):
        assert set(labels[folds != fold]) == set("abcd")
    counts = np.bincount(folds[labels != "c"])
    assert counts.max() - counts.min() <= 1
    assert not np.array_equal(folds, judgement.assigned_folds(labels, seed=4))
