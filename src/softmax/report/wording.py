"""How numbers and values are written on the page."""

from __future__ import annotations

import math
from typing import Any

from softmax.report.intervals import Estimate

__all__ = ["figure", "interval", "percent", "probability", "shortened", "shown_value", "signed"]

MOST_TEXT = 60  # characters of a text that are shown
NOTHING = "–"


def figure(value: float) -> str:
    """Write a figure with four digits after the point."""
    return NOTHING if math.isnan(value) else f"{value:.4f}"


def interval(estimate: Estimate) -> str:
    """Write the ends of an interval."""
    if math.isnan(estimate.low):
        return NOTHING
    return f"{figure(estimate.low)} to {figure(estimate.high)}"


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100 * share:.1f} %"


def probability(p: float) -> str:
    """Write a probability, however small."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def signed(value: float) -> str:
    """Write a number with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def shown_value(value: Any) -> str:
    """Write a value of a table."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return shortened(str(value))


def shortened(text: str) -> str:
    """Cut off what is longer than a line."""
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
