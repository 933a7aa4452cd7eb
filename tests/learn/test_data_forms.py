"""The same model from every form of the same data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from softmax.learn import SigmoidRegression, SoftmaxRegression
from softmax.learn.targets import class_weights

Float64 = NDArray[np.float64]
DIGITS = load_digits()
X: Float64 = DIGITS.data[:600] / 16
Y = DIGITS.target[:600]
EXACT = {"tol": 1e-10}


def chunks(size: int = 150, weights: Any = None) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        yield (X[part], Y[part]) if weights is None else (X[part], Y[part], weights[part])


@pytest.fixture(scope="module")
def dense_fit() -> SoftmaxRegression:
    return SoftmaxRegression(**EXACT).fit(X, Y)


def assert_same_model(model: SoftmaxRegression, other: SoftmaxRegression) -> None:
    np.testing.assert_allclose(model.coef_, other.coef_, atol=2e-5)
    np.testing.assert_allclose(model.intercept_, other.intercept_, atol=2e-4)


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_sparse(container: Any, dense_fit: SoftmaxRegression) -> None:
    sparse = container(X)
    model = SoftmaxRegression(**EXACT).fit(sparse, Y)
    assert_same_model(model, dense_fit)
    np.testing.assert_allclose(model.predict_proba(sparse), model.predict_proba(X), atol=1e-12)
    np.testing.assert_array_equal(model.predict(sparse), model.predict(X))


def test_sparse_duplicates_are_summed(dense_fit: SoftmaxRegression) -> None:
    halves = sp.csr_matrix(X)
    doubled = sp.csr_matrix(
        (np.repeat(halves.data / 2, 2), np.repeat(halves.indices, 2), 2 * halves.indptr), X.shape
    )
    assert_same_model(SoftmaxRegression(**EXACT).fit(doubled, Y), dense_fit)
    assert doubled.nnz == 2 * halves.nnz


def test_sparse_nan_is_placed() -> None:
    sparse = sp.csr_matrix(X)
    row = 17
    sparse.data[sparse.indptr[row]] = np.nan
    column = sparse.indices[sparse.indptr[row]]
    with pytest.raises(ValueError, match=f"NaN at row {row}, column {column}"):
        SoftmaxRegression().fit(sparse, Y)


def test_memory_map(tmp_path: Path, dense_fit: SoftmaxRegression) -> None:
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=X.shape)
    mapped[:] = X
    assert_same_model(SoftmaxRegression(**EXACT).fit(mapped, Y), dense_fit)


def test_polars_names_are_kept(dense_fit: SoftmaxRegression) -> None:
    table = pl.DataFrame(X, schema=DIGITS.feature_names)
    model = SoftmaxRegression(**EXACT).fit(table, pl.Series(Y))
    assert model.feature_names_in_.tolist() == DIGITS.feature_names
    assert_same_model(model, dense_fit)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table.rename({"pixel_0_0": "other"}))


@pytest.mark.parametrize("form", ["function", "list", "sparse"])
def test_chunks(form: str, dense_fit: SoftmaxRegression) -> None:
    factory: Any = chunks
    if form == "list":
        factory = list(chunks())
    if form == "sparse":
        factory = lambda: ((sp.csr_matrix(x), y) for x, y in chunks())  # noqa: E731
    assert_same_model(SoftmaxRegression(**EXACT).fit(factory), dense_fit)


def test_chunks_sorted_by_class_find_all_classes(dense_fit: SoftmaxRegression) -> None:
    order = np.argsort(Y)
    parts = [(X[part], Y[part]) for part in np.array_split(order, 7)]
    assert_same_model(SoftmaxRegression(**EXACT).fit(parts), dense_fit)


def test_weighted_chunks() -> None:
    weights = np.random.default_rng(0).uniform(0, 3, len(Y))
    model = SoftmaxRegression(**EXACT).fit(lambda: chunks(weights=weights))
    assert_same_model(model, SoftmaxRegression(**EXACT).fit(X, Y, weights))


def test_chunks_of_two_precisions(dense_fit: SoftmaxRegression) -> None:
    parts = [(x.astype(np.float32 if i else np.float64), y) for i, (x, y) in enumerate(chunks())]
    model = SoftmaxRegression(**EXACT).fit(parts)
    assert model.coef_.dtype == np.float64
    assert_same_model(model, dense_fit)


def test_a_factory_that_changes_is_refused() -> None:
    calls: list[int] = []

    def changing() -> Iterator[tuple[Any, ...]]:
        calls.append(1)
        yield X + (len(calls) > 2), Y

    def shrinking() -> Iterator[tuple[Any, ...]]:
        calls.append(1)
        yield X[len(calls) :], Y[len(calls) :]

    for factory in (changing, shrinking):
        calls.clear()
        with pytest.raises(ValueError, match=r"chunks changed between passes: \d+ rows with sum"):
            SoftmaxRegression().fit(factory)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter([]), "is an iterator, which can be passed over once"),
        (lambda: iter([]), "gave no chunk"),
        (lambda: [X], "a chunk is ndarray where"),
        (lambda: [(X, Y[:-1])], "inconsistent numbers of samples"),
        (lambda: [(X, Y), (X[:, :3], Y)], "X has 3 features"),
        (lambda: [(X * np.nan, Y)], "Input X contains NaN"),
        (lambda: [(X, 0 * Y)], "only one class"),
    ],
)
def test_bad_chunks(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression().fit(source)


def test_chunks_take_their_weights_along() -> None:
    with pytest.raises(ValueError, match="sample_weight goes into the chunks"):
        SoftmaxRegression().fit(chunks, sample_weight=np.ones(len(Y)))
    with pytest.raises(ValueError, match="early_stopping needs X as one array"):
        SoftmaxRegression(early_stopping=True).fit(chunks)
    with pytest.raises(ValueError, match="requires y to be passed"):
        SoftmaxRegression().fit(X)


OUT_OF_CORE = """
import resource, sys
import numpy as np
from softmax.learn import SoftmaxRegression
path, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
y = np.load(path + ".labels.npy")
SoftmaxRegression(max_iter=1).fit([(np.eye(4, d, dtype=np.float32), np.arange(4))])
for dtype in (np.float32, np.float64):
    np.ones((d, 2000), dtype) @ np.ones((2000, d), dtype)  # BLAS takes its working memory
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
room = 4 * n * d // 4
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
def chunks(size=2000):
    for start in range(0, n, size):
        rows = np.fromfile(path, np.float32, size * d, offset=4 * d * start)
        yield rows.reshape(-1, d), y[start : start + size]
