"""What every function should return, exactly, for arrays of any shape; and errors in ulp.

The functions say what those of definitions.py do (the axis last, finite entries) in the arithmetic
of wide.py, arranged so that nothing cancels; test_oracle.py holds the two against each other.
Both are indifferent to how the package works.
"""

import ml_dtypes
import numpy as np

import wide
from wide import Wide


class _State:
    """A slice reduced: where its largest entry m is, exp(x - m), and the sum without that one."""

    def __init__(self, x, where=True, temperature=1.0):
        exact = Wide.of(x)
        x = exact.to_float64()
        takes_part = np.broadcast_to(where, x.shape)
        candidates = np.where(takes_part, x, -np.inf)
        self.top = np.argmax(candidates, axis=-1)[..., None]
        self.maximum = np.take_along_axis(x, self.top, -1)
        self.below = (exact - exact.take(self.top)) / temperature  # <= 0
        self.exp = wide.where(takes_part, wide.exp(wide.where(takes_part, self.below, 0.0)), 0.0)
        self.is_top = np.arange(x.shape[-1]) == self.top
        self.others = wide.where(self.is_top, 0.0, self.exp).sum(keepdims=True)
        self.sum = 1.0 + self.others
        self.p = self.exp / self.sum

    def complement(self):
        """1 - p, by adding up the others."""
        return wide.where(self.is_top, self.others, self.sum - self.exp) / self.sum


def _slices(x, where, temperature, sink):
    if sink is None:
        return _State(x, where, temperature)
    x = np.asarray(x).astype(np.float64)
    shape = (*x.shape[:-1], 1)
    with_sink = np.concatenate([x, np.broadcast_to(sink, shape)], -1)
    takes_part = np.concatenate([np.broadcast_to(where, x.shape), np.ones(shape, bool)], -1)
    return _State(with_sink, takes_part, temperature)


def softmax(x, *, temperature=1.0, where=True, sink=None):
    return _slices(x, where, temperature, sink).p[..., : np.shape(x)[-1]]


def log_softmax(x, *, temperature=1.0, where=True, sink=None):
    s = _slices(x, where, temperature, sink)
    return (s.below - wide.log1p(s.others))[..., : np.shape(x)[-1]]


def entropy(x, *, temperature=1.0, where=True):
    s = _State(x, where, temperature)
    return (wide.log1p(s.others) - (s.p * s.below).sum(keepdims=True))[..., 0]


class Sum(Wide):
    """m + part, which may cancel: `scale` is the larger of the two magnitudes."""

    def __init__(self, maximum, part):
        total = maximum + part
        super().__init__(total.high, total.low, total.exponent)
        self.maximum, self.part = maximum, part
        self.scale = wide.maximum(abs(part), abs(Wide.of(maximum)))


def logsumexp(x, *, weights=None, where=True):
    s = _State(x, where)
    if weights is None:
        return Sum(s.maximum[..., 0], wide.log1p(s.others)[..., 0])
    terms = s.exp * np.asarray(weights, np.float64)
    total = terms.sum()
    result = Sum(s.maximum[..., 0], wide.log(abs(total)))
    # A sum of terms of both signs is as good as the terms: their rounding is in it.
    result.scale = wide.maximum(result.scale, abs(terms).sum() / abs(total))
    result.sign = np.sign(total.high)
    return result


def smooth_max(x, k=1.0, *, where=True):
    s = _State(np.sign(k) * np.asarray(x).astype(np.float64), where, 1 / Wide.of(abs(k)))
    return Sum(np.sign(k) * s.maximum[..., 0], (wide.log1p(s.others) / k)[..., 0])


def mellowmax(x, omega=1.0, *, where=True):
    x = np.asarray(x).astype(np.float64)
    takes_part = np.broadcast_to(where, x.shape)
    count = takes_part.sum(-1).astype(np.float64)
    if omega == 0:
        terms = wide.where(takes_part, x, 0.0)
        mean = Sum(0.0, terms.sum() / count)
        mean.scale = abs(terms).sum() / count
        return mean
    s = _State(np.sign(omega) * x, where, 1 / Wide.of(abs(omega)))
    excess = wide.expm1(wide.where(takes_part, s.below, 0.0))
    mean_excess = excess.sum() / count  # mean(exp(z)) - 1
    return Sum(np.sign(omega) * s.maximum[..., 0], wide.log1p(mean_excess) / omega)


