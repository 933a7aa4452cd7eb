"""The progress bar: shown on a terminal, silent elsewhere."""

import pytest

from softmax.learn.solver import Iteration
from softmax.terminal import report_progress, training_progress, waiting


def train(shown=True, gaps=(1.0, 1e-2, 1e-9, 5e-5), objective=2.5):
    with training_progress(1e-4, shown) as callback:
        for iteration, gap in enumerate(gaps):
            callback(Iteration(iteration, objective, gap, seconds=0.1))


def test_loss_and_gap_are_shown_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    train()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "iteration 3  loss 2.5  gap 2.0e-05" in captured.err


@pytest.mark.parametrize("gaps", [(), (1e-9,), (float("inf"), 1.0, 1e-5), (1e-2, 1.0, 1e-5)])
def test_gaps_of_every_size(monkeypatch, capsys, gaps):
    monkeypatch.setenv("FORCE_COLOR", "1")
    train(gaps=gaps)
    train(gaps=gaps, objective=0.0)
    assert "Training" in capsys.readouterr().err


def test_what_is_under_way_is_written_as_it_is(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with waiting("Reading [red].csv", shown=True):
        pass
    with report_progress(shown=True) as tell:
        tell("drawing", 0.5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Reading [red].csv" in captured.err
    assert "drawing" in captured.err


def test_nothing_is_shown_without_a_terminal_or_when_unwanted(monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    train()
    monkeypatch.setenv("FORCE_COLOR", "1")
    train(shown=False)
    with waiting("Reading", shown=False):
        pass
    assert capsys.readouterr() == ("", "")
