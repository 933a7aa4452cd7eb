"""The elastic net penalty, and the certificate that goes with it.

The penalty of weights W is l1 |W|_1 + l2 |W|^2 / 2. Its dual gives a bound on the distance to the
optimum at any point, from the gradient G of the mean loss alone. With the dual point s (P - Y),
0 <= s <= 1,

    gap = L + l1 |W|_1 + l2 |W|^2 / 2 + conjugate(-s G) - s (L - <W, G>),

for the conjugate of the loss is convex and at most 0 at s = 0. Where there is a quadratic part s is
1 and the conjugate sum (|G| - l1)_+^2 / (2 l2); where there is none it is 0 for s such that
|s G| <= l1, and s is the largest such. With l1 = 0 the gap is |G + l2 W|^2 / (2 l2).

References
----------
Shalev-Shwartz & Zhang (2014), "Accelerated proximal stochastic dual coordinate ascent for
regularized loss minimization". Kim, Koh, Lustig, Boyd & Gorinevsky (2007), "An interior-point
method for large-scale l1-regularized least squares", for the scaled dual point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ElasticNet", "square_sum"]

Float64 = NDArray[np.float64]

FEW = 4096  # numbers, of which a copy costs less than products of rows


def square_sum(array: Float64) -> float:
    """Return the sum of squares, of a part of a large array without a copy."""
    if array.size <= FEW:
        return float(np.vdot(array, array))
    return float((array[:, None, :] @ array[:, :, None]).sum())


@dataclass(frozen=True)
class ElasticNet:
    """l1 |W|_1 + l2 |W|^2 / 2, per unit of weight."""

    l1: float
    l2: float

    @property
    def none(self) -> bool:
        """Whether nothing is penalised."""
        return self.l1 == self.l2 == 0

    def quadratic(self, coef: Float64) -> float:
        """Return the smooth part."""
        return 0.5 * self.l2 * square_sum(coef)

    def absolute(self, coef: Float64) -> float:
        """Return the part with corners."""
        return self.l1 * float(np.abs(coef).sum()) if self.l1 else 0.0

    def gap(self, coef: Float64, smooth: float, gradient: Float64) -> float:
        """Return a bound on the distance to the optimum, intercepts aside.

        `smooth` is loss and quadratic part, `gradient` its gradient.
        """
        if self.l1 == 0:
            return square_sum(gradient) / (2 * self.l2) if self.l2 else np.inf
        loss = smooth - self.quadratic(coef)
        loss_gradient = gradient - self.l2 * coef
        penalty = self.absolute(coef) + self.quadratic(coef)
        product = float(np.vdot(coef, loss_gradient))
        size = np.abs(loss_gradient)
        if self.l2:
            excess = np.maximum(size - self.l1, 0)
            return penalty + product + float(np.vdot(excess, excess)) / (2 * self.l2)
        scale = min(1.0, self.l1 / max(float(size.max(initial=0.0)), np.finfo(float).tiny))
        return loss + penalty - scale * (loss - product)