def logmeanexp(x, *, where=True):
    return mellowmax(x, 1.0, where=where)


def cumulative_logsumexp(x, *, reverse=False):
    """Merge states over distances 1, 2, 4, ...: each is (m, sum of the others over exp(m))."""
    x = np.asarray(x).astype(np.float64)
    if reverse:
        turned = cumulative_logsumexp(x[..., ::-1])
        return Sum(turned.maximum[..., ::-1], turned.part[..., ::-1])
    m, others = x, Wide(np.zeros(x.shape))
    distance = 1
    while distance < x.shape[-1]:
        late, early = np.s_[..., distance:], np.s_[..., :-distance]
        gap = Wide.of(m[late]) - m[early]
        scale = wide.exp(-abs(gap))
        merged = wide.where(
            gap.high >= 0,
            others[late] + scale * (1.0 + others[early]),
            others[early] + scale * (1.0 + others[late]),
        )
        m = np.concatenate([m[..., :distance], np.maximum(m[late], m[early])], -1)
        others = wide.concatenate([others[..., :distance], merged], -1)
        distance *= 2
    return Sum(m, wide.log1p(others))


def hardmax(x, *, ties="share"):
    x = np.asarray(x).astype(np.float64)
    largest = x == x.max(-1, keepdims=True)
    if ties == "first":
        return Wide.of(np.arange(x.shape[-1]) == np.argmax(x, -1)[..., None])
    return Wide.of(largest) / largest.sum(-1, keepdims=True)


def sigmoid(x):
    x = Wide.of(x)
    u = wide.exp(-abs(x))
    return wide.where(x.high >= 0, 1.0, u) / (1.0 + u)


def log_sigmoid(x):
    return -softplus(-Wide.of(x))


def softplus(x):
    x = Wide.of(x)
    return wide.where(x.high > 0, x, 0.0) + wide.log1p(wide.exp(-abs(x)))


def logit(p):
    p = Wide.of(p)
    above_even = (2.0 * p - 1.0) / (1.0 - p)  # p / (1 - p) - 1
    near_even = (p.to_float64() > 0.4) & (p.to_float64() < 0.6)
    return wide.where(
        near_even, wide.log1p(wide.where(near_even, above_even, 0.0)), wide.log(p / (1.0 - p))
    )


def softmax_jvp(x, dx, *, temperature=1.0, where=True):
    """p (dx - sum(p dx)), with dx counted from that of the largest entry."""
    s = _State(x, where, temperature)
    dx = Wide.of(dx)
    along = dx - dx.take(s.top)
    mean = wide.where(s.is_top, 0.0, s.p * along).sum(keepdims=True)
    result = s.p * (along - mean) / temperature
    mean_dx = (s.p * dx).sum(keepdims=True)
    result.scale = s.p * wide.maximum(abs(dx), abs(mean_dx)) / temperature
    return result


softmax_vjp = softmax_jvp  # the Jacobian is symmetric


def softmax_jacobian(x):
    s = _State(x)
    column, row = Wide(*_expand(s.p, -1)), Wide(*_expand(s.p, -2))
    diagonal = Wide(*_expand(s.p * s.complement(), -1))
    return wide.where(np.eye(np.shape(x)[-1], dtype=bool), diagonal, -(column * row))


def _expand(value, axis):
    return (np.expand_dims(part, axis) for part in (value.high, value.low, value.exponent))


# The losses of slices, and their gradients. Sums of both signs have the scale of the larger part.


def cross_entropy(logits, target):
    return -log_softmax(logits).take(_last(target))[..., 0]


def cross_entropy_gradient(logits, target):
    s = _State(logits)
    return wide.where(_is_label(s, target), -s.complement(), s.p)


def cross_entropy_soft(logits, target):
    return -(Wide.of(target) * log_softmax(logits)).sum()


def cross_entropy_soft_gradient(logits, target):
    mass = Wide.of(target).sum(keepdims=True) * _State(logits).p
    return _difference(mass, target)


def focal_loss(logits, target, *, gamma=2.0):
    missing = _State(logits).complement().take(_last(target))[..., 0]
    return _power(missing, gamma) * cross_entropy(logits, target)


