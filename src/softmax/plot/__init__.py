"""Pictures of softmax and of what is built on it (needs the extra `plot`).

Each function draws on the Matplotlib Axes it is given, or on those of a new figure, and returns
them, so that all else is Matplotlib's own: ``ax.set_title``, ``ax.figure.savefig``. Colours of
background, text and ticks are those of the style in use, dark or light; colours that carry meaning
can be told apart by colour-blind readers, and never carry it alone.
"""

try:
    import matplotlib as matplotlib
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "softmax.plot needs Matplotlib, which is not installed; this installs it: "
        "pip install 'softmax[plot]'",
        name=missing.name,
    ) from None

from softmax.plot.classifiers import decision_regions, reliability, training
from softmax.plot.curves import sigmoid, smooth_max, temperature
from softmax.plot.heatmaps import confusion, jacobian
from softmax.plot.vectors import embedding, probabilities

__all__ = [
    "confusion",
    "decision_regions",
    "embedding",
    "jacobian",
    "probabilities",
    "reliability",
    "sigmoid",
    "smooth_max",
    "temperature",
    "training",
]
