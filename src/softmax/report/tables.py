"""The tables of the page, as rows of text."""

from __future__ import annotations

import numpy as np
import polars as pl

from softmax.report.explanation import worst_mistakes
from softmax.report.judgement import Judgement, Quality
from softmax.report.run import Run
from softmax.report.wording import figure, interval, percent, probability, shortened

__all__ = [
    "calibration_rows",
    "class_rows",
    "confusion_rows",
    "metric_rows",
    "mistake_rows",
    "number_rows",
    "per_class_rows",
    "text_rows",
]

Rows = list[tuple[str, ...]]


def class_rows(run: Run) -> Rows:
    """Count the rows of each class: to learn from, held out, and their share of all."""
    n = len(run.classes)
    training, held_out = (
        np.bincount(run.true[rows], minlength=n) for rows in (run.training, run.held_out)
    )
    shares = (training + held_out) / run.labels.size
    return [
        (name, str(a), str(b), percent(share))
        for name, a, b, share in zip(run.classes, training, held_out, shares, strict=True)
    ]


def number_rows(run: Run) -> Rows:
    """Describe the columns of numbers, over all rows with a label."""
    rows: Rows = []
    for name in (column.name for column in run.preprocessing.numeric):
        column = run.columns[name]
        values = column.drop_nulls().cast(pl.Float64).to_numpy()
        figures = (values.min(), values.mean(), values.max(), values.std())
        rows.append((name, str(column.null_count()), *(f"{number:.4g}" for number in figures)))
    return rows


def text_rows(run: Run) -> Rows:
    """Describe the columns of texts and of true and false, over all rows with a label."""
    rows: Rows = []
    for name in (column.name for column in run.preprocessing.categorical):
        column = run.columns[name]
        counts = column.drop_nulls().cast(pl.String).rename("text").value_counts()
        text, count = counts.sort(["count", "text"], descending=[True, False]).row(0)
        share = percent(count / counts["count"].sum())
        rows.append((name, str(column.null_count()), str(len(counts)), shortened(text), share))
    return rows


def metric_rows(judgement: Judgement) -> Rows:
    """Write the figures of the whole, with what they are without the columns."""
    quality = judgement.quality
    lines = (
        ("accuracy", judgement.accuracy, figure(judgement.baseline_accuracy)),
        ("log-loss (nats)", quality.log_loss, figure(judgement.baseline_log_loss)),
        ("F1, mean of the classes", judgement.macro_f1, ""),
        ("calibration error", quality.calibration_error, ""),
    )
    return [(name, figure(found.value), interval(found), without) for name, found, without in lines]


def per_class_rows(judgement: Judgement) -> Rows:
    """Write precision, recall and F1 of each class."""
    rows: Rows = []
    for one in judgement.per_class:
        figures = [
            text
            for found in (one.precision, one.recall, one.f1)
            for text in (figure(found.value), interval(found))
        ]
        rows.append((one.name, str(one.support), *figures))
    return rows


def confusion_rows(run: Run, judgement: Judgement, most: int) -> Rows:
    """Return the pairs of classes that were confused most often."""
    wrong = judgement.evaluated.confusion.copy()
    np.fill_diagonal(wrong, 0)
    support = judgement.evaluated.support
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    return [
        (run.classes[i], run.classes[j], str(wrong[i, j]), percent(wrong[i, j] / support[i]))
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]


def calibration_rows(judgement: Judgement) -> Rows:
    """Write how good the probabilities are, as trained and with the temperature."""
    versions: list[tuple[str, Quality]] = [("as trained", judgement.quality)]
    if judgement.scaled_quality is not None:
        name = f"with temperature {judgement.temperature:.3f}"
        versions.append((name, judgement.scaled_quality))
    return [
        (
            name,
            figure(quality.log_loss.value),
            interval(quality.log_loss),
            figure(quality.calibration_error.value),
            interval(quality.calibration_error),
        )
        for name, quality in versions
    ]


def mistake_rows(run: Run, judgement: Judgement, most: int, most_reasons: int) -> Rows:
    """Write the worst mistakes, each with the values that spoke most for it."""
    return [
        (
            str(mistake.row),
            mistake.true,
            probability(mistake.p_true),
            mistake.predicted,
            probability(mistake.p_predicted),
            "; ".join(f"{name}: {value}" for name, value in mistake.reasons),
        )
        for mistake in worst_mistakes(run, judgement, most, most_reasons)
    ]
