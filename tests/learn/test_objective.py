"""The objective against formulas written down plainly in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_softmax

from softmax.learn import SoftmaxRegression, curvature, loss, objective, rows
from softmax.learn.loss import SoftmaxLoss
from softmax.learn.objective import CrossEntropyObjective
from softmax.learn.rows import ArrayRows
from softmax.learn.targets import TargetEncoding

Float64 = NDArray[np.float64]
RNG = np.random.default_rng(7)
N, D, K = 60, 5, 4
FEATURES = RNG.normal(3.0, 2.0, (N, D))
TARGET = RNG.integers(0, K, N)
WEIGHTS = RNG.uniform(0.0, 3.0, N)


def make(
    *,
    weighted: bool = True,
    fit_intercept: bool = True,
    C: float = 0.7,
    dtype: Any = np.float64,
    x: Float64 = FEATURES,
) -> CrossEntropyObjective:
    weights = WEIGHTS if weighted else None
    data = ArrayRows(x.astype(dtype), TARGET, weights, TargetEncoding(K))
    return CrossEntropyObjective(data, SoftmaxLoss(), K, C=C, fit_intercept=fit_intercept)


def plain_objective(problem: CrossEntropyObjective, parameters: Float64) -> float:
    coef, intercept = problem.to_model(parameters)
    weights = np.ones(N) if problem.rows.weights is None else problem.rows.weights
    losses = -log_softmax(FEATURES @ coef.T + intercept, axis=1)[np.arange(N), TARGET]
    return float(weights @ losses / weights.sum() + problem.penalty.l2 / 2 * (coef**2).sum())


def central_differences(function: Any, at: Float64, step: float = 1e-5) -> Float64:
    result = np.empty((*at.shape, *np.shape(function(at))))
    for index in np.ndindex(at.shape):
        moved = np.zeros(at.shape)
        moved[index] = step
        result[index] = (function(at + moved) - function(at - moved)) / (2 * step)
    return result


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_value_and_derivatives(weighted: bool, fit_intercept: bool) -> None:
    problem = make(weighted=weighted, fit_intercept=fit_intercept)
    parameters = RNG.normal(0, 0.3, problem.shape)
    direction = RNG.normal(0, 1, problem.shape)
    value, gradient = problem.evaluate(parameters)
    assert value == pytest.approx(plain_objective(problem, parameters), rel=1e-13)
    numeric = central_differences(lambda at: plain_objective(problem, at), parameters)
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    step = 1e-5
    change = problem.evaluate(parameters + step * direction)[1]
    change -= problem.evaluate(parameters - step * direction)[1]
    product = problem.hessian_product(parameters, direction)
    np.testing.assert_allclose(product, change / (2 * step), atol=1e-7)


def test_float32_products_are_summed_in_float64() -> None:
    problem, exact = make(dtype=np.float32), make()
    parameters = RNG.normal(0, 0.3, problem.shape)
    value, gradient = problem.evaluate(parameters)
    assert gradient.dtype == np.float64
    assert value == pytest.approx(exact.evaluate(parameters)[0], rel=1e-6)
    np.testing.assert_allclose(gradient, exact.evaluate(parameters)[1], atol=3e-6)


def test_model_round_trip() -> None:
    problem = make()
    parameters = RNG.normal(size=problem.shape)
    np.testing.assert_allclose(problem.from_model(*problem.to_model(parameters)), parameters)


def test_chunking_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make()
    parameters = RNG.normal(0, 0.3, problem.shape)
    whole = problem.evaluate(parameters)
    product = problem.hessian_product(parameters, parameters)
    for size in (1, 7, N):
        monkeypatch.setattr(rows, "LEAST_ROWS", size)
        monkeypatch.setattr(rows, "CHUNK_BYTES", 0)
        chunks = list(rows.row_chunks(N, 8 * D, 8 * K))
        assert len(chunks) == -(-N // size)
        value, gradient = problem.evaluate(parameters)
        assert value == pytest.approx(whole[0], rel=1e-14)
        np.testing.assert_allclose(gradient, whole[1], rtol=1e-12, atol=1e-15)
        again = problem.hessian_product(parameters, parameters)
        np.testing.assert_allclose(again, product, rtol=1e-12, atol=1e-15)


def test_only_one_chunk_of_logits_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            kernel = getattr(loss_kernels, name)

            def watch(logits: Any, *arguments: Any) -> None:
                sizes.append(len(logits))
                kernel(logits, *arguments)

            return watch

    loss_kernels = loss.kernels
    monkeypatch.setattr(loss, "kernels", Watched())
    monkeypatch.setattr(rows, "LEAST_ROWS", 8)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 0)
    problem = make()
    problem.evaluate(np.zeros(problem.shape))
    assert sizes == [8] * 7 + [4]


def second_derivative(problem: CrossEntropyObjective, parameters: Float64) -> Float64:
    size = parameters.size
    columns = [
        problem.hessian_product(parameters, unit.reshape(problem.shape)).ravel()
        for unit in np.eye(size)
    ]
    return np.array(columns)


@pytest.mark.parametrize("weighted", [False, True])
def test_exact_preconditioner_is_the_inverse(weighted: bool) -> None:
    problem = make(weighted=weighted)
    parameters = RNG.normal(0, 0.3, problem.shape)
    direction = RNG.normal(size=problem.shape)
    direction -= direction.mean(0)
    inverse = problem.preconditioner(parameters)
    assert inverse.exact
    found = inverse(problem.hessian_product(parameters, direction))
    np.testing.assert_allclose(found, direction, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("structure", ["blocks", "columns"])
def test_preconditioners_round_the_level_sets(
    structure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Against columns of very unlike scale one number for each is worth orders of magnitude.
    monkeypatch.setattr(curvature, "choose_structure", lambda *sizes: structure)
    unscaled = FEATURES * np.geomspace(1e-3, 1e3, D)
    problem = make(C=10.0, x=unscaled)
    parameters = problem.from_model(RNG.normal(0, 0.1, (K, D)) / unscaled.std(0), np.zeros(K))
    inverse = problem.preconditioner(parameters)
    size = parameters.size
    hessian = second_derivative(problem, parameters)
    projection = np.eye(K) - 1 / K
    onto_sum_zero = np.kron(projection, np.eye(D + 1))
    applied = np.array([inverse(row.reshape(problem.shape)).ravel() for row in hessian])
    rounded = np.sort(np.linalg.eigvals(onto_sum_zero @ applied).real)[-(size - D - 1) :]
    plain = np.linalg.eigvalsh(onto_sum_zero @ hessian @ onto_sum_zero)[-(size - D - 1) :]
    assert rounded[0] > 0
    assert rounded[-1] / rounded[0] < 1e-4 * plain[-1] / plain[0]


def test_blocks_of_two_classes_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curvature, "choose_structure", lambda *sizes: "blocks")
    data = ArrayRows(FEATURES, TARGET % 2, None, TargetEncoding(2))
    problem = CrossEntropyObjective(data, SoftmaxLoss(), 2, C=1.0, fit_intercept=True)
    row = RNG.normal(0, 0.2, D + 1)
    parameters = np.array([-row, row])
    product = problem.hessian_product(parameters, parameters)
    # The penalty is half of what a step along both rows would need: within a few percent.
    found = problem.preconditioner(parameters)(product)
    np.testing.assert_allclose(found, parameters, rtol=0.1, atol=1e-3)


def test_structure_follows_size() -> None:
    choose = curvature.choose_structure
    assert choose(150, 3, 5, 8) == "exact"
    assert choose(1_000_000, 2, 20, 4) == "exact"
    assert choose(60_000, 10, 785, 4) == "blocks"
    assert choose(100_000, 1000, 769, 4) == "columns"
    assert choose(20_000, 20, 56_001, 4) == "columns"
    assert choose(200, 10, 2000, 8) == "columns"


def test_path_of_a_weak_penalty_reports_the_last_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curvature, "choose_structure", lambda *sizes: "blocks")
    assert len(make(C=1e-2).path()) == 1
    problem = make(C=1e6)
    stages = problem.path()
    penalties = [stage.penalty.l2 for stage in stages]
    assert stages[-1] is problem
    assert len(stages) > 2
    assert penalties == sorted(penalties, reverse=True)
    parameters = RNG.normal(0, 0.3, problem.shape)
    value, gradient = problem.evaluate(parameters)
    for stage in stages:
        reported = stage.certificate(parameters, *stage.evaluate(parameters))
        np.testing.assert_allclose(
            reported, (value, problem.gap(parameters, value, gradient)), rtol=1e-9
        )


def test_many_parameters_are_float32_where_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    single, double = make(dtype=np.float32), make()
    assert single.rounded(1e-4) is single  # few
    monkeypatch.setattr(objective, "MANY", 0)
    assert double.rounded(1e-4) is double
    assert single.rounded(1e-6) is single
    rounded = single.rounded(1e-4)
    assert rounded.unrounded() is rounded
    assert (rounded.dtype, single.dtype) == (np.float32, np.float64)
    parameters, direction = RNG.normal(0, 0.3, (2, *double.shape))
    given = parameters.astype(np.float32)
    for found, expected in (
        (rounded.evaluate(given), double.evaluate(parameters)),
        (
            (0, rounded.hessian_product(given, direction.astype(np.float32))),
            (0, double.hessian_product(parameters, direction)),
        ),
    ):
        assert found[0] == pytest.approx(expected[0], rel=1e-6)
        assert found[1].dtype == np.float32
        np.testing.assert_allclose(found[1], expected[1], atol=3e-5)


@pytest.mark.parametrize("as_matrix", [np.asarray, sp.csr_matrix])
def test_a_fit_with_float32_parameters(monkeypatch: pytest.MonkeyPatch, as_matrix: Any) -> None:
    X = (RNG.normal(size=(900, 200)) * (RNG.random((900, 200)) < 0.3)).astype(np.float32)
    y = (X[:, :3] @ RNG.normal(size=(3, K)) + RNG.gumbel(size=(900, K))).argmax(1)
    expected = SoftmaxRegression(tol=1e-9).fit(X.astype(np.float64), y)
    monkeypatch.setattr(curvature, "choose_structure", lambda *sizes: "columns")
    monkeypatch.setattr(objective, "MANY", 0)
    seen = []
    evaluate = CrossEntropyObjective.evaluate

    def noted(self: CrossEntropyObjective, parameters: Any) -> Any:
        seen.append(parameters.dtype)
        return evaluate(self, parameters)

    monkeypatch.setattr(CrossEntropyObjective, "evaluate", noted)
    model = SoftmaxRegression().fit(as_matrix(X), y)
    assert set(seen) == {np.dtype(np.float32)}
    lowest, reached = (m.history_["objective"][-1] for m in (expected, model))
    assert lowest <= reached * (1 + 1e-6)
    assert reached - model.duality_gap_ <= lowest * (1 + 1e-6)
    assert model.duality_gap_ <= 1e-4 * reached


def test_steered_intercepts_go_to_their_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curvature, "ROWS_PER_CLASS", 1)
    problem = make(weighted=False)
    parameters = RNG.normal(0, 0.1, problem.shape)
    for _ in range(6):
        _, gradient = problem.evaluate(parameters)
        direction = np.zeros(problem.shape)
        parameters = parameters + problem.steered(direction, parameters, gradient)
    np.testing.assert_allclose(problem.evaluate(parameters)[1][:, -1], 0, atol=1e-9)
    without = make(fit_intercept=False)
    direction = RNG.normal(size=without.shape)
    same = without.steered(direction.copy(), parameters[:, :-1], gradient[:, :-1])
    np.testing.assert_array_equal(same, direction)
