"""How a classifier learnt, how far its probabilities can be trusted, and where it decides what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from softmax.plot.style import (
    MARKERS,
    PALETTE,
    as_names,
    axes_for,
    draw_legend,
    ink,
    line_look,
    marker_look,
)

# The curves of a training history, and what they are called; all are in nats.
CURVES = {
    "objective": "objective",
    "gap": "certified gap",
    "validation_loss": "validation loss",
}

GRID = 300  # points along each side of the decision regions

DIAGONAL = "perfectly calibrated"


def training(
    history: Mapping[str, Sequence[float]],
    *,
    x: str = "iteration",
    tol: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the objective as it falls, and the bound on its distance to the optimum.

    Parameters
    ----------
    history : mapping of str to sequence of float
        The `history_` of a fitted `SoftmaxRegression`: `objective`, in nats, an entry for each
        step, and where there are any `gap`, `validation_loss` (both in nats) and `seconds`.
    x : "iteration" or "seconds", default "iteration"
        What the steps are drawn against.
    tol : float, optional
        The tolerance of the training, drawn as a line at `tol` times the last objective, below
        which the gap must come.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        With a logarithmic scale. Entries that are not positive and finite are left out.

    Raises
    ------
    ValueError
        If there is no objective, the entries differ in number, or x names none of them.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.training({"objective": [0.69, 0.31, 0.30], "gap": [0.5, 0.02, 1e-5]}, tol=1e-4)
    >>> [line.get_label() for line in ax.get_lines()]
    ['objective', 'certified gap', 'tolerance']
    """
    curves = checked_history(history)
    if x not in ("iteration", "seconds") or x not in {"iteration", *curves}:
        raise ValueError(f'x must be "iteration", or "seconds" where history has them, got {x!r}')
    if tol is not None and not 0 < tol < np.inf:
        raise ValueError(f"tol must be positive and finite, got {tol!r}")
    objective = curves["objective"]
    steps = curves["seconds"] if x == "seconds" else np.arange(objective.size)
    ax = axes_for(ax)
    for i, (name, label) in enumerate(CURVES.items()):
        if name in curves:
            shown = np.isfinite(curves[name]) & (curves[name] > 0)
            ax.plot(steps, np.where(shown, curves[name], np.nan), label=label, **line_look(i))
    if tol is not None:
        ax.axhline(
            tol * objective[-1], color=ink(ax), linewidth=1, linestyle=":", label="tolerance"
        )
    label = "training time (seconds)" if x == "seconds" else "iteration"
    ax.set(xlabel=label, ylabel="nats per row", yscale="log")
    if x == "iteration":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    draw_legend(ax, frameon=False)
    return ax


def checked_history(history: Mapping[str, Sequence[float]]) -> dict[str, NDArray[np.float64]]:
    """Return the known entries of a training history as arrays of one length."""
    if not isinstance(history, Mapping) or "objective" not in history:
        raise ValueError("history must be a mapping with the entry 'objective', as history_ is")
    known = [name for name in (*CURVES, "seconds") if name in history]
    curves = {name: np.asarray(history[name], np.float64) for name in known}
    n = curves["objective"].size
    for name, values in curves.items():
        if values.shape != (n,) or n == 0:
            raise ValueError(
                f"history must hold a number for each step: {name!r} has shape {values.shape}, "
                f"the objective has {n}"
            )
    return curves


