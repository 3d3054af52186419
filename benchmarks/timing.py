"""How things are compared: candidates take turns in one run, and only ratios to the bare baseline are told."""

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

_SMALL = 0.2
"""Ratios below this are printed with three digits."""


class Ratio(NamedTuple):
    """How many times the baseline something costs: the median over all rounds, and the extremes.

    In a row with a unit they are figures in that unit instead.
    """

    median: float
    low: float
    high: float

    def texts(self) -> tuple[str, str, str]:
        """Return the three figures as they are printed."""
        digits = 3 if self.median < _SMALL else 2
        return f"{self.median:.{digits}f}", f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"


class Row(NamedTuple):
    """One line of the table. ``limit`` and ``aim`` are the design's figures; a ratio above ``limit`` is a miss.

    A row with a ``unit`` has a limit in that unit; the baseline then stands beside it as a peer.
    """

    what: str
    baseline: str
    seconds: float
    ours: Ratio
    limit: float
    aim: float
    peers: dict[str, Ratio]
    unit: str = ""

    @property
    def passes(self) -> bool:
        """Whether the median is within the limit."""
        return self.ours.median <= self.limit

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values; ``seconds`` is the baseline's median."""
        return {
            "what": self.what,
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_seconds": self.seconds,
            "ours": self.ours._asdict(),
            "limit": self.limit,
            "aim": self.aim,
            "passes": self.passes,
            "peers": {name: ratio._asdict() for name, ratio in self.peers.items()},
        }


def take_turns(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time each candidate once a round, in a new order each round.

    Args:
        candidates: by name; a call's work must be the same every time.
        rounds: how often each is timed.
        calls: how many calls make one timing.
        clock: what reads the seconds; ``time.process_time`` for work that waits for nothing, so that other programs
            on this machine do not count.

    Returns:
        Seconds a call, one for each round.
    """
    order = list(candidates)
    shuffled = random.Random(1)  # noqa: S311 - an order, no secret
    found: dict[str, list[float]] = {name: [] for name in order}
    for name in order:
        candidates[name]()  # warm: imports, caches, page cache
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            call = candidates[name]
            gc.collect()
            gc.disable()
            started = clock()
            for _ in range(calls):
                call()
            found[name].append((clock() - started) / calls)
            gc.enable()
    return found


def ratio(times: list[float], baseline: list[float]) -> Ratio:
    """Compare round by round: what disturbs the machine for a while disturbs both sides of a ratio."""
    each = [ours / bare for ours, bare in zip(times, baseline, strict=True)]
    return Ratio(statistics.median(times) / statistics.median(baseline), min(each), max(each))


def spread(values: list[float]) -> Ratio:
    """Return the median and the extremes of figures that have a limit of their own."""
    return Ratio(statistics.median(values), min(values), max(values))


def compare(
    what: str,
    times: Mapping[str, list[float]],
    *,
    baseline: str,
    ours: str,
    limit: float,
    aim: float,
) -> Row:
    """Make the row of a table from what ``take_turns`` found; other names are peers."""
    bare = times[baseline]
    peers = {name: ratio(found, bare) for name, found in times.items() if name not in {baseline, ours}}
    return Row(what, baseline, statistics.median(bare), ratio(times[ours], bare), limit, aim, peers)
