"""Why the model decides as it does: the largest weights, and the values behind its mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softmax.learn.preprocessing import Preprocessing
from softmax.report.judgement import Judgement
from softmax.report.run import Run
from softmax.report.wording import shortened, shown_value

__all__ = ["ClassWeights", "Mistake", "Weight", "largest_weights", "worst_mistakes"]


@dataclass(frozen=True)
class Weight:
    """A feature and its weight for one class; `length` is its share of the largest of all."""

    feature: str
    value: float
    length: float


@dataclass(frozen=True)
class ClassWeights:
    """The largest weights of one class, the largest first."""

    name: str
    weights: list[Weight]


@dataclass(frozen=True)
class Mistake:
    """A row that was predicted wrong, and the columns that spoke most for the wrong class."""

    row: int
    true: str
    predicted: str
    p_true: float
    p_predicted: float
    reasons: list[tuple[str, str]]


def largest_weights(run: Run, most_features: int, most_classes: int) -> list[ClassWeights]:
    """Return the largest weights of each class.

    Parameters
    ----------
    run : Run
    most_features : int
        How many weights of a class; those that are 0 are left out.
    most_classes : int
        How many classes; where there are more, those with the most rows.

    Returns
    -------
    list of ClassWeights
        In the order of the classes.
    """
    names, coef = feature_names(run.preprocessing), run.model.coef_
    counts = np.bincount(run.true, minlength=len(run.classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:most_classes])
    longest = float(np.abs(coef[shown]).max()) or 1.0
    found = []
    for k in shown:
        order = np.argsort(-np.abs(coef[k]), kind="stable")[:most_features]
        weights = [
            Weight(names[j], float(coef[k, j]), float(abs(coef[k, j])) / longest)
            for j in order
            if coef[k, j]
        ]
        found.append(ClassWeights(run.classes[k], weights))
    return found


def worst_mistakes(run: Run, judgement: Judgement, most: int, most_reasons: int) -> list[Mistake]:
    """Return the mistakes in which the true class was given the least probability.

    Parameters
    ----------
    run : Run
    judgement : Judgement
    most : int
        How many mistakes.
    most_reasons : int
        How many columns of each.

    Returns
    -------
    list of Mistake
        The worst first.
    """
    log_p, true, predicted = judgement.log_probability, judgement.true, judgement.predicted
    wrong = np.flatnonzero(predicted != true)
    worst = wrong[np.argsort(log_p[wrong, true[wrong]], kind="stable")[:most]]
    return [
        Mistake(
            row=int(run.row_numbers[run.held_out[i]]),
            true=run.classes[true[i]],
            predicted=run.classes[predicted[i]],
            p_true=float(np.exp(log_p[i, true[i]])),
            p_predicted=float(np.exp(log_p[i, predicted[i]])),
            reasons=reasons(run, int(run.held_out[i]), int(predicted[i]), int(true[i]))[
                :most_reasons
            ],
        )
        for i in worst
    ]


def reasons(run: Run, row: int, predicted: int, true: int) -> list[tuple[str, str]]:
    """Return the columns, and their values, that spoke for one class against another.

    A column speaks with its share of the difference between the two logits.
    """
    names = run.preprocessing.columns
    coef = run.model.coef_[predicted] - run.model.coef_[true]
    said = np.bincount(feature_columns(run.preprocessing), run.X[row] * coef, len(names))
    order = np.argsort(-said, kind="stable")
    return [(names[j], shown_value(run.columns[names[j]][row])) for j in order if said[j] > 0]


def feature_names(preprocessing: Preprocessing) -> list[str]:
    """Return what each feature says: a column, or a column and one of its values."""
    return [column.name for column in preprocessing.numeric] + [
        f"{column.name} = {shortened(category)}"
        for column in preprocessing.categorical
        for category in column.categories
    ]


def feature_columns(preprocessing: Preprocessing) -> NDArray[np.int64]:
    """Return the position of the column that each feature comes from."""
    sizes = [1] * len(preprocessing.numeric)
    sizes += [len(column.categories) for column in preprocessing.categorical]
    return np.repeat(np.arange(len(sizes)), sizes)
