"""Drawing from logits: filters, samples and their smooth relaxation.

The vocabulary is never sorted. A filter is a threshold, found by looking at the digits of the
logits; a draw is the position that one uniform number falls on when the probabilities lie end to
end (the inverse transform), found block by block without a normalised probability.
"""

from __future__ import annotations

import math
import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from softmax._inputs import FLOAT64, Array, Axis, Slices, as_floating, mask_of
from softmax._kernels import kernels
from softmax._reference.rows import as_rows
from softmax.functions import hardmax, softmax

# A string, because looking at np.random would import it.
RandomSource: TypeAlias = "np.random.Generator | int | None"
Kept = tuple[int, float, float]  # top_k, top_p and log(min_p), as kernels take them

# A share within this many roundings of top_p or min_p has reached it: log([0.5, 0.4, 0.1]) is
# itself rounded, and top_p = 0.9 is meant to keep two of the three.
ROUNDINGS = 4


def filter_logits(
    logits: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    ties: str = "all",
) -> Any:
    """Divide logits by a temperature and set the improbable ones to -inf.

    The filters follow each other in the order temperature, `top_k`, `top_p`, `min_p`, and each
    sees the probabilities that those before it left, normalised again.

    Parameters
    ----------
    logits : array_like
        Scores, as in `softmax`.
    axis : int, tuple of int or None, default -1
        The axis or axes of one distribution.
    temperature : float or array_like, default 1.0
        As in `softmax`.
    top_k : int, optional
        Keep the `top_k` largest entries; at least 1. More than there are keeps all.
    top_p : float, optional
        Keep the fewest of the largest entries whose probabilities add up to at least this share,
        in (0, 1]. 1 keeps all.
    min_p : float, optional
        Keep entries at least this share of the largest probability, in [0, 1].
    ties : {"all", "first"}, default "all"
        Whether all entries equal to the least one kept are kept, or only the first, as many as
        `top_k` or `top_p` needs.

    Returns
    -------
    ndarray
        Of the shape and dtype of `logits`: logits / temperature for the entries kept, -inf for
        the others. At least one entry is kept; -inf never is.

    Raises
    ------
    TypeError
        If `logits` does not hold real numbers, or `top_k` is no integer.
    ValueError
        If an argument is out of range, or a slice is no distribution: it has a nan, several +inf,
        or nothing but -inf.

    See Also
    --------
    sample : draw from what is kept.

    Notes
    -----
    At temperature 0 the largest entries become 0 and all others -inf; at infinity those kept
    become 0 and `top_k` and `top_p` still keep the largest. Where the largest entry would overflow
    when divided, it is subtracted from all first, which leaves the distribution as it is. A share
    that misses `top_p` or `min_p` by less than 4 roundings of the dtype counts as reached.
    float16 and bfloat16 are computed in float32, longdouble in float64.

    References
    ----------
    .. [1] A. Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020: top-p.
    .. [2] M. N. Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM
       Outputs", ICLR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax import filter_logits, softmax
    >>> filter_logits([1.0, 3.0, 2.0, 0.0], top_k=2)
    array([-inf,   3.,   2., -inf])
    >>> logits = np.log([0.5, 0.3, 0.15, 0.05])
    >>> softmax(filter_logits(logits, top_p=0.75)).round(3)
    array([0.625, 0.375, 0.   , 0.   ])
    >>> filter_logits([2.0, 2.0, 1.0], top_k=1, ties="first")
    array([  2., -inf, -inf])
    """
    if ties not in ("all", "first"):
        raise ValueError(f'ties must be "all" or "first", got {ties!r}')
    slices = Slices(logits, axis, name="logits")
    rows, temperatures = as_distributions(slices, temperature)
    options = checked_filters(top_k, top_p, min_p, rows.dtype)
    kept = np.empty_like(rows)
    if rows.size:
        valid = np.ones(len(rows), np.bool_)
        kernels.filter_logits(rows, kept, valid, temperatures, *options, ties == "first")
        refuse_undefined(valid, slices)
    moved = np.moveaxis(slices.x, slices.axis, -1)
    result = np.moveaxis(narrowed(kept, slices.dtype).reshape(moved.shape), -1, slices.axis)
    return slices.unflatten(np.ascontiguousarray(result))[()]


