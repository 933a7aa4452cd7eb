"""From columns to features: gaps filled, numbers standardised, texts one-hot encoded.

What the training rows teach about a column (the value that fills a gap, the mean and scale of a
number, the categories of a text) is kept as plain numbers and words, so that it travels in a model
file as JSON. scikit-learn's transformers learn those numbers and apply them; after loading they
are built again from the numbers, through scikit-learn's public names only, so that a model file
outlives the version that wrote it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from softmax.learn.tables import listed

__all__ = ["CategoricalColumn", "NumericColumn", "Preprocessing", "unusable_columns"]

# One-hot columns are dense, so a text column with more values than this is left out.
MOST_CATEGORIES = 1000

# The square of a larger number overflows where the scale of a column is computed.
_LARGEST_NUMBER = 1e150


def unusable_columns(table: pl.DataFrame) -> dict[str, str]:
    """Name the columns that can teach a model nothing, each with the reason."""
    reasons = {column.name: _why_unusable(column) for column in table}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@dataclass(frozen=True)
class NumericColumn:
    """A column that is filled with its mean, then moved to mean 0 and scaled to variance 1."""

    name: str
    fill: float
    mean: float
    scale: float


@dataclass(frozen=True)
class CategoricalColumn:
    """A text or true/false column that is filled with its most frequent value, then one-hot."""

    name: str
    boolean: bool
    fill: str
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Preprocessing:
    """The way from a table's columns to a model's features, as learnt from the training rows.

    Attributes
    ----------
    target : str
        The column that the model predicts.
    numeric : tuple of NumericColumn
        Give one feature each, first.
    categorical : tuple of CategoricalColumn
        Give one feature for each category, after the numbers; a value that the training rows
        did not hold gives 0 in all of them.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"mass": [1.0, None, 3.0], "colour": ["red", "blue", "red"]})
    >>> preprocessing = Preprocessing.learn(table, target="kind")
    >>> preprocessing.features(table).round(3).tolist()
    [[-1.225, 0.0, 1.0], [0.0, 1.0, 0.0], [1.225, 0.0, 1.0]]
    >>> Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    True
    """

    target: str
    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    @classmethod
    def learn(cls, table: pl.DataFrame, target: str) -> Preprocessing:
        """Learn fill values, scales and categories from the training rows.

        Parameters
        ----------
        table : polars.DataFrame
            The training rows with the feature columns alone, each with at least one value.
        target : str
            The name of the column that the model will predict.

        Raises
        ------
        ValueError
            If no column is left to learn from, or a number is infinite or above 1e150.
        """
        numeric = [column.name for column in table if column.dtype.is_numeric()]
        categorical = [name for name in table.columns if name not in numeric]
        if not table.columns:
            raise ValueError(f"beside the target {target!r} no column is left to learn from")
        transformer = _column_transformer(numeric, categorical)
        plain = [_finite(table[name]) for name in numeric] + [
            _text(table[name]) for name in categorical
        ]
        transformer.fit(pl.DataFrame(plain))

        numbers = []
        if numeric:
            imputer, scaler = transformer.named_transformers_["numeric"]
            parameters = zip(imputer.statistics_, scaler.mean_, scaler.scale_, strict=True)
            numbers = [
                NumericColumn(name, *map(float, found))
                for name, found in zip(numeric, parameters, strict=True)
            ]
        texts = []
        if categorical:
            imputer, encoder = transformer.named_transformers_["categorical"]
            texts = [
                CategoricalColumn(name, table[name].dtype == pl.Boolean, fill, tuple(categories))
                for name, fill, categories in zip(
                    categorical, imputer.statistics_, encoder.categories_, strict=True
                )
            ]
        return cls(target, tuple(numbers), tuple(texts))

    @property
    def columns(self) -> list[str]:
        """Names of the columns that a table must have."""
        return [column.name for column in self.numeric] + [
            column.name for column in self.categorical
        ]

    @property
    def text_columns(self) -> list[str]:
        """Those that must be read as text even where they look like numbers."""
        return [column.name for column in self.categorical if not column.boolean]

    @property
    def n_features(self) -> int:
        """How many features `features` returns."""
        return len(self.numeric) + sum(len(column.categories) for column in self.categorical)

    def features(self, table: pl.DataFrame) -> NDArray[np.float64]:
        """Turn a table into the (n, n_features) matrix that the model takes.

        Raises
        ------
        ValueError
            If a column is missing, or holds what cannot be read as the model learnt it.
        """
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise ValueError(
                f"the model needs the column{plural} {listed(missing)}, which the table does not "
                f"have; its columns are {listed(table.columns)}"
            )
        plain = [_finite(table[column.name]) for column in self.numeric] + [
            _text(table[column.name], column.boolean) for column in self.categorical
        ]
        features: NDArray[np.float64] = self._transformer.transform(pl.DataFrame(plain))
        return features

    def missing_values(self, table: pl.DataFrame) -> dict[str, int]:
        """Count the gaps that `features` will fill, by column."""
        counts = {name: table[name].null_count() for name in self.columns if name in table.columns}
        return {name: count for name, count in counts.items() if count}

    def to_json(self) -> str:
        """Write everything there is to know as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If a field is missing, superfluous, of another type or out of range.
        """
        try:
            fields = json.loads(text)
            preprocessing = cls(
                fields["target"],
                tuple(NumericColumn(**column) for column in fields["numeric"]),
                tuple(
                    CategoricalColumn(**{**column, "categories": tuple(column["categories"])})
                    for column in fields["categorical"]
                ),
            )
            preprocessing._validate()
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"its description of the columns is damaged ({error})") from None
        return preprocessing

    def _validate(self) -> None:
        names = [self.target, *self.columns]
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ValueError("column names must be different strings")
        for number in self.numeric:
            values = (number.fill, number.mean, number.scale)
            if not all(type(value) is float and math.isfinite(value) for value in values):
                raise ValueError(f"{number.name!r} has a value that is not a finite number")
            if number.scale <= 0:
                raise ValueError(f"{number.name!r} has a scale of {number.scale}")
        for column in self.categorical:
            words = (column.fill, *column.categories)
            if type(column.boolean) is not bool or not all(isinstance(word, str) for word in words):
                raise ValueError(f"{column.name!r} has a category that is not a string")
            if column.fill not in column.categories or len(set(words)) < len(column.categories):
                raise ValueError(f"the categories of {column.name!r} contradict each other")

    @cached_property
    def _transformer(self) -> Any:
        # Fitted on a single row of the fill values, an imputer's statistics are these values.
        numeric = {column.name: [column.fill] for column in self.numeric}
        categorical = {column.name: [column.fill] for column in self.categorical}
        transformer = _column_transformer(
            list(numeric),
            list(categorical),
            [list(column.categories) for column in self.categorical],
        )
        transformer.fit(pl.DataFrame(numeric | categorical))
        if numeric:
            scaler = transformer.named_transformers_["numeric"][-1]
            scaler.mean_ = np.array([column.mean for column in self.numeric])
            scaler.scale_ = np.array([column.scale for column in self.numeric])
            scaler.var_ = scaler.scale_**2
        return transformer


def _column_transformer(
    numeric: list[str], categorical: list[str], categories: list[list[str]] | None = None
) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="mean"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(missing_values=None, strategy="most_frequent"),
        OneHotEncoder(
            categories="auto" if categories is None else categories,
            handle_unknown="ignore",
            sparse_output=False,
        ),
    )
    return ColumnTransformer(
        [("numeric", numbers, numeric), ("categorical", texts, categorical)], sparse_threshold=0
    )


def _finite(column: pl.Series) -> pl.Series:
    try:
        numbers = column.cast(pl.Float64)
    except pl.exceptions.PolarsError:
        raise ValueError(
            f"the column {column.name!r} must hold numbers; {_example(column)}"
        ) from None
    too_large = numbers.filter(numbers.abs() > _LARGEST_NUMBER)
    if len(too_large):
        raise ValueError(
            f"the column {column.name!r} holds {too_large[0]:g}: finite numbers below "
            f"{_LARGEST_NUMBER:g} expected"
        )
    return numbers


def _text(column: pl.Series, boolean: bool = False) -> pl.Series:
    if boolean and column.dtype not in (pl.Boolean, pl.Null):
        raise ValueError(f"the column {column.name!r} must hold true or false; {_example(column)}")
    return column.cast(pl.String)


def _example(column: pl.Series) -> str:
    return f"it holds values of type {column.dtype}, such as {column.drop_nulls()[0]!r}"


def _why_unusable(column: pl.Series) -> str | None:
    present = column.drop_nulls()
    if present.is_empty():
        return "it is empty"
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return None
    if column.dtype != pl.String:
        return f"its type is {column.dtype}"
    n_values = present.n_unique()
    if n_values == len(present):
        return "its text is different in every row"
    if n_values > MOST_CATEGORIES:
        return f"it has {n_values} different texts, more than {MOST_CATEGORIES}"
    return None
