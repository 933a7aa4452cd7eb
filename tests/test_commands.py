"""Every command that README, CONTRIBUTING and the documentation show does what it says.

Those of `softmax` are run in a new folder, in the order in which the text has them. What installs
or builds is not run again here: its names are held against Makefile and pyproject.toml.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

import polars as pl
from sklearn.datasets import load_iris

from command import succeed
from softmax import cli

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/pages/*.rst", "docs/*/*.py", "docs/*/*_HEADER.rst")
    for path in ROOT.glob(pattern)
)

BLOCKS = {
    ".md": re.compile(r"^```console\n(.*?)^```", re.M | re.S),
    ".rst": re.compile(r"^\.\. (?:code-block:: )?console(?:::)?\n\n((?: {3}.*\n|\n)+)", re.M),
}
BLOCKS[".py"] = BLOCKS[".rst"]
INLINE = re.compile(r"`((?:softmax (?:info|\w+ [^`]+)|python -c [^`]+))`")


def commands(document):
    """Return what a text tells its reader to type."""
    text = (ROOT / document).read_text()
    lines = [
        line.strip()
        for block in BLOCKS[Path(document).suffix].findall(text)
        for line in block.splitlines()
    ]
    shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return shown + INLINE.findall(text)


def with_commands():
    return [document for document in DOCUMENTS if commands(document)]


@pytest.fixture
def flowers(own_folder):
    """Put the tables there that the texts name as the reader's own."""
    iris = load_iris()
    table = pl.DataFrame(iris.data, schema=[f"feature {i}" for i in range(4)])
    table.with_columns(species=pl.Series(iris.target_names[iris.target])).write_csv("flowers.csv")
    table[::10].write_csv("more-flowers.csv")


@pytest.mark.parametrize("document", with_commands())
def test_the_commands_of(document, flowers):
    for command in commands(document):
        words = shlex.split(command, comments=True)
        check = CHECKS.get(Path(words[0]).name)
        assert check, f"no way to check {command!r}"
        check(words[1:])


def run_softmax(words):
    *arguments, file = words if ">" in words else [*words, None]
    if file:
        arguments.remove(">")
    output = succeed(*arguments).stdout
    if file:
        Path(file).write_text(output)
    out = arguments[arguments.index("--out") + 1] if "--out" in arguments else None
    assert output or Path(out).stat().st_size


def run_as_it_is(program):
    def run(words):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout

    return run


def check_make(words):
    targets = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert words[0] in targets
    assert all(word.startswith("ARGS=") for word in words[1:])


def check_pip(words):
    assert words[0] == "install"
    for requirement in words[1:]:
        extras = re.fullmatch(r"\.(?:\[(.+)\])?", requirement)
        assert extras, f"{requirement!r} is not this package"
        names = extras[1].split(",") if extras[1] else []
        assert set(names) <= set(PROJECT["project"]["optional-dependencies"])


def check_pre_commit(words):
    assert words == ["install"]
    assert any(name.startswith("pre-commit") for name in PROJECT["dependency-groups"]["lint"])
    assert (ROOT / ".pre-commit-config.yaml").exists()


CHECKS = {
    "softmax": run_softmax,
    "python": run_as_it_is(sys.executable),
    "head": run_as_it_is("head"),
    "make": check_make,
    "pip": check_pip,
    "pre-commit": check_pre_commit,
}


def test_texts_with_commands_are_found():
    found = with_commands()
    for document in ("README.md", "CONTRIBUTING.md", "docs/pages/start.rst"):
        assert document in found
    assert "softmax fit iris" in commands("docs/pages/start.rst")
    assert "softmax predict flowers.safetensors more-flowers.csv > species.csv" in commands(
        "README.md"
    )


def test_every_command_is_described():
    described = commands("docs/pages/command.rst")
    for command in cli.app.registered_commands:
        assert f"softmax {command.callback.__name__} --help" in described
