"""Where training begins, and the forms that small data and labels take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn import datasets

from softmax.learn import SigmoidRegression, SoftmaxRegression, curvature
from softmax.learn.inputs import distinct
from softmax.learn.loss import SigmoidLoss, SoftmaxLoss
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.rows import ArrayRows
from softmax.learn.small_objective import SmallObjective, objective_of
from softmax.learn.targets import TargetEncoding

RNG = np.random.default_rng(11)
N, D, K = 90, 300, 4
FEATURES = RNG.normal(1.0, 2.0, (N, D))
TARGET = RNG.integers(0, K, N)
FEATURES[np.arange(N), TARGET] += 3
WEIGHTS = RNG.uniform(0.0, 3.0, N)


def make(
    kind: Any = CrossEntropyObjective,
    *,
    weights: NDArray[np.float64] | None = None,
    loss: Any = None,
    x: Any = FEATURES,
    **options: Any,
) -> CrossEntropyObjective:
    loss = loss or SoftmaxLoss()
    rows = ArrayRows(x, TARGET, weights, TargetEncoding(K, exclusive=loss.coupled))
    problem: CrossEntropyObjective = kind(
        rows, loss, K, **{"C": 0.5, "fit_intercept": True, **options}
    )
    return problem


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("loss", [SoftmaxLoss(), SigmoidLoss()])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_class_means_as_long_as_serves_best(
    form: Any, loss: Any, weights: Any, fit_intercept: bool
) -> None:
    problem = make(x=form(FEATURES), loss=loss, weights=weights, fit_intercept=fit_intercept)
    begin = problem.guess()
    assert begin is not None
    nothing = np.zeros(problem.shape)
    value, gradient = problem.evaluate(begin)
    zero, steepest = problem.evaluate(nothing)
    assert value < 0.9 * zero
    # The direction is downhill by the gradient at zero, column by column.
    np.testing.assert_allclose(begin * steepest, -np.abs(begin * steepest), atol=1e-15)
    slope, slope_at_zero = (float(np.vdot(g, begin)) for g in (gradient, steepest))
    assert abs(slope) < 0.1 * abs(slope_at_zero)


def test_length_of_a_first_step() -> None:
    problem = make()
    here = RNG.normal(0, 0.02, problem.shape)
    value, gradient = problem.evaluate(here)
    for scale in (1e-3, 1.0, 1e3):
        direction = -scale * gradient
        length = problem.best_length(here, direction)
        values = [
            problem.evaluate(here + share * length * direction)[0] for share in (0.8, 1.0, 1.25)
        ]
        assert values[1] < value
        assert values[1] == min(values)


@pytest.mark.parametrize("loss", [SoftmaxLoss(), SigmoidLoss()])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_small_data_give_the_same_function(loss: Any, weights: Any, fit_intercept: bool) -> None:
    few = FEATURES[:, :5]
    options = {"loss": loss, "weights": weights, "fit_intercept": fit_intercept, "x": few}
    plain, small = make(**options), make(objective_of, **options)
    assert isinstance(small, SmallObjective)
    parameters = RNG.normal(0, 0.3, plain.shape)
    direction = RNG.normal(size=plain.shape)
    value, gradient = small.evaluate(parameters)
    expected_value, expected_gradient = plain.evaluate(parameters)
    assert value == pytest.approx(expected_value, rel=1e-13)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-14)
    np.testing.assert_allclose(
        small.hessian_product(parameters, direction),
        plain.hessian_product(parameters, direction),
        atol=1e-13,
    )
    np.testing.assert_allclose(
        small.preconditioner(parameters)(gradient),
        plain.preconditioner(parameters)(gradient),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("loss", [SoftmaxLoss(), SigmoidLoss()])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_rounded_rows_give_nearly_the_same_function(
    monkeypatch: pytest.MonkeyPatch, loss: Any, weights: Any
) -> None:
    monkeypatch.setattr(curvature, "choose_structure", lambda *sizes: "blocks")
    whole = make(objective_of, loss=loss, weights=weights, fit_intercept=True, x=FEATURES[:, :5])
    rounded = whole.rounded(1e-4)
    assert rounded.design_dtype == np.float32
    parameters = RNG.normal(0, 0.3, whole.shape)
    direction = RNG.normal(size=whole.shape)
    for zero in (False, True):  # where all classes share one block
        parameters *= not zero
        value, gradient = rounded.evaluate(parameters)
        expected_value, expected_gradient = whole.evaluate(parameters)
        assert gradient.dtype == np.float64
        assert value == pytest.approx(expected_value, rel=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)
        np.testing.assert_allclose(
            rounded.hessian_product(parameters, direction),
            whole.hessian_product(parameters, direction),
            atol=1e-5,
        )
        np.testing.assert_allclose(
            rounded.preconditioner(parameters)(gradient),
            whole.preconditioner(parameters)(gradient),
            rtol=1e-4,
            atol=1e-5,
        )
    rounded.intercept_curvature = np.arange(1.0, 1 + whole.n_classes)
    assert rounded.unrounded() is whole
    assert whole.intercept_curvature[-1] == whole.n_classes
    assert whole.unrounded() is whole


def test_a_fit_of_rounded_rows_ends_in_full_precision() -> None:
    X, y = datasets.load_digits(return_X_y=True)
    model = SoftmaxRegression(tol=1e-7).fit(X / 16, y)
    coef, intercept = model.coef_, model.intercept_
    log_p = log_softmax(X / 16 @ coef.T + intercept, axis=1)
    objective = -log_p[np.arange(len(y)), y].mean() + (coef**2).sum() / (2 * len(y))
    assert model.history_["objective"][-1] == pytest.approx(objective, rel=1e-13)
    assert model.history_["gap"][-1] <= 1e-7 * objective


@pytest.mark.parametrize("unit", [1e-30, 1e-19, 1e20, 1e37])
def test_units_that_float32_cannot_hold(unit: float) -> None:
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16
    plain = SoftmaxRegression().fit(X, y)
    same = SoftmaxRegression(C=1 / unit**2).fit(X * unit, y)  # the same problem in other units
    expected = pytest.approx(plain.history_["objective"][-1], rel=1e-4)
    assert same.history_["objective"][-1] == expected


@pytest.mark.parametrize("weight", [1e-50, 1e40])
@pytest.mark.parametrize("kind", [SoftmaxRegression, SigmoidRegression])
def test_weights_that_float32_cannot_hold(kind: Any, weight: float) -> None:
    X, y = datasets.load_digits(return_X_y=True)
    plain = kind().fit(X / 16, y)
    same = kind(C=1 / weight).fit(X / 16, y, np.full(len(y), weight))
    expected = pytest.approx(plain.history_["objective"][-1], rel=1e-4)
    assert same.history_["objective"][-1] == expected


def test_many_rows_are_not_small() -> None:
    rows = ArrayRows(np.zeros((40_000, 5)), np.zeros(40_000, int), None, TargetEncoding(2))
    problem = objective_of(rows, SoftmaxLoss(), 2, C=1.0, fit_intercept=True)
    assert not isinstance(problem, SmallObjective)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, 1, 1, 7]),
        np.array([-100, 100, -100], np.int8),
        np.array([250, 3], np.uint8),
        np.array([2**63 + 5, 2**63 + 1, 2**63 + 5], np.uint64),
        np.array([-(2**63), 2**63 - 1, 0]),
        np.array([10**12, 10**12 + 1, 10**12]),
        np.array(["b", "a", "b"]),
        np.array([True, False]),
    ],
)
def test_distinct_labels(labels: Any) -> None:
    found, positions = np.unique(labels, return_inverse=True)
    targets = distinct(labels)
    np.testing.assert_array_equal(targets.classes, found)
    np.testing.assert_array_equal(targets.values, positions)
    assert targets.classes.dtype == labels.dtype
    assert targets.values.dtype == np.int64
