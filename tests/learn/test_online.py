"""partial_fit: batches, new classes, weights."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits, load_iris

from softmax.learn import SoftmaxRegression

X, Y = load_digits(return_X_y=True)
X = X / 16


def in_batches(model: SoftmaxRegression, order: np.ndarray, size: int = 300) -> SoftmaxRegression:
    for start in range(0, len(order), size):
        part = order[start : start + size]
        model.partial_fit(X[part], Y[part])
    return model


def test_one_pass_comes_near_to_fit() -> None:
    order = np.random.default_rng(0).permutation(len(X))
    training, test = order[:1400], order[1400:]
    online = in_batches(SoftmaxRegression(), training)
    offline = SoftmaxRegression().fit(X[training], Y[training])
    assert online.score(X[test], Y[test]) >= offline.score(X[test], Y[test]) - 0.03


def test_first_batch_is_a_fit() -> None:
    online = SoftmaxRegression(tol=1e-10).partial_fit(X, Y)
    offline = SoftmaxRegression(tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(online.predict_proba(X), offline.predict_proba(X), atol=1e-3)


def test_classes_come_as_they_come() -> None:
    order = np.argsort(Y, kind="stable")
    model = SoftmaxRegression()
    for label in range(10):
        rows = order[Y[order] == label]
        model.partial_fit(X[rows], Y[rows])
        assert model.classes_.tolist() == list(range(label + 1))
        assert model.predict_proba(X[:5]).shape == (5, label + 1)
    assert in_batches(model, np.random.default_rng(0).permutation(len(X))).score(X, Y) > 0.9


def test_strings_and_named_classes() -> None:
    rows, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = SoftmaxRegression().partial_fit(rows[:60], names[:60], classes=["virginica"])
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.partial_fit(rows[50:], names[50:]).score(rows, names) > 0.9


def test_balanced_weights_follow_the_counts_so_far() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(0, 1, (950, 2)), rng.normal(1, 1, (50, 2))])
    y = np.repeat([0, 1], [950, 50])
    order = rng.permutation(1000)
    plain, balanced = SoftmaxRegression(), SoftmaxRegression(class_weight="balanced")
    for part in np.array_split(order, 4):
        plain.partial_fit(rows[part], y[part])
        balanced.partial_fit(rows[part], y[part])
    recalls = [(model.predict(rows)[y == 1] == 1).mean() for model in (plain, balanced)]
    assert recalls[0] < 0.3 < 0.6 < recalls[1]


def test_sparse_batches_and_pickles() -> None:
    dense, sparse = SoftmaxRegression(tol=1e-10), SoftmaxRegression(tol=1e-10)
    for part in (slice(0, 300), slice(300, 600)):
        dense.partial_fit(X[part], Y[part])
        sparse.partial_fit(sp.csr_matrix(X[part]), Y[part])
        sparse = pickle.loads(pickle.dumps(sparse))
    np.testing.assert_allclose(dense.coef_, sparse.coef_, atol=1e-4)


def test_bad_batches() -> None:
    model = SoftmaxRegression().partial_fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.partial_fit(X[:, :3], Y)
    with pytest.raises(ValueError, match="takes labels, not a matrix"):
        model.partial_fit(X, np.eye(10)[Y])
