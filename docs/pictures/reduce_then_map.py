"""The idea that carries every operation: each piece of a slice is reduced to a state, the states
merge, and everything else is a map over the slice given the state."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from softmax.plot.style import PALETTE

SLICE, STATE, RESULT = PALETTE[0], PALETTE[1], PALETTE[2]
MAPS = (
    ("softmax", "probabilities"),
    ("log_softmax", "their logarithms"),
    ("cross_entropy", "loss and gradient"),
    ("sample", "draws"),
)


def draw():
    """Return the figure, in ink and paper of the style in use."""
    figure, ax = plt.subplots(figsize=(8.4, 4.4), layout="constrained")
    ax.set(xlim=(0, 8.4), ylim=(0, 4.4), aspect="equal")
    ax.axis("off")
    ink = plt.rcParams["text.color"]

    for bottom, name in ((2.65, "x, one piece"), (0.75, "x, another piece")):
        cells(ax, 0.1, bottom, name)
    for bottom in (2.55, 0.65):
        box(ax, (2.35, bottom), 1.25, 0.7, "N, S", "state", STATE)
        arrow(ax, (1.65, bottom + 0.35), (2.3, bottom + 0.35), ink)
    ax.text(1.97, 2.05, "reduce", ha="center", va="center", style="italic")

    box(ax, (4.15, 1.6), 1.25, 0.7, "N, S", "merged", STATE)
    arrow(ax, (3.65, 2.85), (4.1, 2.1), ink)
    arrow(ax, (3.65, 1.05), (4.1, 1.8), ink)

    for i, (function, result) in enumerate(MAPS):
        bottom = 3.5 - 1.05 * i
        box(ax, (6.25, bottom), 2.05, 0.7, function, result, RESULT)
        arrow(ax, (5.45, 1.95), (6.2, bottom + 0.35), ink)
    ax.text(5.0, 2.85, "map over x", ha="center", va="center", style="italic")
    ax.text(
        4.77, 0.75, "logsumexp = N ln 2 + ln S", ha="center", va="center", fontsize=9, wrap=True
    )
    arrow(ax, (4.77, 1.55), (4.77, 0.95), ink)
    return figure


def cells(ax, left, bottom, name):
    """Draw a row of four entries."""
    for i in range(4):
        ax.add_patch(
            Rectangle((left + 0.38 * i, bottom), 0.38, 0.5, fill=False, edgecolor=SLICE, lw=2)
        )
    ax.text(left + 0.76, bottom - 0.12, name, ha="center", va="top", fontsize=9)


def box(ax, corner, width, height, title, detail, colour):
    """Draw a box with a name and what it is."""
    ax.add_patch(
        FancyBboxPatch(
            corner, width, height, boxstyle="round,pad=0,rounding_size=0.1", fill=False,
            edgecolor=colour, lw=2,
        )
    )  # fmt: skip
    x, y = corner[0] + width / 2, corner[1] + height / 2
    ax.text(x, y + 0.13, title, ha="center", va="center", family="monospace", weight="bold")
    ax.text(x, y - 0.17, detail, ha="center", va="center", fontsize=9)


def arrow(ax, start, end, ink):
    """Draw an arrow."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=ink))
