"""The command from end to end: what it prints and what it writes."""

import io
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import softmax
from command import python, refuse, succeed
from fruit import fruit, same_model
from softmax import cli

pytestmark = pytest.mark.usefixtures("own_folder")


# ---- fit


@pytest.mark.parametrize(
    ("name", "least"), [("digits", 0.94), ("iris", 0.94), ("wine", 0.94), ("breast-cancer", 0.94)]
)
def test_fit_embedded_data(name, least):
    result = succeed("fit", name)
    accuracy = float(result.stdout.partition("accuracy")[2].split()[0])
    assert accuracy >= least
    assert result.stderr == ""
    assert result.stdout.endswith(f"\nModel written to {name}.safetensors\n")
    assert Path.cwd().joinpath(f"{name}.safetensors").is_file()


def test_fit_shows_every_figure():
    output = succeed("fit", "iris", "--seed", 3).stdout
    for word in ("accuracy", "log-loss", "calibration error"):
        assert f"\n  {word}" in output
    assert "precision  recall      F1  support" in output
    assert "On 38 held-out rows:" in output

    rows = [line.split() for line in output.splitlines()]
    per_class, confusion = (
        [row[1:] for row in rows if len(row) == length and row[0] in "setosa versicolor virginica"]
        for length in (5, 4)
    )
    assert not any("0" in counts for counts in confusion)
    confusion = [[0 if count == "." else int(count) for count in row] for row in confusion]
    support = [int(row[-1]) for row in per_class]
    assert [sum(counts) for counts in confusion] == support
    assert sum(support) == 38
    hits = sum(confusion[k][k] for k in range(3))
    assert f"accuracy           {hits / 38:.4f}" in output


def test_fit_own_table_with_gaps(fruit_model):
    result = succeed("fit", "fruit.csv", "--target", "kind", "--out", "again.safetensors")
    table = fruit()
    gaps = f"'mass' ({table['mass'].null_count()}), 'colour' ({table['colour'].null_count()})"
    assert result.stderr == f"Imputed missing values (mean or most frequent value): {gaps}.\n"
    same_model("again.safetensors", fruit_model)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow"])
def test_every_format_gives_the_same_model(fruit_model, suffix):
    table = fruit()
    path = Path(f"table.{suffix}")
    {
        "csv": table.write_csv,
        "tsv": lambda file: table.write_csv(file, separator="\t"),
        "parquet": table.write_parquet,
        "arrow": table.write_ipc,
    }[suffix](path)
    succeed("fit", path, "--target", "kind", "--quiet")
    same_model("table.safetensors", fruit_model)


def test_fit_from_standard_input(fruit_model):
    succeed("fit", "-", "--target", "kind", "--quiet", stdin=fruit().write_csv())
    same_model("stdin.safetensors", fruit_model)


def test_rows_without_a_label_are_dropped():
    table = fruit().with_columns(pl.when(pl.int_range(80) != 7).then("kind").alias("kind"))
    table.write_csv("fruit.csv")
    result = succeed("fit", "fruit.csv", "--target", "kind")
    assert "Dropped 1 of 80 rows: 'kind' is missing there.\n" in result.stderr
    assert "Trained on 59 rows" in result.stdout


def test_columns_that_teach_nothing_are_left_out():
    table = fruit().with_columns(name=pl.format("fruit {}", pl.int_range(80)), empty=None)
    table.write_parquet("fruit.parquet")
    result = succeed("fit", "fruit.parquet", "--target", "kind")
    assert "Left out the column 'name': its text is different in every row.\n" in result.stderr
    assert "Left out the column 'empty': it is empty.\n" in result.stderr


