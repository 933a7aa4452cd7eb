"""What the accuracy table has a section for: every function of tests/catalog.py with each of its
options, the losses and their gradients among them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.exact import catalog, families, oracle


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
    def peer_operation(self) -> str:
        """What it is among the operations of the peers, whose cross_entropy has both results."""
        return "cross_entropy_loss" if self.operation == "cross_entropy" else self.operation

    @property
    def elementwise(self) -> bool:
        return self.function.kind == "elementwise"

    @property
    def families(self) -> list[str]:
        return list(families.families_of(self.function))

    def draw(self, family: str, length: int, dtype: np.dtype, seed: int) -> np.ndarray:
        return families.draw(self.function, family, length, dtype, seed)

    def given(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """What goes with x, by the names that `Arrays` has for it."""
        names = ("dp",) if self.function.takes("broadcast") else ("target", "labels")
        given = dict(zip(names, self.function.second(x), strict=False))
        for labels in given.values():
            if labels.dtype.kind == "i":  # half are the largest entry: losses next to 0
                labels[::2] = x.argmax(-1)[::2]
        return given

    def exact(self, x: np.ndarray, **given: np.ndarray) -> Any:
        return getattr(oracle, self.operation)(x, *given.values(), **self.options)

    def ours(self, x: np.ndarray, **given: np.ndarray) -> np.ndarray:
        return self.function.apply(x, *given.values(), **self.options)

    def allowed(self, dtype: str) -> float:
        return self.function.bound(np.dtype(dtype))

    def units(self, got: np.ndarray, exact: Any, dtype: np.dtype) -> np.ndarray:
        """Errors in ulp, measured as the bound of the catalog is."""
        return oracle.ulp_error(got, exact, dtype, self.function.scale(exact, dtype))

    def shares(self, got: np.ndarray, exact: Any, dtype: np.dtype) -> np.ndarray:
        """Errors as fractions of what is allowed."""
        return self.function.errors(got, exact, dtype)


def all_quantities() -> Iterator[Quantity]:
    """One for each row of the catalog and each of its options.

    Without layers, whose error is that of their matrix product.
    """
    for function in catalog.FUNCTIONS:
        for options in function.variants if function.kind != "layer" else ():
            yield Quantity(function, options)
