"""Models in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

from softmax.learn import SigmoidRegression, SoftmaxRegression

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

IRIS_X, IRIS_Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def served(model: Any, path: Path, rows: Any) -> list[Any]:
    model.to_onnx(path)
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    outputs = session.run(["label", "probabilities"], {"X": rows})
    return list(outputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (SoftmaxRegression, IRIS_Y),
        (SoftmaxRegression, NAMES[IRIS_Y]),
        (SoftmaxRegression, NAMES[IRIS_Y].astype(object)),
        (SoftmaxRegression, IRIS_Y > 0),
        (SigmoidRegression, IRIS_Y),
        (SigmoidRegression, IRIS_Y > 0),
        (SigmoidRegression, np.eye(3)[IRIS_Y]),
    ],
)
def test_same_labels_and_probabilities(kind: Any, target: Any, dtype: Any, tmp_path: Path) -> None:
    rows = IRIS_X.astype(dtype)
    model = kind().fit(rows, target)
    label, probabilities = served(model, tmp_path / "model.onnx", rows)
    np.testing.assert_allclose(probabilities, model.predict_proba(rows), atol=1e-6)
    np.testing.assert_array_equal(label, model.predict(rows))


def test_sparse_weights_are_written_too(tmp_path: Path) -> None:
    rows, y = load_digits(return_X_y=True)
    model = SoftmaxRegression(C=0.01, l1_ratio=1.0).fit(rows, y).sparsify()
    _, probabilities = served(model, tmp_path / "model.onnx", rows)
    np.testing.assert_allclose(probabilities, model.predict_proba(rows), atol=1e-6)


def test_classes_that_onnx_lacks(tmp_path: Path) -> None:
    model = SoftmaxRegression().fit(IRIS_X, IRIS_Y - 0.5 * (IRIS_Y > 9) - 1.0)
    model.classes_ = np.array([0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match="classes_ of dtype float64 cannot be written as ONNX"):
        model.to_onnx(tmp_path / "model.onnx")
