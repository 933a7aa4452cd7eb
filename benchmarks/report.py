"""What the figures say: tables in Markdown, and files replaced as a whole.

A ratio is the time of the best peer over ours: above 1, this package is faster.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean

from benchmarks.cases import CALL, DTYPES, OPERATIONS, VARIANTS
from benchmarks.machine import cpu_model
from benchmarks.peers import PEERS, Ours

OURS = Ours.name
RIVALS = tuple(peer.name for peer in PEERS[1:])
LARGE = 64 << 20  # bytes from which peak memory is worth a line

Record = dict
Row = Sequence[str]


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename: a reader never finds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text)
    os.replace(beside, path)


def stopped(anything: bool, directory: Path) -> str:
    """The line that Ctrl-C ends with."""
    return f"Stopped; what was measured is in {directory}." if anything else "Stopped."


def markdown_table(header: Row, rows: Iterable[Row], left: int = 1) -> str:
    """A table whose first `left` columns are text and whose others are figures."""
    marks = ["---" if column < left else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, marks, *rows)) + "\n"


def duration(seconds: float) -> str:
    """Microseconds to three figures."""
    micro = seconds * 1e6
    return f"{micro:,.0f}" if micro >= 100 else f"{micro:.3g}"


def time_in(record: Record, name: str, mode: str) -> dict | None:
    """The timing of a peer in a mode; one that cannot write into `out` is taken as it can."""
    times = record["times"]
    return times.get(f"{name} {mode}") or (times.get(f"{name} new") if mode == "out" else None)


def best_rival(record: Record, mode: str) -> tuple[str, float] | None:
    medians = {name: timing["median"] for name in RIVALS if (timing := time_in(record, name, mode))}
    return min(medians.items(), key=lambda item: item[1]) if medians else None


def ratio(record: Record, mode: str) -> float | None:
    ours, best = record["times"].get(f"{OURS} {mode}"), best_rival(record, mode)
    return best[1] / ours["median"] if ours and best else None


def modes(record: Record) -> list[str]:
    """The ways this package did the case: new, out or both."""
    return [mode for mode in ("new", "out") if f"{OURS} {mode}" in record["times"]]


def summary(record: Record) -> str:
    """One line for the terminal."""
    axis = {-1: "last", 0: "first"}.get(record["axis"], record["axis"])
    shape = "x".join(map(str, record["shape"]))
    variant = "" if record["variant"] == "plain" else f"{record['variant']} "
    parts = [f"{variant}{record['operation']} {record['dtype']} {shape} {axis}"]
    for mode in modes(record):
        ours = record["times"][f"{OURS} {mode}"]["median"]
        text = f"{mode} {duration(ours)} µs"
        if best := best_rival(record, mode):
            text += f", {best[0]} {duration(best[1])}: {best[1] / ours:.2f}x"
        parts.append(text)
    if not modes(record):
        parts.append(f"{OURS} failed: {record['absent'][f'{OURS} new']}")
    return " | ".join(parts)


def _cell(timing: dict | None) -> str:
    return f"{duration(timing['median'])} ±{duration(timing['spread'])}" if timing else "-"


def _speed_row(record: Record, mode: str) -> Row:
    axis = {-1: "last", 0: "first"}.get(record["axis"], str(record["axis"]))
    ours = record["times"][f"{OURS} {mode}"]
    factor, baseline = ratio(record, mode), record["baseline"]
    return (
        " x ".join(map(str, record["shape"])),
        axis,
        mode,
        _cell(ours),
        *(_cell(time_in(record, name, mode)) for name in RIVALS),
        _cell(baseline),
        f"{factor:.2f}" if factor else "-",
        f"{baseline['median'] / ours['median']:.0%}",
    )


def speed_table(records: Sequence[Record]) -> str:
    """All shapes of one operation, variant, dtype and thread count."""
    baseline = records[0]["baseline"]["name"]
    header = (
        "shape", "axis", "result", OURS, *RIVALS, baseline, "best peer / ours", f"of {baseline}",
    )  # fmt: skip
    rows = [_speed_row(record, mode) for record in records for mode in modes(record)]
    return markdown_table(header, rows, left=3) + "\n" + _means(records)


def _means(records: Sequence[Record]) -> str:
    """What the ratios come to, the call overhead of ten entries aside."""
    lines = []
    batches = [record for record in records if (tuple(record["shape"]), record["axis"]) != CALL]
    for mode, text in {"new": "a new result", "out": "`out=`"}.items():
        found = [factor for record in batches if (factor := ratio(record, mode))]
        if found:
            lines.append(
                f"Geometric mean of the ratios with {text}: {geometric_mean(found):.2f};"
                f" smallest {min(found):.2f}; {sum(factor >= 1.1 for factor in found)} of"
                f" {len(found)} at 1.1 or more.\n"
            )
    return "\n".join(lines)


def _memory_table(records: Iterable[Record]) -> str:
    """Growth of the process in the first call, for the cases large enough to see it."""
    rows = []
    for record in records:
        if record["nbytes"] < LARGE or record["variant"] == "sweep":
            continue
        for mode in modes(record):
            grown = [record["times"].get(f"{name} {mode}") for name in (OURS, *RIVALS)]
            rows.append(
                (
                    f"{record['operation']} {record['variant']} {record['dtype']}",
                    " x ".join(map(str, record["shape"])),
                    str(record["threads"]),
                    mode,
                    *(_mebibytes(timing) for timing in grown),
                )
            )
    header = ("operation", "shape", "threads", "result", OURS, *RIVALS)
    return markdown_table(header, rows, left=4) if rows else ""


def _mebibytes(timing: dict | None) -> str:
    grown = timing["memory"] if timing else None
    return "-" if grown is None else f"{grown / 2**20:,.1f}"


def machine_lines(machine: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    processor = ", ".join(f"{name} {value}" for name, value in machine["cpu"].items())
    return f"{processor}. Python {machine['python']}, {versions}.\n"


def speed_report(results: dict) -> str:
    """The whole of speed.md."""
    parts = [
        "# Speed side by side with the peers\n",
        machine_lines(results["machine"]),
        _dates(results["records"]),
        "Microseconds a call: median ± interquartile range. Within each repeat all contestants take"
        " turns in one process. 'new' allocates its result, 'out' writes into an array made"
        " beforehand; a peer without that is shown as it can.\n",
    ]

    measured = sorted(filter(modes, results["records"]), key=_place)
    for key, members in groupby(measured, key=_group):
        operation, variant, dtype, threads = key
        kind = "" if variant == "plain" else f" ({variant})"
        parts.append(f"## {operation}{kind}, {dtype}, {_threads(threads)}\n")
        parts.append(speed_table(list(members)))
    if memory := _memory_table(results["records"]):
        parts += ["## Memory: MiB by which the first call raised the process\n", memory]
    if absent := _absent_lines(results["records"]):
        parts += ["## What a dash stands for\n", absent]
    return "\n".join(parts)


def _dates(records: Sequence[Record]) -> str:
    days = sorted({record["date"] for record in records})
    return f"Measured on {days[0]}.\n" if len(days) == 1 else f"Measured {days[0]} to {days[-1]}.\n"


def _group(record: Record) -> tuple:
    """What one table is about."""
    return record["operation"], record["variant"], record["dtype"], record["threads"]


def _place(record: Record) -> tuple:
    """Where a record stands in the report: the order of the table of operations."""
    operation, variant, dtype, threads = _group(record)
    return (
        list(OPERATIONS).index(operation),
        VARIANTS.index(variant),
        list(DTYPES).index(dtype),
        threads,
        record["axis"],
        record["nbytes"],
        record["shape"],
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _absent_lines(records: Iterable[Record]) -> str:
    reasons = {
        f"- {record['operation']} {record['dtype']}, {_peer_of(contestant)}: {why}"
        for record in records
        for contestant, why in record["absent"].items()
        if not why.startswith("UnsupportedError")
    }
    return "\n".join(sorted(reasons)) + "\n" if reasons else ""


def _peer_of(contestant: str) -> str:
    """The peer in 'ONNX Runtime out'."""
    return contestant.rsplit(" ", 1)[0]


def readme_table(
    records: Sequence[Record], errors: Sequence[dict[str, float]], machine: dict
) -> str:
    """The short table: for each shape, every peer's largest error in ulp and its time."""
    rows = []
    for record, error in zip(records, errors, strict=True):
        shape = " x ".join(map(str, record["shape"]))
        axis = "first" if record["axis"] == 0 else "last"
        timings = {name: time_in(record, name, "new") for name in (OURS, *RIVALS)}
        cells = [
            f"{error[name]:.1f} / {duration(timing['median'])}" if timing else "-"
            for name, timing in timings.items()
        ]
        factor = ratio(record, "new")
        rows.append((f"{shape}, {axis}", *cells, f"{factor:.2f}" if factor else "-"))
    header = ("shape, axis", OURS, *RIVALS, "best peer / ours")
    return (
        f"softmax, float32, N(0, 3), one thread: largest error in ulp / microseconds a call."
        f" Measured {machine['date']} on {cpu_model(machine)} by `make bench ARGS=--readme`"
        f" ({', '.join(f'{name} {version}' for name, version in machine['packages'].items())}).\n\n"
        + markdown_table(header, rows)
    )