def focal_loss_gradient(logits, target, *, gamma=2.0):
    s = _State(logits)
    p, missing = (part.take(_last(target)) for part in (s.p, s.complement()))
    loss = cross_entropy(logits, target)
    # (1 - p)^(gamma - 1) (-log p) is (1 - p)^gamma for p = 1, where it is not a quotient.
    certain = missing.high == 0
    ratio = _column(loss) / wide.where(certain, 1.0, missing)
    pull = _power(missing, gamma) * (1.0 + gamma * p * wide.where(certain, 1.0, ratio))
    return pull * wide.where(_is_label(s, target), -missing, s.p)


def kl_divergence(q_logits, p_logits, *, temperature=1.0):
    """The sum of p (exp(d) - 1 - d) for d = log(q / p), which has no negative term."""
    p, q, d = _ratio(p_logits, q_logits, temperature)
    near = d.high * 2.0**d.exponent < 1
    d_near = wide.where(near, d, 0.0)
    return wide.where(near, p * _excess(d_near), q - p - p * d).sum()


def kl_divergence_gradient(q_logits, p_logits, *, temperature=1.0):
    p, q, _ = _ratio(p_logits, q_logits, temperature)
    return _difference(q / temperature, p / temperature)


def distillation_loss(student, teacher, target, *, temperature=2.0, alpha=0.5):
    soft = kl_divergence(student, teacher, temperature=temperature)
    return (1 - alpha) * temperature**2 * soft + alpha * cross_entropy(student, target)


def distillation_loss_gradient(student, teacher, target, *, temperature=2.0, alpha=0.5):
    soft = kl_divergence_gradient(student, teacher, temperature=temperature)
    hard = cross_entropy_gradient(student, target)
    soft_part, hard_part = (1 - alpha) * temperature**2 * soft, alpha * hard
    result = soft_part + hard_part
    result.scale = wide.maximum(soft.scale * ((1 - alpha) * temperature**2), abs(hard_part))
    return result


def binary_cross_entropy(logits, target):
    t = Wide.of(target)
    return t * softplus(-Wide.of(logits)) + (1.0 - t) * softplus(logits)


def binary_cross_entropy_gradient(logits, target):
    t = Wide.of(target)
    return _difference((1.0 - t) * sigmoid(logits), t * sigmoid(-Wide.of(logits)))


# Layers: rounding moves a logit by a part of the sum of its absolute terms, and a relative error of
# probabilities is the absolute one of logits, so that is what errors are measured at.


def _layer_logits(x, weight, bias):
    terms = Wide.of(np.asarray(x)[..., None, :]) * np.asarray(weight)
    size = (abs(terms).sum() + np.abs(np.asarray(bias).astype(np.float64))).to_float64()
    return terms.sum() + bias, 1.0 + 4.0 * size.max(-1)[..., None]


def softmax_layer(x, weight, bias, *, temperature=1.0):
    z, size = _layer_logits(x, weight, bias)
    p = softmax(z, temperature=temperature)
    p.scale = p * size / temperature if temperature < 1 else p * size
    return p


def softmax_layer_jacobian(x, weight, bias):
    z, size = _layer_logits(x, weight, bias)
    entries = _outer(softmax_jacobian(z), x)
    shape = (*np.shape(x)[:-1], len(bias), -1)
    result = Wide(
        *(np.reshape(part, shape) for part in (entries.high, entries.low, entries.exponent))
    )
    result.scale = abs(result) * size[..., None]
    return result


def softmax_layer_vjp_X(x, weight, bias, dp):  # noqa: N802
    z, size = _layer_logits(x, weight, bias)
    slopes = softmax_vjp(z, dp)
    return _times_weight(slopes, slopes.scale * size, weight)


def softmax_layer_vjp_weight(x, weight, bias, dp):
    z, size = _layer_logits(x, weight, bias)
    slopes = softmax_vjp(z, dp)
    result = _outer(slopes, x)
    result.scale = abs(_outer(slopes.scale * size, x))
    return result


def linear_cross_entropy(x, weight, bias, target):
    z, size = _layer_logits(x, weight, bias)
    loss = cross_entropy(z, target)
    loss.scale = loss + size[..., 0]
    return loss


def linear_cross_entropy_X(x, weight, bias, target):  # noqa: N802
    z, size = _layer_logits(x, weight, bias)
    slopes = cross_entropy_gradient(z, target)
    return _times_weight(slopes, abs(slopes) * size, weight)


