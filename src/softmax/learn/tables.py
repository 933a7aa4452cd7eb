"""Reading a table: its columns brought down to numbers, booleans and text, and its labels.

Polars reads the file. Whatever the file says in its own way (NaN beside null, decimals beside
floats, categories beside strings) is said in one way afterwards, so that nothing further on needs
to know where a table came from.
"""

from __future__ import annotations

import difflib
import io
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["EMBEDDED", "class_labels", "class_positions", "named_column", "read_table"]

# Data sets that come with scikit-learn, by the name of their loader.
EMBEDDED = {
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
    "breast-cancer": "load_breast_cancer",
}

# What stands for a missing value in a CSV file, beside nothing at all.
_MISSING = ["NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "NULL", "null"]


def read_table(source: str, text_columns: Collection[str] = ()) -> pl.DataFrame:
    """Read a table and bring its columns down to numbers, booleans and text.

    Parameters
    ----------
    source : str
        A file (.csv, .tsv, .parquet, .arrow), ``-`` for CSV from standard input, or the name of
        an embedded data set: digits, iris, wine, breast-cancer.
    text_columns : collection of str
        Columns to read as text from a CSV file even where they look like something else.

    Returns
    -------
    polars.DataFrame
        Floats, integers, booleans and strings, where null is the only kind of missing value.
        Columns of other types stay as they are.

    Raises
    ------
    ValueError
        If the file cannot be read as its suffix says, or holds no rows.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> read_table("iris").columns[-2:]
    ['petal width (cm)', 'target']
    """
    if source in EMBEDDED:
        return _embedded_table(source)
    table = _parse(source, text_columns)
    if table.is_empty():
        raise ValueError(f"{_spoken(source)} has no rows: a header and at least one row expected")
    return table.with_columns(_plain_types(table))


def named_column(table: pl.DataFrame, name: str | None) -> str:
    """Return the name of the target column, or say which columns there are.

    Without a name, a column called ``target`` is meant.
    """
    if name is None and "target" in table.columns:
        return "target"
    if name in table.columns:
        return name
    columns = listed(table.columns)
    if name is None:
        raise ValueError(f"name the column to predict with --target; the columns are {columns}")
    nearest = difflib.get_close_matches(
        name.casefold(), [column.casefold() for column in table.columns], n=1
    )
    suggestions = [column for column in table.columns if column.casefold() in nearest]
    hint = f"; did you mean {suggestions[0]!r}?" if suggestions else ""
    raise ValueError(f"there is no column {name!r}; the columns are {columns}{hint}")


def class_labels(column: pl.Series) -> NDArray[np.generic]:
    """Return the labels of a column without missing values, as int64 or as strings.

    Raises
    ------
    ValueError
        If the column holds fractions, dates or anything else that does not name a class.
    """
    expected = "classes must be whole numbers, text or true/false"
    if column.dtype in (pl.String, pl.Boolean):
        return np.asarray(column.cast(pl.String).to_list(), dtype=np.str_)
    if not (column.dtype.is_integer() or column.dtype.is_float()):
        raise ValueError(
            f"the target {column.name!r} holds values of type {column.dtype}: {expected}"
        )
    numbers = column.cast(pl.Float64)
    broken = numbers.filter((numbers != numbers.round()) | (numbers.abs() > 2**53))
    if len(broken):
        raise ValueError(
            f"the target {column.name!r} holds numbers such as {broken[0]:g}: {expected}"
        )
    return column.cast(pl.Int64).to_numpy()


def class_positions(
    labels: NDArray[np.generic], classes: NDArray[np.generic], target: str
) -> NDArray[np.int64]:
    """Return where each label stands among the sorted classes of a model.

    Raises
    ------
    ValueError
        If a label is no class of the model.
    """
    if classes.dtype.kind == "U":
        labels = labels.astype(np.str_)
    known = np.isin(labels, classes)
    if not known.all():
        raise ValueError(
            f"the target {target!r} holds {str(labels[~known][0])!r}, which is no class of the "
            f"model; its classes are {listed([str(name) for name in classes])}"
        )
    return np.searchsorted(classes, labels)


def _embedded_table(name: str) -> pl.DataFrame:
    from sklearn import datasets

    bunch = getattr(datasets, EMBEDDED[name])()
    names = [str(feature) for feature in bunch.feature_names]
    return pl.DataFrame(bunch.data, schema=names).with_columns(
        pl.Series("target", bunch.target_names[bunch.target])
    )


def _parse(source: str, text_columns: Collection[str]) -> pl.DataFrame:
    if source == "-":
        return _parse_csv(sys.stdin.buffer.read(), source, text_columns)
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{source!r} is a folder, not a table")
    content = path.read_bytes() if path.exists() else None
    if content is None:
        names = ", ".join(EMBEDDED)
        raise FileNotFoundError(f"there is no file {source!r} (embedded data: {names})")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _parse_csv(content, source, text_columns, "\t" if suffix == ".tsv" else ",")
    readers = {".parquet": pl.read_parquet, ".arrow": pl.read_ipc}
    if suffix not in readers:
        raise ValueError(f"{source!r} must end in .csv, .tsv, .parquet or .arrow")
    if not content:
        raise ValueError(f"{source!r} is empty")
    try:
        return readers[suffix](io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        kind = suffix[1:].capitalize()
        raise ValueError(f"{source!r} cannot be read as {kind}: {_first_line(error)}") from None


def _parse_csv(
    content: bytes, source: str, text_columns: Collection[str], separator: str = ","
) -> pl.DataFrame:
    if not content.strip():
        raise ValueError(f"{_spoken(source)} is empty: a header and at least one row expected")
    try:
        return pl.read_csv(
            content,
            separator=separator,
            null_values=_MISSING,
            infer_schema_length=None,  # all rows: whole numbers may turn into fractions anywhere
            schema_overrides=dict.fromkeys(text_columns, pl.String),
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(f"{_spoken(source)} cannot be read as CSV: {_first_line(error)}") from None


def _plain_types(table: pl.DataFrame) -> list[pl.Series]:
    plain = []
    for column in table:
        if column.dtype.is_float() or column.dtype.is_decimal():
            plain.append(column.cast(pl.Float64).fill_nan(None))
        elif column.dtype in (pl.Categorical, pl.Enum):
            plain.append(column.cast(pl.String))
    return plain


def listed(names: Collection[str], most: int = 20) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _spoken(source: str) -> str:
    return "standard input" if source == "-" else repr(source)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
