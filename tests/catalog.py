"""The one table of functions: what each is, how exact it must be, what it takes.

Every cross-cutting test walks FUNCTIONS; adding a function to the package is one row here and one
definition in oracle.py and definitions.py. The inputs that the accuracy tests draw are families.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

import oracle
import softmax as sm

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
# How many units of float32 make one unit of the 16-bit type.
_FLOAT32_UNITS = {np.dtype(np.float16): 2.0**13, BFLOAT16: 2.0**16}


@dataclass(frozen=True, eq=False)
class Function:
    """One public function.

    kind        "map" along an axis, "reduction" along an axis, "elementwise", or "layer": of a
                matrix of features, row by row
    ulp         largest error in float32 and float64; 16-bit results are rounded once from such
    subnormal   largest error of float32 and float64 results below the normal range, in units of
                the smallest subnormal number, where it is a tighter bound
    keywords    which of axis, temperature, where, sink, out and keepdims it takes; "axes" if axis
                may also be several or None, "0d" if a number is a slice of one, "broadcast" if
                what goes beside x may have fewer dimensions
    variants    keyword arguments, one set per accuracy test
    derivative  (x, d) -> the derivative at x in direction d
    call        how it is called, if not by its name
    beside      (rng, shape, dtype) -> the arguments beside x: tangents, targets, other logits
    shortest    the length of the shortest slice there is
    domain      a key of FAMILIES
    cancels     a difference that is measured at the magnitude of its terms in every dtype
    cancellation  down to which part of its terms a difference is measured at its own magnitude in
                float64
    narrowest   the narrowest dtype that results have
    composed    computed by NumPy around the kernels: no length of rows is a case of its own
    """

    name: str
    kind: str
    ulp: float
    keywords: str
    subnormal: float | None = None
    variants: tuple[dict, ...] = ({},)
    derivative: Callable | None = None
    call: Callable | None = None
    beside: Callable | None = None
    shortest: int = 0
    domain: str = "logits"
    cancels: bool = False
    cancellation: float = 1.0
    narrowest: np.dtype = DTYPES[0]
    composed: bool = False

    def __str__(self):
        return self.name

    def __call__(self, x, **keywords):
        return self.apply(x, *self.second(x, keywords.get("axis", -1)), **keywords)

    def apply(self, x, *second, **keywords):
        """Call it with given arguments beside x."""
        call = self.call or getattr(sm, self.name)
        return call(x, *second, **keywords)

    def second(self, x, axis=-1):
        """Return the arguments beside x, the same for slices of one shape along any axis."""
        if self.beside is None:
            return ()
        x = np.asarray(x)
        dtype = x.dtype.newbyteorder("=")
        dtype = dtype if dtype in DTYPES else np.dtype(np.float64)
        axes = range(x.ndim) if axis is None or not x.ndim else np.atleast_1d(axis)
        last = range(-len(axes), 0)
        shape = np.moveaxis(x, axes, last).shape
        drawn = self.beside(np.random.default_rng(7), shape, dtype)
        # Labels have no such axis.
        return tuple(np.moveaxis(a, last, axes) if a.ndim == x.ndim else a for a in drawn)

    def exact(self, x, **keywords):
        """Return the oracle's answer, the axis last."""
        return getattr(oracle, self.name)(x, *self.second(x), **keywords)

    def some(self, lengths):
        """Choose the lengths of rows to look at."""
        return lengths[::6] if self.composed else lengths

    def takes(self, keyword):
        return keyword in self.keywords.split()

    def bound(self, dtype):
        """Return the largest error allowed where the result is normal."""
        return once_rounded(self.ulp, dtype)

    def result_dtype(self, dtype):
        """Return the dtype of the results for x of a dtype."""
        return dtype if dtype.itemsize >= self.narrowest.itemsize else self.narrowest

    def scale(self, exact, dtype):
        """Return the magnitude errors are measured at, None for that of the result."""
        if hasattr(exact, "scale") and (self.cancels or dtype == np.float64):
            return exact.scale * self.cancellation
        return None

    def errors(self, got, exact, dtype):
        """Return each entry's error as a fraction of what is allowed.

        float64 sums of terms of both signs are measured at the magnitude of the terms, as
        there is no wider type to take the difference in.
        """
        units = oracle.ulp_error(got, exact, dtype, self.scale(exact, dtype))
        allowed = np.full(units.shape, self.bound(dtype))
        if self.subnormal is not None:
            small = oracle.is_subnormal(exact, dtype)
            allowed[small] = once_rounded(self.subnormal, dtype)
        return units / allowed


