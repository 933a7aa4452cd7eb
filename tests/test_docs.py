"""The documentation runs, and leaves out nothing that is public. Sphinx is not needed for this."""

import doctest
import importlib
import re
import runpy
from pathlib import Path

import pytest

import softmax

pyplot = pytest.importorskip("matplotlib.pyplot")

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOLDERS = ("guide", "migrate", "inside")
SCRIPTS = sorted(path for folder in FOLDERS for path in DOCS.glob(f"{folder}/*.py"))
PAGES = sorted(DOCS.glob("pages/*.rst"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_pages_that_are_scripts_run(script, monkeypatch):
    monkeypatch.chdir(script.parent)
    for folder in (DOCS, ROOT):
        monkeypatch.syspath_prepend(folder)
    try:
        runpy.run_path(str(script))
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_examples_in_text_run(page):
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_guide_is_complete():
    numbers = sorted(path.stem[:2] for path in DOCS.glob("guide/*.py"))
    assert numbers == [f"{number:02}" for number in range(1, 12)]


def test_the_reference_names_what_is_public():
    named = set(re.findall(r"^   ([\w.]+)$", (DOCS / "pages/reference.rst").read_text(), re.M))
    public = set(softmax.__all__)
    for room in ("scipy", "learn", "plot"):
        names = importlib.import_module(f"softmax.{room}").__all__
        public |= {f"{room}.{name}" for name in names}
    assert named - {"command"} == public