try:
    np.zeros((n, d), np.float32)
    sys.exit("the limit does not bind")
except MemoryError:
    pass
model = SoftmaxRegression(tol=1e-10).fit(chunks)
np.save(path + ".coef.npy", model.coef_)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_data_four_times_larger_than_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, d = 160_000, 200
    y = rng.integers(0, 4, n)
    x = rng.standard_normal((n, d), np.float32)
    x[:, :4] += np.eye(4, dtype=np.float32)[y]
    path = str(tmp_path / "x")
    x.tofile(path)
    np.save(path + ".labels.npy", y)
    command = [sys.executable, "-W", "ignore", "-c", OUT_OF_CORE, path, str(n), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    whole = SoftmaxRegression(tol=1e-10).fit(x, y)
    np.testing.assert_allclose(np.load(path + ".coef.npy"), whole.coef_, atol=1e-6)


def test_certain_probabilities_are_labels(dense_fit: SoftmaxRegression) -> None:
    assert_same_model(SoftmaxRegression(**EXACT).fit(X, np.eye(10)[Y]), dense_fit)


def test_probabilities_are_weighted_labels() -> None:
    rng = np.random.default_rng(1)
    targets = rng.dirichlet(np.ones(10), len(X))
    model = SoftmaxRegression(**EXACT).fit(X, targets)
    repeated = SoftmaxRegression(**EXACT).fit(
        np.repeat(X, 10, axis=0), np.tile(np.arange(10), len(X)), targets.ravel()
    )
    # The repeated rows weigh as much in sum, so that C means the same.
    assert_same_model(model, repeated)
    assert model.classes_.tolist() == list(range(10))


def test_label_smoothing_mixes_targets(dense_fit: SoftmaxRegression) -> None:
    smooth = SoftmaxRegression(label_smoothing=0.2, **EXACT).fit(X, Y)
    by_hand = SoftmaxRegression(**EXACT).fit(X, 0.8 * np.eye(10)[Y] + 0.02)
    assert_same_model(smooth, by_hand)
    assert np.abs(smooth.coef_ - dense_fit.coef_).max() > 0.1


@pytest.mark.parametrize("form", ["labels", "probabilities", "chunks"])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 7: 0.5}])
def test_class_weights_are_row_weights(form: str, class_weight: Any) -> None:
    model = SoftmaxRegression(class_weight=class_weight, **EXACT)
    if form == "labels":
        model.fit(X, Y)
    else:
        model.fit(chunks) if form == "chunks" else model.fit(X, np.eye(10)[Y])
    counts = np.bincount(Y)
    rows = len(Y) / (10 * counts) if class_weight == "balanced" else np.ones(10)
    if class_weight != "balanced":
        rows[0], rows[7] = 3.0, 0.5
    assert_same_model(model, SoftmaxRegression(**EXACT).fit(X, Y, rows[Y]))


