"""The pictures: what is drawn, what is written beside it, and that it can be read."""

import inspect
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from scipy import special

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

from matplotlib.colors import to_rgb  # noqa: E402

from softmax import plot  # noqa: E402
from softmax.learn.evaluation import expected_calibration_error  # noqa: E402
from softmax.plot import examples, style  # noqa: E402

STYLES = ["default", "dark_background"]
LOGITS = [1.0, 2.0, 3.0]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class Sides:
    """A classifier whose logits are 0 and the first feature: class right where that is above 0."""

    classes_ = np.array(["left", "right"])

    def predict_proba(self, X):
        return special.softmax(np.stack([0 * X[:, 0], X[:, 0]], axis=1), axis=1)


POINTS = np.array([[-2.0, 0.0], [-1.0, 1.0], [1.0, 0.0], [3.0, 2.0]])
SIDES = ["left", "left", "right", "right"]
HISTORY = {
    "objective": [0.69, 0.4, 0.31],
    "gap": [np.inf, 0.02, 1e-5],
    "seconds": [0.0, 0.5, 0.75],
}
VECTORS = np.array([[2.0, 0, 0], [1.9, 0.5, 0], [-3, 0.4, 0], [0.9, -0.9, 0]])

CALLS = {
    "smooth_max": lambda ax: plot.smooth_max(ax=ax),
    "temperature": lambda ax: plot.temperature(LOGITS, ax=ax),
    "sigmoid": lambda ax: plot.sigmoid(ax=ax),
    "jacobian": lambda ax: plot.jacobian(LOGITS, ax=ax),
    "probabilities": lambda ax: plot.probabilities(LOGITS, ax=ax),
    "reliability": lambda ax: plot.reliability([0, 1], [[0.9, 0.1], [0.3, 0.7]], ax=ax),
    "confusion": lambda ax: plot.confusion([0, 1, 1], [0, 1, 0], ax=ax),
    "training": lambda ax: plot.training(HISTORY, ax=ax),
    "decision_regions": lambda ax: plot.decision_regions(Sides(), POINTS, SIDES, ax=ax),
    "embedding": lambda ax: plot.embedding(VECTORS, list("abcd"), ax=ax),
}


def lines(ax):
    """Return the data of each line by its label."""
    return {line.get_label(): line.get_xydata().T for line in ax.get_lines()}


def texts(ax):
    return [text.get_text() for text in ax.texts]


# ---- every picture


def test_every_picture_is_here():
    assert set(CALLS) == set(plot.__all__)
    assert set(plot.__all__) <= set(examples.PICTURES)
    for name in plot.__all__:
        assert inspect.signature(getattr(plot, name)).parameters["ax"].default is None


@pytest.mark.parametrize("name", CALLS)
def test_given_axes_are_drawn_on_and_come_back(name):
    figure, (left, right) = plt.subplots(1, 2)
    assert CALLS[name](right) is right
    assert right.has_data()
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("name", CALLS)
def test_a_new_figure_is_made_where_no_axes_are_given(name):
    old, before = plt.subplots()
    ax = CALLS[name](None)
    assert ax.figure is not old
    assert not before.has_data()
    assert ax.get_xlabel()
    assert ax.get_ylabel()


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_axes_is_refused(name):
    with pytest.raises(TypeError, match="ax must be Matplotlib Axes or None, got Figure"):
        CALLS[name](plt.figure())


def visible_texts(ax):
    """Return the texts of a figure and their boxes."""
    ax.figure.draw_without_rendering()
    found = [text for axes in ax.figure.axes for text in axes.findobj(matplotlib.text.Text)]
    # Ticks beyond the limits exist, and are not drawn.
    ticks = {
        id(label)
        for axes in ax.figure.axes
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not min(low, high) <= tick.get_loc() <= max(low, high)
    }
    return [t for t in found if t.get_text() and t.get_visible() and id(t) not in ticks]


@pytest.mark.parametrize("name", examples.PICTURES)
def test_nothing_is_cut_off_crowded_or_small(name):
    ax = examples.PICTURES[name]()
    shown = visible_texts(ax)
    width, height = ax.figure.get_size_inches() * ax.figure.dpi
    boxes = [text.get_window_extent() for text in shown]
    for text, box in zip(shown, boxes, strict=True):
        assert -1 <= box.x0 < box.x1 <= width + 1, text
        assert -1 <= box.y0 < box.y1 <= height + 1, text
        assert text.get_fontsize() >= plt.rcParams["font.size"]
    for (a, one), (b, other) in combinations(zip(shown, boxes, strict=True), 2):
        assert not one.shrunk(0.9, 0.8).overlaps(other.shrunk(0.9, 0.8)), (a, b)
    # The size of type in pixels, in the file that the command writes shown at half its size.
    assert plt.rcParams["font.size"] / 72 * examples.DOTS_PER_INCH / 2 >= 12


