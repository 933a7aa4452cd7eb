"""The picture of the speed run: bandwidth against row length, with that of a plain copy."""

from pathlib import Path

from benchmarks.machine import cpu_model
from benchmarks.report import OURS, RIVALS, time_in


def draw_bandwidth(records: list[dict], machine: dict, path: Path) -> bool:
    """Draw softmax float32 over rows of every length of one total size; False without data."""
    swept = [record for record in records if record["variant"] == "sweep"]
    if not swept:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = sorted({record["threads"] for record in swept})
    figure, panels = pyplot.subplots(
        1, len(counts), figsize=(2 + 5 * len(counts), 4.5), sharey=True, squeeze=False
    )
    for axes, threads in zip(panels[0], counts, strict=True):
        _panel(axes, [record for record in swept if record["threads"] == threads])
        axes.set_title("1 thread" if threads == 1 else f"{threads} threads")
    panels[0, 0].set_ylabel("GB/s, read and written")
    panels[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(
        f"softmax, float32, last axis, out= where there is one\n{cpu_model(machine)}", fontsize=10
    )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True


def _panel(axes, records: list[dict]) -> None:
    records = sorted(records, key=lambda record: record["shape"][-1])
    for name in (OURS, *RIVALS):
        points = [
            (record["shape"][-1], _bandwidth(record, timing))
            for record in records
            if (timing := time_in(record, name, "out"))
        ]
        if points:
            lengths, bandwidths = zip(*points, strict=True)
            width = 2.5 if name == OURS else 1.2
            axes.plot(lengths, bandwidths, "o-", markersize=3, linewidth=width, label=name)
    lengths = [record["shape"][-1] for record in records]
    copied = [_bandwidth(record, record["baseline"]) for record in records]
    axes.plot(lengths, copied, color="black", linestyle="--", label="np.copyto")
    axes.set(xscale="log", xlabel="row length")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _bandwidth(record: dict, timing: dict) -> float:
    return 2 * record["nbytes"] / timing["median"] / 1e9
