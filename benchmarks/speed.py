"""Speed of this package side by side with SciPy, PyTorch, JAX, ONNX Runtime and NumPy's copy.

    make bench                                  everything, which takes hours
    make bench ARGS="softmax --dtype float32"   a part of it
    make bench ARGS="--quick softmax"           a glance
    make bench ARGS=--readme                    the table of the README

Every thread count is measured in a process of its own that was started with it; within that
process all contestants take turns. The results land in benchmarks/results as speed.json, speed.md
and speed.png. A part replaces its own cells there, as long as machine and versions are the same.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import softmax
from benchmarks import machine, report
from benchmarks.cases import DTYPES, FIRST, LAST, MATRIX, OPERATIONS, VARIANTS, Case, all_cases
from benchmarks.plot import draw_bandwidth
from benchmarks.progress import Lines, progress

ROOT = Path(__file__).resolve().parent
AXES = {"last": LAST, "first": FIRST}
RANKS = {"cross_entropy": 2, "linear_cross_entropy": 3}  # the others take any shape


def main() -> int:
    arguments = _parse()
    counts = _thread_counts(arguments)
    cases = [case for case in _chosen(arguments) if hasattr(softmax, case.operation)]
    if not cases:
        print("Nothing to measure: no case of the table is like that.", file=sys.stderr)
        return 2
    results = _start(arguments)
    try:
        with progress(len(cases) * len(counts)) as shown:
            for threads in counts:
                for record in _measured(cases, threads, arguments, shown):
                    _replace(results["records"], record)
                    _save(results, arguments.results)
    except KeyboardInterrupt:
        print(report.stopped(bool(results["records"]), arguments.results))
        return 130
    draw_bandwidth(results["records"], results["machine"], arguments.results / "speed.png")
    print(f"Written: speed.json and speed.md in {arguments.results}.")
    if arguments.readme:
        from benchmarks import readme  # needs mpmath, for the errors

        table = readme.short_table(results)
        print(table)
        if not arguments.quick:
            print(readme.put_into(ROOT.parent / "README.md", table))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("operations", nargs="*", metavar="OPERATION", help=", ".join(OPERATIONS))
    add("--dtype", action="append", choices=DTYPES, help="may be repeated")
    add("--shape", action="append", type=_shape, help="such as 1x32000, of the table or any other")
    add("--axis", choices=AXES, help="last or first")
    add("--variant", action="append", choices=VARIANTS)
    add("--threads", default="1,all", help="counts with commas between; the default is 1,all")
    add("--repeats", type=int, default=15, help="samples of each contestant")
    add("--seconds", type=float, default=3.0, help="after so long a contestant has enough samples")
    add("--quick", action="store_true", help="3 repeats, kept apart from the results that count")
    add("--readme", action="store_true", help="measure the README's table and write it there")
    add("--results", type=Path, help="where to write, instead of benchmarks/results")
    arguments = parser.parse_args()
    for name in arguments.operations:
        if name not in OPERATIONS:
            parser.error(f"no operation {name!r}; there are {', '.join(OPERATIONS)}")
    if arguments.quick:
        arguments.repeats, arguments.seconds = 3, 0.5
    if arguments.results is None:
        arguments.results = ROOT / "results" / ("quick" if arguments.quick else "")
    return arguments


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(length) for length in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 32x1000") from None


def _thread_counts(arguments: argparse.Namespace) -> list[int]:
    if arguments.readme:
        return [1]
    available = len(machine.cores())
    counts = (available if text == "all" else int(text) for text in arguments.threads.split(","))
    return sorted({min(count, available) for count in counts})


def _chosen(arguments: argparse.Namespace) -> Iterator[Case]:
    """The cases of the table that the arguments leave, and those they add to it."""
    if arguments.readme:
        yield from (Case("softmax", "float32", shape, axis) for shape, axis in MATRIX)
        return
    asked = arguments.operations or list(OPERATIONS)
    axis = AXES.get(arguments.axis)
    shapes_found = set()
    for case in all_cases():
        if (
            case.operation in asked
            and case.dtype in (arguments.dtype or DTYPES)
            and case.shape in (arguments.shape or [case.shape])
            and case.variant in (arguments.variant or VARIANTS)
            and case.axis == (case.axis if axis is None else axis)
        ):
            shapes_found.add(case.shape)
            yield case
    for shape in arguments.shape or ():
        if shape not in shapes_found:
            for name in asked:
                if len(shape) != RANKS.get(name, len(shape)):
                    continue
                for dtype in arguments.dtype or OPERATIONS[name].dtypes:
                    yield Case(name, dtype, shape, LAST if axis is None else axis)


def _measured(
    cases: list[Case], threads: int, arguments: argparse.Namespace, shown: Lines
) -> Iterator[dict]:
    """Measure in a process of its own, and give each record as it comes."""
    job = {
        "threads": threads,
        "repeats": arguments.repeats,
        "seconds": arguments.seconds,
        "cases": [asdict(case) for case in cases],
    }
    with _worker(threads) as process:
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        for line in process.stdout:
            if not line.startswith("{"):  # a peer that talks
                continue
            message = json.loads(line)
            if "begin" in message:
                shown.begin(f"{message['begin']}, threads: {threads}")
            elif "note" in message:
                shown.note(message["note"])
            else:
                record = message["record"]
                yield record  # kept first, so that what is shown is there to read
                shown.done(f"{report.summary(record)} | threads {threads}")
    if process.returncode:
        raise SystemExit(f"The measuring process ended with status {process.returncode}.")


@contextmanager
def _worker(threads: int) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"],
        cwd=ROOT.parent,
        env=machine.thread_environment(threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends the other
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _start(arguments: argparse.Namespace) -> dict:
    """Results to add to: those of before for a part, none for the whole or another machine."""
    fresh = {"machine": machine.describe(), "records": []}
    path = arguments.results / "speed.json"
    a_part = arguments.operations or any(
        (arguments.dtype, arguments.shape, arguments.axis, arguments.variant, arguments.readme)
    )
    if not a_part or not path.exists():
        return fresh
    before = json.loads(path.read_text())
    same = all(
        before["machine"][key] == fresh["machine"][key] for key in ("cpu", "packages", "build")
    )
    return {**fresh, "records": before["records"]} if same else fresh


def _identity(record: dict) -> tuple:
    return tuple(
        str(record[key]) for key in ("operation", "variant", "dtype", "shape", "axis", "threads")
    )


def _replace(records: list[dict], record: dict) -> None:
    for index, before in enumerate(records):
        if _identity(before) == _identity(record):
            records[index] = record
            return
    records.append(record)


def _save(results: dict, directory: Path) -> None:
    report.write_text(directory / "speed.json", json.dumps(results, indent=1))
    report.write_text(directory / "speed.md", report.speed_report(results))


if __name__ == "__main__":
    sys.exit(main())
