"""scikit-learn's own checks of what an estimator must do."""

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from softmax.learn import SoftmaxRegression


@parametrize_with_checks([SoftmaxRegression(), SoftmaxRegression(fit_intercept=False)])
def test_estimator_check(estimator: Any, check: Any) -> None:
    check(estimator)
