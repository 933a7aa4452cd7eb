"""What training says while it runs: a bar on a terminal, or a line for each step."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["counting", "share_done", "steps"]

WIDTH, NARROWEST = 30, 5

# Sentences between two looks at how many there are.
SENTENCES = 10_000

# What a terminal takes for: back to the beginning of the line, and clear the rest of it.
RETURN, CLEAR = "\r", "\x1b[K"


@contextmanager
def steps(verbose: int) -> Iterator[Callable[[str, float], None]]:
    """Give a function that tells a step: a line about it, and the share of the way that is done.

    It says nothing (0), fills a bar (1, on a terminal), or prints lines (1 elsewhere, 2). The bar
    ends its line however the training ends.
    """
    bar = verbose == 1 and sys.stdout.isatty()
    begun = False

    def tell(line: str, done: float) -> None:
        nonlocal begun
        if bar:
            show(f"{drawn_bar(done, len(line))}{line}")
            begun = True
        elif verbose > 0:
            print(line)

    try:
        yield tell
    finally:
        if begun:
            print()


@contextmanager
def counting(what: str, verbose: int) -> Iterator[Callable[[int], None]]:
    """Give a function that takes how many sentences were read, and say so in the same way."""
    bar = verbose == 1 and sys.stdout.isatty()
    read = 0

    def heard(sentences: int) -> None:
        nonlocal read
        read = sentences
        if bar and sentences % SENTENCES == 0:
            show(f"{what}: {sentences} sentences")

    try:
        yield heard
    finally:
        if bar:
            show("")
        if verbose > 0:
            print(f"{what}: {read} sentences")


def show(text: str) -> None:
    """Write in place of what stands in the terminal's line, and no further than its edge."""
    print(f"{RETURN}{text[: columns() - 1]}{CLEAR}", end="", flush=True)


def drawn_bar(done: float, n_beside: int) -> str:
    """Draw a bar for a share of the way, as wide as what stands beside it allows."""
    width = min(WIDTH, columns() - n_beside - 4)
    if width < NARROWEST:
        return ""
    filled = round(width * done)
    return f"[{'#' * filled}{'.' * (width - filled)}] "


def columns() -> int:
    """Return how many letters a line of the terminal takes."""
    return shutil.get_terminal_size().columns


def share_done(value: float, first: float, last: float) -> float:
    """Return how far a value has come from the first to the last, on a logarithmic scale."""
    if value <= last:
        return 1.0
    if not (0 < last < first < math.inf and value < first):
        return 0.0
    return math.log(value / first) / math.log(last / first)
