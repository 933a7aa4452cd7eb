"""softmax, its logarithm, its denominator, and the functions that share their state.

Each reads its arguments, allocates the result and calls one kernel. Arrays that are as kernels
need them, with default arguments, go straight to the kernel's plain_ form, which does all three;
it returns None for any others.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import Array, Axis, Slices
from softmax._kernels import kernels


def softmax(
    x: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    where: npt.ArrayLike | None = None,
    sink: npt.ArrayLike | None = None,
    out: Array | None = None,
) -> Any:
    r"""Turn scores into probabilities: exp(x / temperature), divided by its sum.

    Parameters
    ----------
    x : array_like
        Scores (logits). float16, bfloat16, float32, float64 and longdouble keep their dtype;
        integers and booleans are taken as float64.
    axis : int, tuple of int or None, default -1
        The axis or axes that sum to 1; None is all of them.
    temperature : float or array_like, default 1.0
        At least 0, may be infinite. An array broadcasts against the shape of `x` with the axis of
        length 1. At 0 the largest entries share equally, at infinity all entries do.
    where : array_like of bool, optional
        Broadcasts against `x`. An entry where it is False takes no part and gets probability 0.
    sink : float or array_like, optional
        One more logit per slice that takes probability and is not returned; 0.0 is "softmax plus
        one". Broadcasts like `temperature`.
    out : ndarray, optional
        Where to write the result, `x` itself allowed.

    Returns
    -------
    ndarray
        Probabilities, of the shape of `x`: nan for a slice with a nan, with several +inf, or with
        nothing but -inf; 0 where a slice is masked out altogether.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or `out` has another dtype.
    ValueError
        If a shape does not fit, or a temperature is negative or nan.

    Notes
    -----
    .. math:: S_i = e^{x_i / T} / \sum_j e^{x_j / T}

    Adding one number to every entry changes nothing. Results are within 2 units in the last place.

    References
    ----------
    .. [1] J. S. Bridle, "Probabilistic Interpretation of Feedforward Classification Network
       Outputs", Neurocomputing, 1990.

    Examples
    --------
    >>> from softmax import softmax
    >>> softmax([1, 2, 3]).round(8)
    array([0.09003057, 0.24472847, 0.66524096])
    >>> softmax([1, 2, 3], temperature=0)
    array([0., 0., 1.])
    >>> softmax([1, 2, 3], where=[True, True, False]).round(8)
    array([0.26894142, 0.73105858, 0.        ])
    """
    if where is None and sink is None:
        result = kernels.plain_softmax(x, axis, temperature, out)
        if result is not None:
            return result
    slices = Slices(x, axis, where)
    options = slices.where, slices.temperature(temperature), slices.sink(sink)
    return slices.map(kernels, "softmax", out, *options)


def log_softmax(
    x: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    where: npt.ArrayLike | None = None,
    sink: npt.ArrayLike | None = None,
    out: Array | None = None,
) -> Any:
    """Return the logarithm of softmax, in nats, exact also where it is nearly 0 or far below it.

    Parameters
    ----------
    x, axis, temperature, where, sink, out
        As in `softmax`. An entry that takes no part gets -inf.

    Returns
    -------
    ndarray
        Log-probabilities, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        As `softmax` does.

    Notes
    -----
    With m the largest entry and t the sum of exp(x - m) over all others, the result is
    (x - m) - log1p(t). Both terms have one sign, so nothing cancels.

    Examples
    --------
    >>> from softmax import log_softmax
    >>> log_softmax([1000, 2000, 3000])
    array([-2000., -1000.,     0.])
    >>> log_softmax([0.0, -40.0])
    array([-4.24835426e-18, -4.00000000e+01])
    """
    if where is None and sink is None:
        result = kernels.plain_log_softmax(x, axis, temperature, out)
        if result is not None:
            return result
    slices = Slices(x, axis, where)
    options = slices.where, slices.temperature(temperature), slices.sink(sink)
    return slices.map(kernels, "log_softmax", out, *options)


def logsumexp(
    x: npt.ArrayLike,
    axis: Axis = -1,
    *,
    weights: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Return log(sum(weights * exp(x))) without overflow: the log-partition, a smooth maximum.

    Its gradient is `softmax`; its Hessian is `softmax_jacobian`.

    Parameters
    ----------
    x, axis, where
        As in `softmax`.
    weights : array_like, optional
        Factors of the exponentials, 1 if not given; broadcasts against `x`. May be negative. An
        entry of weight 0 takes no part.
    keepdims : bool, default False
        Keep the reduced axes with length 1.
    return_sign : bool, default False
        Also return the sign of the sum, and the logarithm of its absolute value.

    Returns
    -------
    result : ndarray or scalar
        One number per slice: -inf for nothing or nothing but -inf, nan for a negative sum without
        `return_sign`.
    sign : ndarray or scalar
        1, 0 or -1, in the dtype of the result. Only with `return_sign`.

    Raises
    ------
    TypeError, ValueError
        As `softmax` does.

    See Also
    --------
    smooth_max : the same with a sharpness k.
    OnlineLogSumExp : the same over a stream.

    Examples
    --------
    >>> from softmax import logsumexp
    >>> print(logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    >>> value, sign = logsumexp([1.0, 2.0], weights=[1, -1], return_sign=True)
    >>> print(round(value, 6), sign)
    1.541325 -1.0
    """
    if weights is None and where is None and not keepdims and not return_sign:
        result = kernels.plain_logsumexp(x, axis)
        if result is not None:
            return result
    slices = Slices(x, axis, where)
    if weights is not None or return_sign:
        weights = slices.weights(1.0 if weights is None else weights)
    sign = slices.empty_reduced() if return_sign else None
    result = slices.reduce(kernels, "logsumexp", keepdims, slices.where, weights, sign)
    return result if sign is None else (result, slices.drop_axes(sign, keepdims))


