"""Draws the pictures of `pictures/` at each build, once for light pages and once for dark ones."""

from pathlib import Path

import matplotlib.pyplot as plt
import reduce_then_map

from softmax import plot

DRAWINGS = {"reduce_then_map": reduce_then_map.draw}


def draw_all(app):
    folder = Path(app.srcdir, "pictures")
    folder.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        for paper, style in (("light", []), ("dark", ["dark_background"])):
            with plt.rc_context({"svg.hashsalt": name}), plt.style.context(style):
                figure = draw()
                figure.savefig(
                    folder / f"{name}-{paper}.svg", transparent=True, metadata={"Date": None}
                )
                plt.close(figure)


def draw_thumbnail(path):
    """Draw what stands for a page without a picture of its own."""
    path.parent.mkdir(exist_ok=True)
    axes = plot.probabilities([1.0, 2.0, 3.0])
    axes.figure.savefig(path, dpi=60)
    plt.close(axes.figure)
    return str(path)


def setup(app):
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True}
