"""What a peer is: a package under one face, which prepares the calls that are timed.

Its methods `plain`, `masked`, `tempered` and `weighted` do the variants of every function in its
table; an operation with a method of its own (a gradient, a loss) is that method, and a variant of
it the method with both names (`sample_top_k`). Each gets the
arrays of a case and returns a callable without arguments. What a peer lacks, or cannot do when
first called, is a cell that shows a dash.
"""

import importlib
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.cases import Arrays, Case

Call = Callable[[], Any]
Into = dict[str, Any]  # {} or {"out": array}

ELEMENTWISE = frozenset({"sigmoid", "log_sigmoid", "softplus", "logit"})


class UnsupportedError(Exception):
    """The peer has no such operation."""


class Peer:
    name = ""
    packages: tuple[str, ...] = ()
    functions: dict[str, Callable[..., Any]]
    takes_out: frozenset[tuple[str, str]] = frozenset()  # (operation, variant)

    def __init__(self, threads: int):
        """Import the peer and hold it to `threads`; ImportError where it is not installed."""
        for package in self.packages:
            importlib.import_module(package)

    def prepare(self, case: Case, arrays: Arrays, reuse: bool = False) -> Call:
        """The call to time, writing into an array made beforehand if `reuse`."""
        variant = "plain" if case.variant == "sweep" else case.variant
        name = case.operation if variant == "plain" else f"{case.operation}_{variant}"
        own = getattr(self, name, None)
        if reuse and (case.operation, variant) not in self.takes_out:
            raise UnsupportedError("has no out=")
        if own:
            return own(arrays, reuse) if reuse else own(arrays)
        if case.operation not in self.functions or not hasattr(self, variant):
            raise UnsupportedError("has no such function")
        into = {"out": self.native(arrays.empty_result())} if reuse else {}
        return getattr(self, variant)(case.operation, arrays, into)

    def native(self, array: np.ndarray) -> Any:
        return array

    def to_numpy(self, result: Any) -> np.ndarray:
        return np.asarray(result)

    def last_array(self, result: Any) -> np.ndarray:
        """The result as NumPy's, or its last array where there are several (loss and gradient)."""
        while isinstance(result, tuple | list):
            result = [part for part in result if part is not None][-1]
        return self.to_numpy(result)


def installed(kinds: Iterable[type[Peer]], threads: int, note: Callable[[str], None]) -> list[Peer]:
    """Load those peers that are there, and note which are not."""
    peers = []
    with interrupts_deferred():
        for kind in kinds:
            try:
                peers.append(kind(threads))
            except ImportError as error:
                note(f"{kind.name} is left out: {error}")
    return peers


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait: some compiled packages abort when interrupted during their import."""
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def places(operation: str, a: Arrays) -> tuple[int, ...]:
    return () if operation in ELEMENTWISE else (a.axis,)
