"""The pictures of a page, each drawn for light and for dark and carried in the page itself."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from softmax import plot
from softmax.report.judgement import N_BINS, Judgement
from softmax.report.run import Run

__all__ = ["Picture", "confusion", "reliability", "training"]

# The reader's choice between them counts, not the style in use where the page is written.
STYLES = (["default"], ["default", "dark_background"])


PIXELS_PER_INCH = 96  # of a page


@dataclass(frozen=True)
class Picture:
    """Two drawings of one thing as data URIs, and what they show in words."""

    light: str
    dark: str
    alt: str
    width: int
    height: int


def training(run: Run) -> Picture:
    """Draw how the objective and the certified gap fell."""
    history = run.model.history_
    first, last = history["objective"][0], history["objective"][-1]
    alt = (
        f"Training curve: over {run.model.n_iter_} iterations the objective falls from "
        f"{first:.4g} to {last:.4g} nats, and its certified gap to the optimum from "
        f"{history['gap'][0]:.2g} to {history['gap'][-1]:.2g} nats."
    )
    return drawn(lambda: plot.training(history, tol=run.model.tol), alt)


def confusion(run: Run, judgement: Judgement) -> Picture:
    """Draw which classes were taken for which."""
    names = run.classes
    true, predicted = judgement.true, judgement.predicted
    hits = int((true == predicted).sum())
    alt = (
        f"Confusion matrix of {len(names)} classes: {hits} of {true.size} rows are on the "
        f"diagonal, where the predicted class is the true one, and {true.size - hits} beside it."
    )
    return drawn(
        lambda: plot.confusion(np.take(names, true), np.take(names, predicted), classes=names), alt
    )


def reliability(run: Run, judgement: Judgement) -> Picture:
    """Draw how often predictions are right against their confidence, before and after scaling."""

    def draw() -> Axes:
        classes = np.arange(len(run.classes))
        ax = None
        for label, log_probability in versions.items():
            p = np.exp(log_probability)
            ax = plot.reliability(
                judgement.true, p, n_bins=N_BINS, classes=classes, label=label, ax=ax
            )
        assert ax is not None
        return ax

    versions = {"as trained": judgement.log_probability}
    alt = (
        "Reliability diagram, accuracy against confidence. As trained, the expected calibration "
        f"error is {judgement.quality.calibration_error.value:.3f}"
    )
    if judgement.scaled is not None and judgement.scaled_quality is not None:
        versions[f"T = {judgement.temperature:.2f}"] = judgement.scaled
        after = judgement.scaled_quality.calibration_error.value
        alt += f"; with a temperature of {judgement.temperature:.2f} it is {after:.3f}"
    return drawn(draw, alt + ".")


def drawn(draw: Callable[[], Axes], alt: str) -> Picture:
    """Draw once in each style, as SVG with its texts as texts, on no background."""
    uris = []
    for style in STYLES:
        with (
            plt.style.context(style),
            plt.rc_context({"svg.hashsalt": "softmax", "svg.fonttype": "none"}),
            warnings.catch_warnings(),
        ):
            # A script that Matplotlib's font lacks is written in one of the reader's fonts.
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            figure = draw().figure.figure
            file = io.BytesIO()
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
            plt.close(figure)
        text = base64.b64encode(file.getvalue()).decode("ascii")
        uris.append(f"data:image/svg+xml;base64,{text}")
    width, height = (round(PIXELS_PER_INCH * side) for side in figure.get_size_inches())
    return Picture(light=uris[0], dark=uris[1], alt=alt, width=width, height=height)
