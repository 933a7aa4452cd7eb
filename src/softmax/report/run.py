"""What one run of `softmax fit` read, held out and learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from softmax.learn import SoftmaxRegression
from softmax.learn.preprocessing import Preprocessing

__all__ = ["Run", "Tell"]

Tell = Callable[[str, float], None]
"""Takes what is under way, and the share of all the work that is done."""


@dataclass(frozen=True)
class Run:
    """One run of `softmax fit`.

    Attributes
    ----------
    data : str
        What the user called the table.
    n_rows : int
        Rows of the table, with a label or without.
    row_numbers : ndarray of int64, shape (n,)
        Where the n rows with a label stand in the table, from 1.
    columns : polars.DataFrame
        The columns that the model uses, n rows.
    left_out : mapping of str to str
        Columns that it does not use, each with the reason.
    X : ndarray of float64, shape (n, d)
        The features that the columns give.
    labels : ndarray, shape (n,)
        The class of each row.
    training, held_out : ndarray of int64
        The rows that the model learnt from, and those kept to judge it, positions in [0, n).
    model : SoftmaxRegression
        Fitted to the training rows.
    preprocessing : Preprocessing
        How columns become features.
    model_file : Path
        Where the model was written.
    seed : int
        What chose the held-out rows.
    """

    data: str
    n_rows: int
    row_numbers: NDArray[np.int64]
    columns: pl.DataFrame
    left_out: Mapping[str, str]
    X: NDArray[np.float64]
    labels: NDArray[Any]
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    model: SoftmaxRegression
    preprocessing: Preprocessing
    model_file: Path
    seed: int

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the model's outputs."""
        return [str(label) for label in self.model.classes_]

    @cached_property
    def true(self) -> NDArray[np.int64]:
        """The position of each row's class among the classes of the model."""
        return np.searchsorted(self.model.classes_, self.labels)