def sample(
    logits: npt.ArrayLike,
    size: int | tuple[int, ...] | None = None,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    rng: RandomSource = None,
) -> Any:
    """Draw positions with the probabilities softmax(logits / temperature), filtered if asked.

    Parameters
    ----------
    logits : array_like
        Scores, as in `softmax`.
    size : int or tuple of int, optional
        How many independent draws to take from each slice; one if not given.
    axis, temperature, top_k, top_p, min_p
        As in `filter_logits`; of several axes a draw is a position in row-major order.
    rng : numpy.random.Generator or int, optional
        Where randomness comes from; one uniform number is used for each draw. An int is the seed
        of a new generator; None takes fresh entropy.

    Returns
    -------
    ndarray of int64, or int64
        Positions along `axis`: of the shape of `logits` without `axis`, behind `size`. An entry
        of probability 0 is never drawn.

    Raises
    ------
    TypeError, ValueError
        As `filter_logits` does; also a ValueError for a slice without entries.

    Notes
    -----
    A draw is the first position whose cumulative probability exceeds the uniform number. Weights
    exp((x - m) / T) are relative to the largest entry m of a block of 256 and good to about
    1e-13, in the same order of operations everywhere: from the same generator come the same draws,
    whatever the processor, the number of threads or the build.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax import sample
    >>> rng = np.random.default_rng(0)
    >>> draws = sample(np.log([0.2, 0.3, 0.5]), 100_000, rng=rng)
    >>> (np.bincount(draws) / draws.size).round(2)
    array([0.2, 0.3, 0.5])
    >>> sample([[0.0, 5.0, 5.0], [9.0, 1.0, 1.0]], temperature=0, top_k=1, rng=rng).shape
    (2,)
    """
    generator = np.random.default_rng(rng)
    slices = Slices(logits, axis, name="logits")
    rows, temperatures = as_distributions(slices, temperature)
    options = checked_filters(top_k, top_p, min_p, rows.dtype)
    sizes = checked_size(size)
    lead = tuple(n for i, n in enumerate(slices.shape) if i not in slices.axes)
    drawn = np.empty((math.prod(sizes), len(rows)), np.int64)
    if len(rows):
        if rows.shape[1] == 0:
            raise ValueError(f"logits must have an entry along axis {axis}, got {slices.shape}")
        valid = np.ones(len(rows), np.bool_)
        uniforms = generator.random(drawn.shape)
        kernels.sample(rows, uniforms, drawn, valid, temperatures, *options)
        refuse_undefined(valid, slices)
    return drawn.reshape(sizes + lead)[()]


def gumbel_softmax(
    logits: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    hard: bool = False,
    rng: RandomSource = None,
) -> Any:
    """Draw relaxed one-hot vectors, softmax of logits with Gumbel noise (concrete distribution).

    Parameters
    ----------
    logits : array_like
        Scores, as in `softmax`.
    axis : int, tuple of int or None, default -1
        The axis or axes of one distribution.
    temperature : float or array_like, default 1.0
        Of the relaxation, as in `softmax`. At 0 the vectors are one-hot draws from
        softmax(logits); at infinity all entries that are not -inf are equal.
    hard : bool, default False
        Return the one-hot vector of the largest entry, an exact draw from softmax(logits) at any
        temperature.
    rng : numpy.random.Generator or int, optional
        As in `sample`.

    Returns
    -------
    ndarray
        Of the shape and dtype of `logits`, each slice summing to 1; nan where `softmax` gives nan.

    Raises
    ------
    TypeError, ValueError
        As `softmax` does.

    References
    ----------
    .. [1] E. Jang, S. Gu and B. Poole, "Categorical Reparameterization with Gumbel-Softmax",
       ICLR 2017.
    .. [2] C. J. Maddison, A. Mnih and Y. W. Teh, "The Concrete Distribution", ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax import gumbel_softmax
    >>> gumbel_softmax([1.0, 2.0, 3.0], rng=0).sum().round(12)
    np.float64(1.0)
    >>> hard = gumbel_softmax(np.zeros((10_000, 2)), hard=True, rng=0)
    >>> hard.mean(axis=0).round(1)
    array([0.5, 0.5])
    """
    generator = np.random.default_rng(rng)
    given = as_floating(logits, "logits")
    dtype = FLOAT64 if given.dtype.itemsize >= 8 else np.dtype(np.float32)
    exponential = np.asarray(generator.standard_exponential(given.shape, dtype=dtype.type))
    # -log of an exponential variable is a Gumbel variable; a 0, however rare, must not give inf.
    noisy = given - np.log(np.maximum(exponential, np.finfo(dtype).tiny))
    noisy = noisy.astype(np.result_type(dtype, given.dtype), copy=False)
    mask = mask_of(logits)
    if mask is not None:
        noisy = np.where(mask, noisy, -np.inf)
    relaxed = softmax(noisy, axis, temperature=temperature)
    return (hardmax(noisy, axis, ties="first") if hard else relaxed).astype(given.dtype)[()]


