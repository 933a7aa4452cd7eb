"""Turn what users give into what kernels assume, and refuse the rest before any work.

Kernels see NumPy arrays in native byte order of a few floating dtypes, one axis, a mask of the
array's shape, and one temperature per slice. Users have lists, integers, data frames, masked
arrays and tuples of axes. `Slices` stands between the two.
"""

import math
import operator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.exceptions import AxisError

from softmax import _reference

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
LONGDOUBLE = np.dtype(np.longdouble)


def as_array(value: npt.ArrayLike, name: str) -> Array:
    """Return the numbers in value as an array of its own dtype, without copying where possible."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be rectangular: {error}") from None
    if array.dtype.kind in "biuf" or is_bfloat16(array.dtype):
        return array
    raise TypeError(
        f"{name} must hold real numbers (booleans, integers, float16, bfloat16, float32, float64 "
        f"or longdouble), got {type(value).__name__} with dtype {array.dtype}"
    )


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Tell ml_dtypes.bfloat16, a dtype that NumPy itself does not know."""
    return dtype.name == "bfloat16" and dtype.type.__module__ == "ml_dtypes"


def as_floating(value: npt.ArrayLike, name: str) -> Array:
    """Return an aligned array in native byte order of a dtype that kernels take."""
    array = as_array(value, name)
    dtype = floating_dtype(array.dtype)
    return array.astype(dtype, copy=not array.flags.aligned)


def floating_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of results: float64 for integers, else the same in native byte order."""
    return FLOAT64 if dtype.kind in "biu" else dtype.newbyteorder("=")


def mask_of(value: object) -> Array | None:
    """Return True for each entry that a masked array leaves in."""
    if isinstance(value, np.ma.MaskedArray) and value.mask is not np.ma.nomask:
        return ~np.ma.getmaskarray(value)
    return None


def refuse_mask(value: object, name: str) -> None:
    """Raise where a mask would be lost."""
    if mask_of(value) is not None:
        raise TypeError(f"{name} must not be a masked array: mask x, or give where instead")


def normalize_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes as different numbers in range(ndim)."""
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for one in axis if isinstance(axis, tuple | list) else (axis,):
        try:
            number = operator.index(one)
        except TypeError:
            raise TypeError(
                f"axis must be an integer, a tuple of integers or None, got {axis!r}"
            ) from None
        if not -max(ndim, 1) <= number < max(ndim, 1):
            raise AxisError(f"axis {number} is out of range for an array of {ndim} dimensions")
        axes.append(number % max(ndim, 1))
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis must name each dimension once, got {axis!r}")
    return tuple(axes) if ndim else ()  # a number has no axis, and is a slice of one


