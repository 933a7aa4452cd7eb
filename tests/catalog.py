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
    keywords    which of axis, temperature, where, sink, out and keepdims it takes
    variants    keyword arguments, one set per accuracy test
    derivative  (x, d) -> the derivative at x in direction d
    paired      takes a second array of the shape of x (a tangent or cotangent)
    domain      "logits" or "probabilities"
    """

    name: str
    kind: str
    ulp: float
    keywords: str
    subnormal: float | None = None
    variants: tuple[dict, ...] = ({},)
    derivative: Callable | None = None
    paired: bool = False
    domain: str = "logits"

    def __str__(self):
        return self.name

    def __call__(self, x, **keywords):
        return getattr(sm, self.name)(x, *self.second(x), **keywords)

    def second(self, x):
        """Return the second argument, the same for every array of one shape."""
        if not self.paired:
            return ()
        x = np.asarray(x)
        dtype = x.dtype.newbyteorder("=")
        dtype = dtype if dtype in DTYPES else np.float64
        return (np.random.default_rng(7).normal(size=x.shape).astype(dtype),)

    def exact(self, x, **keywords):
        """Return the oracle's answer, the axis last."""
        return getattr(oracle, self.name)(x, *self.second(x), **keywords)

    def takes(self, keyword):
        return keyword in self.keywords.split()

    def bound(self, dtype):
        """Return the largest error allowed where the result is normal."""
        return once_rounded(self.ulp, dtype)

    def errors(self, got, exact, dtype):
        """Return each entry's error as a fraction of what is allowed.

        float64 sums of terms of both signs are measured at the magnitude of the terms, as
        there is no wider type to take the difference in.
        """
        scale = getattr(exact, "scale", None) if dtype == np.float64 else None
        units = oracle.ulp_error(got, exact, dtype, scale)
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


_TEMPERATURES = ({}, {"temperature": 0.7}, {"temperature": 1000.0})
_SINKS = ({"sink": 0.0}, {"sink": -2.5, "temperature": 3.0})

FUNCTIONS = [
    Function(
        "softmax", "map", 2, "axis temperature where sink out",
        subnormal=1, variants=_TEMPERATURES + _SINKS, derivative=lambda x, d: sm.softmax_jvp(x, d),
    ),
    Function(
        "log_softmax", "map", 3, "axis temperature where sink out",
        variants=_TEMPERATURES + _SINKS,
        derivative=lambda x, d: d - _mean_direction(x, d)[..., None],
    ),
    Function("logsumexp", "reduction", 2, "axis where keepdims", derivative=_mean_direction),
    Function("logmeanexp", "reduction", 2, "axis where keepdims", derivative=_mean_direction),
    Function(
        "cumulative_logsumexp", "map", 2, "axis out",
        variants=({}, {"reverse": True}), derivative=_cumulative_direction,
    ),
    Function(
        "smooth_max", "reduction", 2, "axis where keepdims",
        variants=({}, {"k": 10.0}, {"k": -3.0}, {"k": 1e-3}), derivative=_mean_direction,
    ),
    Function(
        "mellowmax", "reduction", 2, "axis where keepdims",
        variants=({}, {"omega": 10.0}, {"omega": -3.0}, {"omega": 1e-3}, {"omega": 0.0}),
        derivative=_mean_direction,
    ),
    Function("hardmax", "map", 1, "axis", variants=({}, {"ties": "first"})),
    Function(
        "entropy", "reduction", 3, "axis temperature where",
        variants=_TEMPERATURES, derivative=_entropy_direction,
    ),
    Function(
        "softmax_jvp", "map", 4, "axis temperature where", variants=_TEMPERATURES, paired=True
    ),
    Function(
        "softmax_vjp", "map", 4, "axis temperature where", variants=_TEMPERATURES, paired=True
    ),
    Function(
        "sigmoid", "elementwise", 2, "out",
        subnormal=1, derivative=lambda x, d: sm.sigmoid(x) * sm.sigmoid(-x) * d,
    ),
    Function("log_sigmoid", "elementwise", 3, "out", derivative=lambda x, d: sm.sigmoid(-x) * d),
    Function("softplus", "elementwise", 3, "out", derivative=lambda x, d: sm.sigmoid(x) * d),
    Function(
        "logit", "elementwise", 3, "out",
        derivative=lambda p, d: d / (p * (1 - p)), domain="probabilities",
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


def draw(function, family, length, dtype, seed=0):
    """Draw one row of inputs in the dtype."""
    families = LOGITS if function.domain == "logits" else PROBABILITIES
    rng = np.random.default_rng([seed, length, sum(family.encode())])
    x = families[family](rng, length, ml_dtypes.finfo(dtype)).astype(dtype)
    if function.domain == "probabilities":
        x = np.clip(x, ml_dtypes.finfo(dtype).smallest_subnormal, 1 - ml_dtypes.finfo(dtype).epsneg)
    return x.astype(dtype)


def families_of(function):
    return LOGITS if function.domain == "logits" else PROBABILITIES
