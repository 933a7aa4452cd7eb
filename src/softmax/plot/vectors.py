"""Vectors: one of probabilities as bars, many of words as points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray

from softmax.functions import hardmax, softmax
from softmax.plot.style import PALETTE, as_names, as_slice, axes_for, draw_legend, marker_look

# More bars than this leave no room for numbers.
MOST_BARS_WITH_VALUES = 12

# Where a word can stand beside its point, in points of type, the best place first.
OFFSETS = [*product((6, -6), (0, 4, -4)), (0, 7), (0, -7)]


def probabilities(
    x: ArrayLike,
    *,
    temperature: float = 1.0,
    labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the softmax of one slice as bars, with the largest marked.

    Parameters
    ----------
    x : array-like of shape (n,)
        Logits; logarithms of probabilities are such.
    temperature : float, default 1.0
        As in `softmax.softmax`.
    labels : sequence of n names, optional
        Names of the bars; by default 1 to n.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        The bar of the argmax has another colour, a hatching and the word; where several share
        it, each has. Up to 12 bars have their values.

    Raises
    ------
    ValueError
        If x is not one row of finite numbers, or the temperature is negative or nan.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.probabilities([1.0, 2.0, 3.0])
    >>> [text.get_text() for text in ax.texts]
    ['0.090', '0.245', 'argmax\n0.665']
    """
    logits = as_slice(x)
    names = as_names(labels, logits.size, "labels")
    p = softmax(logits, temperature=temperature)
    largest = hardmax(logits) > 0
    ax = axes_for(ax)
    places = np.arange(p.size)
    ax.bar(places[~largest], p[~largest], color=PALETTE[0])
    ax.bar(places[largest], p[largest], color=PALETTE[1], hatch="//", edgecolor=ax.get_facecolor())
    for i, share in enumerate(p):
        value = [f"{share:.3f}"] if p.size <= MOST_BARS_WITH_VALUES else []
        lines = ["argmax", *value] if largest[i] else value
        ax.annotate(
            "\n".join(lines), (i, share), (0, 2), textcoords="offset points", ha="center",
            va="bottom",
        )  # fmt: skip
    step = 1 + (p.size - 1) // MOST_BARS_WITH_VALUES
    ax.set_xticks(places[::step], names[::step], parse_math=False)
    ax.set(xlabel="entry", ylabel="probability", ylim=(0, min(1.18 * p.max() + 0.05, 1.2)))
    return ax


def embedding(
    vectors: ArrayLike,
    words: Sequence[str] | None = None,
    *,
    groups: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw vectors, such as those of words, on their first two principal axes.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
        At least two vectors of at least two numbers: rows of `SkipGram.vectors_`, say.
    words : sequence of n str, optional
        What to write beside each point.
    groups : sequence of n names, optional
        What each point belongs to, shown by colour and marker.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        Both axes have one scale, so that distances mean what they show. A word that has no room
        beside its point without covering another is not written.

    Raises
    ------
    ValueError
        If vectors is not a finite matrix of at least 2 x 2, or words or groups are not as many.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.embedding([[2.0, 0.0], [1.9, 0.1], [-3.0, 0.4]], ["king", "queen", "pear"])
    >>> sorted(text.get_text() for text in ax.texts)
    ['king', 'pear', 'queen']
    """
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or min(rows.shape) < 2:
        raise ValueError(f"vectors must be a matrix of at least 2 x 2, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("vectors must be finite")
    names = None if words is None else as_names(words, len(rows), "words")
    kinds = None if groups is None else as_names(groups, len(rows), "groups")
    places, variance = principal_plane(rows)
    ax = axes_for(ax)
    for i, kind in enumerate(dict.fromkeys(kinds or [""])):
        mine = [k == kind for k in kinds] if kinds else slice(None)
        across, up = places[mine].T
        ax.scatter(across, up, s=28, label=kind, **marker_look(ax, i))
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.12)
    for axis, name, share in zip((ax.xaxis, ax.yaxis), ("first", "second"), variance, strict=True):
        axis.set_label_text(f"{name} principal axis ({share:.0%} of variance)")
    if kinds:
        draw_legend(ax, loc="best")
    if names:
        write_words(ax, names, places)
    return ax


def principal_plane(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows on their first two principal axes, and the shares of variance there.

    Of the two directions of each axis it takes the one with the larger entry positive, so that
    the picture is the same everywhere.
    """
    centred = rows - rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    plane = axes[:2] * np.sign(axes[:2][[0, 1], np.abs(axes[:2]).argmax(axis=1)])[:, None]
    return centred @ plane.T, lengths[:2] ** 2 / max((lengths**2).sum(), 1e-300)


def write_words(ax: Axes, words: list[str], places: NDArray[np.float64]) -> None:
    """Write each word beside its point, where it covers no other word, marker or legend."""
    ax.figure.figure.draw_without_rendering()  # the layout settles, and what has a place keeps it
    legend = ax.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    taken += [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in ax.transData.transform(places)]
    for word, place in zip(words, places, strict=True):
        text = ax.annotate(word, place, xytext=(0, 0), textcoords="offset points")
        text.set_parse_math(False)  # a word may have dollar signs
        box = free_place(text, taken, ax.get_window_extent())
        if box is None:
            text.remove()
        else:
            taken.append(box)


def free_place(text: Annotation, taken: list[Bbox], frame: Bbox) -> Bbox | None:
    """Move the text to the first offset where it covers nothing, and return what it takes."""
    for x, y in OFFSETS:
        text.set(x=x, y=y)
        text.set(ha="left" if x > 0 else "right" if x < 0 else "center")
        text.set(va="bottom" if y > 0 else "top" if y < 0 else "center")
        box = text.get_window_extent()
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 <= frame.y1
        if inside and box.y1 <= frame.y1 and not box.count_overlaps(taken):
            return box
    return None
