"""Functions of one number: the smooth maximum, softmax against temperature, the sigmoid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from numpy.typing import ArrayLike, NDArray

from softmax import binary, maxima
from softmax.functions import hardmax, softmax
from softmax.plot.style import (
    N_LINE_COLOURS,
    PALETTE,
    as_limits,
    as_names,
    as_slice,
    axes_for,
    draw_legend,
    ink,
    line_look,
)

N_POINTS = 601

# More names than this leave no room for the curves.
MOST_NAMES = 10

# The stretch of viridis that has a contrast of 3 to 1 to black and to white.
FAMILY_COLOURS = (0.3, 0.6)


def smooth_max(
    k: ArrayLike = 1.0,
    *,
    constant: float = 3.0,
    xlim: tuple[float, float] = (0.0, 6.0),
    ylim: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw log(exp(k x) + exp(k c)) / k against max(x, c), for one sharpness k or several.

    Parameters
    ----------
    k : float or sequence of float, default 1.0
        Sharpness, not 0. With 1 the curve is log-sum-exp itself.
    constant : float, default 3.0
        The number c that x is compared with.
    xlim : (float, float), default (0, 6)
        Range of x.
    ylim : (float, float), optional
        Range of the values; by default all of them.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If a k is 0 or not finite, or a range is not two finite numbers in order.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.smooth_max(range(1, 11), xlim=(2, 4), ylim=(2.5, 4.5))
    >>> ax.get_ylabel(), len(ax.get_lines())
    ('smooth maximum of x and 3', 11)
    """
    sharpness = as_slice(np.atleast_1d(np.asarray(k)), "k")
    if not sharpness.all():
        raise ValueError("k must be a number other than 0, got 0")
    c = float(as_slice([constant], "constant")[0])
    low, high = as_limits(xlim, "xlim")
    view = None if ylim is None else as_limits(ylim, "ylim")
    ax = axes_for(ax)
    x = np.linspace(low, high, N_POINTS)
    pairs = np.stack([x, np.full_like(x, c)], axis=1)
    ax.plot(x, pairs.max(axis=1), color=ink(ax), linestyle="--", zorder=3, label=f"max(x, {c:g})")
    curves = [np.asarray(maxima.smooth_max(pairs, number)) for number in sharpness]
    if len(sharpness) <= N_LINE_COLOURS:
        draw_few(ax, x, curves, sharpness, c)
    else:
        draw_family(ax, x, curves, sharpness)
    ax.set(xlabel="x", xlim=(low, high), ylabel=f"smooth maximum of x and {c:g}")
    if view is not None:
        ax.set_ylim(view)
    draw_legend(ax, loc="upper left", frameon=False)
    return ax


def draw_few(
    ax: Axes, x: NDArray[Any], curves: list[NDArray[Any]], sharpness: NDArray[Any], c: float
) -> None:
    """Draw curves that the legend tells apart."""
    for i, (number, curve) in enumerate(zip(sharpness, curves, strict=True)):
        name = f"log(exp x + exp {c:g})" if number == 1 else f"k = {number:g}"
        ax.plot(x, curve, label=name, **line_look(i))


def draw_family(
    ax: Axes, x: NDArray[Any], curves: list[NDArray[Any]], sharpness: NDArray[Any]
) -> None:
    """Draw curves that a colour bar tells apart."""
    n = len(curves)
    colours = ListedColormap(mpl.colormaps["viridis"](np.linspace(*FAMILY_COLOURS, n)))
    for i, (number, curve) in enumerate(zip(sharpness, curves, strict=True)):
        ax.plot(x, curve, color=colours(i), linewidth=1.5, label=f"_k = {number:g}")
    mappable = ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, n), colours)
    bar = ax.figure.colorbar(mappable, ax=ax, label="sharpness k")
    shown = np.unique(np.linspace(0, n - 1, min(n, 10)).round().astype(int))
    bar.set_ticks(shown.tolist(), labels=[f"{sharpness[i]:g}" for i in shown])
    bar.minorticks_off()
    bar.ax.tick_params(length=0)


