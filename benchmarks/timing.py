"""Interleaved timing: every contestant takes its turn within each repeat.

Noise that comes and goes (another process, a clock that drops) then hits all alike, and a ratio of
medians means something. A sample is as many calls as it takes to last two milliseconds.
"""

import gc
import time
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from itertools import repeat
from statistics import quantiles

SHORTEST_SAMPLE = 2e-3  # seconds
FEWEST_SAMPLES = 3


@dataclass(frozen=True)
class Plan:
    """How long to measure: samples of each contestant, and seconds after which it has enough."""

    repeats: int = 15
    seconds: float = 3.0
    # Before each turn: seconds for the idle threads of the one before to fall asleep, and then
    # seconds of calls that nobody counts, for one's own to wake up.
    pause: float = 0.0
    warm_up: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds a call."""

    median: float
    spread: float  # the interquartile range
    samples: int
    calls: int  # in each sample

    as_dict = asdict


class _Contestant:
    def __init__(self, call: Callable[[], object], plan: Plan):
        self.call, self.plan = call, plan
        self.calls = 1
        while (elapsed := self.run()) < SHORTEST_SAMPLE:
            # Aim a little beyond; never trust a first impression by more than a factor of ten.
            self.calls *= min(10, 1 + int(1.2 * SHORTEST_SAMPLE / elapsed))
        enough = int(plan.seconds / elapsed)
        self.turns = max(min(FEWEST_SAMPLES, plan.repeats), min(plan.repeats, enough))
        self.samples: list[float] = []

    def run(self) -> float:
        """Return the seconds that `calls` calls take."""
        call = self.call
        start = time.perf_counter()
        for _ in repeat(None, self.calls):
            call()
        return time.perf_counter() - start

    def has_turn(self, repeat_index: int) -> bool:
        """Spread few turns evenly over all repeats."""
        turns, repeats = self.turns, self.plan.repeats
        return (repeat_index + 1) * turns // repeats > repeat_index * turns // repeats

    def take_turn(self) -> None:
        if self.plan.pause:
            time.sleep(self.plan.pause)
        start = time.perf_counter()
        if self.calls > 1 or self.plan.warm_up:
            self.call()  # brings its arrays back into the cache
        while time.perf_counter() - start < self.plan.warm_up:
            self.call()
        self.samples.append(self.run() / self.calls)

    def timing(self) -> Timing:
        samples = self.samples if len(self.samples) > 1 else 2 * self.samples
        low, middle, high = quantiles(samples, n=4, method="inclusive")
        return Timing(middle, high - low, len(self.samples), self.calls)


def interleave(calls: dict[Hashable, Callable[[], object]], plan: Plan) -> dict[Hashable, Timing]:
    """Time calls that have all been made once already."""
    contestants = {key: _Contestant(call, plan) for key, call in calls.items()}
    order = list(contestants.values())
    gc.collect()
    gc.disable()
    try:
        for index in range(plan.repeats):
            for contestant in order:
                if contestant.has_turn(index):
                    contestant.take_turn()
            order.append(order.pop(0))  # nobody always follows the same neighbour
    finally:
        gc.enable()
    return {key: contestant.timing() for key, contestant in contestants.items()}
