"""How training is steered and what it says: early stopping, warm starts, progress, company."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy.special import log_softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax.learn import SigmoidRegression, SoftmaxRegression
from softmax.learn.evaluation import held_out_rows
from softmax.learn.progress import share_done

X, Y = load_digits(return_X_y=True)
X = X / 16
WINE_X, WINE_Y = load_wine(return_X_y=True)


def noisy_wine() -> tuple[Any, Any]:
    """Return columns of noise, more than rows, and wrong labels: training on and on is worse."""
    rng = np.random.default_rng(0)
    scaled = StandardScaler().fit_transform(WINE_X)
    labels = (WINE_Y + (rng.uniform(size=len(WINE_Y)) < 0.2)) % 3
    return np.hstack([scaled, rng.normal(size=(len(WINE_X), 300))]), labels


def test_early_stopping_keeps_the_step_with_the_lowest_validation_loss() -> None:
    rows, y = noisy_wine()
    model = SoftmaxRegression(C=1e4, early_stopping=True, validation_fraction=0.3).fit(rows, y)
    losses = model.history_["validation_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == model.n_iter_ + 1 == len(model.history_["objective"])
    assert len(losses) - 1 - best <= 5
    assert model.duality_gap_ == model.history_["gap"][best]
    _, held_out = held_out_rows(y, 0.3, 0)
    log_p = model.predict_log_proba(rows[held_out])
    assert -log_p[np.arange(len(held_out)), y[held_out]].mean() == pytest.approx(losses[best])
    trained = SoftmaxRegression(C=1e4).fit(np.delete(rows, held_out, 0), np.delete(y, held_out))
    after = trained.predict_log_proba(rows[held_out])
    assert losses[best] <= -after[np.arange(len(held_out)), y[held_out]].mean()


def test_held_out_rows_have_no_part_in_training() -> None:
    model = SoftmaxRegression(early_stopping=True, tol=1e-10, max_iter=60)
    model.fit(X, Y)
    _, held_out = held_out_rows(Y, 0.1, 0)
    spoiled = X.copy()
    spoiled[held_out] = 0.5
    again = SoftmaxRegression(early_stopping=True, tol=1e-10, max_iter=60).fit(spoiled, Y)
    np.testing.assert_allclose(again.history_["objective"][0], model.history_["objective"][0])
    np.testing.assert_allclose(again.history_["objective"][3], model.history_["objective"][3])
    assert again.history_["validation_loss"][3] > 2 * model.history_["validation_loss"][3]


def test_nothing_to_hold_out() -> None:
    with pytest.raises(ValueError, match=r"validation_fraction is 0\.01 .* holds out none"):
        SoftmaxRegression(early_stopping=True, validation_fraction=0.01).fit(X[:20], Y[:20])


def test_warm_start_keeps_the_classes_it_knows() -> None:
    start = SoftmaxRegression(warm_start=True, tol=1e-8).fit(X[Y != 3], Y[Y != 3])
    cold = SoftmaxRegression(tol=1e-8).fit(X, Y)
    kept = start.coef_.copy()
    with pytest.warns(ConvergenceWarning):
        start.set_params(max_iter=0).fit(X, Y)
    np.testing.assert_allclose(np.delete(start.coef_, 3, 0), kept)
    assert not start.coef_[3].any()
    start.set_params(max_iter=1000).fit(X, Y)
    np.testing.assert_allclose(start.coef_, cold.coef_, atol=1e-3)
    assert start.history_["objective"][0] < cold.history_["objective"][0]
    assert start.fit(X[:, :9], Y).coef_.shape == (10, 9)


def test_warm_start_of_sigmoids() -> None:
    model = SigmoidRegression(warm_start=True, tol=1e-8).fit(X, Y)
    assert model.fit(X, Y).n_iter_ <= 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    SoftmaxRegression(verbose=1).fit(X, Y)
    text = screen.getvalue()
    assert text.startswith("\r[")
    assert text.endswith(" s\x1b[K\n")
    assert text.count("\n") == 1 < text.count("\r")
    assert re.search(r"\[\.+\] iteration 0", text)
    assert re.search(r"\[#+\] iteration [1-9]", text)


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_the_bar_stays_within_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    SoftmaxRegression(verbose=1).fit(X, Y)
    shown = re.split(r"\r|\x1b\[K", screen.getvalue().rstrip("\n"))
    assert 20 < max(map(len, shown)) < width


def test_share_done() -> None:
    assert share_done(2.0, 1.0, 1e-4) == 0
    assert share_done(1e-2, 1.0, 1e-4) == pytest.approx(0.5)
    assert share_done(1e-5, 1.0, 1e-4) == 1
    assert share_done(0.0, 0.0, 0.0) == 1
    assert share_done(0.5, 1.0, 0.0) == 0


def test_calibration_and_set_output() -> None:
    table, y = load_wine(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression()).set_output(transform="pandas")
    pipeline.fit(table, y)
    assert pipeline[-1].feature_names_in_.tolist() == table.columns.tolist()
    calibrated = CalibratedClassifierCV(pipeline, cv=3).fit(table, y)
    assert calibrated.score(table, y) > 0.95


@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_weights_are_routed(kind: Any) -> None:
    weights = (WINE_Y != 1).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), model)
        scores = cross_validate(pipeline, WINE_X, WINE_Y, params={"sample_weight": weights}, cv=3)
        search = GridSearchCV(pipeline, {f"{kind.__name__.lower()}__C": [0.1, 1.0]}, cv=3)
        search.fit(WINE_X, WINE_Y, sample_weight=weights)
    assert scores["test_score"].min() > 0.9
    assert 1 not in search.predict(WINE_X)


def test_probabilities_of_many_rows_take_no_more_room_than_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = SoftmaxRegression().fit(X, Y)
    rows = np.tile(X, (20, 1))
    sizes: list[int] = []
    own = SoftmaxRegression._to_probabilities

    def watch(self: Any, logits: Any) -> None:
        sizes.append(len(logits))
        assert logits.base is not None  # a part of the result
        own(self, logits)

    monkeypatch.setattr(SoftmaxRegression, "_to_probabilities", watch)
    p = model.predict_proba(rows)
    assert sum(sizes) == len(rows)
    assert max(sizes) < len(rows) / 10
    monkeypatch.undo()
    np.testing.assert_array_equal(p[:100], model.predict_proba(rows)[:100])


def test_predict_builds_no_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SoftmaxRegression().fit(X, Y)
    expected = model.predict_proba(X).argmax(1)

    def fail(self: Any, logits: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(SoftmaxRegression, "_to_probabilities", fail)
    np.testing.assert_array_equal(model.predict(X), expected)


def unlike_columns(seed: int) -> tuple[Any, Any]:
    """Rows of columns of unlike units far from zero, and labels that they tell little or much."""
    rng = np.random.default_rng(seed)
    n_classes, n_columns = int(rng.integers(3, 30)), int(rng.integers(5, 60))
    n_rows = min(131072 // (n_columns + 1) - 1, int(rng.integers(300, 3000)))
    X = rng.normal(size=(n_rows, n_columns))
    X = X * np.exp(rng.normal(size=n_columns) * rng.choice([0, 1, 3])) + rng.choice([0, 10, 1000])
    X = X.astype(np.float32 if seed % 3 == 0 else np.float64)
    scores = (X - X.mean(0)) / X.std(0)
    scores = scores @ (rng.normal(size=(n_columns, n_classes)) * rng.choice([0.1, 1, 10]))
    scores += rng.gumbel(size=(n_rows, n_classes)) + np.linspace(0, rng.choice([0, 5]), n_classes)
    return X, scores.argmax(1)


# Here the gap is far too loose, and pairs alone took the decrement for smaller than it was.
@pytest.mark.parametrize(("seed", "C"), [(6, 1e3), (24, 1e6), (59, 1e3)])
def test_tol_holds_where_the_decrement_decides(seed: int, C: float) -> None:
    X, y = unlike_columns(seed)
    models = [
        SoftmaxRegression(C=C, tol=tol, fit_intercept=bool(seed % 6)).fit(X, y)
        for tol in (1e-4, 1e-9)
    ]
    reached, lowest = (model.history_["objective"][-1] for model in models)
    assert reached <= lowest * (1 + 1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("max_iter", [2, 8, 100])  # the first end where steps are still float32
def test_history_ends_with_what_the_model_has(max_iter: int) -> None:
    X, y = load_digits(return_X_y=True)
    model = SoftmaxRegression(max_iter=max_iter).fit(X / 16, y)
    log_p = log_softmax(X / 16 @ model.coef_.T + model.intercept_, axis=1)
    objective = -log_p[np.arange(len(y)), y].mean() + (model.coef_**2).sum() / (2 * len(y))
    assert model.history_["objective"][-1] == pytest.approx(objective, rel=1e-13)
    assert model.history_["gap"][-1] == model.duality_gap_


@pytest.mark.parametrize("warm", [False, True])
def test_losses_near_the_rounding_of_float32(warm: bool) -> None:
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = SoftmaxRegression(C=1e8, warm_start=warm)
    if warm:
        model.set_params(C=1e7).fit(X, y).set_params(C=1e8)
    assert model.fit(X, y).history_["objective"][-1] < 4e-8  # or a warning, which is an error
    assert model.n_iter_ < 400
