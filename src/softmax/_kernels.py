"""Pick the kernels once, at import: the compiled ones, or their NumPy twin.

`kernels` is the module `softmax._core`, or `softmax._reference` where nothing was compiled or the
environment variable SOFTMAX_CPU is "reference". Both have the same functions. A compiled module
that is there but does not load is an error, not a reason to be slow in silence.
"""

import os
from importlib import import_module
from types import ModuleType


def choose_kernels() -> ModuleType:
    """Return the compiled module where there is one and it is wanted."""
    if os.environ.get("SOFTMAX_CPU") != "reference":
        try:
            return import_module("softmax._core")
        except ModuleNotFoundError:
            pass
    return import_module("softmax._reference")


kernels = choose_kernels()
