"""What training says while it runs: a bar on a terminal, or a line for each step."""

from __future__ import annotations

import math
import sys

from softmax.learn.problem import Iteration

__all__ = ["tell"]

WIDTH = 30


def tell(news: Iteration, tol: float, verbose: int) -> None:
    """Say how a step went: nothing, a bar (1, on a terminal), or a line (1 elsewhere, 2)."""
    if verbose <= 0:
        return
    line = (
        f"iteration {news.iteration}: objective {news.objective:.6g}, "
        f"gap {news.gap:.2e}, {news.seconds:.2f} s"
    )
    if verbose > 1 or not sys.stdout.isatty():
        print(line)
        return
    filled = round(WIDTH * share_done(news, tol))
    end = "\n" if filled == WIDTH else ""
    print(f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {line}", end=end, flush=True)


def share_done(news: Iteration, tol: float) -> float:
    """Return how far the relative gap has come from 1 to the tolerance, on a logarithmic scale."""
    relative = news.gap / abs(news.objective) if news.objective else math.inf
    if relative <= tol:
        return 1.0
    if not (0 < tol < 1 and relative < 1):
        return 0.0
    return math.log(relative) / math.log(tol)
