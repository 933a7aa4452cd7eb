"""The examples in the docstrings run and say what they show."""

import doctest
import importlib
import pkgutil

import pytest

import softmax

MODULES = [
    module.name
    for module in pkgutil.walk_packages(softmax.__path__, "softmax.")
    if not module.name.endswith(("._core", ".__main__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
