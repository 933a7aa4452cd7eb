"""The files that the command `softmax` writes, and reads again.

A file is written beside its place and then moved there, so that half a file is never left behind.
A model file is that of the estimator with one entry more: how its features are made.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softmax.learn import SoftmaxRegression
    from softmax.learn.preprocessing import Preprocessing

__all__ = ["check_writable", "read_model", "whole_file", "write_model"]


def check_writable(path: Path) -> None:
    """Refuse a place where no file can be written, before any work is done."""
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"cannot write {str(path)!r}: there is no folder {str(folder)!r}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {str(path)!r}: the folder may not be written to")
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot write {str(path)!r}: it exists and is not a file")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to, and move the file there once it is whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_model(path: Path, model: SoftmaxRegression, preprocessing: Preprocessing) -> None:
    """Write the estimator and, in the header of the same file, how its features are made."""
    from safetensors.numpy import load, save

    from softmax.learn.model_io import read_metadata

    with whole_file(path) as beside:
        model.save(beside)
        content = beside.read_bytes()
        metadata = read_metadata(content)
        text = preprocessing.to_json()
        metadata |= {"preprocessing": text, "preprocessing_sha256": seal(metadata, text)}
        beside.write_bytes(save(load(content), metadata))


def read_model(path: Path) -> tuple[SoftmaxRegression, Preprocessing]:
    """Read what `write_model` wrote."""
    from softmax.learn import SoftmaxRegression
    from softmax.learn.model_io import read_metadata
    from softmax.learn.preprocessing import Preprocessing

    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    model = SoftmaxRegression.load(path)
    metadata = read_metadata(path.read_bytes())
    try:
        if "preprocessing" not in metadata:
            raise ValueError("it was not written by softmax fit and says nothing about columns")
        text = metadata["preprocessing"]
        preprocessing = Preprocessing.from_json(text)
        if preprocessing.n_features != model.n_features_in_:
            raise ValueError(
                f"its columns give {preprocessing.n_features} features and its weights take "
                f"{model.n_features_in_}"
            )
        if metadata.get("preprocessing_sha256") != seal(metadata, text):
            raise ValueError("it was changed after it was written")
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a usable model file: {error}") from None
    return model, preprocessing


def seal(metadata: dict[str, str], preprocessing: str) -> str:
    """Return a digest that tells an edited preprocessing, or one of another model."""
    return hashlib.sha256((metadata["sha256"] + preprocessing).encode()).hexdigest()
