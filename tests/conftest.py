"""Fixtures: the two sets of kernels every function runs on, and a profile for Hypothesis."""

import importlib
import sys

import hypothesis
import pytest

import softmax

hypothesis.settings.register_profile(
    "suite", max_examples=60, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("suite")


def _kernels(name):
    if name == "reference":
        return importlib.import_module("softmax._reference")
    return pytest.importorskip("softmax._core", reason="the native kernels were not compiled")


# A module at a time, so that Hypothesis may run many examples on one choice.
@pytest.fixture(scope="module", params=["native", "reference"])
def kernels(request):
    """Run the test on the native kernels and on their NumPy twin."""
    chosen = _kernels(request.param)
    with pytest.MonkeyPatch.context() as patch:
        rooms = [m for name, m in sys.modules.items() if name.split(".")[0] == softmax.__name__]
        for room in rooms:
            if hasattr(room, "kernels"):
                patch.setattr(room, "kernels", chosen)
        yield chosen


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Run the test in an empty folder."""
    monkeypatch.chdir(tmp_path)
