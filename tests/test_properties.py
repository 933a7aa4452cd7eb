"""Laws that hold for every input, checked on what Hypothesis makes up.

Values lie on a grid of 1/64 between -64 and 64, so that shifts and powers of two are exact and a
law can be held to a few units in the last place.
"""

import functools

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import softmax as sm
from catalog import FUNCTIONS

GRID = 64
dtypes = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])


def on_grid(shape, dtype, limit=64):
    steps = st.integers(-limit * GRID, limit * GRID)
    return hnp.arrays(np.int64, shape, elements=steps).map(lambda a: (a / GRID).astype(dtype))


@st.composite
def logits_and_axis(draw, arrays=1, min_side=1):
    """Draw logits of 1 to 4 dimensions, an axis, and further arrays of the same shape."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=min_side, max_side=9))
    dtype = draw(dtypes)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return *(draw(on_grid(shape, dtype)) for _ in range(arrays)), axis


def eps(x):
    return float(np.finfo(x.dtype).eps)


def close(a, b, ulps, magnitude=0.0):
    """Agree to so many units of their own size, or of the given magnitude where that is larger."""
    unit = eps(np.asarray(a)) * np.maximum(np.maximum(abs(a), abs(b)), magnitude)
    smallest = np.finfo(np.asarray(a).dtype).smallest_subnormal
    return np.all(abs(a - b) <= ulps * np.maximum(unit, smallest))


@given(case=logits_and_axis())
def test_probabilities_sum_to_1(kernels, case):
    x, axis = case
    total = sm.softmax(x, axis).sum(axis, dtype=np.float64)
    assert np.all(abs(total - 1) <= 3 * eps(x))


@given(case=logits_and_axis(), shift=st.integers(-1000, 1000))
def test_a_shift_changes_nothing(kernels, case, shift):
    x, axis = case
    moved = x + x.dtype.type(shift)
    assert close(sm.softmax(moved, axis), sm.softmax(x, axis), 4)
    assert close(sm.log_softmax(moved, axis), sm.log_softmax(x, axis), 6)
    assert close(sm.logsumexp(moved, axis) - shift, sm.logsumexp(x, axis), 4, abs(shift) + 64)


@given(case=logits_and_axis())
def test_log_softmax_is_x_minus_logsumexp(kernels, case):
    x, axis = case
    total = np.expand_dims(sm.logsumexp(x, axis), axis)
    assert close(sm.log_softmax(x, axis), x - total, 6, abs(x) + abs(total))
    assert close(np.exp(sm.log_softmax(x, axis)), sm.softmax(x, axis), 200)


@given(case=logits_and_axis(), data=st.data())
def test_a_permutation_permutes(kernels, case, data):
    x, axis = case
    order = np.array(data.draw(st.permutations(range(x.shape[axis]))))
    permuted = np.take(x, order, axis)
    assert close(sm.softmax(permuted, axis), np.take(sm.softmax(x, axis), order, axis), 4)
    assert close(sm.logsumexp(permuted, axis), sm.logsumexp(x, axis), 4)


@given(data=st.data(), dtype=dtypes, length=st.integers(1, 40))
def test_where_is_leaving_out(kernels, data, dtype, length):
    x = data.draw(on_grid(length, dtype))
    where = data.draw(hnp.arrays(bool, length))
    assume(where.any())
    for function in FUNCTIONS:
        if function.takes("where") and not function.beside:
            masked, short = function(x, where=where), function(x[where])
            masked = masked[where] if function.kind == "map" else masked
            assert close(masked, short, 8, 1.0 if function.kind == "reduction" else 0.0)
    p = sm.softmax(x, where=where)
    assert not p[~where].any()
    assert np.all(sm.log_softmax(x, where=where)[~where] == -np.inf)


@given(case=logits_and_axis(), power=st.integers(-3, 5))
def test_temperature_divides(kernels, case, power):
    x, axis = case
    temperature = 2.0**power
    divided = x / x.dtype.type(temperature)
    for function in (sm.softmax, sm.log_softmax, sm.entropy):
        assert close(function(x, axis, temperature=temperature), function(divided, axis), 6)


@given(case=logits_and_axis(), sink=st.integers(-64, 64))
def test_sink_is_one_more_entry(kernels, case, sink):
    x, axis = case
    more = np.concatenate([x, np.full_like(np.take(x, [0], axis), sink)], axis)
    rest = range(x.shape[axis])
    expected = np.take(sm.softmax(more, axis), rest, axis)
    assert close(sm.softmax(x, axis, sink=float(sink)), expected, 4)


@given(data=st.data(), dtype=dtypes, length=st.integers(2, 60))
def test_blocks_merge(kernels, data, dtype, length):
    x = data.draw(on_grid(length, dtype))
    cut = data.draw(st.integers(1, length - 1))
    parts = np.array([sm.logsumexp(x[:cut]), sm.logsumexp(x[cut:])])
    whole = sm.logsumexp(x)
    assert close(sm.logsumexp(parts), whole, 6, abs(parts).max())
    running = sm.cumulative_logsumexp(x)
    assert close(running[-1], whole, 4, abs(whole) + abs(x).max())
    assert np.all(np.diff(running) >= 0)
    backwards = sm.cumulative_logsumexp(x, reverse=True)
    assert np.array_equal(backwards[::-1], sm.cumulative_logsumexp(x[::-1]))


@given(case=logits_and_axis())
def test_smooth_maxima_lie_where_they_should(kernels, case):
    x, axis = case
    slack = 4 * eps(x) * 70
    top, bottom, mean = x.max(axis), x.min(axis), x.mean(axis, dtype=np.float64)
    n = x.shape[axis]
    for k in (0.5, 1.0, 10.0, 1e4):
        smooth = sm.smooth_max(x, k, axis)
        assert np.all((top - slack <= smooth) & (smooth <= top + np.log(n) / k + slack))
        assert close(-sm.smooth_max(-x, k, axis), sm.smooth_max(x, -k, axis), 4, 64.0)
        mellow = sm.mellowmax(x, k, axis)
        assert np.all((mean - slack <= mellow) & (mellow <= top + slack))
        assert np.all(sm.mellowmax(x, -k, axis) >= bottom - slack)
    assert np.array_equal(sm.smooth_max(x, np.inf, axis), top)
    assert close(sm.logmeanexp(x, axis), sm.logsumexp(x, axis) - np.log(n), 4, 64.0)
    hard = sm.hardmax(x, axis)
    assert np.all((hard > 0) == (x == np.expand_dims(top, axis)))


@given(case=logits_and_axis())
@example(case=(np.array([28.25, -64], np.float32), 0))
def test_entropy_is_that_of_the_probabilities(kernels, case):
    x, axis = case
    entropy = sm.entropy(x, axis)
    assert np.all((entropy >= 0) & (entropy <= np.log(x.shape[axis]) * (1 + 2 * eps(x))))
    wide = x.astype(np.float64)  # probabilities below 2^-126 have few digits as floats
    direct = -(sm.softmax(wide, axis) * sm.log_softmax(wide, axis)).sum(axis)
    least = float(np.finfo(x.dtype).smallest_subnormal)
    np.testing.assert_allclose(entropy, direct, rtol=20 * eps(x), atol=least)


@given(case=logits_and_axis(arrays=3))
def test_jvp_and_vjp_are_adjoint(kernels, case):
    x, v, w, axis = case
    p = sm.softmax(x, axis)
    forward = (w * sm.softmax_jvp(x, v, axis)).sum(dtype=np.float64)
    backward = (v * sm.softmax_vjp(x, w, axis)).sum(dtype=np.float64)
    terms = (p * 64.0 * 64.0).sum(dtype=np.float64)
    assert abs(forward - backward) <= 16 * eps(x) * terms


@given(case=logits_and_axis(arrays=2))
def test_gradients_sum_to_0(kernels, case):
    x, v, axis = case
    for derivative in (sm.softmax_jvp, sm.softmax_vjp):
        gradient = derivative(x, v, axis).astype(np.float64)
        scale = (sm.softmax(x, axis) * 64.0).sum(axis) if x.dtype == np.float64 else 0.0
        smallest = 4.0 * np.finfo(x.dtype).smallest_subnormal * x.shape[axis]
        tolerance = 4 * eps(x) * (abs(gradient).sum(axis) + scale) + smallest
        assert np.all(abs(gradient.sum(axis)) <= tolerance)


@given(data=st.data(), dtype=dtypes, length=st.integers(1, 8))
def test_jacobian_columns_are_directional_derivatives(kernels, data, dtype, length):
    x = data.draw(on_grid(length, dtype))
    jacobian = sm.softmax_jacobian(x)
    assert np.array_equal(jacobian, jacobian.T)
    for j, unit in enumerate(np.eye(length, dtype=dtype)):
        column = sm.softmax_jvp(x, unit)
        assert close(jacobian[:, j], column, 10, sm.softmax(x) if dtype == np.float64 else 0.0)
    batch = np.stack([x, x + dtype.type(1), -x])
    assert close(sm.softmax_jacobian(batch)[0], jacobian, 0)
    assert close(sm.softmax_jacobian(batch.T, axis=0)[2], sm.softmax_jacobian(-x), 8)


@given(data=st.data(), dtype=dtypes)
def test_sigmoid_is_the_softmax_of_two(kernels, data, dtype):
    x = data.draw(on_grid(hnp.array_shapes(max_dims=2, min_side=0, max_side=50), dtype))
    pairs = np.stack([x, np.zeros_like(x)], -1)
    assert close(sm.sigmoid(x), sm.softmax(pairs)[..., 0], 4)
    assert close(sm.log_sigmoid(x), sm.log_softmax(pairs)[..., 0], 6)
    assert close(sm.softplus(x), sm.logsumexp(pairs), 6)
    assert close(sm.softplus(x), -sm.log_sigmoid(-x), 0)
    inside = x[abs(x) < 8]
    assert close(sm.logit(sm.sigmoid(inside)), inside, 6, 2 * np.exp(abs(inside)))


DIFFERENTIABLE = [
    pytest.param(f, variant, id=f"{f.name}-{variant}")
    for f in FUNCTIONS
    if f.derivative
    for variant in f.variants[:1]
]


@pytest.mark.parametrize(("function", "variant"), DIFFERENTIABLE)
def test_derivative_is_the_slope(kernels, function, variant):
    """Richardson's combination of two central differences, good to about 1e-11."""
    rng = np.random.default_rng(0)
    for length in (1, 2, 7, 40):
        x, direction = rng.normal(0, 2, (3, length)), rng.normal(size=(3, length))
        if function.domain == "probabilities":
            x, direction = rng.uniform(0.2, 0.8, x.shape), direction / 50

        def slope(step, x=x, direction=direction):
            ahead, back = x + step * direction, x - step * direction
            return (function(ahead, **variant) - function(back, **variant)) / (2 * step)

        numerical = (4 * slope(1e-3) - slope(2e-3)) / 3
        np.testing.assert_allclose(function.derivative(x, direction), numerical, atol=2e-9)


