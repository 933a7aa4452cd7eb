"""How many threads the kernels use, and which kernels they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

from softmax._kernels import kernels


def set_num_threads(n: int) -> None:
    """Let the kernels use at most n threads, 1 or more. Results do not depend on it.

    Raises
    ------
    ValueError
        If n is less than 1.
    """
    if index(n) < 1:
        raise ValueError(f"n must be 1 or more, got {n}")
    kernels.set_num_threads(index(n))


def get_num_threads() -> int:
    """Return the largest number of threads that the kernels use."""
    return int(kernels.get_num_threads())


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Let the kernels use at most n threads within a `with` block.

    Examples
    --------
    >>> import softmax
    >>> with softmax.num_threads(1):
    ...     print(softmax.get_num_threads())
    1
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def build_info() -> dict[str, object]:
    """Return which kernels are in use.

    Returns
    -------
    dict
        "native": whether they were compiled; "target": the instruction set in use, or "reference"
        for the NumPy code; "targets": those this machine could use; "openmp": whether they run on
        several threads; "compiler": what compiled them.
    """
    return dict(kernels.build_info())
