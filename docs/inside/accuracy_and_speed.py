"""
Accuracy and speed
==================

The same functions of SciPy, PyTorch, JAX and ONNX Runtime, on the same arrays, in the same process,
taking turns. What this page shows was measured by ``make accuracy`` and ``make bench`` and put here
by ``make results``; run them to see your own machine.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import geometric_mean

import matplotlib.pyplot as plt

from figures import Table
from softmax.plot.style import axes_for, ink, line_look

accuracy, speed = (
    json.loads(Path(f"../results/{name}.json").read_text()) for name in ("accuracy", "speed")
)


def circumstances(results, dates):
    """Return when, where and with what something was measured."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    days = sorted(set(dates))
    return (
        f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))} on "
        f"{machine['cpu'].get('Model name', machine['system'])}\n"
        f"Python {machine['python']}, {versions}"
    )


# %%
# Accuracy
# --------

print(circumstances(accuracy, [accuracy["machine"]["date"]]))
print("Rows of", ", ".join(f"{length:,}" for length in accuracy["lengths"]), "entries")

# %%
# Largest errors in ulp, units in the last place of the correctly rounded result, in the dtype of the
# input. Answers are judged by arithmetic of a hundred digits. "N(0, 3)" is what scores usually look
# like; "any" adds near ties, one dominant entry, large numbers, subnormal results and the extremes of
# the dtype. inf stands for a nan or an infinity where the result is finite. "promised" is the bound
# that the tests hold this package to.

names = accuracy["peers"]


def errors(dtype):
    """Return the table of one dtype, without the options that no peer has."""
    return Table(
        ("function", "promised", *(f"{name}, {kind}" for name in names for kind in ("N(0, 3)", "any"))),
        [
            (
                f"`{row['function']}`",
                row["allowed"],
                *(
                    row[kind].get(name, "-")
                    for name in names
                    for kind in ("ordinary", "worst")
                ),
            )
            for row in accuracy["rows"]
            if row["dtype"] == dtype
        ],
    )  # fmt: skip


errors("float32")

# %%
# Double precision:

errors("float64")

# %%
# Half precision. Peers that answer in a wider type are rounded to the type of the input.

errors("float16")

# %%

errors("bfloat16")

# %%
# Speed
# -----

print(circumstances(speed, [row["date"] for row in speed["rows"]]))

# %%
# Every ratio is the time of the fastest peer over the time of this package: above 1, this package is
# faster. Each operation is measured over shapes from one row of 10 entries to batches of 65,536 rows;
# the mean is geometric.

ours, *peers = speed["peers"]


def ratio(row):
    """Return the time of the fastest peer over ours, None without a peer."""
    times = row["microseconds"]
    found = [times[name] for name in peers if name in times]
    return min(found) / times[ours] if found else None


groups = defaultdict(list)
for row in speed["rows"]:
    if row["variant"] != "sweep" and row["result"] == "new" and ratio(row):
        groups[row["operation"], row["variant"], row["dtype"], row["threads"]].append(row)

Table(
    ("operation", "variant", "dtype", "threads", "shapes", "mean ratio", "least", "greatest"),
    [
        (f"`{operation}`", variant, dtype, threads, len(rows), geometric_mean(found), min(found), max(found))
        for (operation, variant, dtype, threads), rows in groups.items()
        for found in [[ratio(row) for row in rows]]
    ],
)  # fmt: skip

# %%
# Softmax in single precision, shape by shape, in microseconds a call:


def times(operation, dtype, threads):
    """Return the table of one operation."""
    rows = groups[operation, "plain", dtype, threads]
    return Table(
        ("shape", "axis", ours, *peers, "fastest peer / ours"),
        [
            (
                " x ".join(map(str, row["shape"])),
                {-1: "last", 0: "first"}[row["axis"]],
                *(row["microseconds"].get(name, "-") for name in (ours, *peers)),
                ratio(row),
            )
            for row in rows
        ],
    )


times("softmax", "float32", 1)

# %%
# Bandwidth
# ---------
#
# Rows of every length, cut from one array of 64 MiB. A plain copy is as fast as memory allows.

swept = [row for row in speed["rows"] if row["variant"] == "sweep" and row["result"] == "out"]
swept.sort(key=lambda row: row["shape"][-1])
axes = axes_for(None)
for threads in sorted({row["threads"] for row in swept})[:1]:
    rows = [row for row in swept if row["threads"] == threads]
    lengths = [row["shape"][-1] for row in rows]
    for i, name in enumerate((ours, *peers, "baseline")):
        bandwidth = [
            2e-3 * row["nbytes"] / row["microseconds"].get(name, float("nan")) for row in rows
        ]
        look = line_look(i) if name != "baseline" else {"color": ink(axes), "linestyle": ":"}
        label = "copy" if name == "baseline" else name
        axes.plot(lengths, bandwidth, label=label, **look)
axes.set(
    xscale="log", xlabel="row length", ylabel="GB/s, read and written", ylim=(0, None),
    title="softmax, float32, one thread",
)  # fmt: skip
axes.legend(frameon=False)
plt.show()