def test_the_seed_chooses_the_held_out_rows():
    first, again, other = (succeed("fit", "wine", "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_nothing_held_out_nothing_judged():
    output = succeed("fit", "iris", "--test-size", 0).stdout
    assert "Trained on 150 rows, 4 features, 3 classes" in output
    assert "accuracy" not in output


def test_quiet_prints_nothing(fruit_model):
    result = succeed("fit", "fruit.csv", "--target", "kind", "--quiet")
    assert (result.stdout, result.stderr) == ("", "")


def test_the_penalty_is_passed_on():
    losses = []
    for strength in (1e-4, 1.0):
        output = succeed("fit", "iris", "--C", strength).stdout
        losses.append(float(output.partition("log-loss")[2].split()[0]))
    assert losses[0] > 3 * losses[1]


def test_more_classes_than_a_screen_shows():
    labels = np.repeat(np.arange(30), 10)
    pl.DataFrame({"x": labels + 0.0, "y": labels**2, "target": labels}).write_csv("wide.csv")
    output = succeed("fit", "wide.csv").stdout
    assert "not shown for more than 20 classes" in output
    assert " 29 " in output


def test_an_old_model_is_replaced_and_a_new_one_has_usual_permissions(fruit_model):
    old = Path(fruit_model).read_bytes()
    succeed("fit", "fruit.csv", "--target", "ripe", "--quiet")
    assert Path(fruit_model).read_bytes() != old
    beside = Path("beside")
    beside.touch()
    assert Path(fruit_model).stat().st_mode == beside.stat().st_mode


# ---- predict


def predictions(*arguments, stdin=None):
    return pl.read_csv(io.StringIO(succeed("predict", *arguments, stdin=stdin).stdout))


def test_predict_writes_labels_and_probabilities(fruit_model):
    table = fruit(20, seed=1)
    table.drop("kind").write_csv("new.csv")
    found = predictions(fruit_model, "new.csv")
    assert found.columns == ["label", "probability_apple", "probability_pear"]
    np.testing.assert_allclose(found[:, 1] + found[:, 2], 1, rtol=1e-15)
    np.testing.assert_array_equal(
        found["label"], np.where(found["probability_apple"] > 0.5, "apple", "pear")
    )
    assert (found["label"] == table["kind"]).mean() > 0.9


def test_predict_is_the_estimator_after_the_preprocessing(fruit_model):
    regression, preprocessing = cli.read_model(Path(fruit_model))
    expected = regression.predict_proba(preprocessing.features(fruit()))
    np.testing.assert_array_equal(predictions(fruit_model, "fruit.csv")[:, 1:], expected)


def test_predict_to_a_file_and_from_standard_input(fruit_model):
    rows = fruit().write_csv()
    printed = succeed("predict", fruit_model, "-", stdin=rows).stdout
    result = succeed("predict", fruit_model, "fruit.csv", "--out", "labels.csv")
    assert result.stdout == ""
    assert Path("labels.csv").read_text() == printed


def test_predict_tells_what_it_imputes(fruit_model):
    row = "mass,colour,ripe\n,red,true\n"
    stderr = succeed("predict", fruit_model, "-", stdin=row).stderr
    assert stderr == "Imputed missing values (mean or most frequent value): 'mass' (1).\n"


def test_whole_numbers_stay_whole_as_labels():
    succeed("fit", "digits", "--quiet")
    found = predictions("digits.safetensors", "digits")
    assert found["label"].dtype == pl.Int64
    assert found.columns[1:] == [f"probability_{digit}" for digit in range(10)]


def test_codes_with_leading_zeros_stay_text():
    codes = ["007", "08", "A1"] * 20
    pl.DataFrame({"code": codes, "target": ["x", "y", "y"] * 20}).write_csv("codes.csv")
    succeed("fit", "codes.csv", "--quiet")
    found = predictions("codes.safetensors", "-", stdin="code\n007\n08\n")
    assert found["label"].to_list() == ["x", "y"]


# ---- evaluate


def test_evaluate_agrees_with_fit_on_the_same_rows():
    succeed("fit", "wine", "--test-size", 0, "--quiet")
    output = succeed("evaluate", "wine.safetensors", "wine").stdout
    assert "On 178 rows:" in output
    assert float(output.partition("accuracy")[2].split()[0]) > 0.98


@pytest.mark.parametrize(
    "labels", [["007", "a"], ["08", "9"], ["true", "false"], [3, 10], ["1", "a"]]
)
def test_evaluate_reads_labels_as_fit_did(labels):
    table = pl.DataFrame({"x": [0.0, 1.0] * 20, "target": labels * 20})
    table.write_csv("all.csv")
    table[:1].write_csv("one.csv")
    succeed("fit", "all.csv", "--quiet")
    assert "accuracy           1.0000" in succeed("evaluate", "all.safetensors", "one.csv").stdout


# ---- around the commands


def test_help_names_what_there_is():
    output = succeed("--help").stdout
    for name in ("fit", "predict", "evaluate", "info", "--version"):
        assert name in output
    options = succeed(
        "fit",
        "--help",
    ).stdout
    for name in ("--target", "--out", "--C", "--test-size", "--seed", "--quiet"):
        assert name in options


def test_version_and_info():
    assert succeed("--version").stdout == f"softmax {softmax.__version__}\n"
    lines = succeed("info").stdout.splitlines()
    assert lines[0] == f"softmax {softmax.__version__}"
    assert lines[1:] == [f"{name}: {value}" for name, value in softmax.build_info().items()]


def test_python_m_softmax():
    done = python("-m", "softmax", "--version")
    assert (done.returncode, done.stdout) == (0, f"softmax {softmax.__version__}\n")
    done = python("-m", "softmax", "predict", "no.safetensors", "iris")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: there is no model file 'no.safetensors'\n"


def test_help_imports_nothing_slow():
    script = (
        "import sys, softmax.cli\n"
        "try: softmax.cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = ('sklearn', 'scipy', 'polars', 'matplotlib')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    assert python("-c", script).stdout.endswith("\n[]\n")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_extra_at_the_start(package):
    done = python("-c", f"import sys; sys.modules[{package!r}] = None; import softmax.cli")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: {cli.MISSING_EXTRA.format(package)}\n"
    assert "pip install 'softmax[cli]'" in done.stderr


def test_a_missing_extra_later_on(monkeypatch):
    monkeypatch.delitem(sys.modules, "softmax.learn.tables", raising=False)
    monkeypatch.delitem(sys.modules, "softmax.learn.preprocessing", raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)
    assert "pip install 'softmax[cli]'" in refuse("fit", "iris")
