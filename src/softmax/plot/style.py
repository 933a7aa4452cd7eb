"""How the pictures look: what they share, and what they leave to the style in use.

Ink and paper (text, ticks, background) are the style's, read from the Axes themselves, which may
have been made under another style than the one in use now. The colours that carry meaning are
those of Okabe and Ito (2008), which stay apart in every common form of colour blindness; those of
lines have a contrast of 3 to 1 to black and to white. A line style or a marker always says the
same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike, NDArray

from softmax._inputs import as_floating

# The first four stand out on black and on white; the others fill areas and markers with an edge.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
N_LINE_COLOURS = 4
LINE_STYLES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
# Seven beside six colours: no pair comes twice among 42.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# A new figure has three quarters of the style's size, so that text is large beside it and can be
# read when the figure is shown at half its size.
FIGURE_SHARE = 0.75

Float64 = NDArray[np.float64]


def axes_for(
    ax: Axes | None, size: tuple[float, float] | None = None, layout: str = "constrained"
) -> Axes:
    """Return the Axes to draw on: those given, or those of a new figure of that size in inches."""
    if ax is None:
        width, height = plt.rcParams["figure.figsize"]
        size = size or (FIGURE_SHARE * width, FIGURE_SHARE * height)
        return plt.subplots(figsize=size, layout=layout)[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be Matplotlib Axes or None, got {type(ax).__name__}")
    return ax


def ink(ax: Axes) -> Any:
    """Return the colour that text has on these Axes."""
    return ax.xaxis.label.get_color()


def line_look(i: int) -> dict[str, Any]:
    """Return colour and style of line i."""
    return {
        "color": PALETTE[i % N_LINE_COLOURS],
        "linestyle": LINE_STYLES[i % len(LINE_STYLES)],
        "linewidth": 2.0,
    }


def marker_look(ax: Axes, i: int) -> dict[str, Any]:
    """Return colour, edge and shape of the markers of group i."""
    return {
        "color": PALETTE[i % len(PALETTE)],
        "marker": MARKERS[i % len(MARKERS)],
        "edgecolors": ink(ax),
        "linewidths": 0.6,
    }


def draw_legend(ax: Axes, **look: Any) -> None:
    """Draw the legend with its names as they are: a dollar sign in one begins no formula."""
    for text in ax.legend(**look).get_texts():
        text.set_parse_math(False)


def text_on(colour: Any) -> str:
    """Return black or white, whichever reads better on the colour."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                       for c in to_rgb(colour)])  # fmt: skip
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if luminance > 0.179 else "white"


def as_slice(x: ArrayLike, name: str = "x") -> Float64:
    """Return one slice of at least one finite logit."""
    logits = np.asarray(as_floating(x, name), np.float64)
    if logits.ndim != 1 or not logits.size:
        raise ValueError(f"{name} must be one row of numbers, got shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(f"{name} must be finite, got {logits[~np.isfinite(logits)][0]}")
    return logits


def as_names(names: Sequence[Any] | None, n: int, argument: str) -> list[str]:
    """Return n names as text: 1 to n where none are given."""
    if names is None:
        return [str(i + 1) for i in range(n)]
    if len(names) != n:
        raise ValueError(f"{argument} must hold {n} names, got {len(names)}")
    return [str(name) for name in names]


def as_limits(limits: tuple[float, float], name: str) -> tuple[float, float]:
    """Return two finite numbers, the smaller first."""
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers, got {limits!r}") from None
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"{name} must be two finite numbers in order, got {limits!r}")
    return low, high
