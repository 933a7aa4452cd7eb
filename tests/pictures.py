"""What the tests of the pictures draw, and how they read what was drawn."""

import numpy as np
import pytest
from scipy import special

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

from matplotlib.colors import to_rgb  # noqa: E402

from softmax import plot  # noqa: E402

LOGITS = [1.0, 2.0, 3.0]


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


def contrast(one, other):
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted(luminance(to_rgb(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def linear(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb):
    return linear(rgb) @ [0.2126, 0.7152, 0.0722]
