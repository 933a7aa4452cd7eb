"""The loss of a small layer in one call, against its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import softmax as sm

RNG = np.random.default_rng(11)


def arrays(n_rows: int, width: int, n_classes: int, dtype: Any = np.float64) -> dict[str, Any]:
    return {
        "x": RNG.normal(size=(n_rows, width)).astype(dtype),
        "parameters": RNG.normal(size=(n_classes, width)).astype(dtype),
        "labels": RNG.integers(0, n_classes, n_rows),
        "targets": None,
        "weights": None,
        "scale": 0.25,
        "l2": 0.5,
        "penalised": max(0, width - 1),
        "loss": np.empty(n_rows),
        "slopes": np.empty((n_rows, n_classes), dtype),
        "gradient": np.full((n_classes, width), np.nan, dtype),
    }


def check(kernels: Any, given: dict[str, Any]) -> None:
    objective = kernels.layer_loss(*given.values())
    eps = float(np.finfo(given["x"].dtype).eps)
    x, parameters = (given[name].astype(np.float64) for name in ("x", "parameters"))
    logits, penalised = x @ parameters.T, given["penalised"]
    target = given["targets"] if given["labels"] is None else given["labels"]
    weights = np.ones(len(x)) if given["weights"] is None else given["weights"]
    losses = given["scale"] * weights * sm.cross_entropy(logits, target, reduction="none")
    # A logit is the sum of as many products as there are columns.
    close = {"rtol": 5000 * eps, "atol": 500 * eps}
    np.testing.assert_allclose(given["loss"], losses, **close)
    t = np.eye(len(parameters))[target] if target.ndim == 1 else target
    slopes = given["scale"] * weights[:, None] * (sm.softmax(logits) - t)
    np.testing.assert_allclose(given["slopes"], slopes, **close)
    penalty = parameters * (np.arange(x.shape[1]) < penalised)
    np.testing.assert_allclose(
        given["gradient"], slopes.T @ x + given["l2"] * penalty, rtol=5e4 * eps, atol=5000 * eps
    )
    expected = losses.sum() + given["l2"] / 2 * np.sum(penalty**2)
    assert objective == pytest.approx(expected, rel=5000 * eps)
    p = np.full(logits.shape, np.nan, given["x"].dtype)
    known = (given[name] for name in ("slopes", "labels", "targets", "weights", "scale"))
    kernels.layer_probabilities(*known, p)
    np.testing.assert_allclose(p, sm.softmax(logits) * (weights > 0)[:, None], **close)


# Classes on both sides of the traversals' limits, of vectors and of tiles; rows of few bundles.
@pytest.mark.parametrize("n_rows", [1, 15, 64, 65, 200])
@pytest.mark.parametrize("n_classes", [2, 3, 4, 8, 9, 10, 33, 61, 130, 2100])
@pytest.mark.parametrize("width", [1, 5, 65])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels(kernels: Any, n_rows: int, n_classes: int, width: int, dtype: Any) -> None:
    check(kernels, arrays(n_rows, width, n_classes, dtype))


@pytest.mark.parametrize("n_classes", [2, 10, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_and_shares(kernels: Any, n_classes: int, dtype: Any) -> None:
    given = arrays(100, 7, n_classes, dtype)
    given["weights"] = RNG.integers(0, 3, 100).astype(float)
    check(kernels, given)
    shares = RNG.dirichlet(np.ones(n_classes), 100).astype(dtype)
    given["labels"], given["targets"] = None, shares
    check(kernels, given)


def test_any_number_of_threads() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    results = []
    given = arrays(5000, 40, 30)
    for threads in (1, 2, 4):
        with sm.num_threads(threads):
            objective = core.layer_loss(*given.values())
        results.append((objective, given["gradient"].tobytes()))
    assert len(set(results)) == 1


def test_what_does_not_fit_is_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = arrays(6, 3, 4)
    core.layer_loss(*good.values())
    bad = {
        "x": [np.ones((6, 3), np.float32), np.ones((7, 3)), np.ones((6, 6))[:, ::2], None],
        "parameters": [np.ones((4, 2)), np.ones((3, 4)).T[:, :2], np.ones((4, 3), np.float32)],
        "labels": [np.full(6, 4), np.zeros(5, int), np.zeros(6), None],
        "penalised": [4, -1],
        "loss": [np.empty(5), np.empty(6, np.float32)],
        "slopes": [np.empty((6, 4), np.float32), np.empty((4, 6)).T],
        "gradient": [np.empty((4, 2)), np.empty((3, 4)).T],
    }
    for name, values in bad.items():
        for value in values:
            with pytest.raises((TypeError, ValueError, IndexError)):
                core.layer_loss(*{**good, name: value}.values())


def test_probabilities_that_do_not_fit_are_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = [np.ones((3, 4)), np.zeros(3, int), None, np.ones(3), 1.0, np.ones((3, 4))]
    core.layer_probabilities(*good)
    bad = {
        0: [np.ones(12), np.ones((3, 4), np.float32), np.ones((3, 4), int)],
        1: [np.full(3, 4), np.full(3, -1), np.zeros(4, int), np.zeros(3), None],
        2: [np.ones((3, 4))],
        3: [np.ones(4)],
        5: [np.ones((3, 5)), np.ones((4, 3)).T],
    }
    for place, values in bad.items():
        for value in values:
            with pytest.raises((TypeError, ValueError)):
                core.layer_probabilities(*good[:place], value, *good[place + 1 :])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 255, 256, 257, 700])
@pytest.mark.parametrize("intercept", [0, 1])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("kept", [np.float32, np.float64])
def test_derivative(
    kernels: Any, dtype: Any, width: int, intercept: int, layout: Any, kept: Any
) -> None:
    products = layout(RNG.normal(size=(3, width)).astype(dtype))
    sums, mean = RNG.normal(size=3), RNG.normal(size=width)
    parameters = RNG.normal(size=(3, width + intercept)).astype(kept)
    out = np.full(parameters.shape, np.nan, kept)
    kernels.layer_derivative(products, sums, mean, 5.0, 0.3, parameters, out)
    expected = (products - np.outer(sums, mean)) / 5 + 0.3 * parameters[:, :width]
    eps = float(np.finfo(kept).eps)
    np.testing.assert_allclose(out[:, :width], expected, rtol=100 * eps, atol=4 * eps)
    np.testing.assert_allclose(out[:, width:], sums[:, None][:, :intercept] / 5, rtol=eps)


def test_derivatives_that_do_not_fit_are_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = [np.ones((3, 4)), np.ones(3), np.ones(4), 1.0, 0.0, np.ones((3, 5)), np.ones((3, 5))]
    core.layer_derivative(*good)
    bad = {
        0: [np.ones((3, 6)), np.ones((2, 4)), np.ones((3, 4), np.float16), np.ones(12), None],
        1: [np.ones(4), np.ones(3, np.float32)],
        2: [np.ones(3)],
        5: [np.ones((3, 6)), np.ones((3, 10))[:, ::2], np.ones((3, 5), np.float32)],
        6: [np.ones((3, 4)), np.ones((3, 5), np.float32)],
    }
    for place, values in bad.items():
        for value in values:
            with pytest.raises((TypeError, ValueError)):
                core.layer_derivative(*good[:place], value, *good[place + 1 :])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kept", [np.float32, np.float64])
def test_gradient_of_the_loss_alone(kernels: Any, dtype: Any, kept: Any) -> None:
    parameters, gradient = RNG.normal(size=(2, 3, 8)).astype(kept)
    out = np.full(21, np.nan, dtype)
    squares, products = kernels.loss_gradient(parameters, gradient, 0.5, out)
    coef, slope = parameters[:, :7], gradient[:, :7]
    eps = float(max(np.finfo(dtype).eps, np.finfo(kept).eps))
    np.testing.assert_allclose(out.reshape(3, 7), slope - 0.5 * coef, rtol=4 * eps, atol=4 * eps)
    assert squares == pytest.approx(np.sum(coef.astype(np.float64) ** 2))
    assert products == pytest.approx(np.sum(coef.astype(np.float64) * slope))


def test_gradients_that_do_not_fit_are_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    good = [np.ones((3, 8)), np.ones((3, 8)), 1.0, np.ones(21)]
    core.loss_gradient(*good)
    bad = {
        0: [np.ones(24), np.ones((8, 3)).T, np.ones((3, 8), np.float32)],
        1: [np.ones((3, 7)), np.ones((8, 3)).T],
        3: [np.ones(22), np.ones(27), np.ones(21, np.float16)],
    }
    for place, values in bad.items():
        for value in values:
            with pytest.raises((TypeError, ValueError)):
                core.loss_gradient(*good[:place], value, *good[place + 1 :])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 2, 8, 9, 30])
def test_gap_of_a_quadratic(kernels: Any, dtype: Any, columns: int) -> None:
    gradient = RNG.normal(size=(3, columns)).astype(dtype)
    squares, curvature = gradient.astype(np.float64) ** 2, RNG.uniform(0.1, 1, 3)
    assert kernels.quadratic_gap(gradient, 0.2, None) == pytest.approx(squares.sum() / 0.4)
    expected = squares[:, :-1].sum() / 0.4 + (squares[:, -1] / curvature).sum()
    assert kernels.quadratic_gap(gradient, 0.2, curvature) == pytest.approx(expected)


def test_gaps_that_do_not_fit_are_refused() -> None:
    core = pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    for gradient in (np.ones(3), np.ones((3, 4)).T, np.ones((4, 3)), np.ones((3, 0)), None):
        with pytest.raises((TypeError, ValueError)):
            core.quadratic_gap(gradient, 1.0, np.ones(3))
    with pytest.raises((TypeError, ValueError)):
        core.quadratic_gap(np.ones((3, 4)), 1.0, np.ones(3, np.float32))
