"""scikit-learn's own checks of what an estimator must do."""

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from softmax.learn import SigmoidRegression, SoftmaxRegression

ESTIMATORS = [
    SoftmaxRegression(),
    SoftmaxRegression(fit_intercept=False),
    SoftmaxRegression(l1_ratio=0.5),
    SigmoidRegression(),
]


def expected_failures(estimator: Any) -> dict[str, str]:
    if estimator.fit_intercept:
        return {}
    reason = "without intercept no weight makes nearly all rows one class; LogisticRegression fails"
    return {"check_class_weight_classifiers": reason}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_estimator_check(estimator: Any, check: Any) -> None:
    check(estimator)
