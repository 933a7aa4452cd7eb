"""Early stopping: the loss on held-out rows says when training has gone on for long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softmax.learn.evaluation import held_out_rows
from softmax.learn.rows import ArrayRows, forward

if TYPE_CHECKING:
    from softmax.learn.objective import CrossEntropyObjective

__all__ = ["HeldOut"]

Float64 = NDArray[np.float64]

PATIENCE = 5  # steps without a lower loss


class HeldOut:
    """Keeps the parameters with the lowest mean loss on rows that training does not see."""

    def __init__(self, objective: CrossEntropyObjective, rows: ArrayRows) -> None:
        self.objective = objective
        self.rows = rows
        self.best: Float64 = np.zeros(objective.shape)
        self.least = np.inf
        self.steps = self.idle = 0

    @staticmethod
    def split(target: NDArray[Any], fraction: float, seed: int) -> NDArray[np.int64]:
        """Return the rows to hold out, class by class for labels."""
        labels = target if target.ndim == 1 else np.zeros(len(target), np.int64)
        _, held_out = held_out_rows(labels, fraction, seed)
        if not held_out.size:
            raise ValueError(
                f"validation_fraction is {fraction} where a larger share was expected: of "
                f"{len(target)} rows it holds out none"
            )
        return held_out

    @property
    def exhausted(self) -> bool:
        """Whether the loss has not come down for some steps."""
        return self.idle >= PATIENCE

    @property
    def best_step(self) -> int:
        """Return which step had the lowest loss."""
        return self.steps - self.idle - 1

    def see(self, parameters: Float64) -> float:
        """Return the mean loss of the held-out rows, and remember the best parameters."""
        loss = self._mean_loss(parameters)
        self.steps += 1
        if loss < self.least:
            self.least, self.best, self.idle = loss, parameters.copy(), 0
        else:
            self.idle += 1
        return loss

    def _mean_loss(self, parameters: Float64) -> float:
        weight, bias = self.objective.product_form(parameters)
        loss = total = 0.0
        for x, target, weights in self.rows.chunks():
            logits = forward(x, weight)
            logits += bias
            loss += float(self.objective.loss.slope(logits, target, weights).sum())
            total += len(logits) if weights is None else float(weights.sum())
        return loss / total if total else 0.0
