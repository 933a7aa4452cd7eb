"""SoftmaxRegression: optimum, certificate, conventions, errors."""

from __future__ import annotations

import pickle
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax.learn import SoftmaxRegression

Float64 = NDArray[np.float64]
LOADERS = {
    "digits": load_digits,
    "wine": load_wine,
    "iris": load_iris,
    "breast cancer": load_breast_cancer,
}
STRENGTHS = [1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6]


@cache
def standardised(name: str) -> tuple[Float64, NDArray[np.int64]]:
    X, y = LOADERS[name](return_X_y=True)
    return StandardScaler().fit_transform(X), y


def objective(
    X: Float64, y: Any, coef: Float64, intercept: Float64, C: float, weights: Float64 | None = None
) -> float:
    """Mean loss and penalty, from SciPy."""
    weights = np.ones(len(y)) if weights is None else weights
    log_p = log_softmax(X @ coef.T.astype(float) + intercept, axis=1)
    losses = -log_p[np.arange(len(y)), np.unique(y, return_inverse=True)[1]]
    return float((weights @ losses + (coef.astype(float) ** 2).sum() / (2 * C)) / weights.sum())


def of_model(model: SoftmaxRegression, X: Float64, y: Any) -> float:
    return objective(X, y, model.coef_, model.intercept_, model.C)


@cache
def optimum(name: str, C: float) -> float:
    """Return what scikit-learn's Newton solver finds in float64, as far as it goes."""
    X, y = standardised(name)
    n_classes = len(np.unique(y))
    peer = LogisticRegression(
        C=C if n_classes > 2 else 2 * C, solver="newton-cholesky", tol=1e-10, max_iter=300
    )
    with warnings.catch_warnings(action="ignore"):
        peer.fit(X, y)
    coef, intercept = peer.coef_, peer.intercept_
    if n_classes == 2:
        coef, intercept = np.vstack([-coef, coef]) / 2, np.array([-1, 1]) * intercept / 2
    return objective(X, y, coef, intercept, C)


@pytest.mark.parametrize("C", STRENGTHS)
@pytest.mark.parametrize("name", LOADERS)
def test_default_tolerance_means_what_it_says(name: str, C: float) -> None:
    X, y = standardised(name)
    model = SoftmaxRegression(C=C).fit(X, y)
    reached = of_model(model, X, y)
    best = optimum(name, C)
    assert reached == pytest.approx(model.history_["objective"][-1], rel=1e-10)
    assert (reached - best) / best <= 1e-4
    assert reached - best <= model.duality_gap_ + 1e-12


@pytest.mark.parametrize("C", STRENGTHS)
@pytest.mark.parametrize("name", LOADERS)
def test_gap_bounds_the_distance_at_every_step(name: str, C: float) -> None:
    X, y = standardised(name)
    best = of_model(SoftmaxRegression(C=C, tol=1e-9).fit(X, y), X, y)
    history = SoftmaxRegression(C=C).fit(X, y).history_
    above = np.array(history["objective"]) - best
    assert np.all(above <= np.array(history["gap"]) + 1e-9 * best)


@pytest.mark.parametrize("name", LOADERS)
def test_tight_tolerance_gives_scikit_learns_model(name: str) -> None:
    X, y = standardised(name)
    model = SoftmaxRegression(tol=1e-12).fit(X, y)
    binary = len(model.classes_) == 2
    peer = LogisticRegression(
        C=2.0 if binary else 1.0, solver="newton-cholesky", tol=1e-10, max_iter=300
    ).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(model.coef_.sum(0), 0, atol=1e-12)