def contrast(one, other):
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted(luminance(to_rgb(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def linear(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb):
    return linear(rgb) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("look", STYLES)
@pytest.mark.parametrize("name", CALLS)
def test_ink_and_lines_stand_out_on_the_styles_own_paper(name, look):
    with plt.style.context(look):
        ax = CALLS[name](None)
        paper = plt.rcParams["axes.facecolor"]
        assert to_rgb(ax.get_facecolor()) == to_rgb(paper)
        assert ax.figure.get_facecolor()[:3] == to_rgb(plt.rcParams["figure.facecolor"])
        for line in ax.get_lines():
            if name != "sigmoid" or line.get_label() != "softmax([x, 0])[0]":
                assert contrast(line.get_color(), paper) >= 3
        for text in visible_texts(ax):
            if name not in ("jacobian", "confusion") or text not in ax.texts:
                assert contrast(text.get_color(), paper) >= 4.5


def test_ink_is_that_of_the_axes_given():
    with plt.style.context("dark_background"):
        dark = plt.subplots()[1]
    assert to_rgb(lines_by_label(plot.smooth_max(ax=dark))["max(x, 3)"].get_color()) == (1, 1, 1)


def lines_by_label(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_numbers_in_cells_can_be_read():
    ax = plot.jacobian(LOGITS)
    image = ax.get_images()[0]
    for text in ax.texts:
        column, row = map(int, text.get_position())
        cell = image.to_rgba(image.get_array())[row, column]
        assert contrast(text.get_color(), cell) >= 4.5


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
COLOUR_BLIND = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip


def lab(linear_rgb):
    """Return CIE L*a*b* of linear sRGB."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    f = np.cbrt(np.maximum(to_xyz @ linear_rgb / to_xyz.sum(axis=1), 0.008856))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", COLOUR_BLIND)
def test_colours_stay_apart_for_colour_blind_readers(kind):
    seen = [
        lab(np.clip(np.array(COLOUR_BLIND[kind]) @ linear(to_rgb(colour)), 0, 1))
        for colour in style.PALETTE
    ]
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(one - other) >= 10  # 2 can just be seen


def test_colour_never_speaks_alone():
    looks = [style.line_look(i) for i in range(style.N_LINE_COLOURS)]
    assert len({str(look["linestyle"]) for look in looks}) == len(looks)
    ax = plt.subplots()[1]
    pairs = {
        (look["color"], look["marker"]) for look in (style.marker_look(ax, i) for i in range(42))
    }
    assert len(pairs) == 42


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


# ---- bad input


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: plot.smooth_max(0), ValueError, "k must be a number other than 0"),
        (lambda: plot.smooth_max([1, np.inf]), ValueError, "k must be finite, got inf"),
        (
            lambda: plot.smooth_max(xlim=(4, 2)),
            ValueError,
            r"xlim must be .* in order, got \(4, 2\)",
        ),
        (lambda: plot.smooth_max(ylim=3), ValueError, "ylim must be two numbers, got 3"),
        (lambda: plot.smooth_max(constant=np.nan), ValueError, "constant must be finite, got nan"),
        (lambda: plot.temperature([[1, 2]]), ValueError, r"x must be one row .* shape \(1, 2\)"),
        (lambda: plot.temperature([1, 2], tlim=(0, 1)), ValueError, "tlim must be positive"),
        (
            lambda: plot.temperature([1, 2], labels="a"),
            ValueError,
            "labels must hold 2 names, got 1",
        ),
        (lambda: plot.sigmoid(xlim=(0, np.inf)), ValueError, "xlim must be two finite numbers"),
        (lambda: plot.jacobian([]), ValueError, r"x must be one row .* shape \(0,\)"),
        (lambda: plot.jacobian(["a"]), TypeError, "x must hold real numbers"),
        (
            lambda: plot.jacobian([1, 2], temperature=-1),
            ValueError,
            "temperature must be 0 or more",
        ),
        (lambda: plot.probabilities([1, np.nan]), ValueError, "x must be finite, got nan"),
        (lambda: plot.probabilities(3.0), ValueError, r"x must be one row .* shape \(\)"),
        (lambda: plot.reliability([0], [2.0]), ValueError, "y_prob must hold probabilities"),
        (lambda: plot.reliability([0], [0.5], n_bins=0), ValueError, "n_bins must be 1 or more"),
        (lambda: plot.confusion([0, 1], [0]), ValueError, "y_true and y_pred must be rows"),
        (lambda: plot.confusion([], []), ValueError, "y_true and y_pred must be rows"),
        (lambda: plot.confusion([0], [1], classes=[0, 2]), ValueError, "labels must be among"),
        (lambda: plot.training([1.0]), ValueError, "history must be a mapping"),
        (lambda: plot.training({"objective": []}), ValueError, "a number for each step"),
        (lambda: plot.training(HISTORY | {"gap": [1]}), ValueError, "'gap' has shape"),
        (lambda: plot.training({"objective": [1]}, x="seconds"), ValueError, "x must be"),
        (lambda: plot.training(HISTORY, x="gap"), ValueError, "x must be .* got 'gap'"),
        (lambda: plot.training(HISTORY, tol=0), ValueError, "tol must be positive"),
        (lambda: plot.decision_regions(3, POINTS), TypeError, "model must be a fitted classifier"),
        (lambda: plot.decision_regions(Sides(), POINTS[:, :1]), ValueError, "X must hold points"),
        (lambda: plot.decision_regions(Sides(), POINTS * np.nan), ValueError, "X must be finite"),
        (lambda: plot.decision_regions(Sides(), POINTS, ["left"]), ValueError, "y must hold 4"),
        (lambda: plot.decision_regions(Sides(), POINTS, ["up"] * 4), ValueError, "got 'up'"),
        (
            lambda: plot.decision_regions(Sides(), POINTS, features=["x"]),
            ValueError,
            "features must",
        ),
        (lambda: plot.embedding([1.0, 2.0]), ValueError, r"vectors must be a matrix .* \(2,\)"),
        (lambda: plot.embedding([[1.0, np.inf]] * 2), ValueError, "vectors must be finite"),
        (lambda: plot.embedding(VECTORS, ["a"]), ValueError, "words must hold 4 names, got 1"),
        (lambda: plot.embedding(VECTORS, groups=["a"]), ValueError, "groups must hold 4 names"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(call, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert plt.get_fignums() == []


# ---- names are the user's


NO_FORMULA = [r"$\frac$", "50 $", "a name that leaves no room for anything else"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot.confusion(NO_FORMULA, NO_FORMULA),
        lambda: plot.jacobian(LOGITS, labels=NO_FORMULA),
        lambda: plot.probabilities(LOGITS, labels=NO_FORMULA),
        lambda: plot.temperature(LOGITS, labels=NO_FORMULA),
        lambda: plot.embedding(np.eye(3), NO_FORMULA, groups=NO_FORMULA),
        lambda: plot.reliability([0, 1], [[0.9, 0.1], [0.4, 0.6]], label=NO_FORMULA[0]),
    ],
)
def test_dollar_signs_in_names_begin_no_formula(draw):
    ax = draw()
    ax.figure.draw_without_rendering()
    texts = [text for text in ax.figure.findobj(matplotlib.text.Text) if "frac" in text.get_text()]
    assert texts
    assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("file_format", ["png", "svg"])
@pytest.mark.parametrize(
    "names", [["benign", "malignant"], ["abcdefghijkl", "x"], list("0123456789")]
)
def test_nothing_of_a_heat_map_is_cut_off(tmp_path, names, file_format):
    for ax in (plot.confusion(names, names), plot.jacobian(range(len(names)), labels=names)):
        ax.figure.savefig(tmp_path / "map", format=file_format)
        for drawn in ax.figure.axes:
            box, paper = drawn.get_tightbbox(), ax.figure.bbox
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= paper.x1
            assert box.y1 <= paper.y1


def test_long_names_leave_room_for_the_cells():
    ax = plot.confusion(NO_FORMULA, NO_FORMULA)
    assert ax.get_yticklabels()[1].get_text() == "50 $"
    assert ax.get_yticklabels()[2].get_text() == "a name that leaves …"
    ax.figure.draw_without_rendering()
    assert ax.get_window_extent().height > 0.4 * ax.figure.bbox.height


# ---- Matplotlib is for pictures alone


def fresh(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_importing_softmax_leaves_matplotlib_alone():
    script = "import softmax, softmax.learn, softmax.cli, sys; print('matplotlib' in sys.modules)"
    assert fresh(script).stdout == "False\n"


def test_importing_the_pictures_leaves_scikit_learn_alone():
    assert fresh("import softmax.plot, sys; print('sklearn' in sys.modules)").stdout == "False\n"


def test_without_matplotlib_one_sentence_says_what_to_do():
    done = fresh("import sys; sys.modules['matplotlib'] = None; import softmax.plot")
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: softmax.plot needs Matplotlib, which is not installed; "
        "this installs it: pip install 'softmax[plot]'"
    )
