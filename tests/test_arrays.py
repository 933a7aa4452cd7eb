"""Any array NumPy can hold: layouts, dtypes, axes, containers, `out`, `where` and bad input.

The rule behind every test: what the memory looks like changes nothing, inputs keep every bit, and
a result shares memory with nothing unless it was asked to.
"""

import contextlib

import ml_dtypes
import numpy as np
import pytest

import softmax as sm
from catalog import BFLOAT16, DTYPES, FUNCTIONS, having

AXIS = having("map", "reduction")
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=str)
each_along_axis = pytest.mark.parametrize("function", AXIS, ids=str)


def each(*rows):
    return pytest.mark.parametrize("function", rows, ids=str)


@contextlib.contextmanager
def untouched(*arrays):
    before = [a.tobytes() for a in arrays]
    yield
    assert [a.tobytes() for a in arrays] == before, "an input was changed"


def ordinary(function, shape, dtype=FLOAT64, seed=0):
    rng = np.random.default_rng(seed)
    if function.domain == "probabilities":
        return rng.uniform(0.05, 0.95, shape).astype(dtype)
    return rng.normal(0, 3, shape).astype(dtype)


def assert_close(got, expected):
    """Equal up to a few units in the last place, in shape and dtype exactly."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    eps = float(ml_dtypes.finfo(got.dtype).eps)
    np.testing.assert_allclose(
        got.astype(float), expected.astype(float), rtol=8 * eps, atol=4 * eps, strict=True
    )


# Layouts.


def layouts(function, dtype, tmp_path):
    n_axes = 2 if function.kind == "layer" else 3

    def made(*shape):
        return ordinary(function, shape[-n_axes:], dtype)

    x = made(4, 6, 5)
    yield "Fortran order", np.asfortranarray(x)
    yield "transposed", np.moveaxis(x, 0, -1)
    yield "every second", made(4, 6, 10)[..., ::2]
    yield "every second row", made(8, 12, 5)[::2]
    yield "reversed", x[..., ::-1]
    yield "all reversed", np.flip(x)
    yield "broadcast", np.broadcast_to(x[..., :1, :], x.shape)
    yield "broadcast along the axis", np.broadcast_to(x[..., :1], x.shape)
    yield "length 1", x[..., :1]
    yield "inner part", made(4, 8, 9)[..., 1:7, 2:7]
    yield "byte-swapped", x.astype(dtype.newbyteorder(">")) if dtype != BFLOAT16 else x
    read_only = x.copy()
    read_only.setflags(write=False)
    yield "read-only", read_only
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = buffer[1:].view(dtype).reshape(x.shape) if x.nbytes else x
    unaligned[...] = x
    yield "unaligned", unaligned
    if dtype != BFLOAT16:
        np.save(tmp_path / "x.npy", x)
        yield "memory-mapped", np.load(tmp_path / "x.npy", mmap_mode="r")


@each_dtype
@each_function
def test_layout_changes_nothing(kernels, function, dtype, tmp_path):
    for label, x in layouts(function, dtype, tmp_path):
        plain = np.array(x, dtype, order="C", copy=True)
        for axis in range(x.ndim) if function.takes("axis") else (None,):
            options = {} if axis is None else {"axis": axis}
            expected = function(plain, **options)
            with untouched(x):
                got = function(x, **options)
            assert not np.shares_memory(got, x), label
            assert np.asarray(got).dtype == function.result_dtype(dtype), label
            assert_close(got, expected)


@each(*[f for f in FUNCTIONS if f.beside])
def test_second_array_of_any_layout(kernels, function):
    x = ordinary(function, (4, 6))
    second = function.second(x)
    expected = function(x)
    for layout in (np.asfortranarray, lambda a: a.repeat(2, -1)[..., ::2], lambda a: a.tolist()):
        assert_close(function.apply(x, *map(layout, second)), expected)
    other_dtype = function.apply(x.astype(np.float32), *second)
    assert np.shape(other_dtype) == expected.shape


@each(*having(keyword="broadcast"))
def test_one_second_row_for_all(kernels, function):
    x = ordinary(function, (4, 6))
    (second,) = function.second(x)
    expected = function.apply(x, np.tile(second[0], (4, 1)))
    assert_close(function.apply(x, second[0]), expected)


# Axes.


def by_hand(function, x, axis):
    """Move the axes to the end, make them one, apply there, and undo."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(a % x.ndim for a in axes)
    kept = [a for a in range(x.ndim) if a not in axes]
    order = [*kept, *axes]
    flat = x.transpose(order).reshape([x.shape[a] for a in kept] + [-1])
    result = np.asarray(function(flat))
    if function.kind == "reduction":
        return result
    return result.reshape([x.shape[a] for a in order]).transpose(np.argsort(order))


@each_dtype
@each_along_axis
def test_every_axis(kernels, function, dtype):
    for shape in ((7,), (3, 7), (2, 3, 7), (2, 3, 1, 5)):
        x = ordinary(function, shape, dtype)
        for axis in range(-x.ndim, x.ndim):
            assert_close(function(x, axis=axis), by_hand(function, x, axis))


