"""Instants: RFC 3339 UTC timestamps in whole seconds, and the dates people type.

Every instant is an aware ``datetime`` in UTC without microseconds. Ends are exclusive: a period
that people call "through 31 May" ends at ``06-01T00:00:00Z``.
"""

import re
from datetime import UTC, datetime, timedelta

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a clock may lag behind a signed or recorded instant before it counts as set back."""

# RFC 3339 section 5.6 narrowed to seconds and `Z`. Hour 24 and second 60 are out: not every parser agrees on them.
_INSTANT = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z")
_DATE = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]")


def now_utc() -> datetime:
    """Return the present instant, in whole seconds (truncated). Read it once per run and pass it on."""
    return datetime.now(UTC).replace(microsecond=0)


def parse_instant(text: str) -> datetime:
    """Parse exactly ``YYYY-MM-DDTHH:MM:SSZ``.

    Raises:
        ValueError: for anything else, and for days that do not exist.
    """
    if _INSTANT.fullmatch(text) is None:
        msg = "not a UTC timestamp in seconds (YYYY-MM-DDTHH:MM:SSZ)"
        raise ValueError(msg)
    return datetime.fromisoformat(text)


def format_instant(instant: datetime) -> str:
    """Write an aware instant as ``YYYY-MM-DDTHH:MM:SSZ`` (fractions of a second are cut off)."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat(timespec="seconds")[:-6] + "Z"  # instead of "+00:00"


def parse_typed(text: str, *, end_of_day: bool) -> datetime:
    """Parse what a person typed: a date (``YYYY-MM-DD``) or a full timestamp.

    A date means its first instant, or with ``end_of_day`` through the end of that day in UTC, which
    is the exclusive instant at which the next day begins.

    Raises:
        KeyseatError: ``INVALID_INPUT`` that repeats the forms accepted.
    """
    typed = text.strip()
    try:
        if _DATE.fullmatch(typed):
            day = datetime.fromisoformat(typed + "T00:00:00+00:00")
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
