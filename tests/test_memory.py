"""Large results live in memory that earlier ones gave back."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import softmax as sm
from softmax._kernels import kernels

pytestmark = pytest.mark.skipif(
    not kernels.build_info()["native"], reason="NumPy allocates what the NumPy kernels return"
)

LARGE = (600, 1000)


def large(shape=LARGE):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("shape", [LARGE, (100, 1000)])
def test_the_next_result_lies_where_the_last_one_lay(shape):
    x = large(shape)
    first = sm.softmax(x)
    expected, place = first.copy(), first.ctypes.data
    second = sm.softmax(x)  # the first is still in use
    assert second.ctypes.data != place
    del first
    np.negative(x, out=x)
    third = sm.softmax(x)
    assert third.ctypes.data == place
    assert np.array_equal(second, expected)


@pytest.mark.parametrize("behind", [0, 4, 16, 32, 48, 60])
def test_where_in_a_cache_line_results_begin(behind):
    """Of rows where entries do, to 16 bytes; of softmax's and of few columns at its start."""
    buffer = np.zeros(LARGE[0] * LARGE[1] + 32, np.float32)
    start = (behind - buffer.ctypes.data) % 64 // 4
    x = buffer[start : start + LARGE[0] * LARGE[1]].reshape(LARGE)
    assert x.ctypes.data % 64 == behind
    assert sm.log_softmax(x).ctypes.data % 64 == behind // 16 * 16
    assert sm.softmax(x).ctypes.data % 64 == 0
    assert sm.softmax(x, axis=0).ctypes.data % 64 == 0


def test_results_are_arrays_like_others():
    result = sm.softmax(large())
    assert result.flags.owndata
    assert result.flags.writeable
    first_row = result[0].copy()
    result.resize((2 * LARGE[0], LARGE[1]), refcheck=False)
    assert np.array_equal(result[0], first_row)
    assert not result[LARGE[0] :].any()
    result.resize((1, LARGE[1]), refcheck=False)
    assert np.array_equal(result[0], first_row)


def test_only_large_results_and_no_other_arrays():
    from numpy._core.multiarray import get_handler_name

    x = large()
    assert get_handler_name(sm.softmax(x)) == "softmax"
    masked = sm.softmax(x, where=x > 0)
    assert get_handler_name(masked if masked.base is None else masked.base) == "softmax"
    assert get_handler_name(sm.softmax(x[0])) == "default_allocator"
    assert get_handler_name(np.empty(LARGE)) == "default_allocator"


def test_memory_of_another_size_is_not_taken():
    place = sm.softmax(large()).ctypes.data
    assert sm.softmax(large((6000, 1000))).ctypes.data != place
    assert sm.softmax(large()).ctypes.data == place


def test_what_does_not_fit_is_an_error():
    x = np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 44, 8), (0, 0))
    with pytest.raises(MemoryError):
        sm.softmax(x)


def test_results_of_many_threads():
    inputs = [large((300 + 40 * i, 1000)) * i for i in range(6)]
    expected = [sm.softmax(x) for x in inputs]
    wrong = []

    def work(index):
        for _ in range(30):
            if not np.array_equal(sm.softmax(inputs[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i % 6,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_has_its_own():
    x = large()
    expected = sm.softmax(x)
    kept = sm.softmax(x).ctypes.data  # given back at once
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        result = sm.softmax(x)
        fine = result.ctypes.data == kept and np.array_equal(result, expected)
        os._exit(0 if fine else 1)
    mine = sm.softmax(x)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(sm.softmax(x), expected)
    assert mine.ctypes.data == kept


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="Linux tells")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_system_may_take_what_is_not_in_use(threads):
    def lazily_free():
        with open("/proc/self/smaps_rollup") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if "LazyFree" in line)

    result = sm.softmax(large((6000, 1000)))
    before = lazily_free()
    with sm.num_threads(threads):
        del result
        sm.softmax(large((6000, 1000)))
    deadline = time.monotonic() + 10
    while lazily_free() < before + 10e6 and time.monotonic() < deadline:
        time.sleep(0.01)  # the helpers fall asleep first
    assert lazily_free() >= before + 10e6


# What a call needs beside its arrays stays with its thread, whose end gives it back to the system:
# a new thread for each call, once the same call has been made elsewhere.
GROWTH = """
import ctypes, re, sys, threading, time
import numpy as np
import softmax as sm

PR_SET_THP_DISABLE = 41  # or a few bytes could count as a page of 2 MiB
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)

def held():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"Anonymous:\\s+(\\d+)", file.read())[1])

def growth(call):
    call()
    found = []
    def work():
        before = held()
        call()
        found.append(held() - before)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    time.sleep(0.01)  # until what it had has been given back
    return found[0]

dtype, columns = np.dtype(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
x = rng.standard_normal((9_000_000 // columns, columns), np.float32).astype(dtype)
x[:, 7] = 35  # more than all others together
out, labels, where = np.ones_like(x), rng.integers(0, columns, len(x)), x > -2
weights = np.ones(columns, dtype)
for call in (
    lambda: sm.softmax(x, out=out),
    lambda: sm.softmax(out, out=out),
    lambda: sm.softmax(x, temperature=2, out=out),
    lambda: sm.softmax(x, where=where, out=out),
    lambda: sm.log_softmax(x, out=out),
    lambda: sm.logsumexp(x),
    lambda: sm.logsumexp(x, weights=weights),
    lambda: sm.cross_entropy(x, labels, return_grad=True, out=out),
    lambda: sm.cross_entropy(x, labels, return_grad=True, z_loss=0.1, out=out),
):
    print(growth(call))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's figures")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("columns", [100, 3000, 40_000, 128_256, 196_608, 239_999, 300_013])
def test_working_memory_is_less_than_1_mib(dtype, columns):
    settings = {
        "MALLOC_MMAP_THRESHOLD_": "4096",
        "MALLOC_TRIM_THRESHOLD_": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", GROWTH, dtype, str(columns)]
    result = subprocess.run(
        command, env=os.environ | settings, check=True, capture_output=True, text=True
    )
    grown = [int(line) for line in result.stdout.split()]
    assert len(grown) == 9
    assert max(grown) < 1024, grown
