"""Instants: RFC 3339 UTC timestamps in whole seconds, and the dates people type.

Every instant is an aware ``datetime`` in UTC without microseconds. Ends are exclusive: a period
that people call "through 31 May" ends at ``06-01T00:00:00Z``.
"""

import functools
from datetime import UTC, datetime, timedelta

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a clock may lag behind a signed or recorded instant before it counts as set back."""

_SIZE = len("YYYY-MM-DDTHH:MM:SSZ")
_DATE_SIZE = len("YYYY-MM-DD")
_FORM = "0000-00-00T00:00:00Z"
_DIGITS_TO_0 = dict.fromkeys(map(ord, "123456789"), "0")
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC, microsecond=0)


def now_utc() -> datetime:
    """Return the present instant, in whole seconds (truncated). Read it once per run and pass it on."""
    return datetime.now(UTC).replace(microsecond=0)


def parse_instant(text: str) -> datetime:
    """Parse exactly ``YYYY-MM-DDTHH:MM:SSZ``.

    Raises:
        ValueError: for anything else, and for days that do not exist.
    """
    # RFC 3339 section 5.6 narrowed to seconds and `Z`. Digits and marks stand at their places, so the standard reader,
    # which knows more spellings in every version, checks only the numbers. Hour 24 is out: some versions take it.
    if text.translate(_DIGITS_TO_0) != _FORM or text[11:13] == "24":
        msg = "not a UTC timestamp in seconds (YYYY-MM-DDTHH:MM:SSZ)"
        raise ValueError(msg)
    return datetime.fromisoformat(text)


def shifted(instant: datetime, by: timedelta) -> datetime:
    """Return an instant earlier or later; at most the first and last of the years 1 to 9999, which files may name."""
    try:
        return instant + by
    except OverflowError:
        return _FIRST if by < timedelta() else _LAST


@functools.lru_cache(maxsize=64)  # the leases of one turn name the same few instants: 4 % of the time of a renewal
def format_instant(instant: datetime) -> str:
    """Write an aware instant as ``YYYY-MM-DDTHH:MM:SSZ`` (fractions of a second are cut off)."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat()[: _SIZE - 1] + "Z"  # without a fraction and "+00:00"


def parse_typed(text: str, *, end_of_day: bool) -> datetime:
    """Parse what a person typed: a date (``YYYY-MM-DD``) or a full timestamp.

    A date means its first instant, or with ``end_of_day`` through the end of that day in UTC, which
    is the exclusive instant at which the next day begins.

    Raises:
        KeyseatError: ``INVALID_INPUT`` that repeats the forms accepted.
    """
    typed = text.strip()
    try:
        if len(typed) == _DATE_SIZE:
            day = parse_instant(typed + "T00:00:00Z")
            return day + timedelta(days=1) if end_of_day else day
        return parse_instant(typed)
    except (ValueError, OverflowError):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{typed[:40]!r} is not a date",
            next_step="Write a date as YYYY-MM-DD, or an instant as YYYY-MM-DDTHH:MM:SSZ (UTC).",
        ) from None


def add_years(start: datetime, years: int) -> datetime:
    """Return the same calendar day ``years`` later; 29 February becomes 28 February in common years."""
    try:
        return start.replace(year=start.year + years)
    except ValueError:
        return start.replace(year=start.year + years, day=28)


def whole_years(start: datetime, end: datetime) -> int:
    """Return the number of whole years from ``start`` to ``end``, or 0 where the period is not a whole number."""
    years = end.year - start.year
    return years if years >= 1 and add_years(start, years) == end else 0


def exceeds_years(start: datetime, end: datetime, years: int) -> bool:
    """Tell whether a period is longer than ``years`` calendar years (of 366 days at most)."""
    span = end.year - start.year  # the sum may lie beyond the year 9999
    return span > years or (span == years and add_years(start, years) < end)
