"""The same bits whatever the threads, the alignment and the batch."""

import ml_dtypes
import numpy as np
import pytest

import softmax as sm
from catalog import DTYPES, FUNCTIONS, having
from families import draw, odd_rows, sure_rows

LENGTHS = [*range(1, 71), 100, 1000, 4096, 5000, 33_000]

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=str)
each_along_axis = pytest.mark.parametrize("function", having("map", "reduction"), ids=str)


def bits(result):
    return np.ascontiguousarray(result).tobytes()


def skip_one_thread(kernels):
    if kernels.__name__.endswith("_reference"):
        pytest.skip("the NumPy twin has one thread")


def row(function, length, dtype, seed=0):
    return draw(function, "N(0,3)", length, dtype, seed)


@each_dtype
@each_function
def test_any_number_of_threads(kernels, function, dtype):
    skip_one_thread(kernels)
    wide = row(function, 40 * 3000, dtype).reshape(40, 3000)
    long = [row(function, length, dtype) for length in (100_000, 300_000)]
    arrays = [wide, wide.T[:, :7].copy(), wide[:, :5], *long]
    axes = [{}, {"axis": 0}, {}, {}, {}] if function.takes("axis") else [{}] * 5
    results = []
    for threads in (1, 2, 4):
        with sm.num_threads(threads):
            results.append([bits(function(x, **o)) for x, o in zip(arrays, axes, strict=True)])
    assert results[0] == results[1] == results[2]


@each_dtype
@each_function
def test_any_alignment(kernels, function, dtype):
    for length in (1, 5, 16, 63, 70, 1000, 5000):
        x = row(function, length, dtype)
        second = function.second(x)
        expected = bits(function.apply(x, *second))
        for offset in (1, 3, 7, 8, 15, 17):
            buffer = np.empty(length + offset, dtype)
            buffer[offset:] = x
            assert bits(function.apply(buffer[offset:], *second)) == expected, (length, offset)
            if function.takes("out"):
                out = np.empty(length + offset, dtype)[offset:]
                function(x, out=out)
                assert bits(out) == expected, (length, offset)


@each_dtype
@each_along_axis
def test_one_row_alone_or_in_a_batch(kernels, function, dtype):
    chunked = {"softmax", "log_softmax", "logsumexp", "softmax_vjp"}
    long = [300_000] if function.name in chunked else []
    for length in function.some(LENGTHS) + long:
        x = row(function, 3 * length, dtype).reshape(3, length)
        second = function.second(x)
        batch = function.apply(x, *second)
        for i in range(3):
            alone = function.apply(x[i].copy(), *(s[i].copy() for s in second))
            assert bits(batch[i]) == bits(alone), length


@each_dtype
@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax, sm.logsumexp])
@pytest.mark.parametrize(
    "length", [1, 2, 3, 10, 24, 25, 60, 61, 128, 129, 300, 512, 513, 2049, 4099]
)
def test_one_row_alone_or_among_many(kernels, function, dtype, length):
    """Short rows are turned in tiles, of which the last is a part, longer ones go in batches."""
    x = odd_rows(77, length, dtype)
    x[70, 0] += 40
    for first in (0, 10):  # with and without those out of the ordinary
        expected = [bits(function(one.copy())) for one in x]
        for rows in (77, 73, 20, 10):
            assert [bits(one) for one in function(x[first:rows])] == expected[first:rows]
            columns = x[first:rows].T.copy()
            assert [bits(one) for one in function(columns, axis=0).T] == expected[first:rows]
            if function is not sm.logsumexp:
                out = x[first:rows].copy()
                assert [bits(one) for one in function(out, out=out)] == expected[first:rows]
                function(columns, axis=0, out=columns)
                assert [bits(one) for one in columns.T] == expected[first:rows]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax, sm.logsumexp])
