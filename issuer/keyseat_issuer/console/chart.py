"""The chart of daily use as numbers for an SVG: bars of two parts, a stepped line, and axes with round figures.

Lengths are in the units of the view box (``WIDTH`` by ``HEIGHT``), y grows downwards. The template gives the colours.
"""

import math
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from keyseat_issuer.ledger.seats.concurrency import DayPeak

WIDTH, HEIGHT = 960, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 16, 32
_GRID_TO = WIDTH - _RIGHT
_FLOOR = HEIGHT - _BOTTOM
_WIDEST_BAR = 40.0
_MOST_STEPS = 5
_FAR_ABOVE = 4
"""A quota of more than so many times the highest use is not drawn: the bars would be too low to be seen."""
_DAILY, _WEEKLY, _FORTNIGHTLY = 10, 45, 120
"""Up to so many days, every day, week or fortnight has its label; beyond, every month."""


class Bar(NamedTuple):
    """A day: the offline part stands on the floor, the online part upon it."""

    x: str
    width: str
    offline_y: str
    offline_height: str
    online_y: str
    online_height: str
    peak: DayPeak


class Label(NamedTuple):
    """A figure or a day on an axis, and where it stands on it."""

    at: str
    text: str


class Chart(NamedTuple):
    """Everything that is drawn. ``quota_path``: an SVG path, empty where no quota is drawn."""

    bars: list[Bar]
    rows: list[Label]
    columns: list[Label]
    quota_path: str
    quota_above: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _GRID_TO
    floor: int = _FLOOR


def draw(peaks: Sequence[DayPeak]) -> Chart:
    """Lay out the peaks of one day or more, one bar each."""
    used = max(peak.together for peak in peaks)
    quota = max(peak.quota for peak in peaks)
    above = used > 0 and quota > _FAR_ABOVE * used
    step, top = scale(used if above else max(used, quota))
    slot = (_GRID_TO - _LEFT) / len(peaks)
    return Chart(
        bars=[_bar(peak, _LEFT + number * slot, slot, top) for number, peak in enumerate(peaks)],
        rows=[Label(_text(_y(figure, top)), f"{figure:,}") for figure in range(0, top + 1, step)],
        columns=[
            Label(_text(_LEFT + (number + 0.5) * slot), text) for number, text in _days([peak.day for peak in peaks])
        ],
        quota_path=_line(peaks, slot, top),
        quota_above=above,
    )


def scale(highest: int) -> tuple[int, int]:
    """Return the step between the figures of an axis and its top: 1, 2 or 5 times a power of ten, up to 5 steps."""
    rough = max(1.0, highest / _MOST_STEPS)
    power: int = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return step, step * max(1, math.ceil(highest / step))


def _bar(peak: DayPeak, left: float, slot: float, top: int) -> Bar:
    width = min(slot * 0.8, _WIDEST_BAR)
    between, upper = _y(peak.offline, top), _y(peak.together, top)
    return Bar(
        x=_text(left + (slot - width) / 2),
        width=_text(width),
        offline_y=_text(between),
        offline_height=_text(_FLOOR - between),
        online_y=_text(upper),
        online_height=_text(between - upper),
        peak=peak,
    )


def _line(peaks: Sequence[DayPeak], slot: float, top: int) -> str:
    """Return the quota's path: it steps where the quota changes, and is broken where there is none, or too much."""
    path: list[str] = []
    before = 0
    for number, peak in enumerate(peaks):
        left, right = _text(_LEFT + number * slot), _text(_LEFT + (number + 1) * slot)
        if not 0 < peak.quota <= top:
            before = 0
            continue
        if not before:
            path.append(f"M{left} {_text(_y(peak.quota, top))}")
        elif before != peak.quota:
            path.append(f"V{_text(_y(peak.quota, top))}")
        path.append(f"H{right}")
        before = peak.quota
    return "".join(path)


def _days(days: Sequence[date]) -> list[tuple[int, str]]:
    """Return which days have a label, by their numbers; the newest day is always one of evenly spaced ones."""
    if len(days) > _FORTNIGHTLY:
        return [(number, f"{day:%b %Y}" if day.month == 1 else f"{day:%b}") for number, day in _months(days)]
    every = 1 if len(days) <= _DAILY else 7 if len(days) <= _WEEKLY else 14
    return [(number, f"{day.day} {day:%b}") for number, day in enumerate(days) if (len(days) - 1 - number) % every == 0]


def _months(days: Sequence[date]) -> list[tuple[int, date]]:
    return [(number, day) for number, day in enumerate(days) if day.day == 1]


def _y(figure: int, top: int) -> float:
    return _FLOOR - (_FLOOR - _TOP) * figure / top


def _text(length: float) -> str:
    return f"{length:.2f}".rstrip("0").rstrip(".")
