"""Matrices as heat maps with their values: the Jacobian and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from softmax.derivatives import softmax_jacobian
from softmax.plot.style import as_names, as_slice, axes_for, text_on

# More rows than this leave no room for values.
MOST_ROWS_WITH_VALUES = 20

CELL = 0.37  # inches: three digits and their margins
LAYOUT = "compressed"  # Matplotlib's for Axes of square cells
LONGEST_NAME = 20  # characters, beside which there is still room for cells
MARGIN = 1.3  # inches: ticks, labels, colour bar


def jacobian(
    x: ArrayLike,
    *,
    temperature: float = 1.0,
    labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the Jacobian of softmax as a heat map with its values.

    Parameters
    ----------
    x : array-like of shape (n,)
        Logits.
    temperature : float, default 1.0
        As in `softmax.softmax_jacobian`.
    labels : sequence of n names, optional
        Names of the entries; by default 1 to n.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        Row i, column j is dS_i/dx_j, in probability per unit of logit. Values are written for up
        to 20 entries.

    Raises
    ------
    ValueError
        If x is not one row of finite numbers, or the temperature is negative or nan.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.jacobian([1.0, 2.0, 3.0])
    >>> [text.get_text() for text in ax.texts[:3]]
    ['0.082', '−0.022', '−0.060']
    """
    logits = as_slice(x)
    names = as_names(labels, logits.size, "labels")
    slope = np.asarray(softmax_jacobian(logits, temperature=temperature))
    digits = 3 if logits.size <= 5 else 2
    ax = axes_for(ax, size_for(logits.size, 0.75 if digits == 3 else 0.5), LAYOUT)
    # Equal and opposite ends, so that white is 0.
    end = float(np.abs(slope).max()) or 1.0
    image = ax.imshow(slope, cmap="RdBu_r", vmin=-end, vmax=end)
    write_values(image, [[signed(value, digits) for value in row] for row in slope])
    name_cells(ax, names)
    ax.set(xlabel="input j", ylabel="output i")
    ax.figure.colorbar(image, ax=ax, label="dS$_i$/dx$_j$ (probability per unit of logit)")
    return ax


def confusion(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    classes: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often each class was predicted as each.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_pred : array-like of shape (n,)
        Predicted labels.
    classes : sequence of labels, optional
        The classes in the order of rows and columns; by default all that occur, in order.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        Colours are shares of the true class, so that rare classes count like others; numbers are
        rows, none written for 0, and none at all for more than 20 classes.

    Raises
    ------
    ValueError
        If there are no labels, not as many of each, or one that is none of the classes.

    Examples
    --------
    >>> from softmax import plot
    >>> ax = plot.confusion(["cat", "cat", "dog"], ["cat", "dog", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['1', '1', '', '1']
    """
    from softmax.learn.evaluation import class_positions

    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != predicted.shape or not true.size:
        raise ValueError(
            "y_true and y_pred must be rows of labels of one length, got shapes "
            f"{true.shape} and {predicted.shape}"
        )
    known = np.unique(np.concatenate([true, predicted])) if classes is None else classes
    n = len(known)
    labels, rows = class_positions(true, n, known)
    columns = class_positions(predicted, n, known)[1]
    counts = np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)
    ax = axes_for(ax, size_for(n, CELL), LAYOUT)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
    write_values(image, [[str(count) if count else "" for count in row] for row in counts])
    name_cells(ax, [str(label) for label in labels])
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.figure.colorbar(image, ax=ax, label="share of the true class")
    return ax


def size_for(n: int, cell: float) -> tuple[float, float] | None:
    """Return the size of a figure for n x n cells of so many inches; None for the usual one."""
    side = MARGIN + min(n, MOST_ROWS_WITH_VALUES) * cell
    return (side + 1.0, side) if side > 3.6 else None


def signed(value: float, digits: int) -> str:
    """Return the number with a minus sign as long as a plus, and none before a rounded 0."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def write_values(image: AxesImage, values: list[list[str]]) -> None:
    """Write a text into every cell of the image, where there is room."""
    if len(values) > MOST_ROWS_WITH_VALUES:
        return
    colours = image.to_rgba(np.asarray(image.get_array()))
    for i, row in enumerate(values):
        for j, text in enumerate(row):
            image.axes.text(j, i, text, ha="center", va="center", color=text_on(colours[i, j]))


def name_cells(ax: Axes, names: list[str]) -> None:
    """Name rows and columns, the names on end where they would run into each other."""
    shown: NDArray[Any] = np.arange(0, len(names), 1 + (len(names) - 1) // MOST_ROWS_WITH_VALUES)
    texts = [shortened(names[i]) for i in shown]
    longest = max(map(len, texts))
    steep = longest * len(texts) > 24 and longest > 2
    ax.set_xticks(shown, texts, parse_math=False)  # a name may have dollar signs
    ax.set_yticks(shown, texts, parse_math=False)
    if steep:
        ax.tick_params(axis="x", labelrotation=90)


def shortened(name: str) -> str:
    """Cut off what leaves no room for the cells."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