@pytest.mark.parametrize("length", [70, 100, 300, 1000])
@pytest.mark.parametrize("spread", [0, 12, 40, 400])
def test_rows_after_others_that_lie_elsewhere(kernels, function, dtype, length, spread):
    """Frames of a batch are guessed from the one before, of which nothing shows in results."""
    rows = 3 * np.random.default_rng(0).standard_normal((40, length))
    rows[3, length // 2 :] -= 90
    rows += spread * np.linspace(-0.5, 0.5, 40)[:, np.newaxis]
    for level in (0, 0, 18, 20, -19, 40, -39, 300, 0, -1006, -1023, -1030, 1010, 1023, 1030, 0):
        x = (rows + level).astype(dtype)
        batch = function(x)
        for i in (0, 3, 17, 39):
            assert bits(batch[i]) == bits(function(x[i])), (level, i)


@pytest.mark.parametrize("length", [100, 300, 1000])
@pytest.mark.parametrize("weight", [1e-30, 1e-28, 1e-22, 1e-13, 1, 1e6])
@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1}], ids=["plain", "z_loss"])
def test_a_weighted_gradient_alone_or_among_others(kernels, length, weight, options):
    x = 3 * np.random.default_rng(0).standard_normal((64, length)).astype(np.float32)
    x[:, 1] = -105.5
    labels, weights = np.arange(64), np.full(64, weight)
    options = {"reduction": "sum", "return_grad": True} | options
    gradient = sm.cross_entropy(x, labels, sample_weight=weights, **options)[1]
    for i in (0, 15, 16, 40, 63):
        one = slice(i, i + 1)
        alone = sm.cross_entropy(x[one], labels[one], sample_weight=weights[one], **options)[1]
        assert bits(gradient[one]) == bits(alone), i
    columns = sm.cross_entropy(x.T.copy(), labels, axis=0, sample_weight=weights, **options)[1]
    assert bits(columns.T) == bits(gradient)


@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax])
@pytest.mark.parametrize("length", [10, 100, 3000, 5000])
def test_results_at_any_byte(kernels, function, length):
    x = row(FUNCTIONS[0], 40 * length, np.dtype(np.float32)).reshape(40, length)
    expected = bits(function(x))
    for offset in (1, 2, 3, 61):
        out = np.empty(x.nbytes + offset, np.uint8)[offset:].view(np.float32).reshape(x.shape)
        assert bits(function(x, out=out)) == expected, offset


@each_dtype
@pytest.mark.parametrize("function", [sm.log_softmax, sm.logsumexp])
@pytest.mark.parametrize("length", [1, 2, 3, 10, 24, 25, 100, 129, 600, 2100])
def test_a_sure_row_among_others(kernels, function, dtype, length):
    """Where one entry takes all, logarithms may need the sum of the others taken apart."""
    x = sure_rows(60, length, dtype)
    for temperature in [{}, {"temperature": 0.37}] if function is sm.log_softmax else [{}]:
        expected = [bits(function(one.copy(), **temperature)) for one in x]
        for rows in (slice(None), slice(20), slice(1, None, 2)):
            got = function(x[rows].copy(), **temperature)
            assert [bits(one) for one in got] == expected[rows]
            got = function(x[rows].T.copy(), axis=0, **temperature)
            assert [bits(one) for one in got.T] == expected[rows]


@each_dtype
@each_along_axis
def test_one_column_among_few_or_many(kernels, function, dtype):
    """Along a strided axis the neighbours, and which of them share a vector, do not matter."""
    for length in (1, 2, 17, 70, 1000):
        x = row(function, 37 * length, dtype).reshape(length, 37)
        second = function.second(x, axis=0)
        batch = np.moveaxis(function.apply(x, *second, axis=0), -1, 0)
        for columns in (slice(0, 5), slice(3, 36), slice(36, 37)):
            part = function.apply(x[:, columns], *(s[..., columns] for s in second), axis=0)
            assert bits(np.moveaxis(part, -1, 0)) == bits(batch[columns]), length


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((200, 10), -1), ((37, 100), -1), ((20, 1000), -1), ((70, 200), 0), ((1500, 70), 0)],
)
def test_a_masked_slice_alone_or_among_others(kernels, name, dtype, shape, axis):
    function = getattr(sm, name)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, shape).astype(dtype)
    mask = rng.random(shape) < 0.7
    masks = [mask, np.asfortranarray(mask), np.repeat(mask, 2, 1)[:, ::2], mask[:1], mask[:, :1]]
    x[3, 3], x[5, 5] = np.inf, np.nan
    for where in masks:
        results = np.moveaxis(np.atleast_2d(function(x, axis=axis, where=where)), axis, -1)
        slices = np.moveaxis(x, axis, -1), np.moveaxis(np.broadcast_to(where, shape), axis, -1)
        if name == "logsumexp":
            results = results.reshape(-1, 1)
        for entries, taken, result in zip(*slices, results, strict=True):
            alone = function(entries.copy(), where=taken.copy())
            assert bits(np.atleast_1d(alone)) == bits(result)


