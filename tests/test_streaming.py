"""OnlineLogSumExp is logsumexp, whatever the order, the blocks and the place they come from."""

import pickle
import tracemalloc

import mpmath
import numpy as np
import pytest

import softmax as sm
from catalog import BFLOAT16
from families import LOGITS
from oracle import ulp_error
from softmax import OnlineLogSumExp
from wide import Wide

FAMILIES = {name: family for name, family in LOGITS.items() if name != "float extremes"}


def within(got, expected, units, dtype=np.float64, scale=None):
    expected = Wide.of(np.asarray(expected, dtype))
    return np.all(ulp_error(got, expected, dtype, scale) <= units)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_order_and_any_blocks(family, dtype):
    rng = np.random.default_rng(2)
    x = FAMILIES[family](rng, 400, np.finfo(dtype)).astype(dtype)
    expected = sm.logsumexp(x)
    scale = Wide.of(max(abs(float(x.max())), abs(float(expected) - float(x.max()))))
    for order in (x, np.sort(x), np.sort(x)[::-1], rng.permutation(x)):
        for parts in (1, 7, 400):
            state = OnlineLogSumExp()
            for block in np.array_split(order, parts):
                state.update(block)
            assert state.count == 400
            assert state.logsumexp().dtype == dtype
            assert within(state.logsumexp(), expected, 2, dtype, scale)


def test_exact_where_the_result_is_nearly_0():
    """A state kept as a rounded logarithm would lose exp(-60) beside 0."""
    state = OnlineLogSumExp().update([-1e-18])
    for _ in range(3):
        state.update([-60.0])
    with mpmath.workdps(60):
        exact = mpmath.log(mpmath.exp(mpmath.mpf(-1e-18)) + 3 * mpmath.exp(-60))
    assert ulp_error(state.logsumexp(), Wide.from_mpmath(exact), np.float64) <= 2
    top = OnlineLogSumExp().update([0.0]).update([-40.0])
    assert top.log_probability(0.0) == sm.log_softmax([0.0, -40.0])[0]


def test_ascending_entries_do_not_wear_the_state_down():
    x = np.arange(3000) * 1e-3
    state = OnlineLogSumExp()
    for value in x:
        state.update(value)
    assert within(state.logsumexp(), sm.logsumexp(x), 1)


def test_merge_is_update():
    x = np.random.default_rng(3).normal(0, 50, (4, 300))
    parts = [OnlineLogSumExp().update(block) for block in np.array_split(x, 11, axis=1)]
    forwards, backwards = OnlineLogSumExp(), OnlineLogSumExp()
    for part in parts:
        assert forwards.merge(part) is forwards
    for part in parts[::-1]:
        backwards.merge(part)
    for state in (forwards, backwards):
        assert within(state.logsumexp(), sm.logsumexp(x), 2)
        assert state.count.tolist() == [300] * 4
    assert parts[0].count.tolist() == [28] * 4
    before = forwards.logsumexp()
    forwards.merge(OnlineLogSumExp())
    np.testing.assert_array_equal(forwards.logsumexp(), before)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
def test_axes(axis):
    x = np.random.default_rng(4).normal(size=(4, 5, 6))
    cut = 0 if axis is None else axis[0] if isinstance(axis, tuple) else axis
    state = OnlineLogSumExp(axis)
    for block in np.array_split(x, 3, axis=cut):
        state.update(block)
    result = state.logsumexp()
    assert np.shape(result) == np.shape(sm.logsumexp(x, axis))
    assert within(result, sm.logsumexp(x, axis), 2)
    np.testing.assert_allclose(state.probability(x), sm.softmax(x, axis), rtol=4e-16)
    np.testing.assert_allclose(state.log_probability(x), sm.log_softmax(x, axis), rtol=4e-16)


@pytest.mark.parametrize("axis", [-1, 0])
def test_probabilities_are_those_of_the_whole(axis):
    x = np.random.default_rng(5).normal(0, 200, (3, 400))
    state = OnlineLogSumExp(axis)
    for block in np.array_split(x, 5, axis=axis):
        state.update(block)
    assert within(state.probability(x), sm.softmax(x, axis), 2)
    assert within(state.log_probability(x), sm.log_softmax(x, axis), 3)


def test_pickle_carries_on():
    x = np.random.default_rng(6).normal(size=(3, 50))
    state = pickle.loads(pickle.dumps(OnlineLogSumExp().update(x[:, :20])))
    np.testing.assert_array_equal(
        state.update(x[:, 20:]).logsumexp(),
        OnlineLogSumExp().update(x[:, :20]).update(x[:, 20:]).logsumexp(),
    )
    assert pickle.loads(pickle.dumps(OnlineLogSumExp(0))).axis == 0