def test_balanced_weights_leave_absent_classes_finite() -> None:
    weights = class_weights("balanced", np.arange(3), np.array([4.0, 0.0, 2.0]))
    np.testing.assert_allclose(weights, [0.75, 3.0, 1.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full((600, 3), 0.5)}, "row 0, .* is no row of probabilities"),
        ({"y": np.eye(3)[Y % 3] - 1e-3}, "is no row of probabilities"),
        ({"y": np.eye(3)[Y % 3] * np.nan}, "is no row of probabilities"),
        ({"y": np.eye(3)[Y[:-1] % 3]}, "inconsistent numbers of samples"),
        ({"class_weight": {99: 1.0}}, "The classes, .99., are not in class_weight"),
        ({"class_weight": {0: -1.0}}, "class_weight is .* not negative"),
        ({"class_weight": "heavy"}, "class_weight is 'heavy'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"l1_ratio": 1.1}, "l1_ratio is 1.1"),
        ({"solver": "lbfgs"}, "solver is 'lbfgs' where 'auto' was expected"),
        ({"validation_fraction": 0.0}, "validation_fraction is 0.0"),
    ],
)
def test_bad_targets_and_parameters(changes: dict[str, Any], message: str) -> None:
    y = changes.pop("y", Y)
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression(**changes).fit(X, y)


def test_sigmoids_take_chunks() -> None:
    model = SigmoidRegression(**EXACT).fit(chunks)
    whole = SigmoidRegression(**EXACT).fit(X, Y)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=2e-5)


def wide_counts() -> tuple[Any, Any]:
    """Return more words than posts, a few of them frequent, as posts have them."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, 2001)
    y = rng.integers(0, 5, 300)
    topics = rng.dirichlet(100 * frequency / frequency.sum(), 5)
    counts = np.array([rng.multinomial(60, topics[label]) for label in y], np.float32)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    return sp.csr_matrix(counts), y


@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_more_columns_than_rows(form: str, C: float) -> None:
    rows, y = wide_counts()
    if form == "dense":
        rows = rows.toarray().astype(np.float64) * np.geomspace(1e-2, 1e2, 2000)
    model = SoftmaxRegression(C=C).fit(rows, y)
    best = SoftmaxRegression(C=C, tol=1e-7).fit(rows.astype(np.float64), y)
    lowest = best.history_["objective"][-1]
    reached = model.history_["objective"][-1]
    assert reached <= lowest * (1 + 1e-4)
    assert reached - lowest <= model.duality_gap_ + 1e-9 * lowest
