"""How the command refuses bad input, and what is left when it is stopped."""

import json
import os
from pathlib import Path

import polars as pl
import pytest

from command import refuse, run, succeed
from fruit import fruit
from softmax import cli

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_missing_file():
    assert "there is no file 'nowhere.csv'" in refuse("fit", "nowhere.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b""), ("a.csv", b"x,y\n"), ("a.csv", b"x,y\n1,2,3\n"), ("a.parquet", b"PAR1")],
)
def test_an_unreadable_or_empty_file(name, content):
    Path(name).write_bytes(content)
    assert f"'{name}'" in refuse("fit", name)


def test_an_empty_standard_input():
    assert "standard input is empty" in refuse("fit", "-", stdin="")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission():
    Path("secret.csv").touch(mode=0)
    assert "Permission denied: 'secret.csv'" in refuse("fit", "secret.csv")


def test_a_missing_target_column():
    fruit().write_csv("fruit.csv")
    sentence = refuse("fit", "fruit.csv", "--target", "knid")
    assert "there is no column 'knid'; the columns are 'mass', 'colour', 'ripe', 'kind'" in sentence
    assert "did you mean 'kind'?" in sentence
    assert "name the column to predict with --target" in refuse("fit", "fruit.csv")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (["a", "a", "a"], "'target' is a in all 3 rows: at least two classes expected"),
        (["a", "b", "c"], "'target' is different in each of the 3 rows"),
        ([0.5, 0.5, 1.5], "'target' holds numbers such as 0.5"),
        ([None, None, None], "every value of the target 'target' is missing"),
    ],
)
def test_a_target_without_classes(target, sentence):
    pl.DataFrame({"x": [1.0, 2.0, 3.0], "target": target}).write_parquet("y.parquet")
    assert sentence in refuse("fit", "y.parquet")


def test_a_number_without_bounds():
    pl.DataFrame({"x": [1.0, float("inf")] * 5, "target": [0, 1] * 5}).write_parquet("x.parquet")
    assert "the column 'x' holds inf: finite numbers" in refuse("fit", "x.parquet")


def test_no_column_to_learn_from():
    pl.DataFrame({"target": [0, 1, 0, 1]}).write_csv("y.csv")
    assert "beside the target 'target' no column is left" in refuse("fit", "y.csv")


@pytest.mark.parametrize("option", [("--C", 0), ("--C", -1), ("--C", "nan"), ("--test-size", 1)])
def test_an_option_out_of_range(option):
    name = option[0].lstrip("-").replace("-", "_")
    assert name in refuse("fit", "iris", *option)


def test_a_folder_that_does_not_exist(fruit_model):
    sentence = "there is no folder 'nowhere'"
    assert sentence in refuse("fit", "iris", "--out", "nowhere/m.safetensors")
    assert sentence in refuse("predict", fruit_model, "fruit.csv", "--out", "nowhere/labels.csv")


def test_a_place_that_is_no_file(fruit_model):
    Path("folder").mkdir()
    os.mkfifo("pipe")
    for place in ("folder", "pipe"):
        assert "it exists and is not a file" in refuse("fit", "iris", "--out", place)
        assert "not a file" in refuse("predict", fruit_model, "fruit.csv", "--out", place)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.999])
def test_a_model_file_cut_short(fruit_model, command, share):
    whole = Path(fruit_model).read_bytes()
    Path(fruit_model).write_bytes(whole[: int(share * len(whole))])
    sentence = refuse(command, fruit_model, "fruit.csv")
    assert "'fruit.safetensors' is not a usable model file: " in sentence


def test_a_file_that_is_no_model(fruit_model):
    assert "'fruit.csv' is not a usable model" in refuse("predict", "fruit.csv", "iris")
    assert "there is no model file 'none'" in refuse("predict", "none", "iris")