def once_rounded(ulp, dtype):
    return 0.5 + ulp / _FLOAT32_UNITS[dtype] if dtype in _FLOAT32_UNITS else ulp


# The derivatives, from textbook formulas: d is the direction.
def _mean_direction(x, d):
    return (sm.softmax(x) * d).sum(-1)


def _cumulative_direction(x, d):
    total = sm.cumulative_logsumexp(x)
    share = np.exp(x[..., None, :] - total[..., :, None]) * np.tri(x.shape[-1])
    return (share * d[..., None, :]).sum(-1)


def _entropy_direction(x, d):
    return -(sm.softmax(x) * (sm.log_softmax(x) + sm.entropy(x)[..., None]) * d).sum(-1)


# What goes beside x.
def _direction(rng, shape, dtype):
    return (rng.normal(size=shape).astype(dtype),)


def _labels(rng, shape, dtype):
    return (rng.integers(shape[-1], size=shape[:-1]),)


def _distribution(rng, shape, dtype):
    """One entry in four is 0."""
    t = rng.integers(0, 4, shape) * rng.uniform(0.5, 1, shape)
    total = t.sum(-1, keepdims=True)
    return (np.divide(t, total, out=np.zeros(shape), where=total > 0).astype(dtype),)


def _chances(rng, shape, dtype):
    return (rng.uniform(0, 1, shape).astype(dtype),)


def _teacher_and_labels(rng, shape, dtype):
    return *_direction(rng, shape, dtype), *_labels(rng, shape, dtype)


def _loss_and_gradient(name, loss, beside, keywords="axis", out=False, cancels=None, **both):
    """Return two rows: the loss of each slice (of each entry without an axis), and its gradient."""

    def each(*given, **options):
        return loss(*given, reduction="none", **options)

    def gradient(*given, **options):
        return each(*given, return_grad=True, **options)[1]

    def slope(x, d):
        along = row_of_gradient(x) * d
        return along.sum(-1) if row.takes("axis") else along

    of_loss, of_gradient = ("reduction", "map") if "axis" in keywords else 2 * ("elementwise",)
    row = Function(
        name, of_loss, 3, keywords,
        call=each, beside=beside, derivative=slope, **both,
    )  # fmt: skip
    keywords += " out" * out
    row_of_gradient = Function(
        f"{name}_gradient", of_gradient, 4, keywords,
        call=gradient, beside=beside, **(cancels or {}), **both,
    )  # fmt: skip
    return row, row_of_gradient


# Layers: of features, a weight and a bias for five classes.


def _layer(rng, shape, dtype):
    d = shape[-1]
    weight = rng.normal(size=(5, d)) / np.sqrt(max(d, 1))
    return weight.astype(dtype), rng.normal(size=5).astype(dtype)


def _layer_and_direction(rng, shape, dtype):
    return *_layer(rng, shape, dtype), *_direction(rng, (*shape[:-1], 5), dtype)


def _layer_and_labels(rng, shape, dtype):
    return *_layer(rng, shape, dtype), *_labels(rng, (*shape[:-1], 5), dtype)