def reliability(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    classes: ArrayLike | None = None,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often predictions are right against how probable they were said to be.

    Parameters
    ----------
    y_true, y_prob, n_bins, classes
        As in `softmax.learn.expected_calibration_error`.
    label : str, optional
        What the legend calls this classifier.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure. Drawn on the same Axes again, a second
        classifier has its own line beside the first.

    Returns
    -------
    matplotlib Axes
        A marker for each bin that has rows, its area by its share of them, and the expected
        calibration error (ECE) in the legend. Below the diagonal a classifier is over-confident.

    Raises
    ------
    ValueError
        As `softmax.learn.expected_calibration_error` does.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.reliability([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], n_bins=5)
    >>> ax.get_lines()[1].get_label()
    'ECE 0.367'
    """
    from softmax.learn.evaluation import reliability_bins

    bins = reliability_bins(y_true, y_prob, n_bins=n_bins, classes=classes)
    ax = axes_for(ax)
    before = [line.get_label() for line in ax.get_lines()]
    if DIAGONAL not in before:
        ax.plot([0, 1], [0, 1], color=ink(ax), linewidth=1, linestyle=":", label=DIAGONAL)
    i = len(before) - (DIAGONAL in before)
    filled = bins.rows > 0
    confidence, accuracy, rows = bins.confidence[filled], bins.accuracy[filled], bins.rows[filled]
    error = f"ECE {bins.calibration_error:.3f}"
    look = line_look(i)
    shape = {"color": look["color"], "marker": MARKERS[i % len(MARKERS)]}
    ax.plot(
        confidence, accuracy, label=error if label is None else f"{label}, {error}",
        **look, marker=shape["marker"], markersize=4,
    )  # fmt: skip
    area = 16 + 160 * rows / rows.sum()
    ax.scatter(confidence, accuracy, s=area, zorder=2.5, clip_on=False, **shape)
    ax.set(
        xlabel="confidence (probability of the predicted class)", xlim=(0, 1),
        ylabel="accuracy (share of rows)", ylim=(0, 1),
    )  # fmt: skip
    draw_legend(ax, loc="upper left", frameon=False)
    return ax


def decision_regions(
    model: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    features: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which class a classifier of two features predicts where, and how sure it is.

    Parameters
    ----------
    model : object
        A fitted classifier with `predict_proba` and `classes_`.
    X : array-like of shape (n, 2)
        Points; the picture reaches a little beyond them.
    y : array-like of shape (n,), optional
        Labels of the points, which are then drawn.
    features : sequence of two str, optional
        Names of the features, with their units.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        The more probable the predicted class, the stronger its colour; lines part the regions.
        Colours come again after six classes, markers after seven.

    Raises
    ------
    ValueError
        If X does not hold finite points of two features, or y not a class of the model for each.
    TypeError
        If the model has no `predict_proba` or `classes_`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax import plot
    >>> from softmax.learn import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression().fit(X[:, 2:], y)
    >>> ax = plot.decision_regions(model, X[:, 2:], y, features=["length (cm)", "width (cm)"])
    >>> ax.get_xlabel()
    'length (cm)'
    """
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise TypeError(
            "model must be a fitted classifier with predict_proba and classes_, got "
            f"{type(model).__name__}"
        )
    points = np.asarray(X, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not points.size:
        raise ValueError(f"X must hold points of two features, got shape {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("X must be finite")
    classes = list(model.classes_)
    labels = None if y is None else np.asarray(y)
    check_labels(labels, classes, len(points))
    names = as_names(
        ("first feature", "second feature") if features is None else features, 2, "features"
    )
    margin = 0.08 * np.ptp(points, axis=0) + 1e-9
    (left, bottom), (right, top) = points.min(axis=0) - margin, points.max(axis=0) + margin
    across, up = np.linspace(left, right, GRID), np.linspace(bottom, top, GRID)
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    p = np.asarray(model.predict_proba(grid.reshape(-1, 2)))
    ax = axes_for(ax)
    fill_regions(ax, p.reshape(GRID, GRID, -1), across, up)
    draw_points(ax, points, labels, classes)
    ax.set(xlabel=names[0], ylabel=names[1], xlim=(left, right), ylim=(bottom, top))
    return ax


def check_labels(labels: NDArray[Any] | None, classes: list[Any], n: int) -> None:
    """Refuse labels that are not one class of the model for each point."""
    if labels is None:
        return
    if labels.shape != (n,):
        raise ValueError(f"y must hold {n} labels, got shape {labels.shape}")
    unknown = [label for label in labels.tolist() if label not in classes]
    if unknown:
        raise ValueError(f"y must hold classes of the model, got {unknown[0]!r}")


def fill_regions(
    ax: Axes, p: NDArray[Any], across: NDArray[np.float64], up: NDArray[np.float64]
) -> None:
    """Colour each place by its class, the more so the surer, and draw the borders."""
    best = p.argmax(axis=-1)
    n = p.shape[-1]
    colours = np.array([to_rgb(PALETTE[k % len(PALETTE)]) for k in range(n)])
    certainty = (p.max(axis=-1) - 1 / n) / max(1 - 1 / n, 1e-9)
    image = np.concatenate([colours[best], (0.12 + 0.5 * certainty)[..., None]], axis=-1)
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    for k in np.unique(best):
        others = np.delete(p, k, axis=-1).max(axis=-1, initial=0.0)
        lead = p[..., k] - others
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0.0], colors=[ink(ax)], linewidths=1.0)


def draw_points(
    ax: Axes, points: NDArray[np.float64], labels: NDArray[Any] | None, classes: list[Any]
) -> None:
    """Draw the labelled points, or name the regions alone."""
    for k, name in enumerate(classes):
        mine = points[:0] if labels is None else points[labels == name]
        ax.scatter(mine[:, 0], mine[:, 1], s=28, label=str(name), **marker_look(ax, k))
    draw_legend(ax, title="class", loc="best")