def unusual_rows(length, dtype):
    """Return rows with tangents, some of each out of the ordinary."""
    rng = np.random.default_rng(length)
    x, beside = rng.normal(0, 3, (40, length)), rng.normal(size=(40, length))
    x[3, 0] = x[4, -1] = np.nan
    x[5, 0] = x[6] = np.inf
    x[7] = x[8, :-1] = -np.inf
    x[11] += 5000
    x[12, 0] = ml_dtypes.finfo(dtype).max
    x[13] -= 30_000
    beside[17, 0] = np.inf
    beside[18, -1] = np.nan
    beside[19] = 0
    x[20, 0], beside[20, 0] = -np.inf, np.inf
    x[21, 0], beside[21, 0] = np.nan, 0
    x[22] = beside[22] = 1
    return x.astype(dtype), beside.astype(dtype)


@each_dtype
@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax])
@pytest.mark.parametrize("length", [1, 2, 10, 64, 100, 300, 3000, 33_000])
def test_a_sink_alone_or_among_others(kernels, function, dtype, length):
    """Sinks join the sums of many slices at once, unless one is far above its entries."""
    if length > 3000 and kernels.__name__.endswith("_reference"):
        pytest.skip("the NumPy twin has one way for all slices")
    x, _ = unusual_rows(length, dtype)
    rng = np.random.default_rng(0)
    sink = rng.normal(0, 8, (40, 1))
    sink[27:32, 0] = -np.inf, np.inf, np.nan, 1e5, -1e5
    sink[32:36, 0] = x[32:36].max(1).astype(float) + np.array([37.9, 38.5, 60, 0])
    temperature = np.linspace(0.5, 2, 40)[:, None]
    temperature[24], temperature[25] = 0, np.inf
    where = rng.random((40, length)) < 0.7
    where[36] = False
    for more in ({}, {"temperature": temperature}, {"where": where}):
        options = {"sink": sink, **more}
        each = [{k: v[i] for k, v in options.items()} for i in range(40)]
        expected = [bits(function(one.copy(), **o)) for one, o in zip(x, each, strict=True)]
        for rows in (slice(None), slice(14, 24), slice(1, 40, 3)):
            part = {k: v[rows] for k, v in options.items()}
            assert [bits(one) for one in function(x[rows], **part)] == expected[rows]
            out = x[rows].copy()
            assert [bits(one) for one in function(out, out=out, **part)] == expected[rows]
            columns = {k: v.T for k, v in part.items()}
            got = function(x[rows].T.copy(), axis=0, **columns)
            assert [bits(one) for one in got.T] == expected[rows]


