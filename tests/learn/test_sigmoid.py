"""SigmoidRegression, and what two classes have to do with two rows of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine, make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from softmax.learn import SigmoidRegression, SoftmaxRegression

X, Y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
WINE_X, WINE_Y = load_wine(return_X_y=True)
WINE_X = StandardScaler().fit_transform(WINE_X)


def newton(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=200)


def test_two_classes_are_logistic_regression() -> None:
    model = SigmoidRegression(C=2.0, tol=1e-12).fit(X, Y)
    peer = newton(2.0).fit(X, Y)
    assert model.coef_.shape == (1, 30)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), peer.predict(X))


def test_one_against_the_rest() -> None:
    model = SigmoidRegression(tol=1e-12).fit(WINE_X, WINE_Y)
    peer = OneVsRestClassifier(newton()).fit(WINE_X, WINE_Y)
    np.testing.assert_allclose(
        model.decision_function(WINE_X), peer.decision_function(WINE_X), atol=1e-4
    )
    np.testing.assert_allclose(model.predict_proba(WINE_X), peer.predict_proba(WINE_X), atol=1e-5)
    np.testing.assert_allclose(
        model.predict_log_proba(WINE_X), np.log(model.predict_proba(WINE_X)), rtol=1e-9
    )
    np.testing.assert_array_equal(model.predict(WINE_X), peer.predict(WINE_X))


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_several_labels_a_row(fit_intercept: bool) -> None:
    rows, labels = make_multilabel_classification(300, 8, n_classes=4, random_state=0)
    model = SigmoidRegression(tol=1e-12, fit_intercept=fit_intercept).fit(rows, labels)
    peers = [newton().set_params(fit_intercept=fit_intercept).fit(rows, t) for t in labels.T]
    expected = np.column_stack([peer.predict_proba(rows)[:, 1] for peer in peers])
    np.testing.assert_allclose(model.predict_proba(rows), expected, atol=1e-5)
    np.testing.assert_array_equal(model.predict(rows), expected > 0.5)
    np.testing.assert_allclose(model.predict_log_proba(rows), np.log(expected), atol=1e-4)


def test_shares_as_labels() -> None:
    share = np.random.default_rng(0).uniform(size=(len(WINE_X), 2))
    model = SigmoidRegression(tol=1e-12).fit(WINE_X, share)
    doubled = np.vstack([WINE_X, WINE_X])
    y = np.repeat([0, 1], len(WINE_X))
    weights = np.concatenate([1 - share[:, 0], share[:, 0]])
    peer = newton().fit(doubled, y, weights)
    np.testing.assert_allclose(model.coef_[0], peer.coef_[0], atol=1e-5)


@pytest.mark.parametrize("C", [1e-4, 1.0, 1e4])
def test_gap_bounds_the_distance(C: float) -> None:
    best = SigmoidRegression(C=C, tol=1e-10).fit(WINE_X, WINE_Y).history_["objective"][-1]
    history = SigmoidRegression(C=C).fit(WINE_X, WINE_Y).history_
    above = np.array(history["objective"]) - best
    assert above[-1] <= 1e-4 * best
    assert np.all(above <= np.array(history["gap"]) + 1e-9 * best)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conversions_keep_probabilities(dtype: type) -> None:
    rows = X.astype(dtype)
    softmax_model = SoftmaxRegression(C=1e3).fit(rows, Y)
    sigmoid_model = softmax_model.to_sigmoid()
    back = sigmoid_model.to_softmax()
    for other in (sigmoid_model, back):
        expected = softmax_model.predict_proba(rows)
        np.testing.assert_array_max_ulp(other.predict_proba(rows), expected, 2)
        np.testing.assert_array_equal(other.predict(rows), softmax_model.predict(rows))
        assert other.coef_.dtype == dtype
    np.testing.assert_array_equal(sigmoid_model.coef_[0], 2 * back.coef_[1])


def test_one_row_of_weights_is_redundant() -> None:
    """Of two rows only the difference shows: any vector added to both changes nothing."""
    model = SoftmaxRegression().fit(X, Y)
    before = model.predict_proba(X)
    shift = np.random.default_rng(0).integers(-4, 5, 30) / 4
    exact = np.round(model.coef_ * 2**20) / 2**20  # so that adding the shift rounds nothing
    model.coef_ = exact
    before = model.predict_proba(X)
    model.coef_ = exact + shift
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_conversions_of_other_models_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 classes and the model has 3"):
        SoftmaxRegression().fit(WINE_X, WINE_Y).to_sigmoid()
    with pytest.raises(ValueError, match="needs a model of 2 classes"):
        SigmoidRegression().fit(WINE_X, WINE_Y).to_softmax()


def test_smoothing_moves_targets_towards_one_half() -> None:
    smooth = SigmoidRegression(label_smoothing=0.2, tol=1e-12).fit(WINE_X, np.eye(3)[WINE_Y])
    by_hand = SigmoidRegression(tol=1e-12).fit(WINE_X, 0.8 * np.eye(3)[WINE_Y] + 0.1)
    np.testing.assert_allclose(smooth.coef_, by_hand.coef_, atol=1e-6)


@pytest.mark.parametrize("C", [0.5, np.inf])
@pytest.mark.parametrize("target", ["two", "three", "several"])
def test_files(C: float, target: str, tmp_path: Path) -> None:
    y = {"two": WINE_Y > 0, "three": WINE_Y, "several": np.eye(3)[WINE_Y]}[target]
    rng = np.random.default_rng(0)
    rows = WINE_X[:, :3] + 3 * rng.normal(size=(len(WINE_X), 3))  # not separable
    model = SigmoidRegression(C=C).fit(rows, y)
    model.save(tmp_path / "model")
    loaded = SigmoidRegression.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
    assert loaded.get_params() == model.get_params()
    with pytest.raises(ValueError, match=r"'softmax\.SoftmaxRegression' was expected"):
        SoftmaxRegression.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full((178, 2), 2.0)}, "entries beyond 0 and 1"),
        ({"y": np.full((178, 2), np.nan)}, "entries beyond 0 and 1"),
        ({"y": np.ones((177, 2))}, "inconsistent numbers of samples"),
        ({"y": np.eye(3)[WINE_Y], "class_weight": "balanced"}, "y has several a row"),
        ({"y": np.zeros(178, int)}, "only one class"),
    ],
)
def test_bad_targets(changes: dict[str, object], message: str) -> None:
    y = changes.pop("y")
    with pytest.raises(ValueError, match=message):
        SigmoidRegression(**changes).fit(WINE_X, y)  # type: ignore[arg-type]
