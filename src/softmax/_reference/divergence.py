"""The Kullback-Leibler divergence of two softmaxes and its gradient, row by row.

With d = log(q / p), sum(p log(p / q)) is the sum of p (exp(d) - 1 - d), whose terms are not
negative, and the gradient q - p is p (exp(d) - 1): neither cancels however near p and q are, if d
does not. It is the difference of the logits less the logarithm of what q's normalizer gains on p's.
Both are counted from p's largest entry: where p and q are alike the second is the log1p of a small
sum over the others.
"""

import math

import numpy as np

from softmax._reference.pairs import (
    Array,
    Pair,
    add,
    divide,
    expm1,
    log1p,
    multiply,
    negative,
    pick,
    rounded_total,
    select,
    total,
)
from softmax._reference.rows import BLOCK
from softmax._reference.state import State, reduce

SERIES = tuple(1 / math.factorial(k) for k in range(10, 1, -1))  # of (exp(d) - 1 - d) / d^2
HIGHEST = 700.0  # of which exp is a number


def kl_divergence(
    p_logits: Array,
    q_logits: Array,
    temperature: Array | None,
    loss: Array,
    gradient: Array | None,
) -> None:
    """Write KL(p || q) of each row, and (q - p) / temperature; rows of the working precision."""
    step = max(1, BLOCK // max(1, p_logits.shape[1]))
    with np.errstate(all="ignore"):
        for start in range(0, len(loss), step):
            part = slice(start, start + step)
            t = None if temperature is None else temperature[part]
            p, q = reduce(p_logits[part], None, t), reduce(q_logits[part], None, t)
            losses, slopes = divergence(p, q)
            undefined = p.undefined | q.undefined
            loss[part] = np.where(undefined, np.nan, losses)[:, 0]
            if gradient is not None:
                if t is not None:
                    high, low = divide(slopes, (t, np.zeros_like(t)))
                    slopes = np.where(slopes[0] == 0, 0, high), low
                gradient[part] = np.where(undefined, np.nan, slopes[0])


def divergence(p: State, q: State) -> tuple[Array, Pair]:
    """Return the sums of p (exp(d) - 1 - d), and q - p."""
    P, Q = p.probabilities(), q.probabilities()
    d = log_ratio(p, q, P)
    growth = expm1((np.minimum(d[0], 1), d[1]))
    slopes = select((d[0] < 1) & (P[0] > 0), multiply(P, growth), add(Q, negative(P)))
    near = np.abs(d[0]) < 1 / 64
    small = np.where(near, d[0], 0)
    series = np.zeros_like(small)
    for coefficient in SERIES:
        series = series * small + coefficient
    excess = add(growth, negative(d))
    square = multiply((small, np.where(near, d[1], 0)), (small, np.where(near, d[1], 0)))
    excess = select(near, multiply(square, (series, np.zeros_like(series))), excess)
    # Where d is large exp(d) may overflow while p exp(d) = q does not.
    far = add(slopes, negative(multiply(P, d)))
    terms = select(d[0] < 1, multiply(P, excess), far)
    terms = select(P[0] == 0, Q, terms)
    ruled_out = (d[0] == -np.inf) & (P[0] > 0)
    return rounded_total((np.where(ruled_out, np.inf, terms[0]), terms[1])), slopes


def log_ratio(p: State, q: State, P: Pair) -> Pair:
    """Return log(q / p)."""
    in_both = (p.z[0] > -np.inf) & (q.z[0] > -np.inf)
    nothing = np.full_like(p.z[0], -np.inf), np.zeros_like(p.z[0])
    gap = add(q.z, negative(p.z))
    lead = pick(gap, p.top)
    lead = select(np.isfinite(lead[0]), lead, (np.zeros_like(lead[0]), np.zeros_like(lead[0])))
    gap = select(in_both, add(gap, negative(lead)), nothing)
    within = np.minimum(gap[0], HIGHEST), gap[1]
    change = total(select(P[0] > 0, multiply(P, expm1(within)), P))
    # A class that p alone rules out has its part in q, and none in the change.
    only_q = ((p.z[0] == -np.inf) & (q.z[0] > -np.inf)).any(axis=-1, keepdims=True)
    beyond = only_q | (gap[0] > HIGHEST).any(axis=-1, keepdims=True)
    alike = (np.abs(change[0]) < 0.5) & ~beyond
    shift = add(add(q.log_partition(), negative(p.log_partition())), negative(lead))
    change = select(alike, change, (np.zeros_like(lead[0]), np.zeros_like(lead[0])))
    shift = select(alike, log1p(change), shift)
    return select(in_both, add(gap, negative(shift)), nothing)
