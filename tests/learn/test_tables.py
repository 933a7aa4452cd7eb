"""Tables from every source arrive the same, and a bad one is refused in one sentence."""

import io
import sys
from datetime import date
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from softmax.learn.tables import (
    EMBEDDED,
    class_labels,
    class_positions,
    named_column,
    read_table,
)

TABLE = pl.DataFrame(
    {
        "mass": [1.5, None, 3.0, 4.25],
        "count": [1, 2, None, 4],
        "colour": ["red", None, "blue, dark", "red"],
        "ripe": [True, False, None, True],
    }
)


def write(table, path):
    writers = {
        ".csv": table.write_csv,
        ".tsv": lambda file: table.write_csv(file, separator="\t"),
        ".parquet": table.write_parquet,
        ".arrow": table.write_ipc,
    }
    writers[path.suffix](path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow"])
def test_every_format_gives_the_same_table(tmp_path, suffix):
    assert_frame_equal(read_table(write(TABLE, tmp_path / f"table{suffix}")), TABLE)


def test_standard_input_is_csv(monkeypatch):
    content = io.BytesIO(TABLE.write_csv().encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content))
    assert_frame_equal(read_table("-"), TABLE)


def test_every_spelling_of_missing(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("x,y\n1,a\nNA,NULL\nNaN,N/A\n,n/a\nnan,\n2.5,b\n")
    table = read_table(str(path))
    assert table["x"].to_list() == [1.0, None, None, None, None, 2.5]
    assert table["y"].to_list() == ["a", None, None, None, None, "b"]


def test_other_types_become_plain(tmp_path):
    rich = pl.DataFrame(
        {
            "nan": pl.Series([1.0, float("nan")], dtype=pl.Float32),
            "decimal": pl.Series(["1.50", "2.25"]).cast(pl.Decimal(10, 2)),
            "categorical": pl.Series(["a", "b"], dtype=pl.Categorical),
            "enum": pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
            "day": [date(2024, 1, 1), date(2024, 1, 2)],
        }
    )
    table = read_table(write(rich, tmp_path / "rich.parquet"))
    assert table.dtypes == [pl.Float64, pl.Float64, pl.String, pl.String, pl.Date]
    assert table.row(0) == (1.0, 1.5, "a", "a", date(2024, 1, 1))
    assert table.row(1) == (None, 2.25, "b", None, date(2024, 1, 2))


def test_a_late_fraction_is_still_a_number(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("x\n" + "1\n" * 5000 + "0.5\n")
    assert read_table(str(path))["x"].dtype == pl.Float64


def test_text_that_looks_like_numbers_can_stay_text(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("code,x\n007,1\n008,2\n")
    assert read_table(str(path))["code"].to_list() == [7, 8]
    table = read_table(str(path), text_columns=["code", "not there"])
    assert table["code"].to_list() == ["007", "008"]
    assert table["x"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (1797, 65), list(range(10))),
        ("iris", (150, 5), ["setosa", "versicolor", "virginica"]),
        ("wine", (178, 14), ["class_0", "class_1", "class_2"]),
        ("breast-cancer", (569, 31), ["benign", "malignant"]),
    ],
)
def test_embedded_data(name, shape, classes):
    table = read_table(name)
    assert name in EMBEDDED
    assert table.shape == shape
    assert table["target"].unique().sort().to_list() == classes


@pytest.mark.parametrize("name", ["./iris", "iris.csv"])
def test_a_path_is_never_an_embedded_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"there is no file '{name}'"):
        read_table(name)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.csv", b"", "'.*empty.csv' is empty"),
        ("blank.csv", b" \n\n", "'.*blank.csv' is empty"),
        ("header.csv", b"a,b\n", "'.*header.csv' has no rows"),
        ("ragged.csv", b"a,b\n1,2,3\n", "cannot be read as CSV: found more fields"),
        ("latin.csv", b"a,b\n1,caf\xe9\n", "cannot be read as CSV"),
        ("empty.parquet", b"", "'.*empty.parquet' is empty"),
        ("words.parquet", b"these are words", "cannot be read as Parquet"),
        ("words.arrow", b"these are words", "cannot be read as Arrow"),
        ("table.xlsx", b"PK", "must end in .csv, .tsv, .parquet or .arrow"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as refused:
        read_table(str(tmp_path / name))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short(tmp_path, suffix, share):
    path = tmp_path / f"table{suffix}"
    write(TABLE, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="cannot be read as"):
        read_table(str(path))


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(ValueError, match="is a folder, not a table"):
        read_table(str(tmp_path))


def test_target_column():
    table = pl.DataFrame({"Species": ["a"], "width": [1.0]})
    assert named_column(table, "Species") == "Species"
    assert named_column(table.rename({"width": "target"}), None) == "target"
    with pytest.raises(ValueError, match=r"--target; the columns are 'Species', 'width'$"):
        named_column(table, None)
    with pytest.raises(ValueError, match=r"no column 'species'.*did you mean 'Species'\?"):
        named_column(table, "species")
    with pytest.raises(ValueError, match=r"no column 'zzz'; the columns are 'Species', 'width'$"):
        named_column(table, "zzz")


def test_many_columns_are_not_all_listed():
    table = pl.DataFrame({f"x{k}": [0] for k in range(100)})
    with pytest.raises(ValueError, match=r"'x19' and 80 more$"):
        named_column(table, None)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a"], ["b", "a"]),
        ([True, False], ["true", "false"]),
        ([3, 1], [3, 1]),
        ([3.0, -1.0], [3, -1]),
        (pl.Series([3, 1], dtype=pl.UInt8), [3, 1]),
    ],
)
def test_labels(values, labels):
    found = class_labels(pl.Series("y", values))
    assert found.tolist() == labels
    assert found.dtype.kind == ("U" if isinstance(labels[0], str) else "i")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1.0, 2.5], "the target 'y' holds numbers such as 2.5: classes must be"),
        ([1.0, float("inf")], "the target 'y' holds numbers such as inf: classes must be"),
        (pl.Series([1, 2**63], dtype=pl.UInt64), "holds numbers such as 9.22337e"),
        ([date(2024, 1, 1)], "the target 'y' holds values of type Date: classes must be"),
        ([[1], [2]], "holds values of type List"),
    ],
)
def test_what_names_no_class(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        class_labels(pl.Series("y", values))


def test_positions_of_labels():
    assert class_positions(np.array([7, 3, 7]), np.array([3, 7]), "y").tolist() == [1, 0, 1]
    text = np.array(["10", "9"])
    assert class_positions(np.array([9, 10]), text, "y").tolist() == [1, 0]
    with pytest.raises(ValueError, match="'y' holds '4', which is no class of the model; its"):
        class_positions(np.array([3, 4]), np.array([3, 7]), "y")
    with pytest.raises(ValueError, match="'y' holds 'a', which is no class of the model; its"):
        class_positions(np.array(["a"]), np.array([3, 7]), "y")
