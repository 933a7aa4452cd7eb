"""Results that exceed the caches are written past them: the same bits, and nothing beside them."""

import numpy as np
import pytest

import softmax as sm
from families import odd_rows

# Only the compiled kernels write past the caches; their NumPy twin would be compared with itself.
pytestmark = pytest.mark.parametrize("kernels", ["native"], indirect=True)

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_function = pytest.mark.parametrize("function", [sm.softmax, sm.log_softmax])


@pytest.mark.parametrize(
    "columns",
    [
        26,
        100,
        128,
        136,
        320,
        500,
        999,
        1000,
        1008,
        1024,
        2100,
        9001,
        40_000,
        99_999,
        250_000,
        300_000,
    ],
)
@pytest.mark.parametrize("offset", [0, 3])
@each_function
@each_dtype
def test_results_beyond_the_caches(kernels, dtype, function, columns, offset):
    """They are written past the caches, whole lines at a time; those in place are not."""
    rows = 36_000_000 // np.dtype(dtype).itemsize // columns
    buffer = np.zeros(rows * columns + 20, dtype)
    x = np.random.default_rng(0).standard_normal((rows, columns), dtype=dtype) * 3
    for row, entry in ((5, np.inf), (8, np.nan), (-5, 90), (-4, -np.inf), (-3, 2000)):
        x[row, -1] = entry
    x[11] = -np.inf
    out = buffer[offset : offset + x.size].reshape(x.shape)
    function(x, out=out)
    assert not buffer[:offset].any()
    assert not buffer[offset + x.size :].any()
    function(x, out=x)
    assert np.array_equal(out, x, equal_nan=True)


