"""The README's table: error and time of softmax in float32, ours and the peers'."""

from pathlib import Path

import numpy as np

from benchmarks.cases import MATRIX, Arrays, Case
from benchmarks.exact import oracle
from benchmarks.peer import Peer, installed
from benchmarks.peers import PEERS
from benchmarks.report import readme_table, write_text

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
CHECKED = 1 << 21  # entries of a case that are held against the oracle, in whole slices


def short_table(results: dict) -> str:
    """The table from the records of one thread, with errors measured now."""
    cases = [Case("softmax", "float32", shape, axis) for shape, axis in MATRIX]
    records = {case: record for case in cases if (record := _record(results["records"], case))}
    peers = installed(PEERS, threads=1, note=print)
    errors = [largest_errors(case, peers) for case in records]
    return readme_table(list(records.values()), errors, results["machine"])


def put_into(readme: Path, table: str) -> str:
    """Put the table between the two markers, and say what was done."""
    text = readme.read_text() if readme.exists() else ""
    if BEGIN not in text or END not in text:
        return f"{readme.name} has no {BEGIN} and {END}: nothing was written there."
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    write_text(readme, f"{before}{BEGIN}\n{table}{END}{after}")
    return f"Written into {readme.name}."


def largest_errors(case: Case, peers: list[Peer]) -> dict[str, float]:
    """Each peer's largest error in ulp, over slices taken evenly from the whole result."""
    arrays = Arrays(case)
    chosen = _slices_of(arrays.x, case.axis)
    exact = oracle.softmax(chosen)
    errors = {}
    for peer in peers:
        result = peer.last_array(peer.prepare(case, arrays)())
        got = _slices_of(result, case.axis)
        errors[peer.name] = float(oracle.ulp_error(got, exact, np.float32).max())
    return errors


def _slices_of(array: np.ndarray, axis: int) -> np.ndarray:
    rows = np.moveaxis(array, axis, -1)
    step = max(1, rows.size // CHECKED)
    return np.ascontiguousarray(rows[::step])


def _record(records: list[dict], case: Case) -> dict | None:
    for record in records:
        same = all(record[key] == getattr(case, key) for key in ("operation", "dtype", "variant"))
        if same and tuple(record["shape"]) == case.shape and record["threads"] == 1:
            return record
    return None
