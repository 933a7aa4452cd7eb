"""Without a compiler the pure-Python package is installed, and works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_without_a_compiler_the_python_package_is_installed(tmp_path):
    pytest.importorskip("scikit_build_core")
    target = tmp_path / "site"
    environment = {
        **os.environ,
        "CC": "/nowhere/cc",
        "CXX": "/nowhere/c++",
        "SKBUILD_BUILD_DIR": str(tmp_path / "build"),
    }
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", str(target), str(ROOT)],
        env=environment, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert not list(target.glob("softmax/_core*"))
    script = (
        "import softmax; print(softmax.__file__); print(softmax.build_info()['native']);"
        "print(softmax.softmax([0.0, 0.0]))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(target)}, cwd=tmp_path,
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert Path(shown[0]).is_relative_to(target)
    assert shown[1:] == ["False", "[0.5 0.5]"]
