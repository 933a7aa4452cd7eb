"""Draws the pictures of `pictures/` at each build, once for light pages and once for dark ones."""

from pathlib import Path

import matplotlib.pyplot as plt
import reduce_then_map

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


def setup(app):
    app.connect("builder-inited", draw_all)
    return {"parallel_read_safe": True}