def _of_layer(name, call, beside=_layer, **more):
    """Return the row of a function of a matrix, called with any array whose last axis is d long."""

    def rows(x, weight, bias, *of_rows, **options):
        if np.ndim(x) == 2:  # a matrix as it is, be it a list
            return call(x, weight, bias, *of_rows, **options)
        x = np.asarray(x)
        lead = x.shape[:-1]
        of_rows = (np.reshape(part, (-1, *np.shape(part)[len(lead) :])) for part in of_rows)
        result = call(x.reshape(-1, x.shape[-1]), weight, bias, *of_rows, **options)
        return result.reshape((*lead, *result.shape[1:]))[()]

    return Function(
        name, "layer", 4, "", call=rows, beside=beside, domain="features", cancels=True,
        composed=True, narrowest=DTYPES[2], **more,
    )  # fmt: skip


def _row_by_row(call):
    """Call with one row at a time: of what is summed over rows, and of vectors."""

    def each(x, weight, bias, *of_rows):
        x = np.asarray(x)
        return np.stack([call(x[i], weight, bias, *(p[i] for p in of_rows)) for i in range(len(x))])

    return each


def _layer_direction(x, d):
    weight, bias = BY_NAME["softmax_layer"].second(x)
    return sm.softmax_jvp(x @ weight.T + bias, d @ weight.T)


def _linear_direction(x, d):
    return (BY_NAME["linear_cross_entropy_X"](x) * d).sum(-1)


def _linear_gradients(x, weight, bias, labels):
    options = {"reduction": "sum", "return_grad": True}
    return sm.linear_cross_entropy(x, weight, labels, bias, **options)[1]


def _divergence(q_logits, p_logits, **options):
    """Of q from p: the gradient is that by q."""
    return sm.kl_divergence(p_logits, q_logits, **options)


# Where a gradient is a difference, and what of it no working precision can know.
#
# p - t for a target t: whoever gives t in the dtype of the logits has rounded it, by up to half a
# unit of t; the entry moves by as much. The kernels carry p in that dtype too.
_GIVEN_TARGET = {"cancels": True}
# q - p from logits alone, which are exact: but exponentials of different rationals come as near
# each other as one likes without being equal, so that w bits of working precision give 4 units of
# the entry down to about 2^(51 - w) of the terms. Pairs hold exponentials to 2^-63; two of the bits
# go to the sums.
_TWO_SOFTMAXES = {"cancellation": 2.0**-10}


_TEMPERATURES = ({}, {"temperature": 0.7}, {"temperature": 1000.0})
_SINKS = ({"sink": 0.0}, {"sink": -2.5, "temperature": 3.0})

