"""Features equal scikit-learn's own, survive JSON to the last bit, and refuse what is damaged."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from softmax.learn.preprocessing import (
    MOST_CATEGORIES,
    NumericColumn,
    Preprocessing,
    unusable_columns,
)


def garden(n=60, seed=0):
    rng = np.random.default_rng(seed)
    whole = pl.DataFrame(
        {
            "mass": rng.normal(3, 0.1, n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "count": rng.integers(0, 100, n),
            "ripe": rng.random(n) < 0.7,
            "always": np.ones(n),
        }
    )
    gaps = pl.Series(rng.random(n) < 0.1)
    return whole.with_columns(
        pl.when(~gaps.shuffle(seed=k)).then(pl.col(name)).alias(name)
        for k, name in enumerate(["mass", "colour", "ripe"])
    )


def scikit_learn(training, table):
    numeric, categorical = ["mass", "count", "always"], ["colour", "ripe"]
    transformer = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numeric),
            (
                "categories",
                make_pipeline(
                    SimpleImputer(missing_values=None, strategy="most_frequent"),
                    OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                ),
                categorical,
            ),
        ]
    )
    as_text = pl.col("ripe").cast(pl.String)
    transformer.fit(training.with_columns(as_text))
    return transformer.transform(table.with_columns(as_text))


def test_features_are_scikit_learns():
    training, table = garden(), garden(30, seed=1)
    preprocessing = Preprocessing.learn(training, "kind")
    np.testing.assert_array_equal(preprocessing.features(table), scikit_learn(training, table))
    assert preprocessing.n_features == preprocessing.features(table).shape[1]


def test_json_keeps_every_bit():
    preprocessing = Preprocessing.learn(garden(), "kind")
    again = Preprocessing.from_json(preprocessing.to_json())
    assert again == preprocessing
    np.testing.assert_array_equal(again.features(garden()), preprocessing.features(garden()))


@pytest.mark.parametrize("columns", [["mass"], ["colour"], ["ripe", "colour"], ["count", "mass"]])
def test_any_kinds_of_columns(columns):
    table = garden().select(columns)
    preprocessing = Preprocessing.learn(table, "kind")
    assert preprocessing.features(table).shape == (60, preprocessing.n_features)


def test_order_and_further_columns_do_not_matter():
    table = garden()
    preprocessing = Preprocessing.learn(table, "kind")
    shuffled = table.select(reversed(table.columns)).with_columns(more=pl.lit("text"))
    np.testing.assert_array_equal(preprocessing.features(shuffled), preprocessing.features(table))


def test_gaps_are_filled_and_counted():
    training = pl.DataFrame({"x": [1.0, 2.0, 6.0], "c": ["a", "b", "a"], "whole": [0, 1, 2]})
    preprocessing = Preprocessing.learn(training, "y")
    gaps = pl.DataFrame({"x": [None, 3.0], "c": [None, None], "whole": [1, 1]})
    filled = pl.DataFrame({"x": [3.0, 3.0], "c": ["a", "a"], "whole": [1, 1]})
    np.testing.assert_array_equal(preprocessing.features(gaps), preprocessing.features(filled))
    assert preprocessing.missing_values(gaps) == {"x": 1, "c": 2}
    assert preprocessing.missing_values(filled) == {}


def test_a_column_of_gaps_is_filled_too():
    preprocessing = Preprocessing.learn(garden(), "kind")
    nothing = pl.DataFrame({name: [None, None] for name in preprocessing.columns})
    features = preprocessing.features(nothing)
    assert np.isfinite(features).all()
    assert features[:, 3:].sum(axis=1).tolist() == [2.0, 2.0]


def test_an_unknown_category_is_all_zero():
    preprocessing = Preprocessing.learn(pl.DataFrame({"c": ["a", "b", "a"]}), "y")
    assert preprocessing.features(pl.DataFrame({"c": ["z", "b"]})).tolist() == [[0, 0], [0, 1]]


def test_missing_columns_are_named():
    preprocessing = Preprocessing.learn(garden(), "kind")
    with pytest.raises(ValueError, match="needs the column 'mass', which the table does not"):
        preprocessing.features(garden().drop("mass"))
    with pytest.raises(ValueError, match=r"needs the columns 'mass', 'ripe', which .* 'colour'"):
        preprocessing.features(garden().drop("mass", "ripe"))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e200])
def test_numbers_without_bounds_are_refused(value):
    good, bad = pl.DataFrame({"x": [1.0, 2.0]}), pl.DataFrame({"x": [1.0, value]})
    sentence = f"the column 'x' holds {value:g}: finite numbers".replace("+", r"\+")
    with pytest.raises(ValueError, match=sentence):
        Preprocessing.learn(bad, "y")
    with pytest.raises(ValueError, match=sentence):
        Preprocessing.learn(good, "y").features(bad)


def test_a_column_of_another_kind_is_refused():
    preprocessing = Preprocessing.learn(pl.DataFrame({"x": [1, 2], "b": [True, False]}), "y")
    with pytest.raises(ValueError, match=r"'x' must hold numbers; it .* String, such as 'tall'"):
        preprocessing.features(pl.DataFrame({"x": ["tall"], "b": [True]}))
    with pytest.raises(ValueError, match=r"'b' must hold true or false; it .* such as 'yes'"):
        preprocessing.features(pl.DataFrame({"x": [1], "b": ["yes"]}))


def test_no_columns_at_all():
    with pytest.raises(ValueError, match="beside the target 'y' no column is left"):
        Preprocessing.learn(pl.DataFrame({"x": [1, 2]}).drop("x"), "y")


def test_columns_that_teach_nothing():
    many = [str(k) for k in range(MOST_CATEGORIES + 1)]
    table = pl.DataFrame(
        {
            "number": range(2 * len(many)),
            "text": ["a", "b"] * len(many),
            "flag": [True, False] * len(many),
            "nothing": pl.Series([None] * 2 * len(many), dtype=pl.String),
            "name": [f"row {k}" for k in range(2 * len(many))],
            "many": many * 2,
            "list": [[1]] * (2 * len(many)),
        }
    )
    assert unusable_columns(table) == {
        "nothing": "it is empty",
        "name": "its text is different in every row",
        "many": "it has 1001 different texts, more than 1000",
        "list": "its type is List(Int64)",
    }


def test_what_is_not_a_number_is_never_written():
    preprocessing = Preprocessing("y", (NumericColumn("x", 0.0, float("nan"), 1.0),), ())
    with pytest.raises(ValueError, match="not JSON compliant"):
        preprocessing.to_json()


def damaged(path, value):
    fields = json.loads(Preprocessing.learn(garden(), "kind").to_json())
    *parents, last = path
    place = fields
    for step in parents:
        place = place[step]
    place[last] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "not JSON",
        damaged(["target"], 3),
        damaged(["target"], "mass"),
        damaged(["numeric"], 5),
        damaged(["numeric", 0], {}),
        damaged(["numeric", 0, "name"], "count"),
        damaged(["numeric", 0, "fill"], "3"),
        damaged(["numeric", 0, "fill"], None),
        damaged(["numeric", 0, "mean"], float("nan")),
        damaged(["numeric", 0, "scale"], 0.0),
        damaged(["numeric", 0, "scale"], -1.0),
        damaged(["numeric", 0, "surprise"], 1.0),
        damaged(["categorical", 0, "name"], ["colour"]),
        damaged(["categorical", 0, "boolean"], "no"),
        damaged(["categorical", 0, "fill"], "a colour of no row"),
        damaged(["categorical", 0, "categories"], []),
        damaged(["categorical", 0, "categories"], ["red", "red", "green"]),
        damaged(["categorical", 0, "categories"], [1, 2]),
        damaged(["categorical", 0, "categories"], None),
    ],
)
def test_damaged_json_is_refused(text):
    with pytest.raises(ValueError, match="its description of the columns is damaged"):
        Preprocessing.from_json(text)