@each(*having(keyword="axes"))
def test_tuples_of_axes_and_all(kernels, function):
    x = ordinary(function, (2, 3, 4, 5))
    for axis in ((0,), (0, 1), (1, 3), (-1, 0), (2, 1), (0, 1, 2, 3), None):
        assert_close(function(x, axis=axis), by_hand(function, x, axis))
        assert_close(function(x[..., ::-2], axis=axis), by_hand(function, x[..., ::-2], axis))


@each(*having("reduction", keyword="keepdims"))
def test_keepdims(kernels, function):
    x = ordinary(function, (2, 3, 4))
    for axis in (0, 1, -1, (0, 2), None):
        kept = function(x, axis=axis, keepdims=True)
        assert kept.ndim == 3
        assert np.array_equal(np.squeeze(kept), np.squeeze(function(x, axis=axis)))
        assert np.broadcast_shapes(kept.shape, x.shape) == x.shape
    _, sign = sm.logsumexp(x, keepdims=True, return_sign=True)
    assert sign.shape == (2, 3, 1)


@pytest.mark.parametrize("axis", [2, -3, (0, 2), (0, 0), (1, -1), 1.5, "last"])
@each_along_axis
def test_impossible_axis(kernels, function, axis):
    x = np.zeros((2, 3))
    with pytest.raises((ValueError, TypeError, IndexError), match="axis"):
        function.apply(x, *function.second(x), axis=axis)


# dtypes and containers.

INTEGERS = [
    np.bool_,
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
]


@pytest.mark.parametrize("integer", INTEGERS)
@each(*[f for f in FUNCTIONS if f.domain != "probabilities"])
def test_integers_count_as_float64(kernels, function, integer):
    limits = (0, 1) if integer is np.bool_ else (np.iinfo(integer).min, np.iinfo(integer).max)
    x = np.array([*limits, 1, 0], integer)
    got = function(x)
    assert np.asarray(got).dtype == FLOAT64
    assert np.array_equal(got, function(x.astype(np.float64)))


@each_function
def test_longdouble_stays_longdouble(kernels, function):
    x = ordinary(function, (3, 5))
    got = np.asarray(function(x.astype(np.longdouble)))
    assert got.dtype == np.longdouble
    np.testing.assert_allclose(got.astype(float), function(x), rtol=1e-14, atol=1e-14)


@each_function
def test_lists_and_frames(kernels, function):
    x = ordinary(function, (3, 4))
    expected = np.asarray(function(x))
    assert np.array_equal(function(x.tolist()), expected)
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    assert np.array_equal(np.asarray(function(pandas.DataFrame(x))), expected)
    assert np.array_equal(np.asarray(function(polars.DataFrame(x))), expected)
    expected = np.asarray(function(x[0]))
    assert np.array_equal(np.asarray(function(pandas.Series(x[0]))), expected)
    assert np.array_equal(np.asarray(function(polars.Series(x[0]))), expected)


@each_along_axis
def test_mask_of_a_masked_array_is_a_where(kernels, function):
    x = ordinary(function, (3, 6))
    mask = np.random.default_rng(1).random(x.shape) < 0.4
    mask[:, 0] = False
    masked = np.ma.array(x, mask=mask)
    x[mask] = np.nan  # must not be looked at
    if not function.takes("where"):
        with contextlib.suppress(TypeError, ValueError):  # refusing is as good as heeding
            got = np.ma.getdata(function(masked))
            assert np.isfinite(got[~mask] if function.kind == "map" else got).all()
        return
    got, expected = function(masked), function(x, where=~mask)
    if function.kind == "map":
        assert_close(np.ma.getdata(got)[~mask], expected[~mask])
        assert_close(
            np.ma.filled(got, 0)[mask],
            np.zeros(mask.sum()) if "log" not in function.name else expected[mask],
        )
    else:
        assert_close(np.ma.getdata(got), expected)
    also = np.arange(6) != 5
    both = function(masked, where=also)
    expected = function(x, where=~mask & also)
    keep = ~mask & also if function.kind == "map" else ...
    assert_close(np.ma.getdata(both)[keep], expected[keep])


@pytest.mark.parametrize(
    "x", [np.array(["a", "b"]), np.array([None, 1.0]), {"a": 1.0}, np.array([1j, 2.0]), "text",
          np.array(["2020-01-01"], "datetime64[D]"), [[1.0, 2.0], [3.0]]],
    ids=["strings", "objects", "dict", "complex", "text", "dates", "ragged"],
)  # fmt: skip
@each(*[f for f in FUNCTIONS if not f.beside])
def test_not_numbers(kernels, function, x):
    with pytest.raises((TypeError, ValueError)):
        function(x)


# out.


@each_dtype
@each(*having(keyword="out"))
def test_out(kernels, function, dtype):
    x = ordinary(function, (5, 40), dtype)
    expected = function(x)
    for out in (
        np.empty_like(x), np.empty(x.shape, dtype, order="F"), np.empty((5, 80), dtype)[:, ::2],
    ):  # fmt: skip
        with untouched(x):
            assert function(x, out=out) is out
        assert_close(out, expected)
    in_place = x.copy()
    assert function(in_place, out=in_place) is in_place
    assert np.array_equal(in_place, expected)