def as_distributions(
    slices: Slices, temperature: npt.ArrayLike
) -> tuple[Array, npt.NDArray[np.float64] | None]:
    """Return slices as contiguous rows of float32 or float64, and their temperatures."""
    temperatures = slices.temperature(temperature)
    if temperatures is not None:
        temperatures = as_rows(temperatures, slices.axis)[:, 0].astype(np.float64)
    x = slices.x
    if slices.where is not None:
        x = np.where(slices.where, x, x.dtype.type(-np.inf))
    dtype = np.float32 if x.dtype.itemsize < 8 else np.float64
    return np.ascontiguousarray(as_rows(x, slices.axis), dtype), temperatures


def narrowed(kept: Array, dtype: np.dtype[Any]) -> Array:
    """Return filtered rows in the dtype of the logits; float16 overflows sooner than float32."""
    if dtype == np.float16 and kept.size:
        largest = kept.max(axis=-1, keepdims=True)
        beyond = np.isfinite(largest) & (abs(largest) > np.finfo(dtype).max)
        kept = kept - np.where(beyond, largest, 0)
    with np.errstate(over="ignore"):
        return kept.astype(dtype, copy=False)


def checked_filters(
    top_k: int | None, top_p: float | None, min_p: float | None, dtype: np.dtype[Any]
) -> Kept:
    """Check the filters and return them as kernels take them."""
    short = 1 - ROUNDINGS * float(np.finfo(dtype).eps)
    k, p, log_min_p = 0, 1.0, -math.inf
    if top_k is not None:
        try:
            k = operator.index(top_k)
        except TypeError:
            raise TypeError(f"top_k must be an integer, got {top_k!r}") from None
        if k < 1:
            raise ValueError(f"top_k must be 1 or more, got {top_k!r}")
    if top_p is not None:
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {top_p!r}")
        p = 1.0 if top_p == 1 else float(top_p) * short
    if min_p is not None:
        if not 0 <= min_p <= 1:
            raise ValueError(f"min_p must be between 0 and 1, got {min_p!r}")
        log_min_p = math.log(min_p * short) if min_p else -math.inf
    return min(k, np.iinfo(np.int64).max), p, log_min_p


def checked_size(size: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of the draws of one slice."""
    if size is None:
        return ()
    try:
        sizes = tuple(map(operator.index, size)) if isinstance(size, tuple | list) else None
        sizes = (operator.index(size),) if sizes is None else sizes  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"size must be an integer or a tuple of integers, got {size!r}") from None
    if min(sizes, default=0) < 0:
        raise ValueError(f"size must be 0 or more, got {size!r}")
    return sizes


def refuse_undefined(valid: Array, slices: Slices) -> None:
    """Raise for the first slice that is no distribution."""
    if valid.all():
        return
    row = int(np.argmin(valid))
    lead = [n for i, n in enumerate(slices.x.shape) if i != slices.axis]
    place = ", ".join(str(i) for i in np.unravel_index(row, lead)) if lead else ""
    named = f"the slice at ({place})" if lead else "this one"
    entries = as_rows(slices.x, slices.axis)[row]
    reason = "nothing but -inf"
    if np.isnan(entries).any():
        reason = "nan"
    elif (entries == np.inf).any():
        reason = "several +inf"
    raise ValueError(f"logits must hold a distribution, but {named} has {reason}")
