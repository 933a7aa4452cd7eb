"""How good a model is on the rows it has not seen, and how sure that is.

The temperature is fitted to rows that are neither those it is judged on nor, through the model,
those it was trained on: the training rows are cut into folds, and the logits of each come from a
model trained on the others.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from softmax.learn import TemperatureScaling
from softmax.learn.evaluation import Evaluation, evaluate
from softmax.report.intervals import Estimate, f1, resampled, wilson
from softmax.report.run import Run, Tell

__all__ = ["DRAWS", "FOLDS", "N_BINS", "ClassFigures", "Judgement", "Quality", "judge"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FOLDS = 5
N_BINS = 15
DRAWS = 1000
CHANCE_PERCENTILE = 95

# A temperature this low says that the folds had no mistake to learn it from.
LEAST_TEMPERATURE = 0.01


@dataclass(frozen=True)
class Quality:
    """How good probabilities are: log-loss in nats and expected calibration error."""

    log_loss: Estimate
    calibration_error: Estimate


@dataclass(frozen=True)
class ClassFigures:
    """How good the predictions of one class are."""

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class Judgement:
    """All that the held-out rows say.

    Attributes
    ----------
    evaluated : Evaluation
        The figures without intervals, and the confusion matrix.
    log_probability : ndarray of float64, shape (n, K)
        What the model said of each held-out row.
    true, predicted : ndarray of int64, shape (n,)
        The position of each row's class, and of the most probable one.
    accuracy, macro_f1 : Estimate
    baseline_accuracy, baseline_log_loss : float
        What the shares of the classes in the training rows alone come to.
    quality : Quality
        Of the model's own probabilities.
    chance_calibration_error : float
        In 95 of 100 cases a calibrated model with these confidences would show no more.
    per_class : list of ClassFigures
    temperature : float or None
        Fitted in cross-validation; None where nothing could be learnt from it.
    scaled : ndarray of float64, shape (n, K), or None
        Log-probabilities with that temperature, and how good they are.
    scaled_quality : Quality or None
    """

    evaluated: Evaluation
    log_probability: Float64
    true: Int64
    accuracy: Estimate
    macro_f1: Estimate
    baseline_accuracy: float
    baseline_log_loss: float
    quality: Quality
    chance_calibration_error: float
    per_class: list[ClassFigures]
    temperature: float | None
    scaled: Float64 | None
    scaled_quality: Quality | None

    @cached_property
    def predicted(self) -> Int64:
        """The position of the most probable class of each row."""
        return np.asarray(self.log_probability.argmax(axis=1))


def judge(run: Run, tell: Tell) -> Judgement:
    """Judge a model on its held-out rows.

    Parameters
    ----------
    run : Run
        With at least one row held out.
    tell : callable
        Told what is under way and the share that is done.

    Returns
    -------
    Judgement
    """
    log_probability = np.asarray(run.model.predict_log_proba(run.X[run.held_out]), np.float64)
    true = run.true[run.held_out]
    scaling = cross_validated_temperature(run, tell)
    scaled = None if scaling is None else scaling.predict_log_proba(log_probability)

    outcomes = [Outcomes(log_probability, true)]
    if scaled is not None:
        outcomes.append(Outcomes(scaled, true))
    macro_f1, qualities = bootstrap(outcomes, run.seed, tell)
    evaluated = evaluate(log_probability, true)
    hits = evaluated.confusion.diagonal()
    support, predicted = evaluated.support, evaluated.confusion.sum(axis=0)
    shares = np.bincount(run.true[run.training], minlength=len(run.classes)) / run.training.size
    return Judgement(
        evaluated=evaluated,
        log_probability=log_probability,
        true=true,
        accuracy=wilson(float(hits.sum()), true.size),
        macro_f1=macro_f1,
        baseline_accuracy=float(np.mean(true == shares.argmax())),
        baseline_log_loss=float(-np.log(shares[true]).mean()),
        quality=qualities[0],
        chance_calibration_error=outcomes[0].chance_calibration_error(run.seed),
        per_class=[
            ClassFigures(
                name,
                int(support[k]),
                wilson(hits[k], predicted[k]),
                wilson(hits[k], support[k]),
                f1(hits[k], support[k] + predicted[k] - hits[k]),
            )
            for k, name in enumerate(run.classes)
        ],
        temperature=None if scaling is None else scaling.temperature_,
        scaled=scaled,
        scaled_quality=qualities[1] if scaled is not None else None,
    )


class Outcomes:
    """What is left of the probabilities of n rows once their figures are all that is asked for."""

    def __init__(self, log_probability: Float64, true: Int64) -> None:
        self.n_classes = log_probability.shape[1]
        self.true, self.predicted = true, log_probability.argmax(axis=1)
        self.loss = 0.0 - log_probability[np.arange(true.size), true]
        self.confidence = np.exp(log_probability.max(axis=1))
        self.bins = np.minimum((self.confidence * N_BINS).astype(np.int64), N_BINS - 1)
        self.surplus = (self.predicted == true) - self.confidence

    def macro_f1(self, rows: Int64) -> float:
        """Return the mean F1 of the classes that occur among these rows, true or predicted."""
        true, predicted = self.true[rows], self.predicted[rows]
        hits, of_class, as_class = (
            np.bincount(found, minlength=self.n_classes)
            for found in (true[true == predicted], true, predicted)
        )
        there = of_class + as_class > 0
        return float(np.mean(2 * hits[there] / (of_class + as_class)[there]))

    def log_loss(self, rows: Int64) -> float:
        """Return the mean loss of these rows, in nats."""
        return float(self.loss[rows].mean())

    def calibration_error(self, rows: Int64, surplus: Float64 | None = None) -> float:
        """Return the expected calibration error of these rows."""
        surplus = self.surplus if surplus is None else surplus
        sums = np.bincount(self.bins[rows], surplus[rows], N_BINS)
        return float(np.abs(sums).sum() / rows.size)

    def chance_calibration_error(self, seed: int) -> float:
        """Return the error that a calibrated model would stay below in 95 of 100 cases."""
        rng, rows = np.random.default_rng(seed), np.arange(self.true.size)
        errors = [
            self.calibration_error(
                rows, (rng.random(rows.size) < self.confidence) - self.confidence
            )
            for _ in range(DRAWS)
        ]
        return float(np.percentile(errors, CHANCE_PERCENTILE))


def bootstrap(outcomes: list[Outcomes], seed: int, tell: Tell) -> tuple[Estimate, list[Quality]]:
    """Return the mean F1 of the first outcomes, and the quality of each."""

    def figures(rows: Int64) -> Float64:
        qualities = [(one.log_loss(rows), one.calibration_error(rows)) for one in outcomes]
        return np.array([outcomes[0].macro_f1(rows), *np.ravel(qualities)])

    macro_f1, *rest = resampled(
        figures,
        outcomes[0].true.size,
        reflected=np.array([False] + [False, True] * len(outcomes)),
        seed=seed,
        times=DRAWS,
        tell=lambda share: tell("drawing rows again", (FOLDS + share) / (FOLDS + 2)),
    )
    return macro_f1, [
        Quality(loss, down_to_chance(error, one.chance_calibration_error(seed)))
        for one, loss, error in zip(outcomes, rest[::2], rest[1::2], strict=True)
    ]


def cross_validated_temperature(run: Run, tell: Tell) -> TemperatureScaling | None:
    """Fit a temperature to logits of models that have not seen the row.

    Returns None where no row can be spared, or where all of them are predicted right and every
    lower temperature fits better.
    """
    X, labels = run.X[run.training], run.labels[run.training]
    folds = assigned_folds(labels, run.seed)
    logits, targets = [], []
    for fold in range(FOLDS):
        tell(f"cross-validating, {fold + 1} of {FOLDS}", fold / (FOLDS + 2))
        apart = folds == fold
        if apart.any():
            with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
                model = clone(run.model).fit(X[~apart], labels[~apart])
            logits.append(model.predict_log_proba(X[apart]))
            targets.append(labels[apart])
    if not logits:
        return None
    scaling = TemperatureScaling(bounds=(LEAST_TEMPERATURE, 1 / LEAST_TEMPERATURE))
    scaling.fit(np.concatenate(logits), np.concatenate(targets), classes=run.model.classes_)
    return scaling if scaling.temperature_ > LEAST_TEMPERATURE else None


def assigned_folds(labels: NDArray[Any], seed: int) -> Int64:
    """Return a fold for each row; -1 for a class of one row, which every model must learn from.

    Rows are ordered by class, shuffled within each, and dealt out in turn, so that each class is
    spread over as many folds as it has rows.
    """
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).random(codes.size), codes))
    folds = np.empty(codes.size, np.int64)
    folds[order] = np.arange(codes.size) % FOLDS
    folds[counts[codes] == 1] = -1
    return folds


def down_to_chance(error: Estimate, chance: float) -> Estimate:
    """Return the estimate, its interval down to 0 where chance alone may give as much."""
    return Estimate(error.value, 0.0 if error.value <= chance else error.low, error.high)
