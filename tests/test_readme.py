"""The README says what is: its example runs, and every name in it exists."""

import doctest
import re
from pathlib import Path

import pytest

import softmax

README = Path(__file__).parent.parent / "README.md"


def test_the_example_runs():
    outcome = doctest.testfile(str(README), module_relative=False)
    assert outcome.attempted >= 8
    assert outcome.failed == 0


def test_every_function_is_named_and_every_name_exists():
    table = README.read_text().partition("## What is in it")[2].partition("## Install")[0]
    words = re.findall(r"`([A-Za-z_]+)`", table)
    commands = {"predict", "evaluate", "show", "info"}
    assert set(words) - commands == set(softmax.__all__)


def test_the_commands_are_there():
    cli = pytest.importorskip("softmax.cli")
    registered = {command.callback.__name__ for command in cli.app.registered_commands}
    assert registered == {"fit", "predict", "evaluate", "show", "info"}
