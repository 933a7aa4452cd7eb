"""Drop-in replacements for the same functions of scipy.special: their signatures and defaults.

`from softmax.scipy import logsumexp` is all that changes in a program. SciPy itself is not needed.
The one thing here and nowhere else in the package is complex input, as logsumexp has it in SciPy.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from softmax import binary, functions
from softmax._inputs import (
    Array,
    Axis,
    as_array,
    mask_of,
    normalize_axes,
    refuse_mask,
    shape_with_ones,
)

__all__ = ["expit", "log_expit", "log_softmax", "logit", "logsumexp", "softmax"]


def softmax(x: npt.ArrayLike, axis: Axis = None) -> Any:
    """Return `softmax.softmax` over all entries, or along an axis.

    Parameters
    ----------
    x : array_like
        Scores.
    axis : int, tuple of int or None, default None
        The axis or axes that sum to 1; None is all of them.

    Returns
    -------
    ndarray or scalar
        Probabilities, of the shape of `x`.

    Examples
    --------
    >>> from softmax.scipy import softmax
    >>> softmax([[0, 0], [0, 0]])
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    return functions.softmax(x, axis)


def log_softmax(x: npt.ArrayLike, axis: Axis = None) -> Any:
    """Return `softmax.log_softmax` over all entries, or along an axis.

    Parameters
    ----------
    x : array_like
        Scores.
    axis : int, tuple of int or None, default None
        The axis or axes whose probabilities sum to 1; None is all of them.

    Returns
    -------
    ndarray or scalar
        Log-probabilities, of the shape of `x`.

    Examples
    --------
    >>> from softmax.scipy import log_softmax
    >>> log_softmax([1000.0, 1.0])
    array([   0., -999.])
    """
    return functions.log_softmax(x, axis)


def expit(x: npt.ArrayLike, out: Array | None = None) -> Any:
    """Return `softmax.sigmoid`: 1 / (1 + exp(-x)).

    Examples
    --------
    >>> from softmax.scipy import expit
    >>> print(expit(0))
    0.5
    """
    return binary.sigmoid(x, out=out)


def log_expit(x: npt.ArrayLike, out: Array | None = None) -> Any:
    """Return `softmax.log_sigmoid`: -log(1 + exp(-x)).

    Examples
    --------
    >>> from softmax.scipy import log_expit
    >>> print(log_expit(-1000))
    -1000.0
    """
    return binary.log_sigmoid(x, out=out)


def logit(x: npt.ArrayLike, out: Array | None = None) -> Any:
    """Return `softmax.logit`: log(x / (1 - x)).

    Examples
    --------
    >>> from softmax.scipy import logit
    >>> print(logit(0.5))
    0.0
    """
    return binary.logit(x, out=out)