def shape_with_ones(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with the axes of length 1."""
    return tuple(1 if i in axes else length for i, length in enumerate(shape))


def broadcast(array: Array, shape: tuple[int, ...], name: str, target: str) -> Array:
    """Return the array broadcast to a shape."""
    if array.shape == shape:
        return array  # NumPy's function takes microseconds to say so
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} must broadcast to {target}, {shape}, got shape {array.shape}"
        ) from None


class Slices:
    """An array, its mask, and the axis its slices run along.

    Several axes are moved to the end and become one; `map` and `reduce` put the result back.
    """

    def __init__(
        self,
        x: npt.ArrayLike,
        axis: Axis = -1,
        where: npt.ArrayLike | None = None,
        name: str = "x",
    ):
        array = as_floating(x, name)
        self.shape = array.shape
        self.axes = normalize_axes(axis, array.ndim)
        self.kept_shape = shape_with_ones(self.shape, self.axes)
        self.axis = self.axes[0] if len(self.axes) == 1 else array.ndim - len(self.axes)
        self.x = self.flatten(array)
        self.where = self._mask(where, mask_of(x))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries, and of every result."""
        return self.x.dtype

    def flatten(self, array: Array) -> Array:
        """Return an array of x's shape, or with the axes of length 1, with one axis for all."""
        if len(self.axes) == 1:
            return array
        moved = np.moveaxis(array, self.axes, range(-len(self.axes), 0))
        lengths = moved.shape
        return moved.reshape((*lengths[: self.axis], math.prod(lengths[self.axis :])))

    def _mask(self, where: npt.ArrayLike | None, mask: Array | None) -> Array | None:
        if where is not None:
            given = np.asarray(where)
            if given.dtype != np.bool_:
                raise TypeError(f"where must be boolean, got dtype {given.dtype}")
            given = broadcast(given, self.shape, "where", "the shape of x")
            mask = given if mask is None else given & mask
        return None if mask is None else self.flatten(mask)

    def matching(self, value: npt.ArrayLike, name: str) -> Array:
        """Return an argument with one number for each entry, in its own floating dtype."""
        refuse_mask(value, name)
        array = as_floating(value, name)
        return self.flatten(broadcast(array, self.shape, name, "the shape of x"))

    def weights(self, value: npt.ArrayLike) -> Array:
        """Return the factor of each entry, in float64 if not in the dtype of the entries."""
        refuse_mask(value, "weights")
        array = as_floating(value, "weights")
        if array.dtype != self.dtype:
            array = array.astype(self._wide())
        return self.flatten(broadcast(array, self.shape, "weights", "the shape of x"))

    def _numbers(self, value: npt.ArrayLike, name: str) -> Array:
        """Return a copy of an argument, in float64 or longdouble."""
        refuse_mask(value, name)
        return as_array(value, name).astype(self._wide())

    def _for_slices(self, numbers: Array, name: str) -> Array:
        """Return one of `_numbers` for each slice."""
        if numbers.ndim == 0:  # one for all, several times as fast as by `broadcast`
            shape, strides = self.kept_shape, (0,) * len(self.kept_shape)
            return self.flatten(np.ndarray(shape, numbers.dtype, numbers, strides=strides))
        return self.flatten(
            broadcast(numbers, self.kept_shape, name, "the shape of x with the axis of length 1")
        )

    def _wide(self) -> np.dtype[Any]:
        return LONGDOUBLE if self.dtype == LONGDOUBLE else FLOAT64

    def temperature(self, value: npt.ArrayLike) -> Array | None:
        """Return the temperature of each slice, or None where all are 1."""
        if isinstance(value, float | int) and value == 1:
            return None
        temperature = self._numbers(value, "temperature")
        wrong = ~(temperature >= 0)
        if wrong.any():
            raise ValueError(f"temperature must be 0 or more, got {temperature[wrong][0]!s}")
        return self._for_slices(temperature, "temperature")

    def sink(self, value: npt.ArrayLike | None) -> Array | None:
        """Return the one more logit of each slice."""
        return None if value is None else self._for_slices(self._numbers(value, "sink"), "sink")

    def map(
        self, kernels: ModuleType, name: str, out: Array | None, *options: Any, tangent: Any = None
    ) -> Any:
        """Run a kernel whose result has the shape of x."""
        kernel = kernel_for(self.dtype, kernels, name)
        before = () if tangent is None else (tangent,)
        if out is None:
            result = kernels.empty(self.x.shape, self.dtype)
            kernel(self.x, *before, result, self.axis, *options)
            return self.unflatten(result)[()]
        check_out(out, self.shape, self.dtype)
        plain = out.view(np.ndarray)
        result = self.flatten(plain)
        apart = [separate(given, plain) for given in options]
        kernel(separate(self.x, plain), *before, result, self.axis, *apart)
        if not np.may_share_memory(result, plain):
            plain[...] = self.unflatten(result)
        return out

    def unflatten(self, result: Array) -> Array:
        """Return what `flatten` returned to the axes it came from."""
        if len(self.axes) == 1:
            return result
        lead = [length for i, length in enumerate(self.shape) if i not in self.axes]
        moved = result.reshape((*lead, *(self.shape[i] for i in self.axes)))
        return np.moveaxis(moved, range(-len(self.axes), 0), self.axes)

    def empty_reduced(self) -> Array:
        """Return an array for one result of each slice."""
        lengths = list(self.x.shape)
        lengths[self.axis] = 1
        return np.empty(lengths, self.dtype)

    def drop_axes(self, result: Array, keepdims: bool) -> Any:
        """Return one result of each slice without the axes, or with them of length 1."""
        shape = [length for i, length in enumerate(self.shape) if i not in self.axes]
        return result.reshape(self.kept_shape if keepdims else shape)[()]

    def reduce(self, kernels: ModuleType, name: str, keepdims: bool, *options: Any) -> Any:
        """Run a kernel that gives one number for each slice."""
        result = self.empty_reduced()
        kernel_for(self.dtype, kernels, name)(self.x, result, self.axis, *options)
        return self.drop_axes(result, keepdims)


class Entries:
    """An array whose entries are looked at one by one."""

    def __init__(self, x: npt.ArrayLike, name: str):
        self.x = as_floating(x, name)
        self.mask = mask_of(x)

    def map(self, kernels: ModuleType, name: str, out: Array | None) -> Any:
        """Run an elementwise kernel."""
        kernel = kernel_for(self.x.dtype, kernels, name)
        if out is not None:
            check_out(out, self.x.shape, self.x.dtype)
            plain = out.view(np.ndarray)
            kernel(np.atleast_1d(separate(self.x, plain)), np.atleast_1d(plain))
            return out
        result = kernels.empty(self.x.shape, self.x.dtype)
        kernel(np.atleast_1d(self.x), np.atleast_1d(result))
        return result[()] if self.mask is None else np.ma.MaskedArray(result, ~self.mask)


def kernel_for(dtype: np.dtype[Any], kernels: ModuleType, name: str) -> Any:
    """Return the kernel of that name that serves the dtype: longdouble is left to NumPy."""
    return getattr(_reference if dtype == LONGDOUBLE else kernels, name)


def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise where a result of that shape and dtype cannot be written into out."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a NumPy array without a mask, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out must have the dtype of the result, {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out must have the shape of the result, {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")


def separate(given: Any, out: Array) -> Any:
    """Return given, or its copy where writing into out would change it while it is read."""
    if not isinstance(given, np.ndarray) or not np.may_share_memory(given, out):
        return given
    in_place = (
        given.dtype == out.dtype
        and given.shape == out.shape
        and given.strides == out.strides
        and given.ctypes.data == out.ctypes.data
    )
    return given if in_place else given.copy()