@each(*having(keyword="out"))
def test_out_overlapping_x(kernels, function):
    for shift in (1, 3, 40):
        buffer = ordinary(function, 5 * 40 + shift)
        for x, out in ((buffer[shift:], buffer[:-shift]), (buffer[:-shift], buffer[shift:])):
            buffer[:] = ordinary(function, buffer.shape)
            x, out = x.reshape(5, 40), out.reshape(5, 40)
            expected = function(x.copy())
            assert function(x, out=out) is out
            assert np.array_equal(out, expected)
    square = ordinary(function, (6, 6))
    expected = function(square.copy())
    function(square, out=square.T)
    assert np.array_equal(square.T, expected)


@each(*having(keyword="out"))
def test_out_of_the_wrong_kind(kernels, function):
    x = ordinary(function, (2, 3))
    read_only = np.empty((2, 3))
    read_only.setflags(write=False)
    wrong = [
        np.empty((3, 2)), np.empty(3), np.empty((1, 2, 3)), np.empty((2, 3), np.float32),
        np.empty((2, 3), np.int64), [[0.0] * 3] * 2, read_only,
    ]  # fmt: skip
    for out in wrong:
        with pytest.raises((ValueError, TypeError), match="out"):
            function(x, out=out)


# where, temperature, sink.


@each(*having(keyword="where"))
def test_where_broadcasts(kernels, function):
    x = ordinary(function, (4, 3, 6))
    rng = np.random.default_rng(2)
    for shape in ((6,), (3, 1), (4, 1, 1), (1, 1, 6), (4, 3, 6), ()):
        where = rng.random(shape) < 0.6
        full = np.array(np.broadcast_to(where, x.shape))
        for axis in (-1, 0, 1):
            with untouched(x):
                assert_close(
                    function(x, axis=axis, where=where), function(x, axis=axis, where=full)
                )
    assert_close(function(x, where=True), function(x))
    assert_close(function(x, where=full[..., ::-1]), function(x, where=full[..., ::-1].copy()))


@each(*having(keyword="where"))
def test_where_of_the_wrong_shape(kernels, function):
    for where in (np.ones(4, bool), np.ones((2, 2, 3), bool)):
        with pytest.raises(ValueError, match="where"):
            function(np.zeros((2, 3)), where=where)


@pytest.mark.parametrize("option", ["temperature", "sink"])
def test_one_value_per_slice(kernels, option):
    values = np.array([0.5, 1.0, 40.0, 2.0])
    for function in having(keyword=option):
        x = ordinary(function, (4, 6))
        second = function.second(x)
        rows = [
            function.apply(row, *(s[i] for s in second), **{option: float(value)})
            for i, (row, value) in enumerate(zip(x, values, strict=True))
        ]
        assert_close(function(x, **{option: values[:, None]}), np.stack(rows))
        assert_close(function(x, **{option: values[:, None].tolist()}), np.stack(rows))
        columns = function(x.T, axis=0, **{option: values})
        columns = columns if function.kind == "reduction" else columns.T
        assert_close(columns, np.stack(rows))
        for wrong in (values, values[:3, None], np.ones((4, 6)), np.ones((2, 4, 1))):
            with pytest.raises(ValueError, match=option):
                function(x, **{option: wrong})


@pytest.mark.parametrize("option", ["temperature", "sink"])
def test_option_that_is_no_number(kernels, option):
    for function in having(keyword=option):
        for wrong in ("hot", 1j, [None]):
            with pytest.raises((TypeError, ValueError), match=option):
                function(np.zeros((2, 3)), **{option: wrong})


def test_weights_broadcast_or_are_refused(kernels):
    x = ordinary(having("reduction")[0], (4, 6))
    weights = np.linspace(0.5, 2, 6)
    full = np.tile(weights, (4, 1))
    assert_close(sm.logsumexp(x, weights=weights), sm.logsumexp(x, weights=full))
    assert_close(sm.logsumexp(x, weights=2), sm.logsumexp(x) + np.log(2))
    with pytest.raises(ValueError, match="weights"):
        sm.logsumexp(x, weights=np.ones(5))
    assert np.isnan(sm.logsumexp([0.0, 1.0], weights=[1.0, -1.0]))
    value, sign = sm.logsumexp([0.0, 1.0], weights=[1.0, -1.0], return_sign=True)
    assert sign == -1
    assert value == pytest.approx(np.log(np.e - 1))


@each(*[f for f in FUNCTIONS if f.beside])
def test_second_array_of_the_wrong_shape(kernels, function):
    wrong = function.second(np.zeros((3, 4)))
    width = 5 if function.kind == "layer" else 4
    with pytest.raises(ValueError, match=r"dx|dp|target|q_logits|teacher_logits|weight"):
        function.apply(np.zeros((2, width)), *wrong)
