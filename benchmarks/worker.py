"""The process that measures, on a number of threads that was set before it started.

It reads the cases from standard input as one JSON object and writes a line of JSON for each: first
when it begins, then with the figures. `speed.py` starts one such process for each thread count.
"""

import datetime
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.cases import OPERATIONS, Arrays, Case
from benchmarks.peer import Peer, installed
from benchmarks.peers import PEERS
from benchmarks.timing import Plan, interleave

MODES = {"new": False, "out": True}  # a fresh result each call, or one array for all
# How far a peer's answer may lie from ours, relative to the largest entry, to be the same task.
AGREEMENT = {"float64": 1e-6, "float32": 1e-3, "float16": 0.05, "bfloat16": 0.2}
DRAWS = {"sample"}  # at random, so results cannot be compared
SPLIT_FROM = 4 << 20  # bytes from which a copy gains from more than one thread


def main() -> None:
    job = json.load(sys.stdin)
    machine.pin(job["threads"])
    peers = installed(PEERS, job["threads"], note=lambda text: _say(note=text))
    # ONNX Runtime's idle threads look for work for 30 to 50 ms.  Two cores of which one slept read
    # the last-level cache at two thirds of their speed for 8 to 12 ms (NOTES.md).
    waits = {"pause": 0.1, "warm_up": 0.03} if job["threads"] > 1 else {}
    plan = Plan(job["repeats"], job["seconds"], **waits)
    for fields in job["cases"]:
        case = Case(**fields | {"shape": tuple(fields["shape"])})
        _say(begin=str(case))
        _say(record=measure(case, peers, job["threads"], plan))


def _say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def measure(case: Case, peers: list[Peer], threads: int, plan: Plan) -> dict[str, Any]:
    """Time one case in all its peers and modes."""
    arrays = Arrays(case)
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    absent: dict[str, str] = {}
    memory: dict[tuple[str, str], int | None] = {}
    expected = None
    for peer in peers:
        for mode, reuse in MODES.items():
            try:
                call = peer.prepare(case, arrays, reuse)
                with machine.PeakMemory() as peak:
                    result = call()
                sample = _sample(peer, result)
            except Exception as error:  # whatever a peer raises, it cannot do this case
                absent[f"{peer.name} {mode}"] = _first_line(error)
                continue
            del result
            expected = sample if expected is None else expected
            if not (case.operation in DRAWS or _agree(sample, expected, case.dtype)):
                absent[f"{peer.name} {mode}"] = "gives another result"
                continue
            calls[peer.name, mode] = call
            memory[peer.name, mode] = peak.growth
    baseline = OPERATIONS[case.operation].baseline
    calls["baseline", baseline] = _BASELINES[baseline](arrays, threads)
    calls["baseline", baseline]()
    timings = interleave(calls, plan)
    return {
        **asdict(case),
        "threads": threads,
        "date": datetime.date.today().isoformat(),
        "nbytes": case.nbytes,
        "times": {
            f"{name} {mode}": timing.as_dict() | {"memory": memory.get((name, mode))}
            for (name, mode), timing in timings.items()
            if name != "baseline"
        },
        "baseline": timings["baseline", baseline].as_dict() | {"name": baseline},
        "absent": absent,
    }


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _sample(peer: Peer, result: Any) -> np.ndarray:
    """The first entries of a result: enough to see who does the same task."""
    return np.array(peer.last_array(result).ravel()[:4096], dtype=np.float64)


def _agree(sample: np.ndarray, expected: np.ndarray, dtype: str) -> bool:
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=1e-6)
    return sample.shape == expected.shape and np.allclose(
        sample, expected, rtol=0, atol=AGREEMENT[dtype] * largest
    )


def _split(count: int, parts: int) -> list[slice]:
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _copy(a: Arrays, threads: int) -> Callable[[], object]:
    """np.copyto of x, in equal parts on as many threads."""
    x, y = a.x.ravel(), np.ones(a.x.size, a.x.dtype)
    if threads == 1 or x.nbytes < SPLIT_FROM:
        return partial(np.copyto, y, x)
    parts = _split(x.size, threads)
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: np.copyto(y[part], x[part]), parts))


def _sum(a: Arrays, threads: int) -> Callable[[], object]:
    """np.sum of as many bytes as x has: what it costs to read them."""
    x = a.x.ravel()
    if x.itemsize == 2:  # NumPy adds 16-bit floats one by one
        x = np.ones(-(-x.nbytes // 4), np.float32)
    if threads == 1 or x.nbytes < SPLIT_FROM:
        return x.sum
    parts = _split(x.size, threads)
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: x[part].sum(), parts))


def _softmax_in_place(a: Arrays, threads: int) -> Callable[[], object]:
    import softmax

    x = a.x.copy()
    return lambda: softmax.softmax(x, axis=a.axis, out=x)


def _matrix_products(a: Arrays, threads: int) -> Callable[[], object]:
    """X W', G W and G' X, the last two with the logits in the place of G."""
    logits = np.empty((len(a.features), len(a.weight)), a.dtype)

    def products() -> None:
        np.matmul(a.features, a.weight.T, out=logits)
        np.matmul(logits, a.weight)
        np.matmul(logits.T, a.features)

    return products


_BASELINES = {
    "copy": _copy,
    "sum": _sum,
    "softmax in place": _softmax_in_place,
    "matrix products": _matrix_products,
}


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(1)  # nobody reads any more
