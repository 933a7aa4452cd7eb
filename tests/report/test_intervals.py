"""Intervals hold what they promise: as often as they promise it."""

import math

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from sklearn.metrics import f1_score, precision_score

from softmax.report import intervals, judgement

proportion = pytest.importorskip("statsmodels.stats.proportion")


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 1), (37, 38), (433, 449), (50, 10**6)])
def test_wilson_is_that_of_statsmodels(hits, n):
    found = intervals.wilson(hits, n)
    expected = proportion.proportion_confint(hits, n, method="wilson")
    np.testing.assert_allclose((found.low, found.high), expected, atol=1e-15, rtol=1e-12)
    assert found.value == hits / n
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_no_rows_have_no_share():
    assert math.isnan(intervals.wilson(0, 0).value)
    assert math.isnan(intervals.f1(0, 0).high)


def test_f1_of_a_class():
    true, predicted = np.array([1, 1, 1, 0, 0, 1, 0, 1]), np.array([1, 0, 1, 1, 0, 1, 0, 1])
    either = ((true == 1) | (predicted == 1)).sum()
    found = intervals.f1(((true == 1) & (predicted == 1)).sum(), either)
    assert found.value == pytest.approx(f1_score(true, predicted))
    assert found.low < precision_score(true, predicted) < found.high < 1


def coverage(draw, figure, truth, n, reflected=False, times=150):
    """Return how often the interval of a figure holds the truth, of 200."""
    held = 0
    for seed in range(200):
        sample = draw(np.random.default_rng(seed), n)
        (found,) = intervals.resampled(
            lambda rows, sample=sample: np.array([figure(sample[rows])]),
            n,
            reflected=np.array([reflected]),
            seed=seed,
            times=times,
        )
        held += found.low <= truth <= found.high
    return held / 200


@pytest.mark.parametrize("reflected", [False, True])
def test_bootstrap_intervals_hold_the_truth(reflected):
    def exponential(rng, n):
        return rng.exponential(1.0, n)

    assert 0.89 <= coverage(exponential, np.mean, 1.0, 100, reflected) <= 0.98


def test_the_same_seed_gives_the_same_interval():
    def found(seed):
        return intervals.resampled(
            lambda rows: np.array([rows.mean()]), 30, reflected=np.array([False]), seed=seed,
            times=50,
        )  # fmt: skip

    assert found(1) == found(1) != found(2)


def test_what_drawing_does_not_change_has_no_interval():
    (found,) = intervals.resampled(
        lambda rows: np.array([1.0]), 9, reflected=np.array([False]), seed=0, times=20
    )
    assert found.value == 1.0
    assert math.isnan(found.low)


@pytest.mark.slow
@pytest.mark.parametrize(("sharpness", "least"), [(1.0, 0.9), (1.5, 0.75), (3.0, 0.88)])
def test_the_calibration_error_is_within_its_interval(monkeypatch, sharpness, least):
    """Confidence p, right with probability p**sharpness: 1 is calibrated, more is not."""
    monkeypatch.setattr(judgement, "DRAWS", 200)

    def outcomes(rng, n):
        p = rng.beta(5, 1, n) / 2 + 0.5
        right = rng.random(n) < p**sharpness
        log_p = np.log(np.stack([p, 1 - p], axis=1))
        return judgement.Outcomes(log_p, np.where(right, 0, 1))

    p = np.random.default_rng(0).beta(5, 1, 10**6) / 2 + 0.5
    surplus = np.bincount((p * judgement.N_BINS).astype(int), p**sharpness - p)
    truth = np.abs(surplus).sum() / p.size if sharpness != 1 else 0.0
    held = 0
    for seed in range(60):
        one = outcomes(np.random.default_rng(seed), 300)
        error = judgement.bootstrap([one], seed, lambda what, share: None)[1][0].calibration_error
        held += error.low <= truth <= error.high
    assert held / 60 >= least
