"""Saved models: what comes back, and every kind of file that must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.datasets import load_iris

from softmax.learn import SoftmaxRegression, model_io

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    SoftmaxRegression(C=2.0).fit(X, NAMES[Y]).save(path)
    return path


@pytest.mark.parametrize(
    "labels",
    [
        Y,
        Y.astype(np.int8),
        Y.astype(np.uint16),
        Y > 0,
        Y - 1.0,
        (Y - 1).astype(np.float32),
        NAMES[Y],
        NAMES[Y].astype(object),
        np.array(["å", "日本", "\n\"'"])[Y],
        Y + 2**60,
    ],
    ids=lambda labels: str(labels.dtype),
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(labels: Any, dtype: Any, tmp_path: Path) -> None:
    model = SoftmaxRegression(C=3.0, fit_intercept=False, tol=1e-3).fit(X.astype(dtype), labels)
    model.save(tmp_path / "model.safetensors")
    loaded = SoftmaxRegression.load(tmp_path / "model.safetensors")
    assert loaded.get_params() == model.get_params()
    assert loaded.classes_.dtype == model.classes_.dtype
    assert loaded.classes_.tolist() == model.classes_.tolist()
    assert loaded.coef_.dtype == dtype
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for name in ("n_iter_", "duality_gap_", "history_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(model, name)


def test_feature_names_travel(tmp_path: Path) -> None:
    table = load_iris(as_frame=True)
    model = SoftmaxRegression().fit(table.data, table.target)
    model.save(tmp_path / "m")
    loaded = SoftmaxRegression.load(tmp_path / "m")
    assert loaded.feature_names_in_.tolist() == table.data.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(table.data.rename(columns=str.upper))


def test_keys_of_others_are_left_alone(saved: Path) -> None:
    metadata, tensors = taken_apart(saved)
    saved.write_bytes(save(tensors, metadata | {"preprocessing": "{}"}))
    SoftmaxRegression.load(saved)


def test_nothing_half_written_is_left(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        SoftmaxRegression().fit(X, Y).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_classes_that_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="classes_ of dtype complex128 cannot be saved"):
        model_io.encode_classes(np.array([1j, 2j]))


def taken_apart(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    data = path.read_bytes()
    return model_io.read_metadata(data), dict(load(data))


ATTACKS = Path(__file__).parents[1] / "attacks"
REASONS: dict[str, str] = json.loads((ATTACKS / "reasons.json").read_text())


@pytest.mark.parametrize("name", REASONS)
def test_malformed_file_is_refused_in_one_sentence(name: str) -> None:
    path = ATTACKS / f"{name}.safetensors"
    with pytest.raises(ValueError, match=REASONS[name]) as refusal:
        SoftmaxRegression.load(path)
    text = str(refusal.value)
    assert text.startswith(repr(str(path)))
    assert "\n" not in text


def test_every_malformed_file_has_its_reason() -> None:
    assert {path.stem for path in ATTACKS.glob("*.safetensors")} == set(REASONS)


def test_sound_file_beside_them_is_read() -> None:
    """The attacks are changes of this file: what is refused is the change."""
    assert SoftmaxRegression.load(ATTACKS / "sound.model").C == 2.0


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SoftmaxRegression.load(tmp_path / "none")
