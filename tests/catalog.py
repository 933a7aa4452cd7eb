"""The one table of functions: what each is, how exact it must be, what it takes.

Every cross-cutting test walks FUNCTIONS; adding a function to the package is one row here and one
definition in oracle.py. The families of inputs that the accuracy tests draw from stand below it.
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

    kind        "map" along an axis, "reduction" along an axis, or "elementwise"
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
    composed    computed by NumPy around the kernels: no length of rows is a case of its own
    float64_ulp the bound in float64, for what is computed in float64 and only then rounded
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
    composed: bool = False
    float64_ulp: float | None = None

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
        ulp = self.float64_ulp if dtype == np.float64 and self.float64_ulp else self.ulp
        return once_rounded(ulp, dtype)

    def scale(self, exact, dtype):
        """Return the magnitude errors are measured at, None for that of the result."""
        measured = self.cancels or dtype == np.float64
        return getattr(exact, "scale", None) if measured else None

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


def _loss_and_gradient(
    name, loss, beside, keywords="axis", out=False, float64_ulp=(None, None), **both
):
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
        call=each, beside=beside, derivative=slope, float64_ulp=float64_ulp[0], **both,
    )  # fmt: skip
    keywords += " out" * out
    row_of_gradient = Function(
        f"{name}_gradient", of_gradient, 4, keywords,
        call=gradient, beside=beside, float64_ulp=float64_ulp[1], **both,
    )  # fmt: skip
    return row, row_of_gradient


def _divergence(q_logits, p_logits, **options):
    """Of q from p: the gradient is that by q."""
    return sm.kl_divergence(p_logits, q_logits, **options)


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
        domain="moderate logits", out=True, cancels=True,
    ),
    *_loss_and_gradient(
        "focal_loss", sm.focal_loss, _labels,
        shortest=1, domain="moderate logits", composed=True, float64_ulp=(6, 4),
        variants=({}, {"gamma": 0.5}),
    ),
    *_loss_and_gradient(
        "kl_divergence", _divergence, _direction,
        keywords="axis temperature", domain="moderate logits", composed=True, float64_ulp=(4, 5),
        variants=({}, {"temperature": 0.7}),
    ),
    *_loss_and_gradient(
        "distillation_loss", sm.distillation_loss, _teacher_and_labels,
        shortest=1, domain="moderate logits", composed=True,
        variants=({}, {"temperature": 1.5, "alpha": 0.25}),
    ),
    *_loss_and_gradient(
        "binary_cross_entropy", sm.binary_cross_entropy, _chances,
        keywords="0d", domain="moderate logits", cancels=True,
    ),
]  # fmt: skip

BY_NAME = {function.name: function for function in FUNCTIONS}


def having(*kinds, keyword=None):
    """Select rows: having("map", "reduction") or having(keyword="where")."""
    rows = [f for f in FUNCTIONS if not kinds or f.kind in kinds]
    return [f for f in rows if keyword is None or f.takes(keyword)]


# Families of inputs: (rng, length, finfo of the dtype) -> float64 logits, cast by `draw`.
def _subnormal_results(rng, n, info):
    """Let the largest entry be 0 and the others straddle the edge of the normal range."""
    x = np.log(float(info.tiny)) - rng.uniform(-2, 1.2 * np.log(2) * info.nmant, n)
    x[rng.integers(n)] = 0.0
    return x


def _extremes(rng, n, info):
    largest, tiny = float(info.max), float(info.tiny)
    return rng.choice([largest, -largest, largest / 2, 1.0, 0.0, -0.0, tiny, -tiny / 4], n)


def _one_dominant(rng, n, info):
    x = rng.normal(size=n)
    x[rng.integers(n)] = -np.log(float(info.eps)) * rng.uniform(0.5, 3)
    return x


LOGITS = {
    "N(0,1)": lambda rng, n, info: rng.normal(0, 1, n),
    "N(0,3)": lambda rng, n, info: rng.normal(0, 3, n),
    "N(0,100)": lambda rng, n, info: rng.normal(0, 100, n),
    "uniform": lambda rng, n, info: rng.uniform(-1, 1, n) * min(1e6, float(info.max)),
    "near ties": lambda rng, n, info: 3.0 + rng.integers(0, 5, n) * 4 * float(info.eps),
    "one dominant": _one_dominant,
    "subnormal results": _subnormal_results,
    "float extremes": _extremes,
}
PROBABILITIES = {
    "N(0,1)": lambda rng, n, info: rng.uniform(0, 1, n),
    "N(0,3)": lambda rng, n, info: 10.0 ** rng.uniform(np.log10(float(info.tiny)), 0, n),
    "near ties": lambda rng, n, info: 0.5 + rng.integers(-5, 6, n) * float(info.eps),
    "one dominant": lambda rng, n, info: 1.0 - rng.integers(1, 50, n) * float(info.epsneg),
    "subnormal results": lambda rng, n, info: float(info.tiny) * rng.uniform(0, 2, n),
}


FAMILIES = {
    "logits": LOGITS,
    # Products of extremes, and their sums, may overflow on the way.
    "moderate logits": {name: drawn for name, drawn in LOGITS.items() if name != "float extremes"},
    "probabilities": PROBABILITIES,
}


def draw(function, family, length, dtype, seed=0):
    """Draw one row of inputs in the dtype."""
    rng = np.random.default_rng([seed, length, sum(family.encode())])
    x = families_of(function)[family](rng, length, ml_dtypes.finfo(dtype)).astype(dtype)
    if function.domain == "probabilities":
        x = np.clip(x, ml_dtypes.finfo(dtype).smallest_subnormal, 1 - ml_dtypes.finfo(dtype).epsneg)
    return x.astype(dtype)


def families_of(function):
    return FAMILIES[function.domain]
