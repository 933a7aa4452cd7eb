"""What each picture draws, against the numbers it is about."""

from itertools import combinations

import numpy as np
import pytest
from scipy import special

from pictures import (
    HISTORY,
    LOGITS,
    POINTS,
    SIDES,
    VECTORS,
    Sides,
    contrast,
    lines,
    luminance,
    texts,
    to_rgb,
)
from softmax import plot
from softmax.learn.evaluation import expected_calibration_error
from softmax.plot import style

# ---- functions


def test_smooth_max_is_log_sum_exp_over_the_maximum():
    drawn = lines(plot.smooth_max())
    x, hard = drawn["max(x, 3)"]
    assert (x[0], x[-1]) == (0, 6)
    np.testing.assert_array_equal(hard, np.maximum(x, 3))
    np.testing.assert_allclose(drawn["log(exp x + exp 3)"][1], np.logaddexp(x, 3), rtol=1e-14)


def test_the_family_in_k():
    ax = plot.smooth_max(range(1, 11), xlim=(2, 4), ylim=(2.5, 4.5))
    drawn = lines(ax)
    x = drawn["max(x, 3)"][0]
    for k in range(1, 11):
        expected = np.logaddexp(k * x, 3 * k) / k
        np.testing.assert_allclose(drawn[f"_k = {k}"][1], expected, rtol=1e-14)
    assert (ax.get_xlim(), ax.get_ylim()) == ((2, 4), (2.5, 4.5))
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "sharpness k"
    assert [label.get_text() for label in bar.get_yticklabels()] == list(map(str, range(1, 11)))


def test_the_colours_of_the_family_stand_out_on_black_and_on_white():
    family = plot.smooth_max(range(1, 11)).get_lines()[1:]
    colours = [to_rgb(line.get_color()) for line in family]
    for colour in colours:
        assert min(contrast(colour, "black"), contrast(colour, "white")) >= 3
    assert np.all(np.diff([luminance(colour) for colour in colours]) > 0.01)


def test_temperature_and_both_its_limits():
    ax = plot.temperature(LOGITS)
    drawn = lines(ax)
    for i, logit in enumerate(LOGITS):
        T, p = drawn[f"x = {logit:g}"]
        expected = special.softmax(np.array(LOGITS) / T[:, None], axis=1)[:, i]
        np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-300)
    marks = {line.get_marker(): [] for line in ax.get_lines()}
    for line in ax.get_lines():
        marks[line.get_marker()] += line.get_xydata().tolist()
    assert marks["<"] == [[1e-2, 0], [1e-2, 0], [1e-2, 1]]
    assert marks[">"] == [[1e2, pytest.approx(1 / 3)]] * 3
    assert texts(ax) == ["T → 0: argmax", "T → ∞: 1/n"]
    assert "unit of the logits" in ax.get_xlabel()


def test_sigmoid_beside_softmax_of_two():
    drawn = lines(plot.sigmoid())
    x, y = drawn["sigmoid(x)"]
    np.testing.assert_allclose(y, special.expit(x), rtol=1e-14)
    np.testing.assert_allclose(drawn["softmax([x, 0])[0]"][1], special.expit(x), rtol=1e-14)
    np.testing.assert_allclose(drawn["softmax([x, 0])[1]"][1], special.expit(-x), rtol=1e-14)


def test_jacobian_with_its_values():
    ax = plot.jacobian(LOGITS, temperature=2.0, labels=["a", "b", "c"])
    p = special.softmax(np.array(LOGITS) / 2)
    expected = (np.diag(p) - np.outer(p, p)) / 2
    image = ax.get_images()[0]
    np.testing.assert_allclose(image.get_array(), expected, rtol=1e-12)
    assert image.get_clim() == (-expected.max(), expected.max())
    assert texts(ax) == [f"{value:.3f}".replace("-", "−") for value in expected.ravel()]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert "per unit of logit" in ax.figure.axes[1].get_ylabel()


def test_jacobian_of_what_has_no_slope_and_of_much():
    assert texts(plot.jacobian([0.0, 5000.0])) == ["0.000"] * 4
    assert texts(plot.jacobian(np.zeros(21))) == []


def test_probabilities_with_the_argmax_marked():
    ax = plot.probabilities(LOGITS)
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    np.testing.assert_allclose([heights[i] for i in range(3)], special.softmax(LOGITS), rtol=1e-14)
    assert texts(ax) == ["0.090", "0.245", "argmax\n0.665"]
    hatched = [bar.get_height() for bar in ax.patches if bar.get_hatch()]
    assert hatched == [pytest.approx(0.66524096)]


def test_every_argmax_is_marked():
    assert texts(plot.probabilities([2.0, 1.0, 2.0], temperature=0.5))[::2] == ["argmax\n0.468"] * 2
    assert texts(plot.probabilities(np.arange(13.0))) == [""] * 12 + ["argmax"]


