"""Long work in a terminal: it shows how far it is, and Ctrl-C ends it with one line."""

import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("typer")

from command import python, succeed
from pseudo_terminal import in_a_terminal

pytestmark = pytest.mark.usefixtures("own_folder")

ROOT = Path(__file__).parent.parent
FIT = ("-m", "softmax", "fit")

# Enough words for some steps of a second in all.
SKIP_GRAM = """
import numpy as np
from softmax.learn import SkipGram
rng = np.random.default_rng(0)
words = np.array([f"w{i}" for i in range(400)])
corpus = words[rng.zipf(1.3, (12_000, 8)) % 400].tolist()
SkipGram(dim=10, tol=1e-9, max_iter=MAX_ITER, verbose=1).fit(corpus)
"""


@pytest.fixture
def table():
    """Enough rows and classes that one training outlasts a few drawings of its bar."""
    rng = np.random.default_rng(0)
    kind = rng.integers(50, size=24_000)
    X = rng.normal(size=(50, 40))[kind] / 3 + rng.normal(size=(24_000, 40))
    columns = {f"x{j}": X[:, j].round(3) for j in range(40)}
    pl.DataFrame(columns | {"target": kind}).write_parquet("table.parquet")
    return "table.parquet"


def test_fit_shows_training_and_report():
    written, status, left = in_a_terminal(*FIT, "iris", "--report", "iris.html")
    assert status == 0
    assert "Reading iris" in written
    assert re.search("Training .*iteration 5", written)
    assert re.search("Report .*drawing pictures", written)
    assert left[-1] == "Report written to iris.html"
    assert not any("Training" in line for line in left)


def test_quiet_leaves_the_screen_alone():
    assert in_a_terminal(*FIT, "iris", "--quiet")[:2] == ("", 0)


def test_nothing_but_results_without_a_terminal():
    done = python(*FIT, "iris")
    assert done.stderr == ""
    assert "iteration 5" not in done.stdout


@pytest.mark.parametrize(
    ("moment", "kept"), [("Training", set()), ("cross-validating", {"table.safetensors"})]
)
def test_ctrl_c_ends_fit_and_keeps_what_was_saved(table, moment, kept):
    arguments = (table, "--C", "1e6", "--report", "page.html")
    _, status, left = in_a_terminal(*FIT, *arguments, ctrl_c_after=moment)
    assert status == 130
    assert left[-1].removeprefix("^C") == "Interrupted."
    assert {path.name for path in Path.cwd().iterdir()} == {table} | kept
    for model in kept:
        assert f"Model written to {model}" in left
        assert succeed("predict", model, table).exit_code == 0


def test_skip_gram_fills_a_bar():
    written, status, left = in_a_terminal("-W", "ignore", "-c", SKIP_GRAM.replace("MAX_ITER", "4"))
    assert status == 0
    assert "counting words: 10000 sentences" in written
    assert left[:2] == ["counting words: 12000 sentences", "counting pairs: 12000 sentences"]
    assert re.fullmatch(r"\[#*\.*\] iteration 4: objective .*, gradient .*", left[2])
    assert len(left) == 3


def test_ctrl_c_leaves_the_bar_its_line():
    script = SKIP_GRAM.replace("MAX_ITER", "100_000")
    _, status, left = in_a_terminal("-c", script, ctrl_c_after="iteration 2")
    assert status != 0
    bar = next(line for line in left if "objective" in line)
    assert "Traceback" not in bar
    assert left[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("benchmark", "moment"),
    [
        (("benchmarks.training", "digits"), "digits"),
        (("benchmarks.speed", "--quick", "softmax", "--results", "."), " 1/"),
    ],
)
def test_ctrl_c_ends_a_benchmark(monkeypatch, benchmark, moment):
    monkeypatch.syspath_prepend(ROOT)
    folder = os.getcwd()
    written, status, left = in_a_terminal("-m", *benchmark, ctrl_c_after=moment)
    assert status == 130
    assert "Traceback" not in written
    assert left[-1].removeprefix("^C").startswith("Stopped; what was measured ")
    if "speed" in benchmark[0]:
        assert Path(folder, "speed.json").is_file()
