"""The command from end to end: what it prints and writes, and how it refuses bad input."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import softmax
from command import python, refuse, run, succeed
from softmax import cli

pytestmark = pytest.mark.usefixtures("own_folder")


def fruit(n=80, seed=0):
    """Two kinds of fruit that mass and colour tell apart, with gaps in both."""
    rng = np.random.default_rng(seed)
    apple = rng.random(n) < 0.5
    whole = pl.DataFrame(
        {
            "mass": np.where(apple, 150, 120) + rng.normal(0, 5, n),
            "colour": np.where(apple, "red", "yellow"),
            "ripe": rng.random(n) < 0.5,
            "kind": np.where(apple, "apple", "pear"),
        }
    )
    gap = pl.Series(rng.random(n) < 0.1)
    return whole.with_columns(
        pl.when(~gap).then("mass").alias("mass"),
        pl.when(~gap.reverse()).then("colour").alias("colour"),
    )


@pytest.fixture
def fruit_model():
    fruit().write_csv("fruit.csv")
    succeed("fit", "fruit.csv", "--target", "kind", "--quiet")
    return "fruit.safetensors"


def same_model(one, other):
    """Compare all that two model files hold, but for the seconds that training took."""
    first, second = cli.read_model(Path(one)), cli.read_model(Path(other))
    assert first[1] == second[1]
    np.testing.assert_array_equal(first[0].coef_, second[0].coef_)
    np.testing.assert_array_equal(first[0].intercept_, second[0].intercept_)
    np.testing.assert_array_equal(first[0].classes_, second[0].classes_)


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


# ---- bad input


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
