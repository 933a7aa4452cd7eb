"""A table whose names and values try to be HTML, mathematics or endless, with gaps in it."""

import numpy as np

FILE = "odd '<u>.csv"
TARGET = "<i>kind</i>"
CLASSES = ("$\\frac$ <img src=x onerror=alert(1)>", "pear & plum 梨 " + 20 * "and so on ")
NUMBER = "<script>alert(1)</script>"
TEXT = "colour"
NAME = "an id"


def table(n=200, seed=0):
    import polars as pl

    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.5
    colour = np.where(first != (rng.random(n) < 0.25), "red <b>", "yellow").tolist()
    kind = np.where(first, *CLASSES).tolist()
    return pl.DataFrame(
        {
            NUMBER: np.where(first, 150, 130) + rng.normal(0, 15, n),
            TEXT: [None if rng.random() < 0.1 else value for value in colour],
            "ripe": rng.random(n) < 0.5,
            NAME: [f"<b>{i}" for i in range(n)],
            TARGET: [None if rng.random() < 0.05 else value for value in kind],
        }
    )