@pytest.mark.parametrize("columns", [196_608, 196_624, 300_013, 700_001])
@pytest.mark.parametrize("tempered", [False, True])
def test_rows_too_long_to_wait_until_the_next_is_summed(kernels, columns, tempered):
    """They are written in two parts, and have the bits of rows by themselves."""
    x = np.random.default_rng(0).standard_normal((9_000_000 // columns, columns), np.float32)
    temperature = np.ones((len(x), 1))
    if tempered:
        temperature[:8, 0] = [0.7, 1, 3, 1, 0, 1, np.inf, 1e-3]
    for row, entry in ((1, 20), (3, 90), (5, np.inf), (6, np.nan), (8, -np.inf)):
        x[row, -1] = entry
    x[9, 100_000:] -= 200
    x[10, -5:] += 1000
    buffer = np.zeros(x.size + 20, np.float32)
    out = buffer[3 : 3 + x.size].reshape(x.shape)
    expected = np.array(
        [sm.softmax(row, temperature=t) for row, t in zip(x, temperature, strict=True)]
    )
    options = {"temperature": temperature} if tempered else {}
    for threads in (1, 2):
        out[:] = 0
        again = x.copy()
        with sm.num_threads(threads):
            sm.softmax(x, out=out, **options)
            sm.softmax(again, out=again, **options)
        assert np.array_equal(out, expected, equal_nan=True)
        assert np.array_equal(again, expected, equal_nan=True)
        assert not buffer[:3].any()
        assert not buffer[3 + x.size :].any()


@each_function
@each_dtype
def test_one_row_beyond_the_caches(kernels, dtype, function):
    """Threads share it out; temperatures and entries beyond the range of frames, too."""
    x = np.random.default_rng(0).standard_normal((1, 9_000_011), dtype) * 3
    buffer = np.zeros(x.size + 20, dtype)
    out = buffer[3 : 3 + x.size].reshape(x.shape)
    for shift, temperature in ((0, 1), (1e35, 1e32)):
        z = x * dtype(temperature) + dtype(shift)
        with sm.num_threads(2):
            function(z, temperature=temperature, out=out)
        with sm.num_threads(1):
            assert np.array_equal(function(z, temperature=temperature), out)
            function(z, temperature=temperature, out=z)
        assert np.array_equal(out, z)
        assert not buffer[:3].any()
        assert not buffer[3 + x.size :].any()


@pytest.mark.parametrize(
    "columns", [10, 26, 64, 128, 129, 320, 500, 512, 513, 999, 2100, 9001, 40_000, 250_000]
)
@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("z_loss", [0, 0.1])
@each_dtype
def test_gradients_beyond_the_caches(kernels, dtype, z_loss, columns, offset):
    """The entries of labels, too, wherever in a line they are."""
    rows = 36_000_000 // np.dtype(dtype).itemsize // columns
    buffer = np.zeros(rows * columns + 20, dtype)
    x = np.random.default_rng(0).standard_normal((rows, columns), dtype=dtype) * 3
    x[5] = -np.inf
    for row, entry in ((5, 1), (-7, 90), (-5, 5000), (-4, -5000), (-3, 1e35)):
        x[row, -1] = entry
    x[8, 0] = 90
    labels = np.arange(rows) * 7 % columns
    labels[[5, -7, -1]] = columns - 1
    out = buffer[offset : offset + x.size].reshape(x.shape)
    loss, _ = sm.cross_entropy(x, labels, z_loss=z_loss, return_grad=True, out=out)
    assert not buffer[:offset].any()
    assert not buffer[offset + x.size :].any()
    again, _ = sm.cross_entropy(x, labels, z_loss=z_loss, return_grad=True, out=x)
    assert again == loss
    assert np.array_equal(out, x)


@pytest.mark.parametrize("columns", [196_624, 300_013])
@pytest.mark.parametrize("z_loss", [0, 0.1])
def test_gradients_of_rows_too_long_to_wait_until_the_next_is_summed(kernels, columns, z_loss):
    """Labels in either part, beside probabilities of which one shows its own rounding."""
    rows = 9_000_000 // columns
    x = np.random.default_rng(0).standard_normal((rows, columns), np.float32)
    x[:, 7] = np.linspace(18, 22, rows)
    x[4, 7] = 35
    labels = np.resize([columns - 1, 7, 196_607, 196_608, 196_609, 3], rows)
    out = np.empty_like(x)
    loss, _ = sm.cross_entropy(
        x, labels, reduction="none", z_loss=z_loss, return_grad=True, out=out
    )
    for row, label, result, gradient in zip(x, labels, loss, out, strict=True):
        alone = sm.cross_entropy(row, label, reduction="none", z_loss=z_loss, return_grad=True)
        assert result == alone[0]
        assert np.array_equal(gradient, alone[1])
    sm.cross_entropy(x, labels, reduction="none", z_loss=z_loss, return_grad=True, out=x)
    assert np.array_equal(out, x)


@each_function
@each_dtype
def test_long_rows_that_fall_beyond_the_caches(kernels, dtype, function):
    """All of a chunk lies below what the frame of the first entries holds."""
    x = np.random.default_rng(0).standard_normal(
        (120 * 8 // np.dtype(dtype).itemsize, 40_000), dtype
    )
    for row, fall in enumerate((60, 100, 103, 104, 105, 106, 110, 150, 300, 900, 1e4, np.inf)):
        x[2 * row, 32_768:] -= fall
    out = function(x)
    function(x, out=x)
    assert np.array_equal(out, x)


@pytest.mark.parametrize("columns", [26, 120, 136, 1000, 3000])
@each_dtype
def test_results_beyond_the_caches_between_the_places_of_their_type(kernels, dtype, columns):
    """They cannot be written past the caches."""
    rows = 36_000_000 // np.dtype(dtype).itemsize // columns
    x = np.random.default_rng(0).standard_normal((rows, columns), dtype=dtype)
    memory = np.zeros(x.nbytes + x.shape[0] + 1, np.uint8)
    item = x.itemsize
    for first, step in ((1, x.shape[1] * item), (0, x.shape[1] * item + 1)):
        out = np.ndarray(x.shape, dtype, memory, first, (step, item))
        for function in (sm.softmax, sm.log_softmax, sm.sigmoid):
            function(x, out=out)
            assert np.array_equal(out, function(x))


@pytest.mark.parametrize("columns", [26, 100])
@each_function
@each_dtype
def test_masked_and_tempered_results_beyond_the_caches(kernels, dtype, function, columns):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((36_000_000 // np.dtype(dtype).itemsize // columns, columns), dtype)
    options = {"where": rng.random(x.shape) < 0.8, "temperature": rng.uniform(0.5, 2, (len(x), 1))}
    options["temperature"][77] = 0
    out = function(x, **options)
    function(x, out=x, **options)
    assert np.array_equal(out, x)


@pytest.mark.parametrize("columns", [500, 3000, 40_000, 250_000])
@each_dtype
def test_tempered_results_beyond_the_caches(kernels, dtype, columns):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((36_000_000 // np.dtype(dtype).itemsize // columns, columns), dtype)
    temperature = rng.uniform(0.5, 2, (len(x), 1))
    temperature[[7, 9, 12, 13]] = [[0], [np.inf], [1e-3], [1e3]]
    out = sm.softmax(x, temperature=temperature)
    sm.softmax(x, temperature=temperature, out=x)
    assert np.array_equal(out, x)


@pytest.mark.parametrize(("rows", "row_bytes"), [(900, 41_024), (2000, 18_496)])
@pytest.mark.parametrize("masked", [False, True])
@each_function
@each_dtype
def test_columns_beyond_the_caches(kernels, dtype, function, masked, rows, row_bytes):
    """Of longer ones the exponentials are computed again."""
    columns = row_bytes // np.dtype(dtype).itemsize
    x = np.random.default_rng(0).standard_normal((rows, columns), dtype=dtype) * 3
    x[:, 70:80] = odd_rows(10, rows, dtype).T
    options = {"where": np.random.default_rng(1).random(x.shape) < 0.9} if masked else {}
    out = function(x, axis=0, **options)
    expected = function(x.T.copy(), **{name: mask.T.copy() for name, mask in options.items()})
    assert np.array_equal(out, expected.T, equal_nan=True)
    function(x, axis=0, out=x, **options)
    assert np.array_equal(out, x, equal_nan=True)


@each_dtype
@each_function
@pytest.mark.parametrize("n", [3, 13, 17, 70])
def test_rows_of_a_wider_array_beyond_the_caches(kernels, n, function, dtype):
    """Results that exceed the caches are streamed in whole lines, which short rows do not fill."""
    rows = (36 << 20) // (n * np.dtype(dtype).itemsize)
    drawn = np.random.default_rng(0).normal(0, 3, (1000, n + 1)).astype(dtype)
    wide = np.resize(drawn, (rows, n + 1))
    for shift in (0, 1):
        memory = np.full(rows * n + shift + 64, 7, dtype)
        out = memory[shift : shift + rows * n].reshape(rows, n)
        function(wide[:, :n], out=out)
        whole = rows // 1000 * 1000
        expected = function(drawn[:, :n].copy())
        assert np.array_equal(out[:whole], np.resize(expected, (whole, n)))
        assert np.array_equal(out[whole:], expected[: rows - whole])
        assert np.all(memory[:shift] == 7)
        assert np.all(memory[shift + rows * n :] == 7)
