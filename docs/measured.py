"""What `make results` put into results/, as tables and a picture."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import geometric_mean

from figures import Table, shown
from softmax.plot.style import PALETTE, axes_for, ink, line_look

RESULTS = Path(__file__).resolve().parent / "results"


def read(name):
    """Return the contents of a file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


ACCURACY, SPEED, TRAINING = read("accuracy"), read("speed"), read("training")
OURS, *PEERS = SPEED["peers"]


def circumstances(results):
    """Return when, on what and with what something was measured, as text."""
    machine = results["machine"]
    days = sorted({row["date"] for row in results["rows"] if "date" in row} or {machine["date"]})
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))} on"
        f" {machine['cpu'].get('Model name', machine['system'])}, {machine['system']}.",
        f"Python {machine['python']}, {versions}.",
    ]
    if "lengths" in results:
        lines.append(
            f"Rows of {', '.join(f'{length:,}' for length in results['lengths'])} entries."
        )
    return "\n".join(lines)


def errors(dtype, options=False):
    """Return largest errors, over rows of N(0, 3) / any inputs: of functions, or of options."""
    names = ACCURACY["peers"]
    return Table(
        ("function", "promised", *names),
        [
            (
                f"`{row['function']}`",
                row["allowed"],
                *(
                    f"{shown(row['ordinary'][name])} / {shown(row['worst'][name])}"
                    if name in row["worst"]
                    else "-"
                    for name in names
                ),
            )
            for row in ACCURACY["rows"]
            if row["dtype"] == dtype and ("(" in row["function"]) == options
        ],
    )


def ratio(row):
    """Return the time of the fastest peer over ours, None without a peer."""
    times = row["microseconds"]
    found = [times[name] for name in PEERS if name in times]
    return min(found) / times[OURS] if found else None


def measured_groups():
    """Return the rows of each operation, variant, dtype and number of threads."""
    groups = defaultdict(list)
    for row in SPEED["rows"]:
        if row["variant"] != "sweep" and row["result"] == "new" and ratio(row):
            groups[row["operation"], row["variant"], row["dtype"], row["threads"]].append(row)
    return groups


def ratios():
    """Return what the ratios of each operation come to."""
    return Table(
        ("operation", "variant", "dtype", "threads", "cases", "mean ratio", "least", "greatest"),
        [
            (f"`{operation}`", *rest, len(found), geometric_mean(found), min(found), max(found))
            for (operation, *rest), rows in measured_groups().items()
            for found in [[ratio(row) for row in rows]]
        ],
    )


def times(operation, dtype, threads=1):
    """Return microseconds a call, shape by shape."""
    return Table(
        ("shape, axis", OURS, *PEERS, "fastest peer / ours"),
        [
            (
                f"{' x '.join(map(str, row['shape']))}, {'first' if row['axis'] == 0 else 'last'}",
                *(microseconds(row, name) for name in (OURS, *PEERS)),
                ratio(row),
            )
            for row in measured_groups()[operation, "plain", dtype, threads]
        ],
    )


def microseconds(row, name):
    """Return a time to three figures, a dash where there is none."""
    time = row["microseconds"].get(name, "-")
    return time if time == "-" or time < 100 else round(time)


def bandwidth():
    """Draw bytes a second against the length of rows, on one thread; return the Axes."""
    rows = [row for row in SPEED["rows"] if row["variant"] == "sweep" and row["result"] == "out"]
    rows = sorted((row for row in rows if row["threads"] == 1), key=lambda row: row["shape"][-1])
    axes = axes_for(None, (6.4, 3.6))
    for i, name in enumerate((OURS, *PEERS, "baseline")):
        points = [
            (row["shape"][-1], 2e-3 * row["nbytes"] / row["microseconds"][name])
            for row in rows
            if name in row["microseconds"]
        ]
        look = {"color": ink(axes), "linestyle": ":"}
        if name != "baseline":
            look = {**line_look(i), "color": PALETTE[i]}
        axes.plot(
            *zip(*points, strict=True), label="a copy" if name == "baseline" else name, **look
        )
    axes.set(
        xscale="log", xlabel="row length (entries)", ylabel="GB/s, read and written",
        ylim=(0, None), title="softmax, float32, one thread",
    )  # fmt: skip
    axes.figure.legend(loc="outside right upper", frameon=False)
    return axes
