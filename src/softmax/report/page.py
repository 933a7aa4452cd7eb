"""The page itself: everything there is to say about one run, in one file of HTML."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

import softmax
from softmax.report import pictures, tables, wording
from softmax.report.explanation import largest_weights
from softmax.report.judgement import DRAWS, FOLDS, N_BINS, Judgement, judge
from softmax.report.run import Run, Tell

__all__ = ["check_report", "report_page"]

# More than these make a page that nobody reads; what is left out is counted.
MOST_ROWS = 100
MOST_CLASSES = 50
MOST_WEIGHTS = 8
MOST_CONFUSIONS = 10
MOST_MISTAKES = 20
MOST_REASONS = 3

PYTHON = """\
from pathlib import Path
import softmax
from softmax.files import read_model
from softmax.learn.tables import read_table

model, preprocessing = read_model(Path({model!r}))
table = read_table({data!r}, preprocessing.text_columns)
X = preprocessing.features(table)
labels = model.predict(X)
probabilities = {probabilities}"""


def check_report(path: Path, model_file: Path) -> None:
    """Refuse a name that cannot be that of the page.

    Parameters
    ----------
    path : Path
        Where the page is to be written.
    model_file : Path
        Where the model is to be written.

    Raises
    ------
    ValueError
        If the name does not end in .html or .htm, or is that of the model.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"cannot write {str(path)!r}: a name that ends in .html expected")
    if path.resolve() == model_file.resolve():
        raise ValueError(f"cannot write both the model and the report to {str(path)!r}")


def report_page(run: Run, tell: Tell = lambda what, share: None) -> str:
    """Return the page about a run of `softmax fit`.

    Parameters
    ----------
    run : Run
        What was read, held out and learnt.
    tell : callable, optional
        Told what is under way and the share of the work that is done: for the temperature the
        model is trained again on parts of the training rows.

    Returns
    -------
    str
        A whole HTML document. It fetches nothing, holds no script, and its pictures are in it.
    """
    judgement = judge(run, tell) if run.held_out.size else None
    tell("drawing pictures", (FOLDS + 1) / (FOLDS + 2))
    objective = run.model.history_["objective"][-1]
    context: dict[str, Any] = {
        "run": run,
        "judgement": judgement,
        "target": run.preprocessing.target,
        "data": "standard input" if run.data == "-" else run.data,
        "most_rows": MOST_ROWS,
        "class_rows": tables.class_rows(run),
        "number_rows": tables.number_rows(run),
        "text_rows": tables.text_rows(run),
        "training": pictures.training(run),
        "relative_gap": run.model.duality_gap_ / objective if objective else 0.0,
        "weights": largest_weights(run, MOST_WEIGHTS, MOST_CLASSES),
        "shell_data": shlex.quote(table_name(run)),
        "shell_model": shlex.quote(str(run.model_file)),
        "python": python_lines(run, judgement),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": softmax.__version__,
        "numpy_version": np.__version__,
    }
    if judgement is not None:
        context |= judged(run, judgement)
    return environment().get_template("page.html").render(context)


def judged(run: Run, judgement: Judgement) -> dict[str, Any]:
    """Return what the page says about the held-out rows."""
    return {
        "folds": FOLDS,
        "bins": N_BINS,
        "draws": DRAWS,
        "metric_rows": tables.metric_rows(judgement),
        "per_class_rows": tables.per_class_rows(judgement),
        "calibration_rows": tables.calibration_rows(judgement),
        "confusion": pictures.confusion(run, judgement),
        "confusion_rows": tables.confusion_rows(run, judgement, MOST_CONFUSIONS),
        "reliability": pictures.reliability(run, judgement),
        "mistake_rows": tables.mistake_rows(run, judgement, MOST_MISTAKES, MOST_REASONS),
        "n_mistakes": int((judgement.predicted != judgement.true).sum()),
    }


def python_lines(run: Run, judgement: Judgement | None) -> str:
    """Return the lines that load the model and use it, with the temperature where there is one."""
    probabilities = "model.predict_proba(X)"
    if judgement is not None and judgement.temperature is not None:
        temperature = f"temperature={judgement.temperature:.6g}"
        probabilities = f"softmax.softmax(model.predict_log_proba(X), {temperature})"
    return PYTHON.format(
        model=str(run.model_file), data=table_name(run), probabilities=probabilities
    )


def table_name(run: Run) -> str:
    """Return the name of a table to use the model on: the one it was made from, if it has one."""
    return "table.csv" if run.data == "-" else run.data


def environment() -> Environment:
    """Return where templates come from; whatever they are given is escaped."""
    made = Environment(
        loader=PackageLoader("softmax.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (wording.figure, wording.interval, wording.percent, wording.signed):
        made.filters[filter_.__name__] = filter_
    return made
