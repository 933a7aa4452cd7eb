"""The pictures that `softmax show` draws: each function of `softmax.plot` on a worked example.

Nothing is made up and nothing is fetched: the numbers are those of the textbook examples, the data
sets come with scikit-learn, and the word vectors are trained on the descriptions of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from softmax import plot

if TYPE_CHECKING:
    from softmax.learn import SkipGram

__all__ = ["PICTURES", "save_picture"]

LOGITS = [1.0, 2.0, 3.0]
SEEDS = ("petal", "radius", "serum", "learning")
DOTS_PER_INCH = 200


def family() -> Axes:
    """Draw the smooth maximum for k = 1 to 10 where it leaves the maximum."""
    return plot.smooth_max(range(1, 11), xlim=(2, 4), ylim=(2.5, 4.5))


def digits() -> tuple[Any, dict[str, tuple[Any, Any]]]:
    """Return an over-confident classifier of digits, and the rows it did not train on."""
    from sklearn.datasets import load_digits

    from softmax.learn import SoftmaxRegression

    X, y = load_digits(return_X_y=True)
    X = X / 16
    model = SoftmaxRegression(C=100.0).fit(X[:300], y[:300])
    return model, {"held out": (X[300:900], y[300:900]), "test": (X[900:], y[900:])}


def confusion() -> Axes:
    """Draw how a classifier of digits confuses them."""
    model, rows = digits()
    X, y = rows["test"]
    return plot.confusion(y, model.predict(X))


def reliability() -> Axes:
    """Draw the calibration of a classifier of digits, before and after temperature scaling."""
    from softmax.learn import TemperatureScaling

    model, rows = digits()
    scaled = TemperatureScaling(model).fit(*rows["held out"])
    X, y = rows["test"]
    ax = plot.reliability(y, model.predict_proba(X), label="as trained")
    name = f"T = {scaled.temperature_:.2f}"
    return plot.reliability(y, scaled.predict_proba(X), label=name, ax=ax)


def training() -> Axes:
    """Draw how the classifier of digits was trained."""
    model, _ = digits()
    return plot.training(model.history_, tol=model.tol)


def decision_regions() -> Axes:
    """Draw where three kinds of iris are told apart by their petals."""
    from sklearn.datasets import load_iris

    from softmax.learn import SoftmaxRegression

    bunch = load_iris()
    X, y = bunch.data[:, 2:], bunch.target_names[bunch.target]
    model = SoftmaxRegression().fit(X, y)
    return plot.decision_regions(model, X, y, features=bunch.feature_names[2:])


def embedding() -> Axes:
    """Draw words of the descriptions of scikit-learn's data sets, with the nearest of each."""
    from softmax.learn import SkipGram

    model = SkipGram(dim=20, min_count=3, random_state=0).fit(descriptions())
    groups = {seed: [seed, *nearest(model, seed)] for seed in SEEDS}
    words = [word for group in groups.values() for word in group]
    rows = model.vectors_[[model.vocabulary_[word] for word in words]]
    owners = [f"near {seed}" for seed, group in groups.items() for _ in group]
    return plot.embedding(rows, words, groups=owners)


def nearest(model: SkipGram, seed: str) -> list[str]:
    """Return the five nearest words."""
    return [word for word, _ in model.most_similar(seed, 5)]


def descriptions() -> list[list[str]]:
    """Return the sentences of the data sets' descriptions without the commonest English words."""
    from sklearn import datasets
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    names = ("digits", "iris", "wine", "breast_cancer", "diabetes", "linnerud")
    texts = [getattr(datasets, f"load_{name}")().DESCR.lower() for name in names]
    sentences = [part for text in texts for part in re.split(r"\n\s*\n|\.\s", text)]
    return [
        [word for word in re.findall(r"[a-z]{3,}", sentence) if word not in ENGLISH_STOP_WORDS]
        for sentence in sentences
    ]


PICTURES: dict[str, Callable[[], Axes]] = {
    "smooth_max": plot.smooth_max,
    "smooth_max_family": family,
    "temperature": lambda: plot.temperature(LOGITS),
    "sigmoid": plot.sigmoid,
    "jacobian": lambda: plot.jacobian(LOGITS),
    "probabilities": lambda: plot.probabilities(LOGITS),
    "training": training,
    "reliability": reliability,
    "confusion": confusion,
    "decision_regions": decision_regions,
    "embedding": embedding,
}


def save_picture(name: str, path: Path, file_format: str, *, dark: bool = False) -> None:
    """Draw one of the pictures into a file.

    Parameters
    ----------
    name : str
        One of `PICTURES`.
    path : Path
        Where to write.
    file_format : str
        "png" or "svg".
    dark : bool, default False
        Light on black in place of the style in use.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sigmoid.png")
    ...     save_picture("sigmoid", path, "png")
    ...     path.read_bytes()[1:4]
    b'PNG'
    """
    metadata = {"Title": f"softmax: {name}"} | ({"Date": None} if file_format == "svg" else {})
    # The same picture is the same file.
    with (
        plt.rc_context({"svg.hashsalt": name}),
        plt.style.context(["dark_background"] if dark else []),
    ):
        PICTURES[name]()
        plt.savefig(path, format=file_format, dpi=DOTS_PER_INCH, metadata=metadata)
        plt.close()
