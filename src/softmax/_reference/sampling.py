"""Filters of logits, and draws from what they keep.

Each step is that of the native kernel (native/kernels/sampling.inl): plain multiplications and
additions in a fixed order, and masses that are compared as integers. So both give the same draws
from the same uniform numbers, to the last bit.
"""

import math
from dataclasses import dataclass

import numpy as np

from softmax._reference.pairs import Array

BLOCK = 256  # entries whose exponentials are relative to one maximum
LANES = 16  # running sums in a block
LOG2E = float.fromhex("0x1.71547652b82fep+0")
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
MAGIC = 1.5 * 2.0**52  # adding it rounds to an integer
TAIL = [  # (exp(r) - 1 - r) / r**2
    float.fromhex(digits)
    for digits in (
        "0x1.000000000000cp-1", "0x1.5555555555514p-3", "0x1.555555554fe0fp-5",
        "0x1.111111112156ep-7", "0x1.6c16c1860884dp-10", "0x1.a01a014c90b83p-13",
        "0x1.a01995a9abe28p-16", "0x1.71ded963e5cccp-19", "0x1.28b1133cf8ecbp-22",
        "0x1.adf75510cf10bp-26",
    )
]  # fmt: skip


@dataclass
class Filters:
    """What to keep: 0, 1 and -inf stand for no filter."""

    top_k: int
    top_p: float
    log_min_p: float
    first_ties: bool = False


@dataclass
class Row:
    """A row in float64, and which of its entries are kept: those equal to least in part."""

    entries: Array
    temperature: float
    inverse: float
    largest: float
    least: float
    ties: int | None = None

    def weights(self, entries: Array, reference: Array | float) -> Array:
        """Return exp((entry - reference) / temperature), 0 for entries below the least."""
        below = entries - reference
        below = np.where(below > -np.finfo(np.float64).max, below, -np.finfo(np.float64).max)
        return np.where(entries >= self.least, plain_exp(below * self.inverse), 0.0)

    def masses(self, entries: Array) -> Array:
        """Return the weights as integers whose sum cannot overflow."""
        unit = 2.0 ** min(50, 62 - len(self.entries).bit_length())
        return np.rint(self.weights(entries, self.largest) * unit).astype(np.int64)

    def keep_from(self, least: float, wanted: int, first_ties: bool) -> None:
        """Leave out entries below least; wanted of those equal to it are enough."""
        if not least >= self.least:
            return
        if first_ties:
            tighter = least == self.least and self.ties is not None
            self.ties = min(self.ties, wanted) if tighter and self.ties is not None else wanted
        self.least = least


def plain_exp(z: Array) -> Array:
    """Return exp(z) for z <= 0; 0 where the result would not be normal."""
    shifted = z * LOG2E + MAGIC
    power = shifted - MAGIC
    r = (z - power * LN2_HIGH) - power * LN2_LOW
    p = np.full_like(z, TAIL[-1])
    for coefficient in TAIL[-2::-1]:
        p = p * r + coefficient
    p = (p * r + 1.0) * r + 1.0
    normal = z > -708.0
    return np.where(normal, np.ldexp(p, np.where(normal, power, 0).astype(np.int64)), 0.0)


def filter_logits(
    logits: Array,
    out: Array,
    valid: Array,
    temperature: Array | None,
    top_k: int,
    top_p: float,
    log_min_p: float,
    first_ties: bool,
) -> None:
    """Write logits / temperature, and -inf for what is left out; and which rows are valid."""
    filters = Filters(top_k, top_p, log_min_p, first_ties)
    with np.errstate(all="ignore"):
        for i, entries in enumerate(logits):
            row = open_row(entries, 1.0 if temperature is None else temperature[i], filters)
            valid[i] = row is not None
            if row is not None:
                out[i] = kept_logits(row, out.dtype.type)


def sample(
    logits: Array,
    uniforms: Array,
    out: Array,
    valid: Array,
    temperature: Array | None,
    top_k: int,
    top_p: float,
    log_min_p: float,
) -> None:
    """Write the position that each uniform number falls on; and which rows are valid."""
    filters = Filters(top_k, top_p, log_min_p)
    with np.errstate(all="ignore"):
        for i, entries in enumerate(logits):
            row = open_row(entries, 1.0 if temperature is None else temperature[i], filters)
            valid[i] = row is not None
            if row is not None:
                out[:, i] = draw(row, uniforms[:, i])


