"""The families of inputs that the accuracy tests draw from."""

import ml_dtypes
import numpy as np


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

_EDGES = "subnormal results", "float extremes"  # of logits, which features are not

FAMILIES = {
    "logits": LOGITS,
    # Products of extremes, and their sums, may overflow on the way.
    "moderate logits": {name: drawn for name, drawn in LOGITS.items() if name != "float extremes"},
    "features": {name: drawn for name, drawn in LOGITS.items() if name not in _EDGES},
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


def odd_rows(count, length, dtype):
    """Return normal rows, the first ten of which are infinite, huge or missing."""
    x = np.random.default_rng(length).normal(0, 3, (count, length))
    x[0, 0], x[1, -1], x[2], x[3] = np.nan, np.inf, np.inf, -np.inf
    x[4, 0] = ml_dtypes.finfo(dtype).max
    x[5] += 2000
    x[6] -= 30_000
    x[7, 0] += 5000
    x[8] = -2000
    x[8, 0] += 40
    x[9] = 5
    x[9, -1] = np.nan
    return x.astype(dtype)


def sure_rows(count, length, dtype):
    """Return normal rows of which one entry is above all others, by more and more."""
    gaps = [1, 15, 17, 20, 25, 26, 30, 40, 62, 64, 90, 105, 300, 709]
    gaps += [740, 744.5, 745, 746, 790, 810, 1200, 5000]  # where doubles underflow
    x = np.random.default_rng(length).normal(0, 3, (count, length))
    for i, gap in enumerate(gaps[: count // 2]):
        others = np.arange(length) != 2 * i % length
        x[2 * i, others] -= x[2 * i].max() + gap / 2
        x[2 * i, ~others] = gap / 2
    if length > 2:
        x[1, 1:] = -np.inf
        x[3, 1:] = ml_dtypes.finfo(dtype).min
        x[5, :2] = 50
        x[7, 0], x[7, 1:] = 50, -50
    return x.astype(dtype)
