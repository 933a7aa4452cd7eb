"""Every picture: on the axes given, with all its words and lines to be read by everyone."""

import inspect
from itertools import combinations

import numpy as np
import pytest

from pictures import CALLS, LOGITS, contrast, linear, plt, to_rgb, visible_texts
from softmax import plot
from softmax.plot import examples, style

STYLES = ["default", "dark_background"]


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