@pytest.mark.parametrize("C", [1.0, 1e4])
def test_unscaled_columns_cost_little(C: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 16))
    y = (X @ rng.normal(size=(16, 26)) + rng.gumbel(size=(2000, 26))).argmax(1)
    unscaled = X * np.geomspace(1e-3, 1e3, 16)
    scaled = SoftmaxRegression(C=C).fit(X, y)
    model = SoftmaxRegression(C=C).fit(unscaled, y)
    best = of_model(SoftmaxRegression(C=C, tol=1e-9).fit(unscaled, y), unscaled, y)
    assert of_model(model, unscaled, y) <= best * (1 + 1e-4)
    assert model.n_iter_ <= 2 * scaled.n_iter_


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_float32_is_kept(offset: float) -> None:
    X, y = standardised("digits")
    single = (X + offset).astype(np.float32)
    model = SoftmaxRegression().fit(single, y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.predict_proba(single).dtype == np.float32
    assert model.predict_log_proba(single).dtype == np.float32
    assert model.decision_function(single).dtype == np.float32
    assert of_model(model, single.astype(float), y) == pytest.approx(
        optimum("digits", 1.0), rel=2e-4
    )


@pytest.mark.parametrize("name", ["digits", "wine"])
def test_weights_are_repetitions(name: str) -> None:
    X, y = standardised(name)
    counts = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = SoftmaxRegression(tol=1e-10).fit(X, y, sample_weight=counts)
    repeated = SoftmaxRegression(tol=1e-10).fit(X.repeat(counts, axis=0), y.repeat(counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-4)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-4)


def test_a_class_without_weight_gets_no_probability() -> None:
    X, y = standardised("iris")
    model = SoftmaxRegression(C=0.1).fit(X, y, sample_weight=(y != 1).astype(float))
    assert model.predict_proba(X)[:, 1].max() < 0.01
    assert set(model.predict(X)) == {0, 2}


def test_two_classes() -> None:
    X, y = standardised("breast cancer")
    model = SoftmaxRegression(C=0.5, tol=1e-10).fit(X, y)
    assert model.coef_.shape == (2, 30)
    np.testing.assert_allclose(model.coef_[0], -model.coef_[1])
    scores = model.decision_function(X)
    assert scores.shape == (len(X),)
    log_p = model.predict_log_proba(X)
    np.testing.assert_allclose(scores, log_p[:, 1] - log_p[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), (scores > 0).astype(int))
    peer = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(scores, peer.decision_function(X), atol=1e-4)


def test_without_intercept() -> None:
    X, y = standardised("wine")
    model = SoftmaxRegression(fit_intercept=False, tol=1e-10).fit(X, y)
    peer = LogisticRegression(fit_intercept=False, solver="newton-cholesky", tol=1e-10).fit(X, y)
    assert not model.intercept_.any()
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "c"], [True, False, True], [-1.0, 0.0, 7.0], [3, 1, 2]],
    ids=["strings", "booleans", "floats", "integers"],
)
def test_labels_of_any_type(labels: list[Any]) -> None:
    X, y = standardised("iris")
    named = np.array(labels)[y]
    model = SoftmaxRegression().fit(X, named)
    assert model.classes_.tolist() == sorted(set(labels))
    assert model.classes_.dtype == model.predict(X).dtype == named.dtype
    assert model.score(X, named) > 0.7


def test_probabilities_agree() -> None:
    X, y = standardised("digits")
    model = SoftmaxRegression(C=1e4).fit(X, y)
    p, log_p = model.predict_proba(X), model.predict_log_proba(X)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(log_p, log_softmax(model.decision_function(X), axis=1), atol=1e-10)
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X), p.argmax(1))


def test_callback_sees_each_step_and_can_stop() -> None:
    X, y = standardised("digits")
    seen: list[Any] = []

    def watch(news: Any) -> bool:
        seen.append(news)
        return news.iteration == 2

    model = SoftmaxRegression(callback=watch).fit(X, y)
    assert [news.iteration for news in seen] == [0, 1, 2]
    assert model.n_iter_ == 2
    assert [news.objective for news in seen] == model.history_["objective"]
    assert [news.gap for news in seen] == model.history_["gap"]
    assert [news.seconds for news in seen] == model.history_["seconds"]
    assert model.duality_gap_ == seen[-1].gap


def test_unconverged_fit_warns_with_gap_and_advice() -> None:
    X, y = standardised("digits")
    with pytest.warns(ConvergenceWarning, match=r"gap of \d.* increase max_iter \(now 2\)"):
        model = SoftmaxRegression(max_iter=2).fit(X, y)
    assert model.n_iter_ == 2
    assert len(model.history_["gap"]) == 3


def test_warm_start_resumes() -> None:
    X, y = standardised("digits")
    model = SoftmaxRegression(warm_start=True).fit(X, y)
    first = model.n_iter_
    assert model.fit(X, y).n_iter_ == 0
    model.set_params(C=1.2).fit(X, y)
    assert model.n_iter_ < first
    assert model.fit(X[y < 5], y[y < 5]).coef_.shape == (5, 64)


