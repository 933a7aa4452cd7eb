"""A table of one's own for the command, and what two of its models have in common."""

from pathlib import Path

import numpy as np
import polars as pl

from softmax import cli


def fruit(n=80, seed=0):
    """Two kinds of fruit that mass and colour tell apart, with gaps in both."""
    rng = np.random.default_rng(seed)
    apple = rng.random(n) < 0.5
    whole = pl.DataFrame(
        {
            "mass": np.where(apple, 150, 120) + rng.normal(0, 5, n),
            "colour": np.where(apple, "red", "yellow"),
            "ripe": rng.random(n) < 0.5,
            "kind": np.where(apple, "apple", "pear"),
        }
    )
    gap = pl.Series(rng.random(n) < 0.1)
    return whole.with_columns(
        pl.when(~gap).then("mass").alias("mass"),
        pl.when(~gap.reverse()).then("colour").alias("colour"),
    )


def same_model(one, other):
    """Compare all that two model files hold, but for the seconds that training took."""
    first, second = cli.read_model(Path(one)), cli.read_model(Path(other))
    assert first[1] == second[1]
    np.testing.assert_array_equal(first[0].coef_, second[0].coef_)
    np.testing.assert_array_equal(first[0].intercept_, second[0].intercept_)
    np.testing.assert_array_equal(first[0].classes_, second[0].classes_)