@pytest.mark.parametrize(
    ("dtype", "shape", "axis"),
    [
        (np.float32, (6_000_000,), -1),
        (np.float64, (3000, 1000), 0),
        (np.float64, (3000, 1000), 1),
        (np.int16, (3, 4_000_000), -1),
        (np.float32, (4, 1000, 1000), 1),
    ],
)
def test_file_larger_than_the_memory_budget(tmp_path, dtype, shape, axis):
    budget = 6_000_000
    path = tmp_path / "logits.npy"
    x = np.lib.format.open_memmap(path, "w+", dtype, shape)
    x[...] = np.random.default_rng(7).normal(0, 9, shape)
    expected = sm.logsumexp(x[...], axis)
    x.flush()
    mapped = np.load(path, mmap_mode="r")
    assert mapped.nbytes > 2 * budget
    tracemalloc.start()
    try:
        result = OnlineLogSumExp(axis).update(mapped).logsumexp()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < budget
    assert within(result, expected, 2, result.dtype)


def test_masked_blocks():
    x = np.ma.array([[1.0, 2.0, 3.0], [4.0, np.nan, 6.0]], mask=[[0, 0, 1], [0, 1, 0]])
    state = OnlineLogSumExp().update(x)
    assert within(state.logsumexp(), sm.logsumexp(x), 2)
    assert state.count.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("blocks", "expected", "probability"),
    [
        ([[-np.inf], [-np.inf]], -np.inf, [np.nan] * 3),
        ([[0.0, -np.inf], [0.0]], np.log(2), [0, 0.5, np.inf]),
        ([[np.inf], [0.0]], np.inf, [0, 0, 1]),
        ([[0.0], [np.inf]], np.inf, [0, 0, 1]),
        ([[np.inf], [np.inf]], np.inf, [np.nan] * 3),
        ([[np.nan], [np.inf]], np.nan, [np.nan] * 3),
        ([[0.0], [np.nan]], np.nan, [np.nan] * 3),
        ([[]], -np.inf, [np.nan] * 3),
    ],
)
def test_special_values(blocks, expected, probability):
    state = OnlineLogSumExp()
    for block in blocks:
        state.update(block)
    np.testing.assert_allclose(state.logsumexp(), expected, rtol=1e-15)
    np.testing.assert_array_equal(state.probability([-np.inf, 0.0, np.inf]), probability)
    with np.errstate(divide="ignore"):
        expected_log = np.log(probability)
    np.testing.assert_allclose(state.log_probability([-np.inf, 0.0, np.inf]), expected_log)


def test_nothing_yet():
    state = OnlineLogSumExp()
    assert state.logsumexp() == -np.inf
    assert state.count == 0
    assert np.isnan(state.probability(1.0))
    assert OnlineLogSumExp().update(np.zeros((2, 0))).logsumexp().tolist() == [-np.inf] * 2


def test_dtypes():
    assert OnlineLogSumExp().update([1, 2]).logsumexp().dtype == np.float64
    assert OnlineLogSumExp().update(np.zeros(3, BFLOAT16)).logsumexp().dtype == BFLOAT16
    wider = OnlineLogSumExp().update(np.float32([1])).update(np.float64([2]))
    assert within(wider.logsumexp(), sm.logsumexp([1.0, 2.0]), 2)
    assert OnlineLogSumExp().update(np.longdouble([1, 2])).logsumexp().dtype == np.longdouble
    mixed = OnlineLogSumExp().update([1.0]).update(np.longdouble([2])).logsumexp()
    exact = sm.logsumexp(np.longdouble([1, 2]))
    assert abs(mixed - exact) <= 2 * np.spacing(exact)
    assert OnlineLogSumExp().update(2.0).update([2.0]).count == 2


def test_blocks_that_do_not_fit():
    state = OnlineLogSumExp(0).update(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"x must have the dimensions \(1, 3\).*got \(1, 2\)"):
        state.update(np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"dimensions \(1, 3\).*got \(1, 5\)"):
        state.merge(OnlineLogSumExp(0).update(np.zeros((4, 5))))
    with pytest.raises(ValueError, match="other must have the axis 0, got -1"):
        state.merge(OnlineLogSumExp())
    with pytest.raises(TypeError, match="other must be an OnlineLogSumExp, got list"):
        state.merge([1.0])
    with pytest.raises(TypeError, match="x must hold real numbers"):
        state.update("abc")
    with pytest.raises(ValueError, match="axis 2 is out of range"):
        OnlineLogSumExp(2).update(np.zeros((4, 3)))
    assert state.count.tolist() == [4, 4, 4]
    assert "count" in repr(state)


def test_blocks_are_left_alone():
    x = np.arange(5.0)
    x.setflags(write=False)
    state = OnlineLogSumExp().update(x)
    state.probability(x)
    assert x.tolist() == [0, 1, 2, 3, 4]