def logsumexp(
    a: npt.ArrayLike,
    axis: Axis = None,
    b: npt.ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Return log(sum(b * exp(a))), for real and complex numbers.

    Parameters
    ----------
    a : array_like
        Exponents, real or complex.
    axis : int, tuple of int or None, default None
        The axis or axes to sum over; None is all of them.
    b : array_like, optional
        Factors of the exponentials; `a` and `b` broadcast against each other.
    keepdims : bool, default False
        Keep the reduced axes with length 1.
    return_sign : bool, default False
        Also return the sign of the sum, and the logarithm of its absolute value.

    Returns
    -------
    result : ndarray or scalar
        In the common dtype of `a` and `b`. For real numbers nan where the sum is negative and no
        sign is asked for; for complex ones with an imaginary part in (-pi, pi].
    sign : ndarray or scalar
        1, 0 or -1; for complex numbers the phase, a number of absolute value 1, or 0. Only with
        `return_sign`.

    Examples
    --------
    >>> from softmax.scipy import logsumexp
    >>> print(logsumexp([[0, 0], [0, 0]]))
    1.3862943611198906
    >>> logsumexp([1j, 1j]).round(4)
    np.complex128(0.6931+1j)
    """
    masked = mask_of(a)
    refuse_mask(b, "b")
    array, factors = as_number_array(a, "a"), None if b is None else as_number_array(b, "b")
    if factors is not None:
        try:
            array, factors = np.broadcast_arrays(array, factors)
        except ValueError:
            raise ValueError(
                f"a and b must broadcast against each other, got shapes {array.shape} and "
                f"{factors.shape}"
            ) from None
        common = np.result_type(array, factors)
        array = array if common.kind in "biu" else array.astype(common)
    where = None if masked is None else np.broadcast_to(masked, array.shape)
    if array.dtype.kind == "c":
        if where is not None:
            factors = np.where(where, 1 if factors is None else factors, 0)
        return complex_logsumexp(array, axis, factors, keepdims, return_sign)
    return functions.logsumexp(
        array, axis, weights=factors, where=where, keepdims=keepdims, return_sign=return_sign
    )


def as_number_array(value: npt.ArrayLike, name: str) -> Array:
    """Return the numbers in value, which may be complex, as an array."""
    array = np.asarray(value)
    return array if array.dtype.kind == "c" else as_array(value, name)


def complex_logsumexp(
    a: Array, axis: Axis, b: Array | None, keepdims: bool, return_sign: bool
) -> Any:
    """Reduce complex slices, with the term of largest real part taken out of the sum."""
    axes = normalize_axes(axis, a.ndim)
    last = tuple(range(a.ndim - len(axes), a.ndim))
    lead = [n for i, n in enumerate(a.shape) if i not in axes]
    length = int(np.prod([a.shape[i] for i in axes], dtype=np.intp))
    wide = np.result_type(a.dtype, np.complex128)
    rows = np.moveaxis(a, axes, last).reshape((*lead, length)).astype(wide)
    factors = np.ones((*lead, length))
    if b is not None:
        factors = np.moveaxis(b, axes, last).reshape((*lead, length))
    with np.errstate(all="ignore"):
        result, sign = reduce_complex(np.where(factors == 0, -np.inf, rows), factors)
    shape = shape_with_ones(a.shape, axes) if keepdims else tuple(lead)
    dtype = a.dtype if not return_sign else a.real.dtype
    result = (result.real if return_sign else result).astype(dtype).reshape(shape)[()]
    return (result, sign.astype(a.dtype).reshape(shape)[()]) if return_sign else result


def reduce_complex(a: Array, b: Array) -> tuple[Array, Array]:
    """Return log(sum(b exp(a))) over the last axis, and the sum's phase."""
    if a.shape[-1] == 0:
        return np.full(a.shape[:-1], -np.inf, a.dtype), np.zeros(a.shape[:-1], a.dtype)
    top = np.argmax(np.where(np.isnan(a.real), np.inf, a.real), axis=-1, keepdims=True)
    largest, factor = (np.take_along_axis(part, top, axis=-1)[..., 0] for part in (a, b))
    others = multiply(b, np.exp(a - largest[..., None]))
    np.put_along_axis(others, top, 0, axis=-1)
    s = others.sum(axis=-1) / factor
    # abs(1 + s)**2 - 1 = 2 re(s) + abs(s)**2, which log1p takes where s is small.
    near = np.log1p(s.real * (2 + s.real) + s.imag**2) / 2
    real = np.where(np.abs(s) < 0.5, near, np.log(np.hypot(1 + s.real, s.imag)))
    angle = np.arctan2(s.imag, 1 + s.real) + np.angle(factor) + largest.imag
    result = real + np.log(np.abs(factor)) + largest.real + 1j * wrap(angle)
    sign = np.where(s == -1, 0, np.exp(1j * angle))
    # An infinite or undefined result is what C99's exp and log make of the sum itself.
    finite = np.isfinite(result)
    total = multiply(b, np.exp(a)).sum(axis=-1)
    phase = np.where(total == 0, 0, total / np.abs(total))
    return np.where(finite, result, np.log(total)), np.where(finite, sign, phase)


def multiply(b: Array, z: Array) -> Array:
    """Return b z; a real b takes each part by itself, as inf times 1 + 0j would be nan."""
    if b.dtype.kind == "c":
        return b * z
    product = np.empty_like(z)
    product.real, product.imag = b * z.real, b * z.imag
    return product


def wrap(angle: Array) -> Array:
    """Return an angle between -pi and pi; one that is there already keeps every digit."""
    wrapped = -((-angle + np.pi) % (2 * np.pi) - np.pi)
    return np.where(np.abs(angle) < np.pi, angle, wrapped)
