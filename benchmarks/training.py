"""Training beside scikit-learn: the same data, threads and objective, fit call to fit call.

    make bench                                   after everything else, about an hour
    python -m benchmarks.training digits mnist   a part of it, in .venv

The lines land in benchmarks/results as training.json, those of a part in benchmarks/results/part.
The optimum is bounded from below by the duality gap of a long float64 run. Each of scikit-learn's
solvers gets the loosest tol on a grid with which it comes within 1e-4 of that, relatively; the
fastest of them is the peer. Both then take turns. On one thread the time is the processor's: that
of an idle machine, whatever else runs. Cases whose data are not there are left out.
"""

import argparse
import json
import lzma
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine, report
from benchmarks.peer import interrupts_deferred
from benchmarks.progress import progress

DATA = Path(os.environ.get("SOFTMAX_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RESULTS = Path(__file__).resolve().parent / "results"
WITHIN = 1e-4
TOLERANCES = [10 ** (-step / 2) for step in range(2, 15)]
PATIENCE = 300.0  # seconds of one fit, after which a solver is given up
FAST, ALL = ("lbfgs", "newton-cg"), ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")


@dataclass(frozen=True)
class Case:
    name: str
    load: Callable[[], tuple[Any, Any] | None]
    C: float
    solvers: tuple[str, ...]
    repeats: int
    wanted: float  # times faster


def small(name: str) -> Callable[[], tuple[Any, Any]]:
    def load() -> tuple[Any, Any]:
        from sklearn import datasets
        from sklearn.preprocessing import StandardScaler

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return StandardScaler().fit_transform(X), y

    return load


def mnist() -> tuple[Any, Any] | None:
    import numpy as np

    path = DATA / "mnist.npz"
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return arrays["X_train"].astype(np.float32) / 255, arrays["y_train"].astype(int)


def newsgroups() -> tuple[Any, Any] | None:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    path = DATA / "20news.jsonl.xz"
    if not path.exists():
        return None
    with lzma.open(path, "rt") as lines:
        posts = [post for post in map(json.loads, lines) if post["split"] == "train"]
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True, dtype=np.float32)
    X = vectorizer.fit_transform(post["text"] for post in posts)
    return X, np.unique([post["label"] for post in posts], return_inverse=True)[1]


def embeddings(n: int = 100_000, d: int = 768, n_classes: int = 1000) -> tuple[Any, Any]:
    """Rows around the mean of their class: a fourth of what a feature varies by."""
    import numpy as np

    rng = np.random.default_rng(0)
    means = rng.standard_normal((n_classes, d), dtype=np.float32)
    y = rng.integers(0, n_classes, n)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X += means[y] / 4
    return X, y


CASES = [
    Case("iris", small("iris"), 1.0, ALL, 31, 3),
    Case("wine", small("wine"), 1.0, ALL, 31, 3),
    Case("digits", small("digits"), 1.0, ALL, 15, 3),
    Case("mnist C=0.01", mnist, 0.01, FAST, 3, 5),
    Case("mnist C=1", mnist, 1.0, FAST, 1, 5),
    Case("newsgroups C=10", newsgroups, 10.0, FAST, 3, 3),
    Case("embeddings C=1", embeddings, 1.0, ("lbfgs",), 1, 3),
]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="what names begin with; also: unscaled, predict")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    environment = machine.thread_environment(arguments.threads)
    if os.environ.get("OMP_NUM_THREADS") != environment["OMP_NUM_THREADS"]:
        os.execve(sys.executable, [*sys.orig_argv], environment)  # read once, at import
    machine.pin(arguments.threads)
    results = {"machine": machine.describe(), "threads": arguments.threads, "lines": []}
    directory = RESULTS / ("part" if arguments.names else "")
    asked = parts(arguments.names)
    try:
        with interrupts_deferred():
            import sklearn.linear_model  # noqa: F401

            import softmax.learn  # noqa: F401
        with progress(len(asked)) as shown:
            shown.note(f"{machine.cpu_model(machine.describe())}, threads: {arguments.threads}")
            for name, measured in asked.items():
                shown.begin(name)
                line = measured()
                results["lines"].append(line)
                report.write_text(directory / "training.json", json.dumps(results, indent=1))
                shown.done(line)
    except KeyboardInterrupt:
        print("Stopped; what was measured stands above.")
        return 130
    return 0


def parts(names: list[str]) -> dict[str, Callable[[], str]]:
    """Return what is asked for by the beginnings of names, and what measures each."""
    every: dict[str, Callable[[], str]] = {case.name: partial(measure, case) for case in CASES}
    every |= {"unscaled": unscaled, "predict": predictions}
    return {
        name: measured
        for name, measured in every.items()
        if not names or any(name.startswith(begin) for begin in names)
    }


def measure(case: Case) -> str:
    data = case.load()
    return f"{case.name}: no data" if data is None else contest(case, *data)


