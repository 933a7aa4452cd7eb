"""A pytest plugin that runs SciPy's own tests of these functions against softmax.scipy.

It puts this package's functions in the place of SciPy's in each collected test module, and says at
the end how many tests called them.
"""

from functools import wraps

import softmax.scipy


class Swap:
    """Counts the tests that reach a replaced function."""

    def __init__(self):
        self.running = None
        self.called = set()

    def watched(self, function):
        @wraps(function)
        def call(*args, **keywords):
            self.called.add(self.running)
            return function(*args, **keywords)

        return call

    def pytest_itemcollected(self, item):
        for name in softmax.scipy.__all__:
            if hasattr(item.module, name):
                setattr(item.module, name, self.watched(getattr(softmax.scipy, name)))

    def pytest_runtest_call(self, item):
        self.running = item.nodeid

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.write_line(f"{len(self.called)} tests called softmax.scipy")


def pytest_configure(config):
    config.pluginmanager.register(Swap())
