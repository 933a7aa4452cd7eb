"""Write the malformed model files of this folder anew: python tests/attacks/make.py.

Each is a sound model with one thing wrong, under a name that says what. `reasons.json` holds a
pattern of the sentence with which each must be refused.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save
from sklearn.datasets import load_iris

from softmax.learn import SoftmaxRegression, model_io

HERE = Path(__file__).parent


def taken_apart(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    data = path.read_bytes()
    return model_io.read_metadata(data), dict(load(data))


def resign(metadata: dict[str, str], tensors: dict[str, Any]) -> bytes:
    """Write a file whose digest is right, so that only the check in question can refuse it."""
    return save(tensors, metadata | {"sha256": model_io.digest(metadata["model"], tensors)})


def described(**changes: Any) -> Callable[[Path], bytes]:
    def build(path: Path) -> bytes:
        metadata, tensors = taken_apart(path)
        header = json.loads(metadata["model"]) | changes
        return resign(metadata | {"model": json.dumps(header)}, tensors)

    return build


def with_tensors(**changes: Any) -> Callable[[Path], bytes]:
    def build(path: Path) -> bytes:
        metadata, tensors = taken_apart(path)
        return resign(metadata, tensors | changes)

    return build


def with_metadata(**changes: str) -> Callable[[Path], bytes]:
    def build(path: Path) -> bytes:
        metadata, tensors = taken_apart(path)
        return save(tensors, metadata | changes)

    return build


def edited(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    return bytes(data)


def with_header(text: bytes) -> Callable[[Path], bytes]:
    return lambda path: struct.pack("<Q", len(text)) + text


def raw_header(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], bytes]:
    def build(path: Path) -> bytes:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return build


def offsets(begin: int, end: int) -> Callable[[Path], bytes]:
    return raw_header(lambda header: header["coef"].update(data_offsets=[begin, end]))


COEF = np.ones((3, 4))
MALFORMED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda path: b"", "0 bytes"),
    "seven bytes": (lambda path: b"1234567", "7 bytes"),
    "text": (lambda path: b"<html>not a model at all</html>", "header claims"),
    "cut in the header": (lambda path: path.read_bytes()[:100], "header claims"),
    "cut in the arrays": (lambda path: path.read_bytes()[:-1], "arrays cannot be read"),
    "one byte more": (lambda path: path.read_bytes() + b"x", "arrays cannot be read"),
    "one bit flipped": (edited, "changed after it was written"),
    "huge header": (lambda path: struct.pack("<Q", 2**63) + b"{}", "header claims"),
    "header not JSON": (with_header(b"{nonsense"), "not JSON"),
    "header not UTF-8": (with_header(b"\xff\xfe{}"), "not JSON"),
    "header nested": (with_header(b"[" * 100_000), "not JSON"),
    "header a list": (with_header(b"[1]"), "not a JSON object"),
    "no metadata": (with_header(b"{}"), "nothing about a model"),
    "metadata not strings": (with_header(b'{"__metadata__": {"a": 1}}'), "nothing about a model"),
    "another format": (with_metadata(format="pt"), "format is 'pt'"),
    "a later version": (with_metadata(format_version="2"), "version is '2'"),
    "description replaced": (with_metadata(model='{"classes": 1}'), "does not name its classes"),
    "description not JSON": (with_metadata(model="{"), "not JSON"),
    "offsets beyond": (offsets(0, 10**12), "arrays cannot be read"),
    "offsets reversed": (offsets(96, 0), "arrays cannot be read"),
    "huge shape": (
        raw_header(lambda header: header["coef"].update(shape=[2**62, 2**62])),
        "arrays cannot be read",
    ),
    "dtype unknown": (
        raw_header(lambda header: header["coef"].update(dtype="F7")),
        "arrays cannot be read",
    ),
    "array too many": (with_tensors(extra=np.ones(1)), "holds arrays"),
    "int weights": (with_tensors(coef=COEF.astype(int)), "coef has dtype int64"),
    "half weights": (with_tensors(coef=COEF.astype(np.float16)), "coef has dtype float16"),
    "flat weights": (with_tensors(coef=COEF.ravel()), "coef has 1 dimensions"),
    "too few rows": (with_tensors(coef=COEF[:2]), "do not fit 3 classes"),
    "no columns": (with_tensors(coef=COEF[:, :0]), "do not fit 3 classes"),
    "intercept too long": (with_tensors(intercept=np.ones(4)), "do not fit 3 classes"),
    "nan": (with_tensors(coef=COEF * np.nan), "not finite"),
    "infinite": (with_tensors(intercept=np.array([0, np.inf, 0])), "not finite"),
    "no classes": (described(classes=None), "does not name its classes"),
    "object dtype": (
        described(classes={"dtype": "|V8", "values": [1, 2, 3]}),
        "not of their dtype",
    ),
    "long dtype": (
        described(classes={"dtype": "<U999999999999", "values": ["a", "b", "c"]}),
        "not of their dtype",
    ),
    "labels cut": (
        described(classes={"dtype": "<U1", "values": ["ab", "b", "c"]}),
        "not of their dtype",
    ),
    "labels beyond their dtype": (
        described(classes={"dtype": "|i1", "values": [1, 2, 300]}),
        "not of their dtype",
    ),
    "labels of another type": (
        described(classes={"dtype": "<i8", "values": [1, 2, "x"]}),
        "not of their dtype",
    ),
    "labels out of order": (
        described(classes={"dtype": "<i8", "values": [1, 3, 2]}),
        "distinct and in order",
    ),
    "labels repeated": (
        described(classes={"dtype": "<i8", "values": [1, 2, 2]}),
        "distinct and in order",
    ),
    "one class": (described(classes={"dtype": "<i8", "values": [1]}), "do not fit|1 classes"),
    "too few names": (described(feature_names=["a"]), "do not name 4 features"),
    "names not text": (described(feature_names=[1, 2, 3, 4]), "do not name 4 features"),
    "no parameters": (described(parameters=None), "lacks the estimator's parameters"),
    "unknown parameter": (described(parameters={"evil": 1}), "Invalid parameter"),
    "negative C": (described(parameters={"C": -1.0}), "C is -1.0"),
    "callback": (described(parameters={"callback": "os.system"}), "callback is"),
    "iterations": (described(n_iter=-1), "n_iter is -1"),
    "gap": (described(duality_gap="0"), "duality_gap is '0'"),
    "history a list": (described(history=[[1, 2]]), "history is not lists"),
    "history uneven": (
        described(history={"objective": [1.0], "gap": [], "seconds": []}),
        "history is not lists",
    ),
    "history of text": (
        described(history={"objective": ["x"], "gap": [0.0], "seconds": [0.0]}),
        "history is not lists",
    ),
    "multilabel": (described(multilabel=1), "multilabel is 1"),
    "another estimator": (
        with_metadata(format="softmax.SigmoidRegression"),
        "format is 'softmax.SigmoidRegression'",
    ),
}


def main() -> None:
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    sound = HERE / "sound.model"
    SoftmaxRegression(C=2.0).fit(X, names[y]).save(sound)
    for name, (build, _) in MALFORMED.items():
        (HERE / f"{name.replace(' ', '-')}.safetensors").write_bytes(build(sound))
    reasons = {name.replace(" ", "-"): reason for name, (_, reason) in MALFORMED.items()}
    (HERE / "reasons.json").write_text(json.dumps(reasons, indent=1) + "\n")


if __name__ == "__main__":
    main()
