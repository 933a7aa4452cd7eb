"""The log-sum-exp of a stream: a state per slice that takes in blocks and merges with others.

The state is the largest entry m and the sum of exp(x - m) over all other entries, held as a high
and a low part, never as a rounded logarithm. So it does not matter in which order or in how many
blocks the entries come: the result is that of the whole array, to the last digit or next to it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from softmax._inputs import (
    Array,
    Axis,
    Slices,
    as_array,
    as_floating,
    floating_dtype,
    mask_of,
    normalize_axes,
    refuse_mask,
    shape_with_ones,
)
from softmax._reference.pairs import LOWEST, Pair, add, divide, exp, log1p
from softmax._reference.rows import BLOCK, as_rows, working_dtype
from softmax._reference.state import difference, merge, one_and, raise_by, reduce


class OnlineLogSumExp:
    """The logsumexp of entries that come in blocks, in any order.

    Blocks are cut along `axis`; their other dimensions are the same in every block, and stay. A
    block may be a memory-mapped file: it is read in small pieces, and memory holds no more than the
    state and one piece. States merge, and can be pickled.

    Parameters
    ----------
    axis : int, tuple of int or None, default -1
        The axis or axes to sum over. None takes blocks of any shape into one number.

    Attributes
    ----------
    count : int or ndarray of int
        How many entries each slice has taken in; masked ones do not count.

    References
    ----------
    .. [1] M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax",
       arXiv:1805.02867, 2018.

    Examples
    --------
    >>> from softmax import OnlineLogSumExp
    >>> first, second = OnlineLogSumExp(), OnlineLogSumExp()
    >>> first = first.update([1.0, 2.0]).update([3.0])
    >>> second = second.update([4.0])
    >>> print(round(first.merge(second).logsumexp(), 8))
    4.4401897
    >>> first.count
    4
    """

    def __init__(self, axis: Axis = -1):
        self.axis = axis
        self._shape: tuple[int, ...] | None = None  # of the slices' results, with the axes kept
        self._dtype = np.dtype(np.float64)
        self._largest: Array = np.empty(())
        self._rest: Pair = (np.empty(()), np.empty(()))
        self._count: Array = np.empty(())

    def __repr__(self) -> str:
        return f"<OnlineLogSumExp axis={self.axis!r} count={self.count}>"

    def update(self, x: npt.ArrayLike) -> Self:
        """Take in a block of entries.

        Parameters
        ----------
        x : array_like
            A block, with the same dimensions as those before except along `axis`.

        Returns
        -------
        OnlineLogSumExp
            This state.

        Raises
        ------
        TypeError
            If `x` does not hold real numbers.
        ValueError
            If its other dimensions differ from those of the blocks before.
        """
        array = np.atleast_1d(as_array(x, "x"))
        mask = mask_of(x)
        axes = normalize_axes(self.axis, array.ndim)
        kept = (1,) if self.axis is None else shape_with_ones(array.shape, axes)
        self._open(kept, floating_dtype(array.dtype))
        for piece in pieces(array):
            place = tuple(slice(None) if i in axes else part for i, part in enumerate(piece))
            where = None if mask is None else mask.reshape(array.shape)[piece]
            self._take_in(array[piece], axes, where, ... if self.axis is None else place)
        return self

    def _open(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Start the state with the first block, and check that the others fit."""
        if self._shape is None:
            self._shape, self._dtype = shape, dtype
            self._largest = np.full(shape, -np.inf)
            self._rest = np.zeros(shape), np.zeros(shape)
            self._count = np.zeros(shape, np.int64)
        elif shape != self._shape:
            raise ValueError(
                f"x must have the dimensions {self._shape} of the blocks before (1 stands for the "
                f"axis), got {shape}"
            )
        self._dtype = np.result_type(self._dtype, dtype)
        wide = working_dtype(self._dtype)
        self._largest = self._largest.astype(wide, copy=False)
        self._rest = self._rest[0].astype(wide, copy=False), self._rest[1].astype(wide, copy=False)

    def _take_in(
        self, block: Array, axes: tuple[int, ...], where: Array | None, place: Any
    ) -> None:
        """Merge one small block into the part of the state that it belongs to."""
        slices = Slices(block, axes, where)
        rows = as_rows(slices.x, slices.axis).astype(self._largest.dtype, order="C")
        taking_part = None if slices.where is None else as_rows(slices.where, slices.axis)
        with np.errstate(all="ignore"):
            state = reduce(rows, taking_part)
            count = np.broadcast_to(True if taking_part is None else taking_part, rows.shape)
            high, low = state.others()
            shape = self._largest[place].shape
            other = state.largest.reshape(shape), (high.reshape(shape), low.reshape(shape))
            self._merge_at(place, other, count.sum(axis=-1).reshape(shape))

    def _merge_at(self, place: Any, other: tuple[Array, Pair], count: Array) -> None:
        own = self._largest[place], (self._rest[0][place], self._rest[1][place])
        largest, (high, low) = merge(own, other)
        self._largest[place], self._rest[0][place], self._rest[1][place] = largest, high, low
        self._count[place] += count

    def merge(self, other: "OnlineLogSumExp") -> Self:
        """Take in all that another state has taken in, which stays as it is.

        Returns
        -------
        OnlineLogSumExp
            This state.

        Raises
        ------
        TypeError
            If `other` is not an OnlineLogSumExp.
        ValueError
            If its axis or the dimensions of its blocks are others.
        """
        if not isinstance(other, OnlineLogSumExp):
            raise TypeError(f"other must be an OnlineLogSumExp, got {type(other).__name__}")
        if other.axis != self.axis:
            raise ValueError(f"other must have the axis {self.axis!r}, got {other.axis!r}")
        if other._shape is not None:
            self._open(other._shape, other._dtype)
            with np.errstate(all="ignore"):
                self._merge_at(..., (other._largest, other._rest), other._count)
        return self

    def _drop_axes(self, values: Array) -> Any:
        """Return one value of each slice without the axes."""
        axes = normalize_axes(self.axis, values.ndim)
        return values.reshape([n for i, n in enumerate(values.shape) if i not in axes])[()]

    @property
    def count(self) -> Any:
        """How many entries each slice has taken in."""
        count = np.int64(0) if self._shape is None else self._drop_axes(self._count)
        return count if count.ndim else int(count)

    def logsumexp(self) -> Any:
        """Return the logsumexp of all entries so far: one number per slice, -inf for nothing."""
        if self._shape is None:
            return np.float64(-np.inf)
        with np.errstate(all="ignore"):
            result = raise_by(self._largest, log1p(self._rest)).astype(self._dtype)
        return self._drop_axes(result)

    def log_probability(self, x: npt.ArrayLike) -> Any:
        """Return the log-probabilities of entries of the stream, as `log_softmax` would.

        Parameters
        ----------
        x : array_like
            Entries to look up; broadcasts against the state with the axis of length 1.

        Returns
        -------
        ndarray or scalar
            Log-probabilities, of the shape of `x`; nan where `log_softmax` gives nan.
        """
        return self._look_up(x, log_share)

    def probability(self, x: npt.ArrayLike) -> Any:
        """Return the probabilities of entries of the stream, as `softmax` would.

        Parameters
        ----------
        x : array_like
            Entries to look up; broadcasts against the state with the axis of length 1.

        Returns
        -------
        ndarray or scalar
            Probabilities, of the shape of `x`; nan where `softmax` gives nan.
        """
        return self._look_up(x, share)

    def _look_up(self, x: npt.ArrayLike, function: Callable[[Pair, Pair], Array]) -> Any:
        """Apply a function of x - largest and rest to entries."""
        refuse_mask(x, "x")
        entries = as_floating(x, "x")
        if self._shape is None:
            return np.full(entries.shape, np.nan, entries.dtype)[()]
        values = np.atleast_1d(entries).astype(self._largest.dtype)
        with np.errstate(all="ignore"):
            result = function(difference(values, self._largest), self._rest)
            # Nothing but -inf, a nan, or several +inf: no distribution.
            lost = (self._largest == np.inf) & (self._rest[0] > 0)
            lost |= np.isnan(self._largest) | (self._largest == -np.inf)
            result = np.where(lost, np.nan, result).astype(entries.dtype)
        return result.reshape(entries.shape if not entries.ndim else result.shape)[()]


