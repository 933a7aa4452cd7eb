"""The oracle is held against the mpmath definitions, and what counts ulp against cases by hand."""

import numpy as np
import pytest

import oracle
import wide
from catalog import BY_NAME, DTYPES, FUNCTIONS
from definitions import definition
from families import LOGITS, draw, families_of
from oracle import ulp_error
from wide import Wide

FLOAT64 = np.dtype(np.float64)


def assert_same(result, expected):
    """Far below an ulp of float64 apart, or below any number of that type."""
    difference = abs(result - expected)
    magnitude = getattr(result, "scale", abs(expected))
    tolerance = wide.maximum(magnitude * 2.0**-61, Wide(1.0, exponent=-1100))
    assert np.all((difference - tolerance).high <= 0)


@pytest.mark.parametrize(
    ("function", "family"),
    [pytest.param(f, family, id=f"{f}-{family}") for f in FUNCTIONS for family in families_of(f)],
)
def test_oracle_is_the_definition(function, family):
    if function.name == "hardmax":
        variants = function.variants[:1]
    else:
        variants = [v for v in function.variants if not {"sink", "reverse"} & set(v)]
    for length in (1, 5):
        x = draw(function, family, length, FLOAT64)
        for variant in variants:
            if variant.get("omega") == 0:
                continue
            expected = definition(function.name, x, *function.second(x), **variant)
            assert_same(function.exact(x, **variant), expected)


@pytest.mark.parametrize("family", LOGITS)
def test_oracle_of_labels_and_jacobian_is_the_definition(family):
    x = draw(BY_NAME["softmax"], family, 6, FLOAT64)
    assert_same(oracle.softmax_jacobian(x), definition("softmax_jacobian", x))
    for label in (0, np.argmax(x)):
        for name in ("cross_entropy", "cross_entropy_gradient", "focal_loss"):
            assert_same(getattr(oracle, name)(x, label), definition(name, x, label))


def test_oracle_sink_is_one_more_entry():
    x = draw(BY_NAME["softmax"], "N(0,3)", 9, FLOAT64)
    with_sink = np.append(x, -2.5)
    for name in ("softmax", "log_softmax"):
        expected = definition(name, with_sink, temperature=3.0)[:-1]
        assert_same(getattr(oracle, name)(x, sink=-2.5, temperature=3.0), expected)


def test_oracle_reverse_and_weights():
    x = draw(BY_NAME["logsumexp"], "N(0,3)", 9, FLOAT64)
    expected = definition("cumulative_logsumexp", x[::-1])[::-1]
    assert_same(oracle.cumulative_logsumexp(x, reverse=True), expected)
    weights = np.arange(1.0, 10.0)
    assert_same(oracle.logsumexp(x, weights=weights), definition("logsumexp", x, weights=weights))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ulp_error_counts_units_of_the_rounded_result(dtype):
    one = Wide.of(1.0)
    above = np.nextafter(dtype.type(1), dtype.type(2))
    smallest = np.nextafter(dtype.type(0), dtype.type(1))
    assert ulp_error(above, one, dtype) == 1
    assert ulp_error(smallest, Wide.of(0.0), dtype) == 1
    assert ulp_error(dtype.type(0), Wide(float(smallest)) * 0.25, dtype) == 0.25
    assert ulp_error(dtype.type(np.nan), one, dtype) == np.inf
    # Just below 1 the units are half as large, unless the value rounds to 1.
    assert ulp_error(above, 1.0 - Wide(1.0, exponent=-80), dtype) == pytest.approx(1)
    below = np.nextafter(dtype.type(1), dtype.type(0))
    assert ulp_error(dtype.type(1), Wide.of(below), dtype) == 1
    assert ulp_error(dtype.type(np.inf), Wide(1.0, exponent=2000), dtype) == 0
    assert ulp_error(dtype.type(1), Wide.of(1.0), dtype, scale=Wide.of(8.0)) == 0
    assert ulp_error(above, Wide.of(1.0), dtype, scale=Wide.of(8.0)) == 0.125