def test_many_entries_are_drawn_without_names():
    ax = plot.temperature(np.arange(11.0))
    assert ax.get_legend() is None
    assert len(ax.get_lines()) == 3 * 11 + 1


# ---- classifiers


def test_training_with_the_certified_gap():
    ax = plot.training(HISTORY, tol=1e-4)
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["objective"], [[0, 1, 2], HISTORY["objective"]])
    np.testing.assert_array_equal(drawn["certified gap"][1], [np.nan, 0.02, 1e-5])
    np.testing.assert_allclose(drawn["tolerance"][1], 0.31e-4)
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "nats per row")


def test_training_against_seconds_and_on_held_out_rows():
    ax = plot.training(HISTORY | {"validation_loss": [0.7, 0.5, 0.6]}, x="seconds")
    np.testing.assert_array_equal(lines(ax)["validation loss"], [[0, 0.5, 0.75], [0.7, 0.5, 0.6]])
    assert ax.get_xlabel() == "training time (seconds)"


def test_reliability_of_two_classifiers():
    y = np.array([0, 0, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.3, 0.8, 0.9])
    ax = plot.reliability(y, p, n_bins=5)
    plot.reliability(y, 0.5 + (p - 0.5) / 2, n_bins=5, label="cooler", ax=ax)
    error = expected_calibration_error(y, p, n_bins=5)
    drawn = lines(ax)
    assert list(drawn)[:2] == ["perfectly calibrated", f"ECE {error:.3f}"]
    # 0.7 is wrong; 0.8, 0.8, 0.9 and 0.9 are right
    np.testing.assert_allclose(drawn[f"ECE {error:.3f}"], [[0.7, 0.85], [0, 1]])
    assert len(drawn) == 3
    assert any(name.startswith("cooler, ECE ") for name in drawn)
    assert len({line.get_color() for line in ax.get_lines()}) == 3
    one, four = ax.collections[0].get_sizes()
    assert four > one


def test_confusion_counts_rows():
    ax = plot.confusion(list("aabbb"), list("abbbb"))
    assert texts(ax) == ["1", "1", "", "3"]
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), [[0.5, 0.5], [0, 1]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    again = plot.confusion(list("aabbb"), list("abbbb"), classes=["b", "c", "a"])
    assert texts(again) == ["3", "", "", "", "", "", "1", "", "1"]
    assert [label.get_text() for label in again.get_yticklabels()] == ["b", "c", "a"]


def test_decision_regions_meet_where_the_classes_are_as_probable():
    ax = plot.decision_regions(
        Sides(), POINTS, SIDES, features=np.array(["east (km)", "north (km)"])
    )
    image = ax.get_images()[0]
    left, right, _, _ = image.get_extent()
    x = np.linspace(left, right, image.get_array().shape[1])
    colours = np.asarray(image.get_array())[0]
    np.testing.assert_allclose(colours[x < 0, :3], [to_rgb(style.PALETTE[0])] * (x < 0).sum())
    np.testing.assert_allclose(colours[x > 0, :3], [to_rgb(style.PALETTE[1])] * (x > 0).sum())
    assert np.all(np.diff(colours[x > 0, 3]) > 0)
    border = ax.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(border[:, 0], 0, atol=1e-3)
    drawn = {
        c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())
    }
    np.testing.assert_array_equal(drawn["left"], POINTS[:2])
    np.testing.assert_array_equal(drawn["right"], POINTS[2:])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("east (km)", "north (km)")


def test_decision_regions_alone_are_named():
    ax = plot.decision_regions(Sides(), POINTS)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]


# ---- vectors


def test_embedding_on_principal_axes():
    ax = plot.embedding(VECTORS, list("abcd"), groups=[1, 1, 2, 2])
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    centred = VECTORS - VECTORS.mean(axis=0)
    # These vectors lie in a plane, so that no distance is lost.
    np.testing.assert_allclose(drawn @ drawn.T, centred @ centred.T, atol=1e-12)
    variance = np.linalg.eigvalsh(np.cov(VECTORS.T))[::-1]
    np.testing.assert_allclose(np.var(drawn, axis=0, ddof=1), variance[:2])
    assert f"({variance[0] / variance.sum():.0%} of variance)" in ax.get_xlabel()
    assert texts(ax) == list("abcd")
    assert ax.get_aspect() == 1


def test_embedding_of_what_is_all_in_one_place():
    ax = plot.embedding(np.ones((3, 2)), ["$", "$a$", "b"])
    assert "(0% of variance)" in ax.get_xlabel()
    ax.figure.draw_without_rendering()


def test_words_cover_neither_each_other_nor_points():
    rng = np.random.default_rng(0)
    ax = plot.embedding(rng.normal(size=(60, 5)), [f"word {i}" for i in range(60)])
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert 20 <= len(boxes) < 60
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    points = ax.transData.transform(ax.collections[0].get_offsets())
    assert not any(box.contains(*point) for box in boxes for point in points)