@each_dtype
@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax])
@pytest.mark.parametrize("far", [0, 45])
def test_sinks_of_many_columns(kernels, function, dtype, far):
    """Some, or none, lie so far above their columns that these are worked on one by one."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, (100, 139)).astype(dtype)
    sink = rng.normal(0, 8, (1, 139))
    sink[0, 70] += far
    expected = [function(x[:, i].copy(), sink=sink[:, i]) for i in range(139)]
    assert bits(function(x, 0, sink=sink)) == bits(np.stack(expected, 1))
    function(x, 0, sink=sink, out=x)
    assert bits(x) == bits(np.stack(expected, 1))


@each_dtype
@pytest.mark.parametrize("length", [1, 2, 10, 100, 300])
def test_unusual_slices_among_others(kernels, length, dtype):
    """Slices side by side leave those to the rows that need a closer look."""
    x, beside = unusual_rows(length, dtype)
    temperature = np.linspace(0.5, 2, 40)[:, None]
    temperature[24], temperature[25], temperature[26] = 0, np.inf, 1e-3

    def results(x, beside, temperature, axis):
        magnitude, sign = sm.logsumexp(x, axis, weights=beside, return_sign=True)
        return (
            sm.softmax_vjp(x, beside, axis),
            sm.softmax_vjp(x, beside, axis, temperature=temperature),
            np.expand_dims(magnitude, axis),
            np.expand_dims(sign, axis),
        )

    alone = [results(x[i : i + 1], beside[i : i + 1], temperature[i : i + 1], 1) for i in range(40)]
    expected = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
    for rows in (slice(None), slice(2, 27), slice(1, 40, 3)):
        for axis in (1, 0):
            part = (a[rows].copy() if axis else a[rows].T.copy() for a in (x, beside, temperature))
            for got, one in zip(results(*part, axis), expected, strict=True):
                got = got if axis else got.T
                np.testing.assert_array_equal(got.astype(float), one[rows].astype(float))


def uneven_rows(dtype):
    """Return rows of four chunks whose maxima are far apart."""
    chunk = 32_768
    x = np.random.default_rng(0).normal(0, 3, (6, 3 * chunk + 77))
    x[0, chunk : 2 * chunk] -= 60
    x[1, chunk:] -= 15
    x[2, :chunk] = -np.inf
    x[3, 5] = 900
    x[4, -1] = 2000
    x[5, 2 * chunk :] = np.nan
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_long_row_kept_in_its_result_or_computed_again(kernels, dtype):
    x = uneven_rows(dtype)
    expected = bits(sm.softmax(x))
    strided = np.zeros((*x.shape, 2), dtype)
    strided[..., 0] = x
    in_place = x.copy()
    sm.softmax(in_place, out=in_place)
    assert bits(in_place) == expected
    assert bits(sm.softmax(strided[..., 0])) == expected
    assert bits(sm.softmax(x, where=True)) == expected
    with sm.num_threads(2):
        assert bits(np.stack([sm.softmax(row) for row in x])) == expected


@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax])
@pytest.mark.parametrize("temperature", [1, 0.7])
@pytest.mark.parametrize("rows", [3, 4, 12])
def test_a_few_rows_of_chunks_in_the_caches(kernels, function, temperature, rows):
    """Results of some wait until the next row is summed, if the caches are large enough."""
    x = np.random.default_rng(0).normal(0, 3, (rows, 40_000)).astype(np.float32)
    x[1, 35_000:] -= 60
    with sm.num_threads(1):
        expected = [bits(function(row, temperature=temperature)) for row in x]
        assert [bits(row) for row in function(x, temperature=temperature)] == expected


@each_dtype
@pytest.mark.parametrize("length", [5000, 40_000, 500_077])
def test_a_long_derivative_kept_or_computed_again(kernels, dtype, length):
    rng = np.random.default_rng(length)
    x, tangent = rng.normal(0, 3, (2, 2, length))
    x[1, : length // 3] -= 60
    x, tangent = x.astype(dtype), tangent.astype(dtype)
    with sm.num_threads(1):
        expected = bits(np.stack([sm.softmax_vjp(*pair) for pair in zip(x, tangent, strict=True)]))
    with sm.num_threads(2):
        apart = [sm.softmax_vjp(*pair) for pair in zip(x, tangent, strict=True)]
    assert bits(np.stack(apart)) == expected
    assert bits(sm.softmax_vjp(x, tangent)) == expected
    assert bits(sm.softmax_vjp(x.T.copy(), tangent.T.copy(), 0).T) == expected
    assert bits(sm.softmax_vjp(x, tangent, where=np.ones_like(x, bool))) == expected


@pytest.mark.parametrize("temperature", [1, 0.7])
def test_a_row_that_rises_after_its_first_entries(kernels, temperature):
    """The frame is guessed from the first 64 entries, unless the row overwrites itself."""
    x = np.random.default_rng(0).normal(0, 3, (12, 9000)).astype(np.float32)
    for number, rise in enumerate((0, 5, 20, 37, 38, 39, 45, 70, 75, 110, 2000)):
        x[number, 100 + 500 * number :: 7] += rise
        x[number, :64] -= rise / 50
    x[11, 3] = -np.inf
    expected = x.copy()
    sm.softmax(expected, temperature=temperature, out=expected)
    assert bits(sm.softmax(x, temperature=temperature)) == bits(expected)
    logs = sm.log_softmax(x, temperature=temperature)
    assert bits(logs) == bits(sm.log_softmax(x.T.copy(), 0, temperature=temperature).T)


@pytest.mark.parametrize("temperature", [None, 0.7])
@pytest.mark.parametrize("length", [70, 900, 9000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_columns_that_rise_after_their_first_rows(kernels, dtype, length, temperature):
    """Their frames are guessed from the first four rows."""
    rng = np.random.default_rng(length)
    # A whole tile of 64 and parts, wherever a line begins; the NumPy twin has no tiles.
    width = 40 if kernels.__name__.endswith("_reference") else 139
    columns = rng.normal(0, 3, (length, width)).astype(dtype)
    options = {} if temperature is None else {"temperature": temperature}
    where = rng.random(columns.shape) < 0.9
    for rise in (0, 5, 20, 25, 26, 27, 37, 38, 39, 45, 70, 110):
        x = columns.copy()
        x[5 : 5 + length // 3 : 3] += rise
        for mask in ({}, {"where": where}):
            alone = [
                sm.softmax(column, **options, **{name: m[:, i].copy() for name, m in mask.items()})
                for i, column in enumerate(x.T.copy())
            ]
            expected = bits(np.stack(alone, 1))
            assert bits(sm.softmax(x, 0, **options, **mask)) == expected
            in_place = x.copy()
            sm.softmax(in_place, 0, out=in_place, **options, **mask)
            assert bits(in_place) == expected
        assert bits(sm.logsumexp(x, 0)) == bits(np.stack([sm.logsumexp(c) for c in x.T.copy()]))


@pytest.mark.parametrize("length", [200, 320, 513, 1000, 3000])
@pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax])
def test_batches_whose_results_wait_for_the_next(kernels, function, length):
    """In a new array, in place and masked; some rows are out of the ordinary."""
    x = np.random.default_rng(length).normal(0, 3, (90, length)).astype(np.float32)
    x[40:51] = odd_rows(11, length, np.float32)
    where = np.random.default_rng(1).random(x.shape) < 0.9
    where[70] = False
    for options in ({}, {"where": where}):
        alone = [
            function(row, **{name: option[i] for name, option in options.items()})
            for i, row in enumerate(x)
        ]
        assert bits(function(x, **options)) == bits(np.stack(alone))
        results = x.copy()
        function(results, out=results, **options)
        assert bits(results) == bits(np.stack(alone))


@pytest.mark.parametrize("length", [100, 9000, 40_000])
def test_an_infinite_entry_of_a_masked_row_in_place(kernels, length):
    x = np.random.default_rng(0).normal(0, 3, length).astype(np.float32)
    x[length // 2] = np.inf
    where = np.arange(length) != length - 3  # not among the entries that the frame is guessed from
    expected = sm.softmax(x, where=where)
    assert expected[length // 2] == 1
    assert bits(sm.softmax(x, where=where, out=x)) == bits(expected)


def test_columns_at_any_place_of_a_cache_line(kernels):
    memory = np.zeros(200 * 70 + 16, np.float32)
    x = np.random.default_rng(0).normal(0, 3, (70, 200)).astype(np.float32)
    expected = [bits(np.stack([f(column) for column in x.T])) for f in (sm.softmax, sm.logsumexp)]
    for shift in (0, 1, 4, 15):
        out = memory[shift : shift + x.size].reshape(x.shape)
        sm.softmax(x, 0, out=out)
        assert bits(out.T) == expected[0]
        out[...] = x
        assert bits(sm.logsumexp(out, 0)) == expected[1]


@each_dtype
@pytest.mark.parametrize("function", having("elementwise"), ids=str)
def test_one_element_alone_or_among_others(kernels, function, dtype):
    x = row(function, 300, dtype)
    second = function.second(x)
    expected = function.apply(x, *second)
    for part in (slice(0, 1), slice(5, 6), slice(3, 70), slice(299, 300), slice(None, None, -3)):
        assert bits(function.apply(x[part], *(s[part] for s in second))) == bits(expected[part])


def test_number_of_threads_is_set_and_put_back(kernels):
    skip_one_thread(kernels)
    before = sm.get_num_threads()
    with sm.num_threads(3):
        assert sm.get_num_threads() == 3
        sm.set_num_threads(2)
        assert sm.get_num_threads() == 2
    assert sm.get_num_threads() == before
    with pytest.raises(KeyError), sm.num_threads(1):
        raise KeyError
    assert sm.get_num_threads() == before


def test_threads_that_are_no_count():
    for wrong in (0, -1, 1.5, "two"):
        with pytest.raises((ValueError, TypeError)):
            sm.set_num_threads(wrong)
