"""What the documentation shows of the figures: small files in docs/results, to be committed.

    make results                                       from benchmarks/results
    make results ARGS="--accuracy FILE --speed FILE"   from other files, such as those of a part

accuracy.json keeps for each function and dtype the largest error over rows of N(0, 3) and that over
all families of inputs; speed.json medians in microseconds; training.json a line for each data set.
pytorch.json holds PyTorch's answers to the questions of `benchmarks.migration`.
"""

import argparse
import json
import re
import sys
from itertools import groupby
from pathlib import Path

from benchmarks import machine, migration
from benchmarks.report import OURS, RIVALS, time_in, write_text

RESULTS = Path(__file__).resolve().parent / "results"
PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "results"
ORDINARY = "N(0,3)"
FIGURES = 3


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accuracy", type=Path, default=RESULTS / "accuracy.json")
    parser.add_argument("--speed", type=Path, default=RESULTS / "speed.json")
    parser.add_argument("--training", type=Path, default=RESULTS / "training.json")
    arguments = parser.parse_args()
    for name, path, condense in (
        ("accuracy", arguments.accuracy, accuracy),
        ("speed", arguments.speed, speed),
        ("training", arguments.training, training),
    ):
        if path.exists():
            publish(name, condense(json.loads(path.read_text())))
        else:
            print(f"There is no {path}: docs/results/{name}.json stays as it is.")
    publish("pytorch", {"machine": machine.describe(), "rows": migration.pytorch_answers()})
    return 0


def publish(name: str, results: dict) -> None:
    """Write a file with a line for each row, so that a later one can be compared with it."""
    rows = results.pop("rows")
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps(results, ensure_ascii=False)[1:-1]
    write_text(PUBLISHED / f"{name}.json", f'{{{head}, "rows": [\n{lines}\n]}}\n')
    print(f"Written: docs/results/{name}.json, {len(rows)} rows.")


def accuracy(results: dict) -> dict:
    """Return the largest errors of each function and dtype."""
    rows = []
    for (function, dtype), families in groupby(
        results["rows"], key=lambda row: (row["function"], row["dtype"])
    ):
        families = list(families)
        largest = {family["family"]: family["largest"] for family in families}
        names = [name for name in results["peers"] if name in largest[ORDINARY]]
        rows.append(
            {
                "function": function,
                "dtype": dtype,
                "allowed": rounded(families[0]["allowed"]),
                "share": rounded(max(each["of_allowed"] for each in largest.values())),
                "ordinary": {name: rounded(largest[ORDINARY][name]) for name in names},
                "worst": {
                    name: rounded(max(each[name] for each in largest.values() if name in each))
                    for name in names
                },
            }
        )
    kept = {key: results[key] for key in ("machine", "lengths", "peers")}
    return kept | {"rows": rows}


def speed(results: dict) -> dict:
    """Return the medians of each case and way of doing it, ours and the peers'."""
    rows = []
    for record in results["records"]:
        for mode in ("new", "out"):
            if f"{OURS} {mode}" not in record["times"]:
                continue
            timings = {name: time_in(record, name, mode) for name in (OURS, *RIVALS)}
            timings["baseline"] = record["baseline"]
            kept = ("operation", "variant", "dtype", "shape", "axis", "threads", "date", "nbytes")
            rows.append(
                {key: record[key] for key in kept}
                | {
                    "result": mode,
                    "baseline": record["baseline"]["name"],
                    "microseconds": {
                        name: rounded(1e6 * timing["median"])
                        for name, timing in timings.items()
                        if timing
                    },
                }
            )
    return {"machine": results["machine"], "peers": [OURS, *RIVALS], "rows": rows}


def training(results: dict) -> dict:
    """Return the lines, with ratios in the words of the page and without aims."""
    lines = [
        re.sub(r" \(wanted .*?\)", "", re.sub(r"([\d.]+) times faster", r"ratio \1", line))
        for line in results["lines"]
        if not line.endswith("no data")
    ]
    kept = {key: results[key] for key in ("machine", "threads")}
    return kept | {"rows": [{"line": line} for line in lines]}


def rounded(number: float) -> float:
    return float(f"{number:.{FIGURES}g}")


if __name__ == "__main__":
    sys.exit(main())
