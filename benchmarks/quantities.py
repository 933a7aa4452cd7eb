"""What the accuracy table has a section for: every function of tests/catalog.py with each of its
options, and the loss and gradient of cross-entropy."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import softmax
from benchmarks.exact import catalog, oracle


@dataclass(frozen=True)
class Quantity:
    """A row of the catalog with one set of options."""

    function: Any  # catalog.Function
    options: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.operation}({options})" if options else self.operation

    @property
    def operation(self) -> str:
        return self.function.name

    @property
    def elementwise(self) -> bool:
        return self.function.kind == "elementwise"

    @property
    def families(self) -> list[str]:
        return list(catalog.families_of(self.function))

    def draw(self, family: str, length: int, dtype: np.dtype, seed: int) -> np.ndarray:
        return catalog.draw(self.function, family, length, dtype, seed)

    def given(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """What goes with x, by the names that `Arrays` has for it."""
        return dict(zip(("dp",), self.function.second(x), strict=False))

    def exact(self, x: np.ndarray, **given: np.ndarray) -> Any:
        return getattr(oracle, self.operation)(x, *given.values(), **self.options)

    def ours(self, x: np.ndarray, **given: np.ndarray) -> np.ndarray:
        return getattr(softmax, self.operation)(x, *given.values(), **self.options)

    def allowed(self, dtype: str) -> float:
        return self.function.bound(np.dtype(dtype))

    def units(self, got: np.ndarray, exact: Any, dtype: np.dtype) -> np.ndarray:
        """Errors in ulp, measured as the bound of the catalog is."""
        scale = getattr(exact, "scale", None) if dtype == np.float64 else None
        return oracle.ulp_error(got, exact, dtype, scale)

    def shares(self, got: np.ndarray, exact: Any, dtype: np.dtype) -> np.ndarray:
        """Errors as fractions of what is allowed."""
        return self.function.errors(got, exact, dtype)


class _CrossEntropy(Quantity):
    """The losses of rows, or their gradient: half the labels are the largest entry, half are not.

    The catalog has no row for a function with labels, so the bounds are those of the rows that
    are bound alike.
    """

    place = 0  # in what softmax.cross_entropy and the oracle return

    def given(self, x: np.ndarray) -> dict[str, np.ndarray]:
        target = x.argmax(-1)
        target[1::2] = 0
        return {"target": target}

    def exact(self, x: np.ndarray, target: np.ndarray) -> Any:
        return oracle.cross_entropy(x, target)[self.place]

    def ours(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        return softmax.cross_entropy(x, target, reduction="none", return_grad=True)[self.place]


class CrossEntropyLoss(_CrossEntropy):
    operation = "cross_entropy_loss"


class CrossEntropyGradient(_CrossEntropy):
    operation = "cross_entropy_gradient"
    place = 1


def all_quantities() -> Iterator[Quantity]:
    """Those whose function this package has."""
    for function in catalog.FUNCTIONS:
        if hasattr(softmax, function.name):
            for options in function.variants:
                yield Quantity(function, options)
    if hasattr(softmax, "cross_entropy"):
        yield CrossEntropyLoss(catalog.BY_NAME["log_softmax"])
        yield CrossEntropyGradient(catalog.BY_NAME["softmax_vjp"])