@given(data=st.data(), dtype=dtypes, classes=st.integers(1, 12), rows=st.integers(0, 6))
def test_cross_entropy_kernel_laws(kernels, data, dtype, classes, rows):
    """A one-hot target is a label; weights scale; in place is the same; each row sums to 0."""
    logits = data.draw(on_grid((rows, classes), dtype))
    labels = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    weights = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 4))) / 2.0
    run = functools.partial(_run_loss, kernels)
    loss, gradient = run("cross_entropy", logits, labels, None)
    soft = run("cross_entropy_soft", logits, np.eye(classes, dtype=dtype)[labels], None)
    np.testing.assert_allclose(soft[0], loss, rtol=8 * eps(logits), atol=1e-290)
    assert close(soft[1], gradient, 8, 1.0)
    weighted = run("cross_entropy", logits, labels, weights)
    assert np.allclose(weighted[0], weights * loss, rtol=8 * eps(logits), atol=0)
    only_loss = np.empty(rows)
    kernels.cross_entropy(logits, labels, None, only_loss, None)
    assert np.array_equal(only_loss, loss)
    in_place = logits.copy()
    kernels.cross_entropy(in_place, labels, None, only_loss, in_place)
    assert np.array_equal(in_place, gradient)
    total = gradient.astype(np.float64).sum(-1)
    assert np.all(abs(total) <= 8 * eps(logits) * abs(gradient).max(-1, initial=0))


def _run_loss(kernels, name, logits, target, weights):
    loss, gradient = np.empty(len(logits)), np.empty_like(logits)
    before = logits.copy()
    getattr(kernels, name)(logits, target, weights, loss, gradient)
    assert np.array_equal(before, logits)
    return loss, gradient
