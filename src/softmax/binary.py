"""The two-class case: softmax([x, 0]) is known by one number, sigmoid(x).

All four functions work entry by entry and keep the shape and the floating dtype of what they get.
"""

from typing import Any

import numpy.typing as npt

from softmax._inputs import Array, Entries
from softmax._kernels import kernels


def sigmoid(x: npt.ArrayLike, *, out: Array | None = None) -> Any:
    """Return 1 / (1 + exp(-x)), the probability of the first of two classes with logits [x, 0].

    Parameters
    ----------
    x : array_like
        Logits. float16, bfloat16, float32, float64 and longdouble keep their dtype; integers and
        booleans are taken as float64.
    out : ndarray, optional
        Where to write the result, `x` itself allowed.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`. A masked array gives a masked array.

    Raises
    ------
    TypeError
        If `x` does not hold real numbers, or `out` has another dtype.
    ValueError
        If `out` has another shape.

    Examples
    --------
    >>> from softmax import sigmoid
    >>> sigmoid([-2.0, 0.0, 2.0]).round(8)
    array([0.11920292, 0.5       , 0.88079708])
    """
    result = kernels.plain_sigmoid(x, out)
    return Entries(x, "x").map(kernels, "sigmoid", out) if result is None else result


def log_sigmoid(x: npt.ArrayLike, *, out: Array | None = None) -> Any:
    """Return log(sigmoid(x)) = -log(1 + exp(-x)), exact also where it is nearly 0.

    Parameters
    ----------
    x, out
        As in `sigmoid`.

    Returns
    -------
    ndarray or scalar
        Log-probabilities in nats, of the shape of `x`.

    Examples
    --------
    >>> from softmax import log_sigmoid
    >>> log_sigmoid([-1000.0, 40.0])
    array([-1.00000000e+03, -4.24835426e-18])
    """
    result = kernels.plain_log_sigmoid(x, out)
    return Entries(x, "x").map(kernels, "log_sigmoid", out) if result is None else result


def softplus(x: npt.ArrayLike, *, out: Array | None = None) -> Any:
    """Return log(1 + exp(x)), the logsumexp of [x, 0]: a smooth max(x, 0).

    Parameters
    ----------
    x, out
        As in `sigmoid`.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`.

    Examples
    --------
    >>> from softmax import softplus
    >>> softplus([-40.0, 0.0, 1000.0])
    array([4.24835426e-18, 6.93147181e-01, 1.00000000e+03])
    """
    result = kernels.plain_softplus(x, out)
    return Entries(x, "x").map(kernels, "softplus", out) if result is None else result


def logit(p: npt.ArrayLike, *, out: Array | None = None) -> Any:
    """Return log(p / (1 - p)), the inverse of `sigmoid`.

    Parameters
    ----------
    p : array_like
        Probabilities, with dtypes as in `sigmoid`.
    out : ndarray, optional
        Where to write the result, `p` itself allowed.

    Returns
    -------
    ndarray or scalar
        Logits, of the shape of `p`: -inf for 0, inf for 1, nan outside [0, 1].

    Examples
    --------
    >>> from softmax import logit
    >>> logit([0.0, 0.25, 0.5, 1.0])
    array([       -inf, -1.09861229,  0.        ,         inf])
    """
    result = kernels.plain_logit(p, out)
    return Entries(p, "p").map(kernels, "logit", out) if result is None else result
