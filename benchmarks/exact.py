"""The way to the oracle and the table of functions, which live with the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import catalog
import families
import oracle

__all__ = ["catalog", "families", "oracle"]
