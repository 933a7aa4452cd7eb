"""logsumexp next to zero, taken in double: the same bits alone or among others."""

import numpy as np
import pytest

import softmax as sm
from catalog import DTYPES


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [2, 3, 10, 30, 100, 700, 2500, 5000])
def test_logarithms_of_sums_next_to_zero(kernels, dtype, length):
    """Those of floats are taken once more in double, among others and masked, too."""
    x = np.random.default_rng(length).normal(0, 3, (90, length))
    x[::2] -= np.log(np.exp(x[::2]).sum(axis=1, keepdims=True))
    x = x.astype(dtype)
    x[4, 0] = -np.inf
    x[6], x[8], x[30, 0] = -np.inf, np.inf, np.nan
    where = np.ones(x.shape, bool)
    where[10:14, 1] = False
    for mask in (None, where):
        alone = [
            sm.logsumexp(row) if mask is None else sm.logsumexp(row, where=mask[i])
            for i, row in enumerate(x)
        ]
        expected = np.stack(alone).tobytes()
        assert sm.logsumexp(x, where=mask).tobytes() == expected
        columns = np.ascontiguousarray(x.T)
        turned = None if mask is None else np.ascontiguousarray(mask.T)
        assert sm.logsumexp(columns, axis=0, where=turned).tobytes() == expected


def test_a_logarithm_of_a_sum_where_they_are_next_to_zero_no_more(kernels):
    """Of two entries, whose sum is about the square root of e: alone and among others the same."""
    first = np.random.default_rng(0).uniform(-3, 0.4, 500).astype(np.float32)
    second = np.log(np.exp(0.5) - np.exp(first.astype(np.float64))).astype(np.float32)
    steps = np.arange(-3, 4, dtype=np.int32)
    second = (second.view(np.int32)[:, None] + steps).view(np.float32)
    pairs = np.stack(np.broadcast_arrays(first[:, None], second), axis=-1).reshape(-1, 2)
    alone = np.stack([sm.logsumexp(pair) for pair in pairs])
    assert sm.logsumexp(pairs).tobytes() == alone.tobytes()
    assert sm.logsumexp(pairs.T.copy(), axis=0).tobytes() == alone.tobytes()


@pytest.mark.parametrize("length", [2, 3, 5, 7, 8, 20, 300, 3000, 20000])
def test_logarithms_of_sums_of_equal_entries(kernels, length):
    """All round alike, and the more there are, the further they lie below a result near zero."""
    result = np.linspace(0.4, 2.2, 400)
    entries = (result - np.log(length)).astype(np.float32)
    exact = entries.astype(np.float64) + np.log(length)
    got = sm.logsumexp(np.repeat(entries[:, np.newaxis], length, axis=1))
    assert (np.abs(got - exact) / np.spacing(exact.astype(np.float32))).max() < 1.9
