"""L1 and elastic net: optimum, certificate, zeros; and no penalty at all."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from softmax.learn import SigmoidRegression, SoftmaxRegression

WINE_X, WINE_Y = load_wine(return_X_y=True)
WINE_X = StandardScaler().fit_transform(WINE_X)
STRENGTHS = [1e-4, 1e-2, 1.0, 1e2, 1e4]


@pytest.mark.parametrize("C", STRENGTHS)
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_default_tolerance_and_certificate(C: float, l1_ratio: float) -> None:
    model = SoftmaxRegression(C=C, l1_ratio=l1_ratio).fit(WINE_X, WINE_Y)
    best = SoftmaxRegression(C=C, l1_ratio=l1_ratio, tol=1e-11).fit(WINE_X, WINE_Y)
    lowest = best.history_["objective"][-1]
    reached = np.array(model.history_["objective"])
    assert reached[-1] <= lowest * (1 + 1e-4)
    assert np.all(reached - lowest <= np.array(model.history_["gap"]) + 1e-10)


@pytest.mark.parametrize("C", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_subgradient_of_the_optimum(C: float, l1_ratio: float) -> None:
    model = SoftmaxRegression(C=C, l1_ratio=l1_ratio, tol=1e-13).fit(WINE_X, WINE_Y)
    p = model.predict_proba(WINE_X)
    slope = (p - np.eye(3)[WINE_Y]).T @ WINE_X + (1 - l1_ratio) / C * model.coef_
    held = model.coef_ == 0
    assert held.any()
    assert not held.all()
    corner = l1_ratio / C
    assert np.abs(slope[held]).max() <= corner * (1 + 1e-3)
    np.testing.assert_allclose(slope[~held], -corner * np.sign(model.coef_[~held]), rtol=1e-3)
    np.testing.assert_allclose(p.mean(0), np.bincount(WINE_Y) / len(WINE_Y), atol=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_scikit_learns_elastic_net(l1_ratio: float) -> None:
    model = SoftmaxRegression(C=0.5, l1_ratio=l1_ratio, tol=1e-12).fit(WINE_X, WINE_Y)
    peer = LogisticRegression(
        C=0.5, l1_ratio=l1_ratio, solver="saga", tol=1e-8, max_iter=20000
    ).fit(WINE_X, WINE_Y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-4)


def test_unscaled_columns_with_an_l1_penalty() -> None:
    scales = np.geomspace(1e-2, 1e2, WINE_X.shape[1])
    model = SoftmaxRegression(C=1.0, l1_ratio=1.0).fit(WINE_X * scales, WINE_Y)
    best = SoftmaxRegression(C=1.0, l1_ratio=1.0, tol=1e-10).fit(WINE_X * scales, WINE_Y)
    assert model.history_["objective"][-1] <= best.history_["objective"][-1] * (1 + 1e-4)


def test_sparse_model_predicts_the_same() -> None:
    model = SoftmaxRegression(C=0.1, l1_ratio=1.0).fit(WINE_X, WINE_Y)
    p, labels, logits = (
        getattr(model, name)(WINE_X) for name in ("predict_proba", "predict", "decision_function")
    )
    model.sparsify()
    assert model.coef_.nnz < model.coef_.size or model.coef_.nnz < 3 * 13
    np.testing.assert_allclose(model.predict_proba(WINE_X), p, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(WINE_X), labels)
    np.testing.assert_allclose(model.decision_function(WINE_X), logits, atol=1e-12)
    assert isinstance(model.densify().coef_, np.ndarray)


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_separable_classes_without_penalty(kind: type[SoftmaxRegression]) -> None:
    X, y = load_iris(return_X_y=True)
    X, y = X[y < 2] * 1e3, y[y < 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("always", ConvergenceWarning)
        with pytest.warns(ConvergenceWarning, match="separated without error.* finite C"):
            model = kind(C=np.inf).fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert model.score(X, y) == 1
    assert model.duality_gap_ == np.inf


def test_no_penalty_where_classes_overlap() -> None:
    X, y = load_iris(return_X_y=True)
    model = SoftmaxRegression(C=np.inf, fit_intercept=True).fit(X[y > 0], y[y > 0])
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X[y > 0], y[y > 0])
    np.testing.assert_allclose(
        model.predict_proba(X[y > 0]), peer.predict_proba(X[y > 0]), atol=1e-6
    )
