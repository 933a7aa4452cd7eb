"""What it takes to import the package, and what is there then."""

import os
import subprocess
import sys

import softmax as sm
import softmax.functions
import softmax.threads


def in_fresh_python(code):
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_import_pulls_in_numpy_alone():
    code = (
        "import sys, numpy, numpy.typing; before = set(sys.modules); import softmax;"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert in_fresh_python(code) == "softmax"


def test_import_is_quick():
    code = (
        "import numpy, time; start = time.process_time(); import softmax;"
        "print(time.process_time() - start)"
    )
    assert min(float(in_fresh_python(code)) for _ in range(3)) < 0.1


def test_table_of_contents():
    for name in sm.__all__:
        assert getattr(sm, name).__doc__
    assert set(sm.__all__) == set(dir(sm)) & set(sm.__all__)