def contest(case: Case, X: Any, y: Any) -> str:
    """Return one line about one case."""
    import numpy as np

    from softmax.learn import SoftmaxRegression

    with machine.PeakMemory() as memory:
        model, ours = timed(lambda: SoftmaxRegression(C=case.C).fit(X, y))
    tight = X if case.name.startswith("embeddings") else X.astype(np.float64)
    best = SoftmaxRegression(C=case.C, tol=1e-6).fit(tight, y)
    lowest = best.history_["objective"][-1] - best.duality_gap_
    above = objective(X, y, model, case.C) / lowest - 1
    found = peer(case, X, y, lowest)
    text = f"{case.name}: {above:.1e} above the optimum"
    if memory.growth is not None:
        text += f", {memory.growth / 2**20:.0f} MiB beyond the data"
    if found is None:
        return f"{text}, {ours:.4g} s; no solver of scikit-learn reached it in {PATIENCE:.0f} s"
    fit, name = found
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(case.repeats):
        times["ours"].append(timed(lambda: SoftmaxRegression(C=case.C).fit(X, y))[1])
        times["theirs"].append(timed(fit)[1])
    mine, other = median(times["ours"]), median(times["theirs"])
    return (
        f"{text}, {mine:.4g} s; scikit-learn {name} {other:.4g} s: "
        f"{other / mine:.2f} times faster (wanted {case.wanted:g})"
    )


def peer(case: Case, X: Any, y: Any, lowest: float) -> tuple[Callable[[], Any], str] | None:
    """Return the fastest solver of scikit-learn, with the loosest tol that is enough."""
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, Callable[[], Any], str] | None = None
    for solver in case.solvers:
        for tol in TOLERANCES:

            def fit(solver: str = solver, tol: float = tol) -> Any:
                with warnings.catch_warnings(action="ignore"):
                    return LogisticRegression(
                        C=case.C, solver=solver, tol=tol, max_iter=10_000
                    ).fit(X, y)

            model, seconds = timed(fit)
            if objective(X, y, model, case.C) <= lowest * (1 + WITHIN):
                seconds = min(seconds, timed(fit)[1]) if seconds < 1 else seconds
                if best is None or seconds < best[0]:
                    best = seconds, fit, f"{solver} tol={tol:.0e}"
                break
            if seconds > PATIENCE:
                break
    return None if best is None else best[1:]


def objective(X: Any, y: Any, model: Any, C: float) -> float:
    """Return mean loss and penalty, in float64 and in chunks."""
    import numpy as np
    from scipy.special import log_softmax

    coef = model.coef_.astype(np.float64)
    total = 0.0
    for start in range(0, X.shape[0], 5000):
        part = slice(start, start + 5000)
        log_p = log_softmax(X[part].astype(np.float64) @ coef.T + model.intercept_, axis=1)
        total -= float(log_p[np.arange(len(log_p)), y[part]].sum())
    return (total + float((coef**2).sum()) / (2 * C)) / X.shape[0]


def unscaled() -> str:
    """Return what columns of unlike scale cost."""
    import numpy as np

    from softmax.learn import SoftmaxRegression

    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 16))
    y = (X @ rng.normal(size=(16, 26)) + rng.gumbel(size=(8000, 26))).argmax(1)
    times: list[list[float]] = [[], []]
    for _ in range(7):
        for kept, rows in zip(times, (X, X * np.geomspace(1e-3, 1e3, 16)), strict=True):
            kept.append(timed(lambda rows=rows: SoftmaxRegression().fit(rows, y))[1])
    scaled, stretched = map(median, times)
    return (
        f"unscaled columns: {stretched:.4g} s, scaled {scaled:.4g} s: "
        f"{stretched / scaled:.2f} of it (wanted at most 3)"
    )


def predictions(n: int = 200_000, d: int = 100, n_classes: int = 1000) -> str:
    """Return what probabilities of many classes cost."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    from softmax.learn import SoftmaxRegression

    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    model, theirs = SoftmaxRegression(), LogisticRegression()
    for one in (model, theirs):
        one.coef_ = rng.standard_normal((n_classes, d), dtype=np.float32)
        one.intercept_ = rng.standard_normal(n_classes, dtype=np.float32)
        one.classes_, one.n_features_in_ = np.arange(n_classes), d
    with machine.PeakMemory() as memory:
        size = model.predict_proba(X).nbytes
    times: list[list[float]] = [[], []]
    for _ in range(3):
        for kept, one in zip(times, (model, theirs), strict=True):
            kept.append(timed(lambda one=one: one.predict_proba(X))[1])
    mine, other = map(median, times)
    extra = "" if memory.growth is None else f", {(memory.growth - size) / 2**20:.0f} MiB beyond it"
    return (
        f"predict_proba {n} x {d}, {n_classes} classes: {mine:.4g} s{extra}; "
        f"scikit-learn {other:.4g} s: {other / mine:.2f} times faster (wanted 2)"
    )


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    one_thread = os.environ.get("OMP_NUM_THREADS") == "1"
    clock = time.process_time if one_thread else time.perf_counter
    began = clock()
    result = call()
    return result, clock() - began


if __name__ == "__main__":
    sys.exit(main())
