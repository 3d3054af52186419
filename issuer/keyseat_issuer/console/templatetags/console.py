"""Filters of the console's templates: instants and machine IDs as people read them."""

from datetime import UTC, date, datetime, timedelta

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from keyseat_shared.instants import format_instant

register = template.Library()

_SHOWN = len("mid1") + 10


@register.filter
def at(value: datetime) -> SafeString:
    """Return an instant to the minute, in UTC."""
    return _time(value, f"{_day(value)}, {value.astimezone(UTC):%H:%M} UTC")


@register.filter
def moment(value: datetime) -> SafeString:
    """Return an instant to the minute as tables show it: the month in three letters."""
    utc = value.astimezone(UTC)
    return _time(value, f"{utc.day} {utc:%b %Y, %H:%M} UTC")


@register.filter
def day(value: datetime) -> SafeString:
    """Return the day of an instant, in UTC."""
    return _time(value, _day(value))


@register.filter
def second(value: datetime) -> SafeString:
    """Return an instant to the second, in UTC; for columns that say that they are in UTC."""
    return _time(value, f"{_day(value)}, {value.astimezone(UTC):%H:%M:%S}")


@register.filter
def plain_day(value: date) -> str:
    """Return a date as people write it, as text alone."""
    return f"{value.day} {value:%B %Y}"


@register.filter
def day_of(value: date) -> SafeString:
    """Return a date as people write it."""
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), plain_day(value))


@register.filter
def figure(value: int) -> str:
    """Return a number with commas between its thousands."""
    return f"{value:,}"


@register.filter
def through(value: datetime) -> SafeString:
    """Return an exclusive end as people say it: its last day or, where it is not at midnight, its minute."""
    return _time(value, said_through(value))


def said_through(value: datetime) -> str:
    """Return what ``through`` shows, as plain text."""
    utc = value.astimezone(UTC)
    if (utc.hour, utc.minute, utc.second) == (0, 0, 0):
        return f"through {_day(utc - timedelta(seconds=1))}"
    return f"until {_day(utc)}, {utc:%H:%M} UTC"


@register.filter
def short_id(machine_id: str) -> str:
    """Return the beginning of a machine ID, as far as the names of licence files hold it."""
    return f"{machine_id[:_SHOWN]}…"


def _day(value: datetime) -> str:
    utc = value.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y}"


def _time(value: datetime, shown: str) -> SafeString:
    return format_html('<time datetime="{}">{}</time>', format_instant(value), shown)
