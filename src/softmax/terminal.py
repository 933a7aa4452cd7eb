"""What the command `softmax` shows on a terminal: how training goes, and how good the model is."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from softmax.learn.evaluation import Evaluation
    from softmax.learn.problem import Iteration

__all__ = ["report_progress", "show_evaluation", "training_progress", "waiting"]

# More classes than this do not fit on a screen as a matrix.
WIDEST_CONFUSION = 20

# Without a terminal nothing is cut off at its edge.
WIDTH_OF_A_FILE = 400


@contextmanager
def progress_bar(title: str, shown: bool) -> Iterator[Callable[[float, str], None]]:
    """Give a function that shows which share of the work is done, and a few words about it.

    Nothing is shown where standard error is not a terminal.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    progress = Progress(
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
    task = progress.add_task("", total=1.0, words="")
    try:  # not `with`, which would leave the cursor hidden if stopped while the bar appears
        progress.start()
        yield lambda share, words: progress.update(task, completed=share, words=words)
    finally:
        progress.stop()


@contextmanager
def waiting(what: str, shown: bool) -> Iterator[None]:
    """Say on a terminal what is under way, where nothing tells how much of it is done."""
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(what)) if shown and console.is_terminal else nullcontext():
        yield


@contextmanager
def training_progress(tolerance: float, shown: bool) -> Iterator[Callable[[Iteration], None]]:
    """Give a callback for the estimator that shows loss and certified gap as they fall.

    The gap is relative to the loss, and the bar is its way down to the tolerance, in decades.
    """
    gaps: list[float] = []
    with progress_bar("Training", shown) as show:

        def step(state: Iteration) -> None:
            gap = state.gap / state.objective if state.objective else 0.0
            gaps.append(max(gap, tolerance))
            decades = math.log(gaps[0] / tolerance)
            show(
                math.log(gaps[0] / gaps[-1]) / decades if decades > 0 else 1.0,
                f"iteration {state.iteration}  loss {state.objective:.6g}  gap {gap:.1e}",
            )

        yield step


@contextmanager
def report_progress(shown: bool) -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows what is done for a report, and the share that is behind it."""
    with progress_bar("Report", shown) as show:
        yield lambda what, share: show(share, what)


def show_evaluation(judged: Evaluation, classes: Sequence[object], rows: str) -> None:
    """Print the figures, the table of classes and the confusion matrix to standard output."""
    from rich.table import Table

    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False)
    console.print(f"\nOn {rows}:")
    console.print(f"  accuracy           {judged.accuracy:.4f}")
    console.print(f"  log-loss           {judged.log_loss:.4f} nats")
    console.print(f"  calibration error  {judged.calibration_error:.4f} (expected, 15 bins)\n")

    names = [str(label) for label in classes]
    per_class = Table("class", box=None)
    for heading in ("precision", "recall", "F1", "support"):
        per_class.add_column(heading, justify="right")
    shares = zip(judged.precision, judged.recall, judged.f1, strict=True)
    for name, row, support in zip(names, shares, judged.support, strict=True):
        per_class.add_row(name, *map(_share, row), str(support))
    console.print(per_class)

    console.print("\nConfusion matrix, rows the true class, columns the predicted one:")
    if len(names) > WIDEST_CONFUSION:
        console.print(f"  not shown for more than {WIDEST_CONFUSION} classes")
        return
    confusion = Table("", box=None)
    for name in names:
        confusion.add_column(name, justify="right")
    for name, counts in zip(names, judged.confusion, strict=True):
        confusion.add_row(name, *(str(count) if count else "." for count in counts))
    console.print(confusion)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
