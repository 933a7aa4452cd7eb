"""scikit-learn's own tests of LogisticRegression, with this package in its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn


# The expected failures are listed for one version, whose tests these are.
@pytest.mark.skipif(not sklearn.__version__.startswith("1.9."), reason="scikit-learn 1.9's tests")
def test_scikit_learns_own_tests_pass(tmp_path: Path) -> None:
    """Swap the class in scikit-learn's test file, in a process that knows nothing of this suite."""
    paths = [str(Path(__file__).parent), *(path for path in sys.path if path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SKLEARN_TESTS_GLOBAL_RANDOM_SEED": "42",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    command += ["-p", "sklearn_swap", "--pyargs", "sklearn.linear_model.tests.test_logistic"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    fitted = re.search(r"(\d+) tests fitted the class", done.stdout)
    assert fitted is not None
    assert int(fitted[1]) >= 120
