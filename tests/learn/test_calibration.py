"""The temperature is the root itself, and scaling never fits worse than none."""

import mpmath
import numpy as np
import pytest
import scipy.special
from scipy import optimize
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

import softmax as sm
from softmax.learn import TemperatureScaling, expected_calibration_error


def drawn(n, k, true_temperature, seed=0, spread=2.0):
    """Logits too large by the temperature, and labels that the right ones would give."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, k))
    return true_temperature * logits, sm.sample(logits, rng=rng)


@pytest.mark.parametrize(
    ("n", "k", "true", "seed"),
    [(400, 2, 0.3, 0), (300, 3, 1.0, 1), (500, 10, 4.0, 2), (200, 50, 30.0, 3), (50, 3, 1.0, 4)],
)
def test_temperature_is_the_root_to_1e_10(n, k, true, seed):
    logits, y = drawn(n, k, true, seed)
    scaling = TemperatureScaling().fit(logits, y, classes=np.arange(k))

    def slope(inverse):
        p = np.exp(inverse * (logits - logits.max(1, keepdims=True)))
        mean = (p * logits).sum(1) / p.sum(1)
        return (mean - logits[np.arange(n), y]).mean()

    root = optimize.brentq(slope, 1e-3, 1e3, xtol=1e-14, rtol=1e-14)
    assert abs(scaling.temperature_ * root - 1) < 1e-10


def test_temperature_against_fifty_digits():
    logits, y = drawn(30, 3, 2.0)
    mpmath.mp.dps = 50
    try:
        rows = [[mpmath.mpf(v) for v in row] for row in logits]

        def slope(inverse):
            total = mpmath.mpf(0)
            for row, label in zip(rows, y, strict=True):
                e = [mpmath.exp(inverse * v) for v in row]
                total += sum(a * v for a, v in zip(e, row, strict=True)) / sum(e) - row[label]
            return total

        exact = 1 / mpmath.findroot(slope, 0.5)
    finally:
        mpmath.mp.dps = 15
    assert abs(TemperatureScaling().fit(logits, y).temperature_ / float(exact) - 1) < 1e-12


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_never_worse_than_no_scaling(method):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(2, 6))
        logits, y = drawn(40 * k, k, float(rng.choice([0.1, 1, 1, 20])), seed)
        weights = rng.uniform(0, 2, len(y))
        scaling = TemperatureScaling(method=method).fit(logits, y, weights, classes=range(k))
        log_p = scipy.special.log_softmax(logits, axis=1)[np.arange(len(y)), y]
        one = -np.average(log_p, weights=weights)
        log_p = scaling.predict_log_proba(logits)[np.arange(len(y)), y]
        other = -np.average(log_p, weights=weights)
        assert scaling.uncalibrated_log_loss_ == pytest.approx(one, rel=1e-10)
        assert scaling.log_loss_ == pytest.approx(other, rel=1e-10)
        assert scaling.log_loss_ <= scaling.uncalibrated_log_loss_ * (1 + 1e-15)


def test_vector_scaling_is_the_optimum():
    logits, y = drawn(800, 4, 1.0, 5)
    given = logits * [1, 2, 3, 0.5] + [1, 0, -2, 0]
    scaling = TemperatureScaling(method="vector").fit(given, y)

    def loss(parameters):
        return (
            sm.logsumexp(given * parameters[:4] + parameters[4:]).mean()
            - (given * parameters[:4] + parameters[4:])[np.arange(800), y].mean()
        )

    best = optimize.minimize(loss, np.r_[np.ones(4), np.zeros(4)], tol=1e-12)
    assert scaling.log_loss_ <= best.fun + 1e-12
    np.testing.assert_allclose(scaling.scale_ * [1, 2, 3, 0.5], 1, rtol=0.25)
    assert scaling.log_loss_ < TemperatureScaling().fit(given, y).log_loss_ - 0.05
    assert abs(scaling.offset_.sum()) < 1e-12


def test_around_a_classifier():
    X, y = load_digits(return_X_y=True)
    X, names = X / 16, np.array([f"digit {i}" for i in range(10)])[y]
    model = LogisticRegression(C=1e4, max_iter=500).fit(X[:600], names[:600])
    before = model.coef_.copy()
    scaling = TemperatureScaling(model).fit(X[600:1200], names[600:1200])
    assert scaling.temperature_ > 1.3  # weakly regularised: over-confident
    assert np.array_equal(model.coef_, before)
    held_out, truth = X[1200:], names[1200:]
    assert np.array_equal(scaling.predict(held_out), model.predict(held_out))
    np.testing.assert_allclose(
        scaling.predict_proba(held_out),
        sm.softmax(model.decision_function(held_out), temperature=scaling.temperature_),
    )
    np.testing.assert_allclose(
        np.exp(scaling.predict_log_proba(held_out)), scaling.predict_proba(held_out)
    )
    errors = [
        expected_calibration_error(truth, m.predict_proba(held_out)) for m in (model, scaling)
    ]
    assert errors[1] < errors[0]
    assert scaling.score(held_out, truth) == model.score(held_out, truth)


def test_two_classes_and_a_classifier_without_decision_values():
    X, y = load_digits(return_X_y=True)
    X, y = X / 16, y % 2
    margin = LinearSVC().fit(X[:600], y[:600])
    scaling = TemperatureScaling(margin).fit(X[600:], y[600:])
    assert scaling.predict_proba(X).shape == (len(X), 2)
    np.testing.assert_allclose(
        scaling.decision_function(X), margin.decision_function(X) / scaling.temperature_
    )
    values = margin.decision_function(X[600:])
    assert TemperatureScaling().fit(values, y[600:]).temperature_ == scaling.temperature_
    assert TemperatureScaling().fit(values[:, None], y[600:]).temperature_ == scaling.temperature_
    bayes = GaussianNB(var_smoothing=1e-2).fit(X[:600], y[:600])
    fitted = TemperatureScaling(bayes).fit(X[600:], y[600:])
    assert fitted.log_loss_ < fitted.uncalibrated_log_loss_


def test_bounds_hold_where_there_is_no_best_temperature():
    logits = np.array([[3.0, 0, 0], [0, 2.0, 0], [0, 0, 1.0]])
    assert TemperatureScaling().fit(logits, [0, 1, 2]).temperature_ == pytest.approx(1e-3)
    assert TemperatureScaling().fit(logits, [1, 2, 0]).temperature_ == pytest.approx(1e3)
    narrow = TemperatureScaling(bounds=(0.5, 2)).fit(logits, [0, 1, 2])
    assert narrow.temperature_ == pytest.approx(0.5)


def test_weights_are_repetitions():
    logits, y = drawn(60, 3, 2.0)
    weights = np.random.default_rng(1).integers(0, 4, 60)
    repeated = np.repeat(np.arange(60), weights)
    for method in ("temperature", "vector"):
        weighted = TemperatureScaling(method=method).fit(logits, y, weights, classes=range(3))
        plain = TemperatureScaling(method=method).fit(logits[repeated], y[repeated])
        np.testing.assert_allclose(weighted.scale_, plain.scale_, rtol=1e-6)


def test_expected_calibration_error():
    p = np.array([0.95, 0.92, 0.6, 0.62])
    rows = np.stack([p, 1 - p], 1)
    # Bin (0.9, 1]: half right at 0.935; bin (0.6, 0.7]: both right at 0.61.
    expected = 0.5 * abs(0.5 - 0.935) + 0.5 * abs(1 - 0.61)
    assert expected_calibration_error([0, 1, 0, 0], rows, n_bins=10) == pytest.approx(expected)
    assert expected_calibration_error(["b", "a", "b", "b"], p, n_bins=10) == pytest.approx(expected)
    assert expected_calibration_error([0, 0], [[1.0, 0], [1.0, 0]]) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: TemperatureScaling(method="matrix").fit(x, y), ValueError, "method must be"),
        (lambda x, y: TemperatureScaling(bounds=(2, 3)).fit(x, y), ValueError, "bounds must be"),
        (lambda x, y: TemperatureScaling(bounds=1).fit(x, y), ValueError, "bounds must be two"),
        (lambda x, y: TemperatureScaling().fit(x, y[:-1]), ValueError, "y has 2 labels where X"),
        (lambda x, y: TemperatureScaling().fit(x * np.nan, y), ValueError, "finite logits"),
        (lambda x, y: TemperatureScaling().fit(x, [0, 1, 7]), ValueError, r"got .*7"),
        (lambda x, y: TemperatureScaling().fit(x, y, classes=[0]), ValueError, "must name 2"),
        (lambda x, y: TemperatureScaling().fit(x, y, -np.ones(3)), ValueError, "not negative"),
        (lambda x, y: TemperatureScaling().fit(x, y, np.ones(2)), ValueError, r"shape \(3,\)"),
        (lambda x, y: TemperatureScaling().predict(x), NotFittedError, "not fitted"),
        (lambda x, y: TemperatureScaling().fit(x, y).predict(np.ones((1, 5))), ValueError, "5 log"),
        (lambda x, y: TemperatureScaling(LinearSVC()).fit(x, y), NotFittedError, "not fitted"),
        (lambda x, y: expected_calibration_error(y, x), ValueError, "between 0 and 1"),
        (lambda x, y: expected_calibration_error(y, x[:2]), ValueError, "a row for each label"),
        (lambda x, y: expected_calibration_error(y, x * 0, n_bins=0), ValueError, "n_bins must be"),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(np.array([[1.0, -1.0], [0.0, 2.0], [2.0, 1.0]]), np.array([0, 1, 1]))


def test_a_classifier_without_logits():
    class Labels(BaseEstimator):
        classes_ = np.array([0, 1])

        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.zeros(len(X), int)

    with pytest.raises(TypeError, match="must have decision_function or predict_log_proba"):
        TemperatureScaling(Labels()).fit(np.ones((2, 2)), [0, 1])


def test_vector_scaling_of_separable_rows_ends():
    logits = np.array([[1.0, 0.0], [0.0, 1.0]] * 5)
    scaling = TemperatureScaling(method="vector", bounds=(0.9, 1.1)).fit(logits, [0, 1] * 5)
    assert scaling.log_loss_ < 1e-12
    assert np.isfinite(scaling.scale_).all()