def temperature(
    x: ArrayLike,
    *,
    labels: Sequence[Any] | None = None,
    tlim: tuple[float, float] = (1e-2, 1e2),
    ax: Axes | None = None,
) -> Axes:
    """Draw the probabilities of one slice against the temperature, with both limits marked.

    Parameters
    ----------
    x : array-like of shape (n,)
        Logits.
    labels : sequence of n names, optional
        Names of the entries; by default their logits.
    tlim : (float, float), default (0.01, 100)
        Range of the temperature, positive, in the unit of the logits.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        Triangles at the edges mark the limits: `hardmax` as T goes to 0 on the left, 1 / n as T
        goes to infinity on the right. Up to 10 entries are named.

    Raises
    ------
    ValueError
        If x is not one row of finite numbers, or tlim is not two positive numbers in order.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.temperature([1.0, 2.0, 3.0])
    >>> ax.get_xscale(), ax.get_ylabel()
    ('log', 'probability')
    """
    logits = as_slice(x)
    names = (
        [f"x = {logit:g}" for logit in logits]
        if labels is None
        else as_names(labels, logits.size, "labels")
    )
    low, high = as_limits(tlim, "tlim")
    if low <= 0:
        raise ValueError(f"tlim must be positive, got {tlim!r}")
    ax = axes_for(ax)
    T = np.geomspace(low, high, N_POINTS)
    p = softmax(np.broadcast_to(logits, (T.size, logits.size)), temperature=T[:, None])
    for i, (name, cold) in enumerate(zip(names, hardmax(logits), strict=True)):
        look = line_look(i)
        ax.plot(T, p[:, i], label=name, **look)
        size = 5 + 3 * max(2 - i, 0)  # those below others are seen around them
        for edge, limit, marker in ((low, cold, "<"), (high, 1 / logits.size, ">")):
            ax.plot(
                edge, limit, marker, color=look["color"], markersize=size, clip_on=False, zorder=3
            )
    mark_limits(ax, 1 / logits.size)
    ax.set(
        xlabel="temperature T (unit of the logits)", xscale="log", xlim=(low, high),
        ylabel="probability", ylim=(0, 1),
    )  # fmt: skip
    ax.tick_params(pad=7)  # beside the triangles
    if logits.size <= MOST_NAMES:
        draw_legend(ax, loc="upper right", frameon=False)
    return ax


def mark_limits(ax: Axes, share: float) -> None:
    """Write the limits beside the edges where the temperature goes to 0 and to infinity."""
    ax.axhline(share, color=ink(ax), linewidth=0.8, linestyle=":", zorder=0)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    ax.annotate("T → 0: argmax", (0, 1), (10, -6), va="top", **place)
    ax.annotate("T → ∞: 1/n", (1, share), (-10, -10), ha="right", va="top", **place)


def sigmoid(*, xlim: tuple[float, float] = (-6.0, 6.0), ax: Axes | None = None) -> Axes:
    """Draw the sigmoid beside the softmax of two classes with logits x and 0.

    Parameters
    ----------
    xlim : (float, float), default (-6, 6)
        Range of x.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        The sigmoid is drawn wide and softmax([x, 0])[0] on it, since they are one curve.

    Raises
    ------
    ValueError
        If xlim is not two finite numbers in order.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.sigmoid()
    >>> [line.get_label() for line in ax.get_lines()[:3]]
    ['sigmoid(x)', 'softmax([x, 0])[0]', 'softmax([x, 0])[1]']
    """
    low, high = as_limits(xlim, "xlim")
    ax = axes_for(ax)
    x = np.linspace(low, high, N_POINTS)
    pair = softmax(np.stack([x, np.zeros_like(x)], axis=1))
    wide = {**line_look(0), "linewidth": 6.0}
    ax.plot(x, binary.sigmoid(x), label="sigmoid(x)", **wide)
    narrow: dict[str, Any] = {"color": PALETTE[4], "linestyle": "--", "linewidth": 2.0}
    ax.plot(x, pair[:, 0], label="softmax([x, 0])[0]", **narrow)
    ax.plot(x, pair[:, 1], label="softmax([x, 0])[1]", **line_look(2))
    ax.set(xlabel="logit x (nats)", xlim=(low, high), ylabel="probability", ylim=(0, 1))
    draw_legend(ax, loc="center left", frameon=False)
    return ax
