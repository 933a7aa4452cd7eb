"""Standard errors and the summary, beside statsmodels' on its own example data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from softmax.learn import SoftmaxRegression

pytest.importorskip("statsmodels")


@pytest.fixture(scope="module")
def peer() -> tuple[Any, Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm

        data = sm.datasets.anes96.load_pandas()
        X = data.exog.copy()
        result = sm.MNLogit(data.endog, sm.add_constant(X)).fit(disp=0, tol=1e-14, maxiter=200)
    return X, data.endog, result


def without_constant_first(values: Any) -> Any:
    """Bring (constant and features, classes - 1) to (classes - 1, features and intercept)."""
    values = np.asarray(values)
    return np.vstack([values[1:], values[:1]]).T


def test_summary_is_statsmodels(peer: tuple[Any, Any, Any]) -> None:
    X, y, result = peer
    model = SoftmaxRegression(C=np.inf).fit(X, y)
    table = model.summary()
    close = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(table.estimate, without_constant_first(result.params), **close)
    np.testing.assert_allclose(table.standard_error, without_constant_first(result.bse), **close)
    np.testing.assert_allclose(table.z, without_constant_first(result.tvalues), **close)
    np.testing.assert_allclose(table.p_value, without_constant_first(result.pvalues), rtol=1e-5)
    bounds = np.asarray(result.conf_int()).reshape(len(table.classes), -1, 2)
    for side, own in ((0, table.low), (1, table.high)):
        expected = np.concatenate([bounds[:, 1:, side], bounds[:, :1, side]], axis=1)
        np.testing.assert_allclose(own, expected, **close)
    for own, theirs in (
        (table.log_likelihood, result.llf),
        (table.null_log_likelihood, result.llnull),
        (table.pseudo_r2, result.prsquared),
        (table.aic, result.aic),
        (table.bic, result.bic),
    ):
        assert own == pytest.approx(theirs, rel=1e-6)
    assert table.names == [*X.columns, "intercept"]
    np.testing.assert_array_equal(model.standard_errors(), table.standard_error)


def test_summary_prints(peer: tuple[Any, Any, Any]) -> None:
    X, y, result = peer
    text = str(SoftmaxRegression(C=np.inf).fit(X, y).summary())
    assert f"log-likelihood {result.llf:.6g}" in text
    assert text.count("intercept") == len(np.unique(y)) - 1
    assert f"{np.asarray(result.bse)[1, 0]:>12.4g}" in text


def test_weights_are_repetitions() -> None:
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    X = X[:, :2] + rng.normal(size=(150, 2))
    counts = rng.integers(1, 4, 150)
    model = SoftmaxRegression(C=np.inf, fit_intercept=False)
    weighed = model.fit(X, y, counts).summary()
    repeated = model.fit(X.repeat(counts, axis=0), y.repeat(counts)).summary()
    np.testing.assert_allclose(weighed.standard_error, repeated.standard_error, rtol=1e-6)
    assert weighed.bic == pytest.approx(repeated.bic, rel=1e-9)
    assert weighed.estimate.shape == (2, 2)


def test_a_column_that_does_not_vary_is_unknown() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), np.ones(60)])
    model = SoftmaxRegression(C=np.inf).fit(X, rng.integers(0, 2, 60))
    assert model.standard_errors()[0, 1] == np.inf


def test_penalised_estimates_have_none() -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"C=np\.inf, to convergence"):
        SoftmaxRegression().fit(X, y).standard_errors()
