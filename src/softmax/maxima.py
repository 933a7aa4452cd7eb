"""Smooth maxima: logsumexp with a sharpness, and its mean, which leads from minimum to maximum."""

from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import Axis, Slices
from softmax._kernels import kernels


def smooth_max(
    x: npt.ArrayLike,
    k: float = 1.0,
    axis: Axis = -1,
    *,
    where: npt.ArrayLike | None = None,
    keepdims: bool = False,
) -> Any:
    """Return log(sum(exp(k x))) / k, a smooth convex function close to the maximum.

    Parameters
    ----------
    x, axis, where, keepdims
        As in `logsumexp`.
    k : float, default 1.0
        Sharpness. A larger k is nearer to the maximum; a negative one gives a smooth minimum;
        inf and -inf are the maximum and the minimum themselves.

    Returns
    -------
    ndarray or scalar
        One number per slice. The maximum is exceeded by log(n) / k at most.

    Raises
    ------
    ValueError
        If k is 0, where the limit is infinite (see `mellowmax` for the mean), or nan.

    Examples
    --------
    >>> from softmax import smooth_max
    >>> print(smooth_max([1, 2], k=10))
    2.0000045398899218
    """
    k = as_number(k, "k")
    if k == 0 or k != k:
        raise ValueError(f"k must be a number other than 0, got {k}")
    slices = Slices(x, axis, where)
    return slices.reduce(kernels, "smooth_max", keepdims, slices.where, k)


def mellowmax(
    x: npt.ArrayLike,
    omega: float = 1.0,
    axis: Axis = -1,
    *,
    where: npt.ArrayLike | None = None,
    keepdims: bool = False,
) -> Any:
    """Return log(mean(exp(omega x))) / omega, which leads from minimum over mean to maximum.

    Parameters
    ----------
    x, axis, where, keepdims
        As in `logsumexp`.
    omega : float, default 1.0
        0 is the mean, inf the maximum, -inf the minimum.

    Returns
    -------
    ndarray or scalar
        One number per slice; nan for the mean of nothing.

    Raises
    ------
    ValueError
        If omega is nan.

    References
    ----------
    .. [1] K. Asadi and M. L. Littman, "An Alternative Softmax Operator for Reinforcement
       Learning", ICML 2017.

    Examples
    --------
    >>> from softmax import mellowmax
    >>> print(mellowmax([1, 2, 6], omega=0))
    3.0
    """
    omega = as_number(omega, "omega")
    if omega != omega:
        raise ValueError("omega must be a number, got nan")
    slices = Slices(x, axis, where)
    return slices.reduce(kernels, "mellowmax", keepdims, slices.where, omega)


def as_number(value: Any, name: str) -> float:
    """Return one real number as a float."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "biuf":
        raise TypeError(f"{name} must be one real number, got {value!r}")
    return float(value)


def logmeanexp(
    x: npt.ArrayLike,
    axis: Axis = -1,
    *,
    where: npt.ArrayLike | None = None,
    keepdims: bool = False,
) -> Any:
    """Return log(mean(exp(x))): `mellowmax` with omega = 1.

    Parameters
    ----------
    x, axis, where, keepdims
        As in `logsumexp`.

    Returns
    -------
    ndarray or scalar
        One number per slice; nan for the mean of nothing.

    Examples
    --------
    >>> from softmax import logmeanexp
    >>> print(logmeanexp([1000.0, 1000.0]))
    1000.0
    """
    return mellowmax(x, 1.0, axis, where=where, keepdims=keepdims)