def linear_cross_entropy_weight(x, weight, bias, target):
    z, size = _layer_logits(x, weight, bias)
    slopes = cross_entropy_gradient(z, target)
    result = _outer(slopes, x)
    result.scale = abs(result) * size[..., None]
    return result


def _times_weight(slopes, scale, weight):
    by_class = np.asarray(weight).T  # (d, K)
    result = (Wide(*_expand(slopes, -2)) * by_class).sum()
    result.scale = abs(Wide(*_expand(scale, -2)) * by_class).sum()
    return result


def _outer(slopes, x):
    """Return each slope times each feature."""
    features = np.asarray(x).astype(np.float64)
    for _ in range(slopes.high.ndim - features.ndim + 1):
        features = features[..., None, :]
    return Wide(*_expand(slopes, -1)) * features


def _last(labels):
    return np.asarray(labels)[..., None]


def _column(value):
    return Wide(*_expand(value, -1))


def _is_label(s, labels):
    return np.arange(s.p.shape[-1]) == _last(labels)


def _difference(a, b):
    result = a - b
    result.scale = wide.maximum(a, b)
    return result


def _power(base, exponent):
    """base ** exponent for a base of at least 0."""
    positive = base.high > 0
    return wide.where(positive, wide.exp(exponent * wide.log(wide.where(positive, base, 1.0))), 0.0)


def _ratio(p_logits, q_logits, temperature):
    """p, q and log(q / p), by what q gains on p relative to the entry that gains most."""
    p, q = _State(p_logits, True, temperature), _State(q_logits, True, temperature)
    gain = (Wide.of(q_logits) - Wide.of(p_logits)) / temperature
    top = np.argmax(gain.to_float64(), -1)[..., None]
    gain = gain - gain.take(top)
    change = (p.p * wide.expm1(gain)).sum(keepdims=True)
    alike = change.to_float64() > -0.5
    log_p, log_q = (s.below - wide.log1p(s.others) for s in (p, q))
    d = gain - wide.log1p(wide.where(alike, change, 0.0))
    return p.p, q.p, wide.where(alike, d, log_q - log_p)


def _excess(d):
    """exp(d) - 1 - d, for d up to 1."""
    small = (d.high == 0) | (d.exponent <= -4)
    term = total = 0.5 * wide.where(small, d, 0.0) * wide.where(small, d, 0.0)
    for k in range(3, 16):
        term = term * wide.where(small, d, 0.0) / float(k)
        total = total + term
    return wide.where(small, total, wide.expm1(d) - d)


# dtype: bits of the significand, exponents of the smallest and the largest normal numbers
_FORMATS = {
    np.dtype(np.float16): (11, -14, 15),
    np.dtype(ml_dtypes.bfloat16): (8, -126, 127),
    np.dtype(np.float32): (24, -126, 127),
    np.dtype(np.float64): (53, -1022, 1023),
}


def ulp_error(got, exact, dtype, scale=None):
    """Return abs(got - exact) in units in the last place of `exact` rounded to `dtype`.

    Below the normal range the unit is the smallest subnormal number. With `scale` the unit is
    taken at that magnitude where it is the larger one. A nan, or an infinity where the exact
    value does not round to one, is infinitely wrong.
    """
    bits, lowest, highest = _FORMATS[np.dtype(dtype)]
    got = np.asarray(got).astype(np.float64)
    exact = Wide.of(exact)
    magnitude = exponent = _rounded_exponent(exact, bits)
    if scale is not None:
        magnitude = np.maximum(magnitude, _rounded_exponent(scale, bits))
    unit = np.maximum(magnitude, lowest) - (bits - 1)
    finite = np.isfinite(got)
    error = abs(Wide.of(np.where(finite, got, 0.0)) - exact)
    units = np.ldexp(error.high, np.minimum(error.exponent - unit, 1000))
    right_infinity = (exponent > highest) & (got == np.copysign(np.inf, exact.high))
    return np.where(right_infinity, 0.0, np.where(finite, units, np.inf))


def _rounded_exponent(value, bits):
    """floor(log2(abs(value))) after rounding to so many bits."""
    high = abs(value.high)
    low = np.where(value.high < 0, -value.low, value.low)
    rounds_up = (high - 1.0) + low >= -(2.0 ** -(bits + 1))
    return value.exponent - 1 + rounds_up


def is_subnormal(exact, dtype):
    bits, lowest, _ = _FORMATS[np.dtype(dtype)]
    return _rounded_exponent(exact, bits) < lowest
