"""Standard errors of maximum-likelihood estimates, and the table that reports them.

Classes are compared with the first one: the parameters are w_k - w_0 and b_k - b_0, whose
covariance is the inverse of the information sum_i s_i (diag p_i - p_i p_i') (x) x_i x_i' without
the first class. It is built with centred features, which keeps it far from singular, and moved
to the features as they are afterwards.

References
----------
McFadden (1974), "Conditional logit analysis of qualitative choice behavior", for the standard
errors and the pseudo R2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from softmax.learn.rows import dense

if TYPE_CHECKING:
    from softmax.learn.objective import CrossEntropyObjective

__all__ = ["Inference", "Summary"]

Float64 = NDArray[np.float64]

LARGEST = 2000  # parameters: a covariance of 32 MB
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Estimates with their uncertainty; prints as a table.

    Attributes
    ----------
    classes : list
        The classes after the first, with which each is compared.
    names : list of str
        Features, and last the intercept where there is one.
    estimate, standard_error, z, p_value, low, high : ndarray of shape (n_classes - 1, n_names)
        Estimates, their standard errors, their ratio, the probability of a larger ratio in size
        if the truth is 0, and the ends of the 95 % confidence interval.
    log_likelihood, null_log_likelihood : float
        In nats, of the model and of one with intercepts alone.
    pseudo_r2 : float
        1 - log_likelihood / null_log_likelihood.
    aic, bic : float
        Information criteria of Akaike and Schwarz.
    n_observations : float
        The sum of the weights.
    """

    classes: list[Any]
    names: list[str]
    estimate: Float64
    standard_error: Float64
    z: Float64
    p_value: Float64
    low: Float64
    high: Float64
    log_likelihood: float
    null_log_likelihood: float
    pseudo_r2: float
    aic: float
    bic: float
    n_observations: float

    def __str__(self) -> str:
        """Return the table."""
        head = (
            f"observations {self.n_observations:g}   log-likelihood {self.log_likelihood:.6g}   "
            f"null {self.null_log_likelihood:.6g}\n"
            f"pseudo R2 {self.pseudo_r2:.4g}   AIC {self.aic:.6g}   BIC {self.bic:.6g}"
        )
        width = max(map(len, self.names))
        columns = ("estimate", "std err", "z", "P>|z|", "[0.025", "0.975]")
        lines = [head]
        for k, label in enumerate(self.classes):
            lines.append("")
            lines.append(f"{f'class {label}':<{width}}" + "".join(f"{c:>12}" for c in columns))
            parts = (self.estimate, self.standard_error, self.z, self.p_value, self.low, self.high)
            for j, name in enumerate(self.names):
                row = "".join(f"{part[k, j]:>12.4g}" for part in parts)
                lines.append(f"{name:<{width}}{row}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Inference:
    """What a maximum-likelihood fit keeps for its table."""

    estimate: Float64
    covariance: Float64
    log_likelihood: float
    null_log_likelihood: float
    n_observations: float

    @staticmethod
    def possible(problem: CrossEntropyObjective) -> bool:
        """Say whether there is no penalty and the covariance is of a reasonable size."""
        size = (problem.n_classes - 1) * problem.shape[1]
        return problem.last_penalty.none and 0 < size <= LARGEST

    @staticmethod
    def of(problem: CrossEntropyObjective, parameters: Float64, counts: Float64) -> Inference:
        """Return the uncertainty of the optimum; `counts` are the weights of the classes."""
        loss, _ = problem.evaluate(parameters)
        coef, intercept = problem.to_model(parameters)
        estimate = coef[1:] - coef[0]
        if problem.fit_intercept:
            estimate = np.column_stack([estimate, intercept[1:] - intercept[0]])
        null = -problem.total_weight * np.log(problem.n_classes)
        if problem.fit_intercept:
            null = float(special.xlogy(counts, counts / counts.sum()).sum())
        return Inference(
            estimate,
            _covariance(problem, parameters),
            -problem.total_weight * loss,
            null,
            problem.total_weight,
        )

    @property
    def standard_error(self) -> Float64:
        """Return the standard errors in the shape of the estimates."""
        return np.sqrt(self.covariance.diagonal()).reshape(self.estimate.shape)

    def summary(self, classes: NDArray[Any], names: list[str]) -> Summary:
        """Return the table."""
        error = self.standard_error
        z = self.estimate / error
        reach = special.ndtri((1 + CONFIDENCE) / 2) * error
        deviance = -2 * self.log_likelihood
        return Summary(
            classes=classes[1:].tolist(),
            names=names,
            estimate=self.estimate,
            standard_error=error,
            z=z,
            p_value=2 * special.ndtr(-np.abs(z)),
            low=self.estimate - reach,
            high=self.estimate + reach,
            log_likelihood=self.log_likelihood,
            null_log_likelihood=self.null_log_likelihood,
            pseudo_r2=1 - self.log_likelihood / self.null_log_likelihood,
            aic=deviance + 2 * self.estimate.size,
            bic=deviance + float(np.log(self.n_observations)) * self.estimate.size,
            n_observations=self.n_observations,
        )


def _covariance(problem: CrossEntropyObjective, parameters: Float64) -> Float64:
    """Return the inverse of the information about the parameters less those of the first class."""
    n_classes, n_columns = problem.n_classes - 1, problem.shape[1]
    information = np.zeros((n_classes, n_columns, n_classes, n_columns))
    for x, _, weights in problem.rows.chunks():
        rows = problem.centred(dense(x).astype(np.float64))
        p = problem.probabilities(x, parameters).astype(np.float64)[:, 1:]
        weights = np.ones(len(p)) if weights is None else weights
        for k in range(n_classes):
            for j in range(k + 1):
                spread = weights * p[:, k] * ((k == j) - p[:, j])
                block = (rows * spread[:, None]).T @ rows
                information[k, :, j] += block
                if j < k:
                    information[j, :, k] += block
    flat = information.reshape(n_classes * n_columns, -1)
    known = flat.diagonal() > 0  # nothing is known about a column that does not vary
    scale = np.where(known, 1 / np.sqrt(np.where(known, flat.diagonal(), 1)), 0)
    inverse = linalg.pinvh(flat * scale * scale[:, None]) * scale * scale[:, None]
    if problem.fit_intercept:
        moved = np.eye(n_columns)
        moved[-1, :-1] = -problem.mean
        cube = inverse.reshape(n_classes, n_columns, n_classes, n_columns)
        cube = np.einsum("ab,kbjc,dc->kajd", moved, cube, moved, optimize=True)
        inverse = cube.reshape(inverse.shape)
    inverse[~known, ~known] = np.inf
    return np.asarray(inverse)
