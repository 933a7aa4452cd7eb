"""Derivatives of softmax in closed form.

With p = softmax(x / T) the Jacobian is dS_i/dx_j = p_i (delta_ij - p_j) / T. It is symmetric, so
that the product with a vector is the same from both sides, and takes one pass over the slice.
"""

from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import Array, Axis, Slices, kernel_for
from softmax._kernels import kernels


def softmax_jacobian(
    x: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    output: int | None = None,
    input: int | None = None,
) -> Any:
    r"""Return the Jacobian of `softmax`, which is the Hessian of `logsumexp` at temperature 1.

    Parameters
    ----------
    x, axis, temperature
        As in `softmax`. Several axes are taken as one, in row-major order.
    output : int, optional
        Only the row of this probability.
    input : int, optional
        Only the column of this logit. With `output`, only that entry.

    Returns
    -------
    ndarray or scalar
        Entry [..., i, j] is dS_i/dx_j: the shape of `x` without the axis, then (n, n) for slices
        of n entries, or (n,) or nothing where a row or column, or both, are named.

    Raises
    ------
    IndexError
        If there is no such output or input.
    TypeError, ValueError
        As `softmax` does.

    Notes
    -----
    .. math:: \partial S_i / \partial x_j = S_i (\delta_{ij} - S_j) / T

    Where a probability p is near 1, 1 - p is taken as the sum of the others. To multiply by the
    Jacobian use `softmax_jvp` or `softmax_vjp`, which never form it.

    Examples
    --------
    >>> from softmax import softmax_jacobian
    >>> softmax_jacobian([1, 2, 3]).round(4)
    array([[ 0.0819, -0.022 , -0.0599],
           [-0.022 ,  0.1848, -0.1628],
           [-0.0599, -0.1628,  0.2227]])
    >>> print(round(softmax_jacobian([1, 2, 3], output=0, input=2), 4))
    -0.0599
    """
    slices = Slices(x, axis)
    temperatures = slices.temperature(temperature)
    rows = np.moveaxis(slices.x, slices.axis, -1)
    where = None if slices.where is None else np.moveaxis(slices.where, slices.axis, -1)
    if temperatures is not None:
        temperatures = np.moveaxis(temperatures, slices.axis, -1)
    length = rows.shape[-1]
    row, column = position(output, length, "output"), position(input, length, "input")
    if row is None and column is None:
        rows = rows[..., None, :]
        where = None if where is None else where[..., None, :]
        temperatures = None if temperatures is None else temperatures[..., None, :]
        shape = (*rows.shape[:-2], length, length)
        return rows_of_jacobian(rows, where, temperatures, np.eye(length), shape)
    # The matrix is symmetric: a column is the row of the same number.
    named, entry = (row, column) if row is not None else (column, None)
    unit = np.zeros(length)
    unit[named] = 1
    result = rows_of_jacobian(rows, where, temperatures, unit, rows.shape)
    return result if entry is None else result[..., entry][()]


def position(number: int | None, length: int, name: str) -> int | None:
    """Return the number of a row or column, counted from the front."""
    if number is None:
        return None
    if not -length <= index(number) < length:
        raise IndexError(f"{name} must be in a slice of {length} entries, got {number}")
    return index(number) % length


def rows_of_jacobian(
    rows: Array,
    where: Array | None,
    temperatures: Array | None,
    unit: Array,
    shape: tuple[int, ...],
) -> Array:
    """Return the product of each slice's Jacobian with each unit vector."""
    rows = np.broadcast_to(rows, shape)
    unit = np.broadcast_to(unit.astype(rows.dtype), shape)
    if where is not None:
        where = np.broadcast_to(where, shape)
    if temperatures is not None:
        temperatures = np.broadcast_to(temperatures, (*shape[:-1], 1))
    result: Array = kernels.empty(shape, rows.dtype)
    kernel = kernel_for(rows.dtype, kernels, "softmax_jvp")
    kernel(rows, unit, result, len(shape) - 1, where, temperatures)
    return result


def softmax_jvp(
    x: npt.ArrayLike,
    dx: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    where: npt.ArrayLike | None = None,
) -> Any:
    r"""Return the change of softmax(x) for a change dx of x: the Jacobian times dx.

    Parameters
    ----------
    x, axis, temperature, where
        As in `softmax`.
    dx : array_like
        The change (tangent), broadcast to the shape of `x`.

    Returns
    -------
    ndarray
        Of the shape of `x` and the common dtype of `x` and `dx`. Each slice sums to 0; masked
        entries are 0.

    Raises
    ------
    TypeError, ValueError
        As `softmax` does.

    Notes
    -----
    .. math:: dS_i = S_i (dx_i - \sum_j S_j dx_j) / T

    Examples
    --------
    >>> from softmax import softmax_jvp
    >>> softmax_jvp([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    return product(x, dx, "dx", axis, temperature, where)


def softmax_vjp(
    x: npt.ArrayLike,
    dp: npt.ArrayLike,
    axis: Axis = -1,
    *,
    temperature: npt.ArrayLike = 1.0,
    where: npt.ArrayLike | None = None,
) -> Any:
    """Return the gradient with respect to x, given the gradient dp with respect to softmax(x).

    Parameters
    ----------
    x, axis, temperature, where
        As in `softmax`.
    dp : array_like
        The gradient with respect to the probabilities (cotangent), broadcast to the shape of `x`.

    Returns
    -------
    ndarray
        Of the shape of `x` and the common dtype of `x` and `dp`. Each slice sums to 0; masked
        entries are 0.

    Raises
    ------
    TypeError, ValueError
        As `softmax` does.

    Examples
    --------
    >>> from softmax import softmax_vjp
    >>> softmax_vjp([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    return product(x, dp, "dp", axis, temperature, where)


def product(
    x: npt.ArrayLike,
    direction: npt.ArrayLike,
    name: str,
    axis: Axis,
    temperature: npt.ArrayLike,
    where: npt.ArrayLike | None,
) -> Any:
    """Return the Jacobian times a direction, from whichever side."""
    if where is None:
        result = kernels.plain_derivative(x, direction, axis, temperature)
        if result is not None:
            return result
    slices = Slices(x, axis, where)
    temperatures = slices.temperature(temperature)
    along = slices.matching(direction, name)
    dtype = np.result_type(slices.x, along)
    slices.x, along = slices.x.astype(dtype, copy=False), along.astype(dtype, copy=False)
    kernel = f"softmax_{'jvp' if name == 'dx' else 'vjp'}"
    return slices.map(kernels, kernel, None, slices.where, temperatures, tangent=along)
