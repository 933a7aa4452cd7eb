"""Threads around the kernels: forked children, limits set by others, and an interrupt."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import softmax as sm

pytestmark = pytest.mark.skipif(
    not sm.build_info()["openmp"], reason="the kernels run on one thread"
)


def run_script(source, *, timeout, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True, text=True, timeout=timeout, check=False, **kwargs,
    )  # fmt: skip


def test_a_child_forked_after_use_works():
    """The child has none of its parent's threads, and starts its own."""
    result = run_script(
        """
        import os
        import numpy as np
        import softmax

        x = np.random.default_rng(0).normal(size=(128, 5000)).astype(np.float32)
        softmax.set_num_threads(2)
        before = softmax.softmax(x)
        child = os.fork()
        if child == 0:
            same = np.array_equal(softmax.softmax(x), before)
            tasks = "/proc/self/task"  # of Linux alone
            helped = not os.path.exists(tasks) or len(os.listdir(tasks)) == 2
            os._exit(0 if same and helped else 1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
        """,
        timeout=60,
    )
    assert result.stdout == "0\n", result.stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="Linux tells")
def test_short_work_is_shared_where_more_follows():
    """One call alone would wait for a thread to be woken longer than that thread could help."""
    result = run_script(
        """
        import os, time
        import numpy as np
        import softmax

        x = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
        softmax.set_num_threads(2)
        child = os.fork()  # which has no threads but its own
        if child == 0:
            def threads():
                softmax.softmax(x)
                return len(os.listdir("/proc/self/task"))

            alone = threads()
            time.sleep(0.1)
            again = threads()
            soon = any(threads() == 2 for _ in range(1000))
            os._exit(0 if (alone, again, soon) == (1, 1, True) else 1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
        """,
        timeout=60,
    )
    assert result.stdout == "0\n", result.stderr


def may_choose_processors():
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return False
    return True


@pytest.mark.skipif(not may_choose_processors(), reason="the system does not let threads choose")
@pytest.mark.parametrize("processors", [1, 2])
def test_helpers_may_run_wherever_the_process_may(processors):
    """One that is woken leaves its caller's processor, and may come back."""
    if len(os.sched_getaffinity(0)) < processors:
        pytest.skip("has too few processors")
    result = run_script(
        f"""
        import os, time
        allowed = set(sorted(os.sched_getaffinity(0))[:{processors}])
        os.sched_setaffinity(0, allowed)
        import numpy as np
        import softmax

        x = np.random.default_rng(0).normal(size=(32, 32000)).astype(np.float32)
        softmax.set_num_threads(1)
        before = softmax.softmax(x)
        alone = len(os.listdir("/proc/self/task"))
        softmax.set_num_threads(2)
        for _ in range(50):
            assert np.array_equal(softmax.softmax(x), before)
            time.sleep(0.005)
        tasks = [int(task) for task in os.listdir("/proc/self/task")]
        print(len(tasks) > alone, all(os.sched_getaffinity(task) == allowed for task in tasks))
        """,
        timeout=60,
    )
    assert result.stdout == "True True\n", result.stderr


def test_several_callers_at_once_and_forks_between_them():
    result = run_script(
        """
        import os, threading, time
        import numpy as np
        import softmax

        x = np.random.default_rng(0).normal(size=(64, 8000)).astype(np.float32)
        expected = softmax.softmax(x)
        wrong = []

        def call_for_a_second():
            softmax.set_num_threads(4)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                wrong.extend([1] * (not np.array_equal(softmax.softmax(x), expected)))

        callers = [threading.Thread(target=call_for_a_second) for _ in range(4)]
        for caller in callers:
            caller.start()
        softmax.set_num_threads(4)
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(not np.array_equal(softmax.softmax(x), expected))
            wrong.extend([1] * (os.waitpid(child, 0)[1] != 0))
        for caller in callers:
            caller.join()
        print(len(wrong))
        """,
        timeout=60,
    )
    assert result.stdout == "0\n", result.stderr


def test_a_limit_set_by_threadpoolctl_is_honoured():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with sm.num_threads(4):
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            assert sm.get_num_threads() == 1
        assert sm.get_num_threads() == 4


def test_omp_num_threads_is_honoured():
    result = run_script(
        "import softmax; print(softmax.get_num_threads())",
        timeout=60, env={**os.environ, "OMP_NUM_THREADS": "3"},
    )  # fmt: skip
    assert result.stdout == "3\n", result.stderr


@pytest.mark.parametrize("shape", [(1, 100_000_000), (2000, 50_000)])
def test_an_interrupt_stops_a_long_call_within_a_second(shape):
    source = textwrap.dedent(
        f"""
        import time
        import numpy as np
        import softmax

        x = np.zeros({shape}, np.float32)
        print("started", flush=True)
        try:
            while True:
                softmax.softmax(x)
        except KeyboardInterrupt:
            print(time.time())
        """
    )
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "started\n"
        time.sleep(0.5)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        stopped = float(process.communicate(timeout=30)[0])
    finally:
        process.kill()
    assert stopped - sent < 1.0


def test_threads_share_one_long_row_to_the_same_bits():
    x = np.random.default_rng(1).normal(size=1_000_003)
    with sm.num_threads(1):
        one = sm.softmax(x), sm.log_softmax(x)
    with sm.num_threads(3):
        three = sm.softmax(x), sm.log_softmax(x)
    assert np.array_equal(one[0], three[0])
    assert np.array_equal(one[1], three[1])
