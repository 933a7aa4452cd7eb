"""`softmax show`: the pictures it writes, and how it refuses bad input."""

import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pyplot = pytest.importorskip("matplotlib.pyplot")

from command import python, refuse, run, succeed  # noqa: E402
from softmax import cli  # noqa: E402
from softmax.plot import examples  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("name", examples.PICTURES)
def test_every_picture_is_written(name):
    pyplot.close("all")
    assert succeed("show", name).stdout == f"Picture written to {name}.png\n"
    pixels = pyplot.imread(f"{name}.png")[..., :3]
    assert pixels.shape[0] >= 720
    assert pixels.shape[1] >= 960
    # Nothing runs off the paper, and most of it is not bare.
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert np.all(edge == 1)
    assert np.mean(np.any(pixels < 1, axis=-1)) > 0.03
    assert [path.name for path in Path.cwd().iterdir()] == [f"{name}.png"]
    assert pyplot.get_fignums() == []


def test_the_help_names_every_picture():
    assert cli.PICTURE_HELP.rstrip(".").replace(" or ", ", ").split(", ") == list(examples.PICTURES)


def test_svg_is_the_same_each_time():
    for out in ("one.svg", "two.svg"):
        succeed("show", "jacobian", "--out", out)
    assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()
    assert xml.etree.ElementTree.parse("one.svg").getroot().tag.endswith("svg")


def test_dark():
    succeed("show", "sigmoid", "--dark", "--out", "dark.png")
    assert np.all(pyplot.imread("dark.png")[0, :, :3] == 0)


def test_bad_input():
    assert "there is no picture 'softmaxx': one of smooth_max, " in refuse("show", "softmaxx")
    assert "'p.gif': a name that ends in .png or .svg" in refuse(
        "show", "sigmoid", "--out", "p.gif"
    )
    assert "no folder 'nowhere'" in refuse("show", "sigmoid", "--out", "nowhere/p.png")
    Path("p.svg").mkdir()
    assert "it exists and is not a file" in refuse("show", "sigmoid", "--out", "p.svg")
    assert run("show").exit_code == 2


def test_without_matplotlib():
    script = "import sys; sys.modules['matplotlib'] = None; from softmax.cli import main; "
    done = python("-c", script + "sys.argv = ['softmax', 'show', 'sigmoid']; main()")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: softmax.plot needs Matplotlib, which is not installed; this installs it: "
        "pip install 'softmax[plot]'\n"
    )


def test_a_broken_picture_leaves_no_file(monkeypatch):
    def fail():
        raise ValueError("no data")

    monkeypatch.setitem(examples.PICTURES, "sigmoid", fail)
    assert refuse("show", "sigmoid") == "Error: no data\n"
