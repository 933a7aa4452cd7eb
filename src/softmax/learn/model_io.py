"""Models as safetensors files: arrays, and a JSON header that says what they are.

Nothing read from a file is trusted. The size, the version, names, dtypes, shapes, classes and
finiteness of everything are checked, and a digest tells an edited file. Whatever is wrong is a
ValueError of one sentence. Keys of the header that other programs add are left alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

__all__ = ["SavedModel", "read_model", "write_model"]

FORMATS = {name: f"softmax.{name}" for name in ("SoftmaxRegression", "SigmoidRegression")}
VERSION = 1
LARGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
CLASS_KINDS = {"b": bool, "i": int, "u": int, "f": float, "U": str, "O": str}

Array = NDArray[np.generic]


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds."""

    coef: NDArray[Any]
    intercept: NDArray[Any]
    classes: Array
    parameters: dict[str, Any]
    n_iter: int
    duality_gap: float
    history: dict[str, list[float]] = field(default_factory=dict)
    feature_names: list[str] | None = None
    estimator: str = "SoftmaxRegression"
    multilabel: bool = False


def write_model(path: str | os.PathLike[str], model: SavedModel) -> None:
    """Write a model beside `path`, then rename it there, so that no half-written file is left.

    Raises
    ------
    ValueError
        Where the classes are neither numbers, booleans nor strings.
    OSError
        Where the file cannot be written.
    """
    tensors = {
        "coef": np.ascontiguousarray(model.coef),
        "intercept": np.ascontiguousarray(model.intercept),
    }
    header = {
        "classes": encode_classes(model.classes),
        "parameters": model.parameters,
        "n_iter": model.n_iter,
        "duality_gap": encode_number(model.duality_gap),
        "history": {k: [encode_number(v) for v in vs] for k, vs in model.history.items()},
        "multilabel": model.multilabel,
        "feature_names": model.feature_names,
    }
    text = json.dumps(header, allow_nan=False)
    metadata = {
        "format": FORMATS[model.estimator],
        "format_version": str(VERSION),
        "model": text,
        "sha256": digest(text, tensors),
    }
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(save(tensors, metadata))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def read_model(path: str | os.PathLike[str], estimator: str) -> SavedModel:
    """Read and check what `write_model` wrote for an estimator of this name.

    Raises
    ------
    ValueError
        Where the file is not a whole, unchanged model of a known version.
    OSError
        Where the file cannot be read.
    """
    name = os.fspath(path)
    data = Path(path).read_bytes()
    try:
        metadata = read_metadata(data, estimator)
        tensors = read_tensors(data)
        return checked_model(metadata, tensors, estimator)
    except RefusalError as refusal:
        raise ValueError(f"{name!r} is not a usable model file: {refusal}") from None


class RefusalError(Exception):
    """Why a file is refused."""


def refuse_unless(condition: bool, reason: str) -> None:
    """Refuse the file for this reason unless the condition holds."""
    if not condition:
        raise RefusalError(reason)


def read_metadata(data: bytes, estimator: str = "SoftmaxRegression") -> dict[str, str]:
    """Return the strings of the header, after checking that it fits the file."""
    refuse_unless(len(data) >= 8, f"it has {len(data)} bytes, fewer than a header needs")
    length = int.from_bytes(data[:8], "little")
    refuse_unless(
        length <= min(len(data) - 8, LARGEST_HEADER),
        f"its header claims {length} bytes and {len(data) - 8} follow",
    )
    header = parse_json(data[8 : 8 + length], "its header")
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise RefusalError("its header says nothing about a model")
    version = metadata.get("format_version")
    refuse_unless(
        metadata.get("format") == FORMATS[estimator],
        f"its format is {metadata.get('format')!r} where {FORMATS[estimator]!r} was expected",
    )
    refuse_unless(
        version == str(VERSION),
        f"its format version is {version!r} and this release reads {str(VERSION)!r}",
    )
    return dict(metadata)


def parse_json(text: bytes | str, what: str) -> dict[str, Any]:
    """Parse an object; NaN and Infinity, which are no JSON, are refused."""

    def refuse_constant(constant: str) -> None:
        raise ValueError(constant)

    try:
        parsed = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise RefusalError(f"{what} is not JSON") from None
    refuse_unless(isinstance(parsed, dict), f"{what} is not a JSON object")
    return dict(parsed)


def read_tensors(data: bytes) -> dict[str, Array]:
    """Return the arrays; safetensors checks offsets and sizes against the file."""
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RefusalError(f"its arrays cannot be read ({error})") from None
    refuse_unless(
        set(tensors) == {"coef", "intercept"},
        f"it holds arrays {sorted(tensors)} where 'coef' and 'intercept' were expected",
    )
    return tensors