def open_row(entries: Array, temperature: float, filters: Filters) -> Row | None:
    """Apply the filters to a row; None where it is no distribution."""
    entries = entries.astype(np.float64)
    largest = entries.max()
    several = largest == np.inf and np.count_nonzero(entries == np.inf) > 1
    if np.isnan(largest) or largest == -np.inf or several:
        return None
    finfo = np.finfo(np.float64)
    row = Row(entries, temperature, 0.0, largest, largest)
    if largest < np.inf and temperature > 0:
        row.inverse = float(min(np.float64(1) / temperature, finfo.max))
        row.least = -finfo.max
    if 0 < filters.top_k < len(entries):
        keep_largest(row, filters)
    if filters.top_p < 1:
        keep_mass(row, filters)
    if filters.log_min_p > -np.inf and row.inverse > 0:
        least = largest + filters.log_min_p * temperature
        if least > row.least:
            row.least, row.ties = least, None
    return row


def keep_largest(row: Row, filters: Filters) -> None:
    """Keep the top_k largest entries."""
    least = float(np.partition(row.entries, -filters.top_k)[-filters.top_k])
    wanted = filters.top_k - int(np.count_nonzero(row.entries > least))
    row.keep_from(least, wanted, filters.first_ties)


def keep_mass(row: Row, filters: Filters) -> None:
    """Keep the largest entries that together have the share top_p of what is kept so far."""
    values, counts = np.unique(row.entries[row.entries >= row.least], return_counts=True)
    if row.ties is not None:
        counts[0] = row.ties
    values, counts = values[::-1], counts[::-1]
    masses = row.masses(values)
    total = np.cumsum(masses * counts)
    target = max(1, math.ceil(float(total[-1]) * filters.top_p))
    last = int(np.argmax(total >= target))
    above = int(total[last] - masses[last] * counts[last])
    wanted = -(-(target - above) // int(masses[last]))
    row.keep_from(float(values[last]), wanted, filters.first_ties)


def kept_logits(row: Row, dtype: type[np.floating]) -> Array:
    """Return x / T; where that would overflow, and at T = 0, with the maximum taken off first."""
    limit = row.largest == np.inf or row.temperature == 0
    overflows = not abs(dtype(np.float64(row.largest) / row.temperature)) < np.inf
    offset = row.largest if overflows and row.largest != np.inf else 0.0
    value = (row.entries - offset) / (1.0 if limit else row.temperature) + 0.0
    kept = row.entries >= row.least
    if row.ties is not None:
        equal = np.flatnonzero(row.entries == row.least)
        kept[equal[row.ties :]] = False
    return np.where(kept, value, -np.inf)


def draw(row: Row, uniforms: Array) -> Array:
    """Find the block that each uniform number falls on, and then the entry in it."""
    blocks = -(-len(row.entries) // BLOCK)
    entries = np.full((blocks, BLOCK), -np.inf)
    entries.reshape(-1)[: len(row.entries)] = row.entries
    largest = entries.max(axis=1)
    weights = row.weights(entries, largest[:, None])
    frames = row.weights(np.maximum(largest, row.least), row.largest)
    cumulative = np.cumsum(sum_of_blocks(weights) * frames)
    target = uniforms * cumulative[-1]
    block = np.searchsorted(cumulative, target, side="right")
    before = np.where(block > 0, cumulative[block - 1], 0.0)
    rest = (target - before) / frames[block]
    drawn = np.empty(len(uniforms), np.int64)
    for b in np.unique(block):
        here = block == b
        running = np.cumsum(weights[b])
        inside = np.searchsorted(running, rest[here], side="right")
        drawn[here] = b * BLOCK + np.minimum(inside, np.flatnonzero(weights[b])[-1])
    return drawn


def sum_of_blocks(weights: Array) -> Array:
    """Return the sum of each block: sixteen running sums, then a tree over them."""
    lanes = np.zeros((len(weights), LANES))
    for start in range(0, BLOCK, LANES):
        lanes += weights[:, start : start + LANES]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]
