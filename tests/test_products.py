"""Products that are added to what an array holds, by SciPy's BLAS or by NumPy in pieces."""

import numpy as np
import pytest

import softmax as sm
from softmax import _logit_chunks
from softmax._kernels import kernels as chosen
from softmax._products import adding_product, offered, product_in_pieces, scipy_function

RNG = np.random.default_rng(0)
NATIVE = chosen.build_info()["native"]

LAYOUTS = {
    "rows": lambda a: a,
    "columns": np.asfortranarray,
    "a part of more rows": lambda a: np.vstack([a, a])[: len(a)],
    "a part of more columns": lambda a: np.hstack([a, a])[:, : a.shape[1]],
    "a part of more, transposed": lambda a: np.vstack([a.T, a.T])[: a.shape[1]].T,
}


@pytest.fixture(params=["scipy", "pieces"])
def multiply(request):
    if request.param == "pieces":
        return lambda *given: product_in_pieces(np.empty(12, given[0].dtype), *given)
    pytest.importorskip("scipy")
    if not NATIVE:
        pytest.skip("BLAS is called by compiled code")
    return lambda *given: adding_product(given[0].dtype)(*given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1), (40, 7, 9)]
)
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_products(multiply, first, second, shape, dtype):
    m, k, n = shape
    a, b = RNG.normal(size=(m, k)).astype(dtype), RNG.normal(size=(k, n)).astype(dtype)
    whole = np.full((m, n + 2), 7, dtype)
    out = whole[:, 1:-1]
    close = {"rtol": 20 * np.finfo(dtype).eps, "atol": 20 * np.finfo(dtype).eps}
    multiply(LAYOUTS[first](a), LAYOUTS[second](b), out, False)
    np.testing.assert_allclose(out, a @ b, **close)
    multiply(LAYOUTS[first](a), LAYOUTS[second](b), out, True)
    np.testing.assert_allclose(out, 2 * (a @ b), **close)
    assert (whole[:, [0, -1]] == 7).all()


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0)])
def test_products_of_nothing(multiply, shape):
    m, k, n = shape
    out = np.ones((m, n))
    multiply(np.ones((m, k)), np.ones((k, n)), out, True)
    assert (out == 1).all()
    multiply(np.ones((m, k)), np.ones((k, n)), out, False)
    assert (out == 0).all()


@pytest.mark.parametrize("scratch_rows", [33, 10])  # chunks of rows, and of classes too
def test_the_loss_is_the_same_by_either(monkeypatch, scratch_rows):
    X, weight = RNG.normal(size=(300, 6)), RNG.normal(size=(40, 6))
    given = X, weight, RNG.integers(0, 40, 300), RNG.normal(size=40)
    asked = {"return_grad": True, "scratch_bytes": 40 * scratch_rows * 8 * 8 // 7}
    asked_for = []

    def chosen_product(dtype):
        asked_for.append(adding_product(dtype))
        return asked_for[-1]

    monkeypatch.setattr(_logit_chunks, "adding_product", chosen_product)
    loss, gradients = sm.linear_cross_entropy(*given, **asked)
    assert asked_for
    assert (asked_for[0] is not None) == NATIVE
    fortran = sm.linear_cross_entropy(np.asfortranarray(X), *given[1:], **asked)
    monkeypatch.setattr(_logit_chunks, "adding_product", lambda dtype: None)
    other, expected = sm.linear_cross_entropy(*given, **asked)
    assert loss == pytest.approx(other, rel=1e-14)
    assert fortran[0] == pytest.approx(other, rel=1e-14)
    for gradient, same, wanted in zip(gradients, fortran[1], expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(same, wanted, rtol=1e-12, atol=1e-15)


def test_a_bias_of_many_rows_is_not_lost():
    X, weight = np.zeros((300_000, 1), np.float32), np.zeros((2, 1), np.float32)
    target = np.repeat([0, 1], 150_000)
    asked = {"reduction": "sum", "return_grad": True}
    bias = np.array([1.0, 0.0], np.float32)
    _, (_, _, gradient) = sm.linear_cross_entropy(X, weight, target, bias, **asked)
    p = sm.softmax(np.array([1.0, 0.0]))
    np.testing.assert_allclose(gradient, 300_000 * p - 150_000, rtol=1e-3)


def test_longdouble_and_no_rows():
    X, weight = RNG.normal(size=(300, 3)).astype(np.longdouble), RNG.normal(size=(40, 3))
    asked = {"return_grad": True, "scratch_bytes": 40 * 40 * 16}
    loss, _ = sm.linear_cross_entropy(X, weight, np.zeros(300, int), **asked)
    assert loss == pytest.approx(
        sm.linear_cross_entropy(X.astype(float), weight, np.zeros(300, int)), rel=1e-12
    )
    empty = sm.linear_cross_entropy(
        X[:0].astype(float), weight, np.zeros(0, int), reduction="sum", scratch_bytes=1
    )
    assert empty == 0


def test_integers_of_64_bits_are_not_taken_for_32(monkeypatch):
    blas = pytest.importorskip("scipy.linalg.cython_blas")
    assert offered.__wrapped__("cython_blas", "dgemm") is not None
    monkeypatch.setattr(blas, "_blas_int_size", lambda: 8, raising=False)
    assert offered.__wrapped__("cython_blas", "dgemm") is None


@pytest.mark.skipif(not NATIVE, reason="BLAS is called by compiled code")
def test_refused():
    pytest.importorskip("scipy")
    gemm = scipy_function("cython_blas", "dgemm")
    a, b, out = np.ones((3, 4)), np.ones((4, 5)), np.ones((3, 5))
    bad = [
        (a[:, :3], b, out),
        (a, b.astype(np.float32), out),
        (np.ones((3, 8))[:, ::2], b, out),
        (a[::-1], b, out),
        (a, b, np.asfortranarray(out)),
        (a, b, np.ones((5, 3))),
        (a, b, np.ones(15)),
        ([[1.0]], b, out),
    ]
    for given in bad:
        with pytest.raises((TypeError, ValueError)):
            chosen.matrix_product(gemm, *given, True)
    with pytest.raises((TypeError, ValueError)):
        chosen.matrix_product(None, a, b, out, True)
    assert (out == 1).all()