def checked_model(
    metadata: Mapping[str, str], tensors: Mapping[str, Array], estimator: str
) -> SavedModel:
    """Build the model from a header and arrays that agree with each other."""
    refuse_unless("model" in metadata, "its header says nothing about a model")
    coef, intercept = tensors["coef"], tensors["intercept"]
    for name, array, ndim in (("coef", coef, 2), ("intercept", intercept, 1)):
        refuse_unless(
            array.dtype in (np.float32, np.float64),
            f"{name} has dtype {array.dtype} where float32 or float64 was expected",
        )
        refuse_unless(
            array.ndim == ndim, f"{name} has {array.ndim} dimensions where {ndim} was expected"
        )
        refuse_unless(bool(np.isfinite(array).all()), f"{name} has an entry that is not finite")
    header = parse_json(metadata["model"], "its description")
    classes = decode_classes(header.get("classes"))
    multilabel: Any = header.get("multilabel")
    refuse_unless(isinstance(multilabel, bool), f"multilabel is {multilabel!r}, not true or false")
    one_row = estimator == "SigmoidRegression" and len(classes) == 2 and not multilabel
    n_rows = 1 if one_row else len(classes)
    shape_is_right = coef.shape[0] == n_rows and intercept.shape == coef.shape[:1]
    refuse_unless(
        shape_is_right and coef.shape[1] > 0,
        f"coef of shape {coef.shape} and intercept of shape {intercept.shape} do not fit "
        f"{len(classes)} classes",
    )
    refuse_unless(
        metadata.get("sha256") == digest(metadata["model"], tensors),
        "it was changed after it was written",
    )
    names = header.get("feature_names")
    refuse_unless(
        names is None
        or (
            isinstance(names, list)
            and len(names) == coef.shape[1]
            and all(isinstance(name, str) for name in names)
        ),
        f"its feature names do not name {coef.shape[1]} features",
    )
    parameters: Any = header.get("parameters")
    n_iter: Any = header.get("n_iter")
    gap: Any = header.get("duality_gap")
    history: Any = header.get("history")
    refuse_unless(isinstance(parameters, dict), "it lacks the estimator's parameters")
    refuse_unless(is_count(n_iter), f"n_iter is {n_iter!r} where a count was expected")
    refuse_unless(is_number(gap), f"duality_gap is {gap!r} where a number was expected")
    refuse_unless(is_history(history), "its history is not lists of numbers of one length")
    return SavedModel(
        coef,
        intercept,
        classes,
        parameters,
        n_iter,
        float(gap),
        {name: [float(value) for value in values] for name, values in history.items()},
        names,
        estimator,
        multilabel,
    )


def digest(text: str, tensors: Mapping[str, Array]) -> str:
    """Return the SHA-256 of the description and of the arrays with their dtypes and shapes."""
    state = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        state.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def encode_classes(classes: Array) -> dict[str, Any]:
    """Return class labels as JSON with their dtype."""
    values = classes.tolist()
    kind = CLASS_KINDS.get(classes.dtype.kind)
    if kind is None or not all(isinstance(value, kind) for value in values):
        raise ValueError(
            f"classes_ of dtype {classes.dtype} cannot be saved: "
            "numbers, booleans or strings expected"
        )
    return {"dtype": classes.dtype.str, "values": values}


def decode_classes(encoded: object) -> Array:
    """Return class labels in their dtype: distinct and in order, as fit leaves them."""
    if not (
        isinstance(encoded, dict)
        and isinstance(encoded.get("dtype"), str)
        and isinstance(encoded.get("values"), list)
    ):
        raise RefusalError("it does not name its classes")
    values, name = encoded["values"], encoded["dtype"]
    try:
        dtype = np.dtype(name)
        kind = CLASS_KINDS[dtype.kind]
        if not all(type(value) is kind for value in values):
            raise ValueError
        classes = np.array(values, dtype)
        faithful = classes.dtype == dtype and classes.tolist() == values
    except (ValueError, TypeError, KeyError, OverflowError, SyntaxError):
        faithful = False
    refuse_unless(faithful, f"its classes are not of their dtype {name!r}")
    refuse_unless(len(values) >= 2, f"it has {len(values)} classes where two or more are expected")
    in_order = all(a < b for a, b in pairwise(values))
    refuse_unless(in_order, "its classes are not distinct and in order")
    return classes


def is_count(value: object) -> bool:
    """Tell a non-negative int."""
    return type(value) is int and value >= 0


def encode_number(value: float) -> float | str:
    """Return a number as JSON, which has no infinity: without a penalty the gap has no bound."""
    return "inf" if value == math.inf else value


def is_number(value: object) -> bool:
    """Tell a finite number, or "inf"."""
    return value == "inf" or (type(value) in (int, float) and math.isfinite(value))  # type: ignore[arg-type]


def is_history(value: object) -> bool:
    """Tell named lists of numbers, all of one length."""
    return (
        isinstance(value, dict)
        and {"objective", "gap", "seconds"} <= set(value)
        and all(isinstance(column, list) for column in value.values())
        and len({len(column) for column in value.values()}) == 1
        and all(is_number(number) for column in value.values() for number in column)
    )