def edit(path, change):
    """Change the header of a safetensors file: 8 bytes of length, JSON, then the numbers."""
    content = Path(path).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header["__metadata__"])
    edited = json.dumps(header).encode()
    Path(path).write_bytes(len(edited).to_bytes(8, "little") + edited + content[8 + length :])


def drop_a_category(metadata):
    fields = json.loads(metadata["preprocessing"])
    fields["categorical"][1]["categories"].pop()
    fields["categorical"][1]["fill"] = fields["categorical"][1]["categories"][0]
    metadata["preprocessing"] = json.dumps(fields)


def move_a_mean(metadata):
    fields = json.loads(metadata["preprocessing"])
    fields["numeric"][0]["mean"] += 1
    metadata["preprocessing"] = json.dumps(fields)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda metadata: metadata.pop("preprocessing"), "was not written by softmax fit"),
        (lambda metadata: metadata.update(preprocessing="{}"), "the columns is damaged"),
        (lambda metadata: metadata.clear(), "its format is None"),
        (move_a_mean, "it was changed after it was written"),
        (drop_a_category, "its columns give 4 features and its weights take 5"),
    ],
)
def test_an_edited_model_file(fruit_model, change, sentence):
    edit(fruit_model, change)
    refusal = refuse("predict", fruit_model, "fruit.csv")
    assert "'fruit.safetensors' is not a usable model file: " in refusal
    assert sentence in refusal


def test_the_preprocessing_of_another_model(fruit_model):
    other = Path("other.safetensors")
    succeed("fit", "fruit.csv", "--target", "kind", "--seed", 9, "--quiet", "--out", other)
    content = other.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    taken = {
        name: header["__metadata__"][name] for name in ("preprocessing", "preprocessing_sha256")
    }
    edit(fruit_model, lambda metadata: metadata.update(taken))
    assert "it was changed after" in refuse("predict", fruit_model, "fruit.csv")


def test_missing_columns_in_predict(fruit_model):
    fruit().select("ripe").write_csv("few.csv")
    sentence = refuse("predict", fruit_model, "few.csv")
    assert "needs the columns 'mass', 'colour', which the table does not have" in sentence


def test_text_where_the_model_learnt_numbers(fruit_model):
    rows = "mass,colour,ripe\nheavy,red,true\n"
    assert "the column 'mass' must hold numbers" in refuse("predict", fruit_model, "-", stdin=rows)


def test_evaluate_needs_known_labels(fruit_model):
    fruit().drop("kind").write_csv("unlabelled.csv")
    assert "there is no column 'kind'" in refuse("evaluate", fruit_model, "unlabelled.csv")
    fruit().with_columns(kind=pl.lit("plum")).write_csv("plums.csv")
    assert "'kind' holds 'plum', which is no class of the model" in refuse(
        "evaluate", fruit_model, "plums.csv"
    )


def test_a_folder_that_may_not_be_written_to(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot write 'iris.safetensors': the folder may not be" in refuse("fit", "iris")


def stop_with(error):
    def stop(*arguments):
        raise error

    return stop


@pytest.mark.parametrize("moment", ["labelled_rows", "train", "write_model"])
def test_ctrl_c(monkeypatch, moment):
    monkeypatch.setattr(cli, moment, lambda *_, **__: stop_with(KeyboardInterrupt)())
    result = run("fit", "iris")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device", "m.safetensors"), 2)],
)
def test_nothing_half_written(fruit_model, monkeypatch, error, status):
    before = {path.name: path.read_bytes() for path in Path.cwd().iterdir()}
    monkeypatch.setattr(Path, "replace", stop_with(error))
    arguments = {"fit": ["fruit.csv", "--target", "ripe"], "predict": [fruit_model, "fruit.csv"]}
    for command, further in arguments.items():
        out = "fruit.safetensors" if command == "fit" else "labels.csv"
        result = run(command, *further, "--out", out)
        assert result.exit_code == status
        assert {path.name: path.read_bytes() for path in Path.cwd().iterdir()} == before
