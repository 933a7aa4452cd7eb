"""How far a long run has come: a bar on a terminal where Rich is installed, else plain lines."""

import sys
from types import TracebackType

try:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
except ImportError:
    Progress = None


class Lines:
    """Progress as lines of text: what is done, of how many."""

    def __init__(self, total: int):
        self.total, self.count = total, 0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def begin(self, what: str) -> None:
        """Say what is under way."""

    def done(self, line: str) -> None:
        """Count one more as done."""
        self.count += 1
        width = len(str(self.total))
        self.note(f"[{self.count:{width}}/{self.total}] {line}")

    def note(self, line: str) -> None:
        print(line, flush=True)


class Bar(Lines):
    """The same with a bar below the lines."""

    def __enter__(self) -> "Bar":
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.description}", markup=False))
        self.task = self.bar.add_task("", total=self.total)
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def begin(self, what: str) -> None:
        self.bar.update(self.task, description=what)

    def done(self, line: str) -> None:
        super().done(line)
        self.bar.advance(self.task)

    def note(self, line: str) -> None:
        self.bar.console.print(line, markup=False, highlight=False)


def progress(total: int) -> Lines:
    on_a_terminal = Progress is not None and sys.stdout.isatty()
    return Bar(total) if on_a_terminal else Lines(total)