FUNCTIONS = [
    Function(
        "softmax", "map", 2, "0d axis axes temperature where sink out",
        subnormal=1, variants=_TEMPERATURES + _SINKS, derivative=lambda x, d: sm.softmax_jvp(x, d),
    ),
    Function(
        "log_softmax", "map", 3, "0d axis axes temperature where sink out",
        variants=_TEMPERATURES + _SINKS,
        derivative=lambda x, d: d - _mean_direction(x, d)[..., None],
    ),
    Function(
        "logsumexp", "reduction", 2, "0d axis axes where keepdims",
        derivative=_mean_direction,
    ),
    Function(
        "logmeanexp", "reduction", 2, "0d axis axes where keepdims",
        derivative=_mean_direction,
    ),
    Function(
        "cumulative_logsumexp", "map", 2, "0d axis axes out",
        variants=({}, {"reverse": True}), derivative=_cumulative_direction,
    ),
    Function(
        "smooth_max", "reduction", 2, "0d axis axes where keepdims",
        variants=({}, {"k": 10.0}, {"k": -3.0}, {"k": 1e-3}), derivative=_mean_direction,
    ),
    Function(
        "mellowmax", "reduction", 2, "0d axis axes where keepdims",
        variants=({}, {"omega": 10.0}, {"omega": -3.0}, {"omega": 1e-3}, {"omega": 0.0}),
        derivative=_mean_direction,
    ),
    Function("hardmax", "map", 1, "0d axis axes", variants=({}, {"ties": "first"})),
    Function(
        "entropy", "reduction", 3, "0d axis axes temperature where",
        variants=_TEMPERATURES, derivative=_entropy_direction,
    ),
    Function(
        "softmax_jvp", "map", 4, "0d axis axes temperature where broadcast",
        variants=_TEMPERATURES, beside=_direction,
    ),
    Function(
        "softmax_vjp", "map", 4, "0d axis axes temperature where broadcast",
        variants=_TEMPERATURES, beside=_direction,
    ),
    Function(
        "sigmoid", "elementwise", 2, "0d out",
        subnormal=1, derivative=lambda x, d: sm.sigmoid(x) * sm.sigmoid(-x) * d,
    ),
    Function("log_sigmoid", "elementwise", 3, "0d out", derivative=lambda x, d: sm.sigmoid(-x) * d),
    Function("softplus", "elementwise", 3, "0d out", derivative=lambda x, d: sm.sigmoid(x) * d),
    Function(
        "logit", "elementwise", 3, "0d out",
        derivative=lambda p, d: d / (p * (1 - p)), domain="probabilities",
    ),
    *_loss_and_gradient("cross_entropy", sm.cross_entropy, _labels, shortest=1, out=True),
    *_loss_and_gradient(
        "cross_entropy_soft", sm.cross_entropy, _distribution,
        domain="moderate logits", out=True, cancels=_GIVEN_TARGET,
    ),
    *_loss_and_gradient(
        "focal_loss", sm.focal_loss, _labels,
        shortest=1, domain="moderate logits", composed=True,
        variants=({}, {"gamma": 0.5}),
    ),
    *_loss_and_gradient(
        "kl_divergence", _divergence, _direction,
        keywords="axis temperature", domain="moderate logits", composed=True,
        variants=({}, {"temperature": 0.7}), cancels=_TWO_SOFTMAXES,
    ),
    *_loss_and_gradient(
        "distillation_loss", sm.distillation_loss, _teacher_and_labels,
        shortest=1, domain="moderate logits", composed=True,
        variants=({}, {"temperature": 1.5, "alpha": 0.25}),
    ),
    *_loss_and_gradient(
        "binary_cross_entropy", sm.binary_cross_entropy, _chances,
        keywords="0d", domain="moderate logits", cancels=_GIVEN_TARGET,
    ),
    _of_layer(
        "softmax_layer", sm.softmax_layer,
        derivative=_layer_direction, variants=({}, {"temperature": 0.7}),
    ),
    _of_layer("softmax_layer_jacobian", _row_by_row(sm.softmax_layer_jacobian)),
    _of_layer(
        "softmax_layer_vjp_X", lambda x, w, b, dp: sm.softmax_layer_vjp(x, w, dp, b)[0],
        _layer_and_direction,
    ),
    _of_layer(
        "softmax_layer_vjp_weight",
        _row_by_row(lambda x, w, b, dp: sm.softmax_layer_vjp(x[None], w, [dp], b)[1]),
        _layer_and_direction,
    ),
    _of_layer(
        "linear_cross_entropy",
        lambda x, w, b, y: sm.linear_cross_entropy(x, w, y, b, reduction="none"),
        _layer_and_labels, derivative=_linear_direction,
    ),
    _of_layer(
        "linear_cross_entropy_X", lambda *given: _linear_gradients(*given)[0], _layer_and_labels
    ),
    _of_layer(
        "linear_cross_entropy_weight",
        _row_by_row(lambda x, w, b, y: _linear_gradients(x[None], w, b, [y])[1]),
        _layer_and_labels,
    ),
]  # fmt: skip

BY_NAME = {function.name: function for function in FUNCTIONS}


def having(*kinds, keyword=None):
    """Select rows: having("map", "reduction") or having(keyword="where")."""
    rows = [f for f in FUNCTIONS if not kinds or f.kind in kinds]
    return [f for f in rows if keyword is None or f.takes(keyword)]
