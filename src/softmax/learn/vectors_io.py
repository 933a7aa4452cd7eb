"""Word vectors as files: safetensors to load again, word2vec's text format for others.

What is read is checked as in `model_io`: version, shapes, dtypes, finiteness, words, and a digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from softmax.learn.model_io import RefusalError, digest, parse_json, refuse_unless

__all__ = ["SavedVectors", "read_vectors", "write_vectors", "write_word2vec"]

FORMAT = "softmax.SkipGram"
VERSION = "1"


@dataclass(frozen=True)
class SavedVectors:
    """What a file of word vectors holds."""

    vectors: NDArray[np.float32]
    context_vectors: NDArray[np.float32]
    words: list[str]
    parameters: dict[str, Any]


def write_vectors(path: str | os.PathLike[str], saved: SavedVectors) -> None:
    """Write vectors beside `path`, then rename the file, so that none is left half-written."""
    tensors = {"vectors": saved.vectors, "context_vectors": saved.context_vectors}
    text = json.dumps({"words": saved.words, "parameters": saved.parameters}, default=float)
    metadata = {
        "format": FORMAT,
        "format_version": VERSION,
        "model": text,
        "sha256": digest(text, tensors),
    }
    replace_file(Path(path), save(tensors, metadata))


def read_vectors(path: str | os.PathLike[str]) -> SavedVectors:
    """Read and check what `write_vectors` wrote; ValueError where it is anything else."""
    data = Path(path).read_bytes()
    try:
        return checked_vectors(data)
    except RefusalError as refusal:
        raise ValueError(f"{os.fspath(path)!r} is not a usable model file: {refusal}") from None


def checked_vectors(data: bytes) -> SavedVectors:
    """Take a file apart; every part must agree with the others."""
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RefusalError(f"its arrays cannot be read ({error})") from None
    header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")], "its header")
    metadata: Any = header.get("__metadata__") or {}
    for key, expected in (("format", FORMAT), ("format_version", VERSION)):
        found = metadata.get(key)
        refuse_unless(found == expected, f"its {key} is {found!r} where {expected!r} was expected")
    names = sorted(tensors)
    refuse_unless(names == ["context_vectors", "vectors"], f"it holds arrays {names}")
    text = metadata.get("model", "")
    refuse_unless(
        metadata.get("sha256") == digest(text, tensors), "it was changed after it was written"
    )
    model = parse_json(text, "its description")
    words: Any = model.get("words")
    parameters: Any = model.get("parameters")
    refuse_unless(
        isinstance(words, list)
        and len(words) > 0
        and all(isinstance(word, str) for word in words)
        and len(set(words)) == len(words),
        "its words are not a list of different words",
    )
    refuse_unless(isinstance(parameters, dict), "it lacks the model's parameters")
    vectors, contexts = tensors["vectors"], tensors["context_vectors"]
    for name, array in (("vectors", vectors), ("context_vectors", contexts)):
        fits = array.ndim == 2 and array.dtype == np.float32 and len(array) == len(words)
        refuse_unless(fits, f"its {name} are not a float32 row for each of {len(words)} words")
        refuse_unless(bool(np.isfinite(array).all()), f"its {name} are not finite")
    refuse_unless(vectors.shape == contexts.shape, "its vectors differ in their dimensions")
    return SavedVectors(vectors, contexts, words, parameters)


def write_word2vec(path: Path, words: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Write a line with the shape, then each word and its numbers, enough digits for float32."""
    for word in words:
        if word.split() != [word]:
            raise ValueError(f"word2vec's format cannot hold the word {word!r}: it has white space")
    lines = [f"{len(vectors)} {vectors.shape[1]}"]
    for word, row in zip(words, vectors.tolist(), strict=True):
        lines.append(" ".join([word, *(f"{value:.9g}" for value in row)]))
    replace_file(path, ("\n".join(lines) + "\n").encode())


def replace_file(path: Path, data: bytes) -> None:
    """Write beside the path, then rename there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