def share(z: Pair, rest: Pair) -> Array:
    """Return exp(z) / (1 + rest)."""
    high, low, exponent = exp((np.minimum(z[0], -LOWEST), z[1]))
    quotient, _ = divide((high, low), one_and(rest))
    return np.ldexp(quotient, exponent)


def log_share(z: Pair, rest: Pair) -> Array:
    """Return z - log(1 + rest)."""
    log_high, log_low = log1p(rest)
    high, low = add(z, (-log_high, -log_low))
    return high + low


def pieces(array: Array) -> Iterator[tuple[slice, ...]]:
    """Cut an array into boxes of about BLOCK entries that lie close together in memory."""
    by_stride = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return boxes(array.shape, by_stride)


def boxes(shape: tuple[int, ...], order: list[int]) -> Iterator[tuple[slice, ...]]:
    """Cut a shape along the first axis in order, and what is still too large along the next."""
    if 0 in shape:
        return
    first, *others = order
    inner = math.prod(shape) // shape[first]
    step = max(1, BLOCK // inner)
    for start in range(0, shape[first], step):
        part = slice(start, min(start + step, shape[first]))
        if inner <= BLOCK or not others:
            yield tuple(part if i == first else slice(0, n) for i, n in enumerate(shape))
            continue
        rest = tuple(1 if i == first else n for i, n in enumerate(shape))
        for box in boxes(rest, others):
            yield tuple(part if i == first else cut for i, cut in enumerate(box))