def cumulative_logsumexp(
    x: npt.ArrayLike, axis: Axis = -1, *, reverse: bool = False, out: Array | None = None
) -> Any:
    """Return the logsumexp of each entry and all before it, along each slice.

    Parameters
    ----------
    x, axis, out
        As in `softmax`; several axes are walked through in row-major order.
    reverse : bool, default False
        Begin at the end: result i is the logsumexp of entry i and all after it.

    Returns
    -------
    ndarray
        Of the shape of `x`.

    Examples
    --------
    >>> from softmax import cumulative_logsumexp
    >>> cumulative_logsumexp([0.0, 0.0, 0.0]).round(6)
    array([0.      , 0.693147, 1.098612])
    """
    slices = Slices(x, axis)
    if slices.where is not None:
        slices.x = np.where(slices.where, slices.x, slices.dtype.type(-np.inf))
    return slices.map(kernels, "cumulative_logsumexp", out, bool(reverse))


def hardmax(x: npt.ArrayLike, axis: Axis = -1, *, ties: str = "share") -> Any:
    """Return 1 for the largest entry of each slice and 0 for the others.

    This is the limit of `softmax` at temperature 0. Its gradient is 0 wherever it has one.

    Parameters
    ----------
    x, axis
        As in `softmax`.
    ties : {"share", "first"}, default "share"
        Whether equal largest entries share the 1 equally, or the first of them gets all.

    Returns
    -------
    ndarray
        Of the shape of `x`.

    Raises
    ------
    ValueError
        If `ties` is something else.

    Examples
    --------
    >>> from softmax import hardmax
    >>> hardmax([0.25, 1.23, -0.8])
    array([0., 1., 0.])
    >>> hardmax([3, 1, 3])
    array([0.5, 0. , 0.5])
    """
    if ties not in ("share", "first"):
        raise ValueError(f'ties must be "share" or "first", got {ties!r}')
    shares = softmax(x, axis, temperature=0.0)
    if ties == "share":
        return shares
    slices = Slices(shares, axis)
    taken = slices.flatten(np.asarray(shares))
    earlier = np.cumsum(taken > 0, axis=slices.axis) > 1
    first = np.where(np.isnan(taken), taken, (taken > 0) & ~earlier)
    return slices.unflatten(first.astype(slices.dtype))[()]


def entropy(
    x: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    where: npt.ArrayLike | None = None,
) -> Any:
    """Return the entropy -sum(p log(p)) of p = softmax(x), in nats.

    Parameters
    ----------
    x, axis, temperature, where
        As in `softmax`.

    Returns
    -------
    ndarray or scalar
        One number per slice, between 0 and log(n); nan where `softmax` is nan.

    Examples
    --------
    >>> from softmax import entropy
    >>> print(entropy([0.0, 0.0]))
    0.6931471805599453
    """
    slices = Slices(x, axis, where)
    temperatures = slices.temperature(temperature)
    return slices.reduce(kernels, "entropy", False, slices.where, temperatures)