def test_verbose_prints_a_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    model = SoftmaxRegression(verbose=1).fit(*standardised("iris"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_ + 1  # no bar: this is no terminal
    assert lines[0].startswith("iteration 0: objective 1.09861, gap ")


def test_same_result_every_time() -> None:
    X, y = standardised("digits")
    first, second = (SoftmaxRegression().fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, second.coef_)
    other = SoftmaxRegression(random_state=5).fit(X, y)
    assert of_model(other, X, y) == pytest.approx(of_model(first, X, y), rel=1e-4)


def test_inputs_are_not_changed() -> None:
    X, y = standardised("wine")
    before = X.copy()
    X.flags.writeable = False
    SoftmaxRegression().fit(X, y).predict_proba(X)
    X.flags.writeable = True
    np.testing.assert_array_equal(X, before)
    model = SoftmaxRegression().fit(np.asfortranarray(X), y)
    np.testing.assert_allclose(model.coef_, SoftmaxRegression().fit(X, y).coef_)


def test_scikit_learn_company() -> None:
    X, y = load_wine(return_X_y=True, as_frame=True)
    model = SoftmaxRegression().fit(X, y)
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.rename(columns=str.upper))
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert clone(model).get_params() == model.get_params()
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    search = GridSearchCV(pipeline, {"softmaxregression__C": [0.01, 1.0, 100.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.95
    predicted = cross_val_predict(pipeline, X, y, cv=3, method="predict_proba")
    assert predicted.shape == (178, 3)
    assert isinstance(X, pd.DataFrame)


def bad(**changes: Any) -> dict[str, Any]:
    X, y = standardised("iris")
    return {"X": X.copy(), "y": y.copy()} | changes


def poisoned(value: float) -> Float64:
    X = standardised("iris")[0].copy()
    X[17, 2] = value
    return X


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": poisoned(np.nan)}, "Input X contains NaN at row 17, column 2"),
        ({"X": poisoned(np.inf)}, "Input X contains infinity at row 17, column 2"),
        ({"X": poisoned(-np.inf)}, "Input X contains infinity at row 17, column 2"),
        ({"y": np.zeros(150, int)}, "only one class: .*0"),
        ({"y": np.arange(150) / 7}, "Unknown label type"),
        ({"y": np.zeros(149, int)}, "inconsistent numbers of samples"),
        ({"X": np.empty((0, 4)), "y": np.empty(0)}, "0 sample"),
        ({"X": np.zeros((150, 0))}, "0 feature"),
        ({"X": np.zeros(150)}, "Expected 2D array"),
        ({"X": np.full((150, 4), 1j)}, "Complex data not supported"),
        ({"sample_weight": -np.ones(150)}, "Negative values in data passed to `sample_weight`"),
        ({"sample_weight": np.zeros(150)}, "must contain at least one non-zero number"),
        ({"sample_weight": np.ones(149)}, "sample_weight.shape"),
        ({"sample_weight": np.repeat([1.0, 0, 0], 50)}, "one class with positive weight: .*0"),
    ],
)
def test_bad_data(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression().fit(**bad(**changes))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("C", 0.0),
        ("C", -1.0),
        ("C", np.nan),
        ("C", "1"),
        ("tol", -1.0),
        ("tol", np.nan),
        ("max_iter", -1),
        ("max_iter", 1.5),
        ("fit_intercept", "yes"),
        ("warm_start", None),
        ("callback", 3),
    ],
)
def test_bad_parameters(parameter: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{parameter} is .* where .* was expected$"):
        SoftmaxRegression(**{parameter: value}).fit(*standardised("iris"))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_bad_predictions(method: str) -> None:
    X, y = standardised("iris")
    with pytest.raises(NotFittedError):
        getattr(SoftmaxRegression(), method)(X)
    model = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but SoftmaxRegression is expecting 4"):
        getattr(model, method)(X[:, :3])
    with pytest.raises(ValueError, match="Input X contains NaN at row 17, column 2"):
        getattr(model, method)(poisoned(np.nan))


def test_largest_values_do_not_overflow() -> None:
    X, y = standardised("iris")
    model = SoftmaxRegression(C=1e6, tol=1e-3).fit(X * 1e30, y)
    assert np.isfinite(model.coef_).all()
    assert model.score(X * 1e30, y) > 0.9


def test_a_sample_too_small_for_its_classes_is_not_begun_with() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(2400, 60)), rng.integers(0, 400, 2400)
    model = SoftmaxRegression().fit(X, y)
    objective = model.history_["objective"]
    assert objective[0] <= np.log(400) + 1e-9
    assert objective[-1] < 0.5 * objective[0]
