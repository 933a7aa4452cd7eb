"""A pytest plugin that runs scikit-learn's tests of LogisticRegression against this package.

It puts a class with LogisticRegression's parameters and SoftmaxRegression's training in the place
of scikit-learn's, and says at the end how many tests fitted it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from softmax.learn import SigmoidRegression, SoftmaxRegression

# The name of a test, one case of it or all -> why it asks for something that is not this package's.
CV = "compares a fit with LogisticRegressionCV, which this package does not have, beyond tol"
NAMES = "asks for names of scikit-learn's solvers, or of its dual, in messages"
DEPRECATED = "asks for warnings of a deprecated parameter"
CALLBACKS = "asks for scikit-learn's own callback classes, here callbacks are functions"
EXPECTED_FAILURES: dict[str, str] = {
    "test_check_solver_option[LogisticRegression]": NAMES,
    "test_liblinear_dual_random_state": NAMES,
    "test_liblinear_with_large_values": NAMES,
    "test_max_iter": NAMES,
    "test_logistic_cv": CV,
    "test_logistic_cv_multinomial_score[neg_log_loss-multiclass_agg_list3]": CV,
    "test_logistic_regression_cv_refit[42-1]": CV,
    "test_logreg_predict_proba_multinomial": "calls a private method",
    "test_l1_ratio_non_elasticnet": DEPRECATED,
    "test_l1_ratio_None_deprecated": DEPRECATED,
    "test_penalty_none": DEPRECATED,
    "test_lr_penalty_l1ratio_incompatible": DEPRECATED,
    "test_logisticregression_warns_with_n_jobs": DEPRECATED,
    "test_newton_cholesky_fallback_to_lbfgs": "asks for a warning of scikit-learn's solver",
    "test_logistic_regression_callback_support": CALLBACKS,
    "test_logistic_regression_callback_fitted_estimator": CALLBACKS,
    "test_logistic_regression_callback_support_warning": CALLBACKS,
}

# Of tests that are repeated for each of scikit-learn's solvers one is enough.
OTHER_SOLVERS = ("liblinear", "newton-cg", "newton-cholesky", "sag", "saga")

# What the deprecated parameter meant.
PENALTIES = {"l1": {"l1_ratio": 1.0}, "l2": {"l1_ratio": 0.0}, None: {"C": np.inf}}

# What tests are called that have to do with LogisticRegressionCV, paths or other arrays alone.
OF_OTHERS = (
    "[LogisticRegressionCV",
    "-cv]",
    "array_api",
    "init_coefs",
    "logistic_cv_mock",
    "logistic_cv_refit_false",
    "logistic_cv_sparse",
    "logisticregressioncv_warns",
    "lr_cv_scores",
    "multinomial_cv_iris",
    "scores_attribute_layout",
)


class LogisticRegression(SoftmaxRegression):
    """LogisticRegression's parameters; one row of weights for two classes; n_iter_ as a list."""

    fitted: ClassVar[set[str]] = set()
    running = ""

    def __init__(
        self,
        penalty: Any = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: Any = None,
    ) -> None:
        super().__init__(
            C,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            class_weight=class_weight,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.penalty = penalty
        self.dual = dual
        self.intercept_scaling = intercept_scaling
        self.n_jobs = n_jobs
        self.solver = solver

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        LogisticRegression.fitted.add(LogisticRegression.running)
        n_classes = len(np.unique(y)) if y is not None and np.ndim(y) == 1 else 0
        kind = SigmoidRegression if n_classes == 2 else SoftmaxRegression
        names = kind().get_params()
        given = {name: getattr(self, name) for name in names if hasattr(self, name)}
        # Its tol is one of the gradient, whose square the distance to the optimum follows.
        given |= {"solver": "auto", "tol": max(self.tol**2, 1e-14)}
        if self.penalty in PENALTIES:
            given |= PENALTIES[self.penalty]
        inner = kind(**given)
        if self.warm_start and hasattr(self, "coef_") and len(self.coef_) == max(n_classes, 1):
            inner.coef_, inner.intercept_ = self.coef_, self.intercept_
            inner.classes_, inner.multilabel_ = self.classes_, False
        try:
            inner.fit(X, y, sample_weight)
        finally:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(inner, name):
                    setattr(self, name, getattr(inner, name))
        self.coef_, self.intercept_ = inner.coef_, inner.intercept_
        self.classes_, self.n_iter_ = inner.classes_, np.array([inner.n_iter_])
        return self


class Swap:
    """Puts the class into the test module and remembers which tests fitted it."""

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        kept, left = [], []
        for item in items:
            item.module.LogisticRegression = LogisticRegression
            values = getattr(getattr(item, "callspec", None), "params", {})
            other = values.get("solver") in OTHER_SOLVERS or any(
                part in item.name for part in OF_OTHERS
            )
            (left if other else kept).append(item)
            for name in (item.name, item.originalname):
                if name in EXPECTED_FAILURES:
                    item.add_marker(pytest.mark.xfail(strict=True, reason=EXPECTED_FAILURES[name]))
        config.hook.pytest_deselected(items=left)
        items[:] = kept

    def pytest_runtest_call(self, item: Any) -> None:
        LogisticRegression.running = item.nodeid

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(f"{len(LogisticRegression.fitted)} tests fitted the class")


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Swap())
