"""What the figures were measured on, and how a process is held to a number of threads."""

import datetime
import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "softmax",
    "numpy",
    "scipy",
    "torch",
    "jax",
    "onnxruntime",
    "scikit-learn",
    "ml_dtypes",
)
_DESCRIBED = (
    "Architecture",
    "Model name",
    "CPU(s)",
    "Thread(s) per core",
    "L1d cache",
    "L2 cache",
    "L3 cache",
)


def describe() -> dict[str, object]:
    """The processor, its caches, the system and the versions of all packages; no names of hosts."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "build": _build(),
    }


def cpu_model(machine: dict) -> str:
    return machine["cpu"].get("Model name", machine["system"])


def cores() -> list[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def thread_environment(threads: int) -> dict[str, str]:
    """The environment that holds every library to `threads`; most read it once, when imported."""
    counts = {
        f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL", "BLIS")
    }
    xla = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {
        **os.environ,
        **counts,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {xla}".strip(),
        "JAX_PLATFORMS": "cpu",
        # libgomp's idle threads spin for many milliseconds, into the next contestant's turn.
        # About one millisecond still bridges the gap between two calls of one contestant.
        "GOMP_SPINCOUNT": "20000",
    }


def pin(threads: int) -> None:
    """Hold this process, and all threads it will start, to as many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[:threads])


class PeakMemory:
    """How far a block of code raised the memory of the process: `.growth` in bytes, or None.

    Linux only: writing 5 to clear_refs sets the high-water mark back to the present size.
    """

    growth: int | None = None

    def __enter__(self) -> "PeakMemory":
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _status("VmRSS")
        except OSError:
            self._before = None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            self.growth = max(0, _status("VmHWM") - self._before)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def _processor() -> dict[str, str]:
    if shutil.which("lscpu") is None:
        return {"Model name": platform.processor() or platform.machine()}
    environment = {**os.environ, "LC_ALL": "C"}
    listing = subprocess.run(
        ["lscpu", "-J"], capture_output=True, text=True, check=True, env=environment
    )
    entries = _flat(json.loads(listing.stdout))
    fields = {entry["field"].rstrip(":"): entry["data"] for entry in entries}
    return {name: fields[name] for name in _DESCRIBED if name in fields}


def _flat(listing: dict) -> list[dict]:
    """All entries of lscpu's listing, which newer versions nest."""
    entries: list[dict] = []
    waiting = list(listing["lscpu"])
    while waiting:
        entry = waiting.pop(0)
        entries.append(entry)
        waiting.extend(entry.get("children", ()))
    return entries


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _build() -> dict[str, object]:
    """How this package was built, as far as it says so itself."""
    import softmax

    return softmax.build_info() if hasattr(softmax, "build_info") else {}
