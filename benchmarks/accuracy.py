"""Largest errors in ulp of this package beside those of SciPy, PyTorch and JAX.

    make accuracy                                      everything: about half an hour
    make accuracy ARGS="softmax --dtype float32"       a part of it
    make accuracy ARGS="--quick"                       rows of up to 1000 entries

Functions, their bounds, the families of inputs and the exact answers are those of the tests:
tests/catalog.py and tests/oracle.py. A row of the table is a function with its options, a dtype
and a family; its figure is the largest error over all lengths. The results land in
benchmarks/results as accuracy.json and accuracy.md, those of a part in benchmarks/results/part.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from itertools import groupby, product
from pathlib import Path

import numpy as np

from benchmarks import machine, report
from benchmarks.cases import DTYPES, Arrays, Case
from benchmarks.peer import Peer, UnsupportedError, installed
from benchmarks.peers import JAX, Ours, PyTorch, SciPy
from benchmarks.progress import progress
from benchmarks.quantities import Quantity, all_quantities

ROOT = Path(__file__).resolve().parent
LENGTHS = (1, 2, 3, 10, 100, 1000, 10_000, 1_000_000)
FEW_LENGTHS = (3, 1000)  # for the variants
LONGEST_SCAN = 100_000  # an exact cumulative sum is a scan in itself, and slow
ENTRIES = 2000  # short rows are drawn until there are so many entries


def main() -> int:
    arguments = _parse()
    quantities = [q for q in all_quantities() if q.operation in arguments.functions]
    dtypes = arguments.dtype or list(DTYPES)
    results = {"machine": machine.describe(), "lengths": arguments.lengths, "rows": []}
    try:
        with progress(len(quantities) * len(dtypes)) as shown:
            peers = installed((Ours, SciPy, PyTorch, JAX), threads=1, note=shown.note)
            results["peers"] = [peer.name for peer in peers]
            for quantity, dtype in product(quantities, dtypes):
                shown.begin(f"{quantity} {dtype}")
                rows = list(_rows(quantity, dtype, arguments.lengths, peers))
                results["rows"] += rows
                _save(results, arguments.results)
                shown.done(_summary(quantity, dtype, rows))
    except KeyboardInterrupt:
        print(report.stopped(bool(results["rows"]), arguments.results))
        return 130
    print(f"\n{_report(results)}")
    for row in results["rows"]:
        if row["largest"]["of_allowed"] > 1:
            print(f"Above its bound: {row['function']} {row['dtype']} {row['family']}.")
    print(f"Written: accuracy.json and accuracy.md in {arguments.results}.")
    return 0


def _parse() -> argparse.Namespace:
    names = sorted({quantity.operation for quantity in all_quantities()})
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("functions", nargs="*", metavar="FUNCTION", help=", ".join(names))
    add("--dtype", action="append", choices=DTYPES, help="may be repeated")
    add("--length", action="append", type=int, dest="lengths", help="of a row; may be repeated")
    add("--quick", action="store_true", help="rows of up to 1000 entries")
    add("--results", type=Path, help="where to write, instead of benchmarks/results")
    arguments = parser.parse_args()
    for name in arguments.functions:
        if name not in names:
            parser.error(f"no function {name!r}; there are {', '.join(names)}")
    a_part = any((arguments.quick, arguments.lengths, arguments.functions, arguments.dtype))
    arguments.functions = arguments.functions or names
    arguments.lengths = arguments.lengths or [
        length for length in LENGTHS if length <= 1000 or not arguments.quick
    ]
    if arguments.results is None:
        arguments.results = ROOT / "results" / ("part" if a_part else "")
    return arguments


def _rows(quantity: Quantity, dtype: str, lengths: list[int], peers: list[Peer]) -> Iterator[dict]:
    """One row for each family: the largest errors at each length, and what is allowed."""
    for family in quantity.families:
        by_length = {
            length: _largest_errors(quantity, dtype, family, length, peers)
            for length in _lengths_for(quantity, lengths)
        }
        yield {
            "function": str(quantity),
            "dtype": dtype,
            "family": family,
            "allowed": quantity.allowed(dtype),
            "by_length": by_length,
            "largest": {
                name: max(found)
                for name in ("of_allowed", *(peer.name for peer in peers))
                if (found := [errors[name] for errors in by_length.values() if name in errors])
            },
        }


def _lengths_for(quantity: Quantity, lengths: list[int]) -> list[int]:
    if quantity.elementwise:
        return [min(max(lengths), 100_000)]
    if quantity.options:
        return [length for length in lengths if length in FEW_LENGTHS] or lengths[:1]
    if quantity.operation == "cumulative_logsumexp":
        return [length for length in lengths if length <= LONGEST_SCAN] or [LONGEST_SCAN]
    return lengths


def _largest_errors(
    quantity: Quantity, dtype: str, family: str, length: int, peers: list[Peer]
) -> dict[str, float]:
    """Each peer's largest error in ulp, and ours as a share of what is allowed."""
    rows = max(1, min(200, ENTRIES // length))
    x = np.stack([quantity.draw(family, length, DTYPES[dtype], seed) for seed in range(rows)])
    variant = "tempered" if quantity.options.keys() == {"temperature"} else "plain"
    case = Case(quantity.peer_operation, dtype, x.shape, variant=variant)
    given = quantity.given(x)
    exact = quantity.exact(x, **given)
    arrays = Arrays(case, x=x, **given, **quantity.options)
    errors = {}
    for peer in peers:
        if isinstance(peer, Ours):
            got = quantity.ours(x, **given)
            errors["of_allowed"] = float(np.max(quantity.shares(got, exact, x.dtype)))
        elif (got := _result(peer, case, arrays, quantity)) is None:
            continue
        errors[peer.name] = float(np.max(quantity.units(got, exact, x.dtype)))
    return errors


def _result(peer: Peer, case: Case, arrays: Arrays, quantity: Quantity) -> np.ndarray | None:
    """What a peer answers; None where it has no such function for such arrays."""
    if quantity.options and case.variant == "plain":
        return None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = peer.last_array(peer.prepare(case, arrays)())
            return result.astype(arrays.dtype)  # SciPy answers some 16-bit inputs in a wider type
        except (UnsupportedError, NotImplementedError, TypeError, RuntimeError):
            return None


def _summary(quantity: Quantity, dtype: str, rows: list[dict]) -> str:
    worst = {}
    for row in rows:
        for name, error in row["largest"].items():
            worst[name] = max(error, worst.get(name, 0.0))
    share = worst.pop("of_allowed")
    figures = ", ".join(f"{name} {_figure(error)}" for name, error in worst.items())
    verdict = "within its bound" if share <= 1 else f"{share:.3g} TIMES ITS BOUND"
    return f"{quantity} {dtype}: {figures} ulp; {verdict}"


def _figure(error: float | None) -> str:
    if error is None:
        return "-"
    return f"{error:.2f}" if error < 100 else f"{error:.1e}"


def _save(results: dict, directory: Path) -> None:
    report.write_text(directory / "accuracy.json", json.dumps(results, indent=1))
    report.write_text(directory / "accuracy.md", _report(results))


def _report(results: dict) -> str:
    """The whole of accuracy.md."""
    lengths = ", ".join(f"{length:,}" for length in results["lengths"])
    parts = [
        "# Largest errors in ulp\n",
        report.machine_lines(results["machine"]),
        f"Measured on {results['machine']['date']}, in rows of {lengths} entries. One ulp is a unit"
        " in the last place of the correctly rounded result, in the dtype of the input; inf stands"
        " for a nan or an infinity where the result is finite. 'share' is this package's error over"
        " what is promised, entry by entry.\n",
    ]
    names = results["peers"]
    header = ("dtype", "inputs", *names, "allowed", "share")
    for function, rows in groupby(results["rows"], key=lambda row: row["function"]):
        parts.append(f"## {function}\n")
        parts.append(report.markdown_table(header, [_row(row, names) for row in rows], left=2))
    return "\n".join(parts)


def _row(row: dict, names: list[str]) -> tuple[str, ...]:
    largest = row["largest"]
    figures = (_figure(largest.get(name)) for name in names)
    allowed, share = _figure(row["allowed"]), f"{largest['of_allowed']:.2f}"
    return row["dtype"], row["family"], *figures, allowed, share


if __name__ == "__main__":
    sys.exit(main())
