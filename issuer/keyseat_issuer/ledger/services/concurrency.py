"""How many sessions were live at once, day by day, beside the seats bound offline and the quota: a sweep over instants.

Begins come from the database in order, ends wait in a heap that holds what is live: n sessions cost O(n log n) time
and, of memory, no more than the most that were live at once.
"""

import heapq
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db.models import Q

from keyseat_issuer.ledger.models import Lease, OfflineLicense, Organization, Pool
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

LONGEST = 366
"""Days that one question may cover."""

_ROWS = 2000
_DAY = timedelta(days=1)
_TICK = timedelta(seconds=1)
"""The ledger's instants are in whole seconds: what is live at ``now`` is live until the next one."""
_ONLINE, _OFFLINE, _QUOTA, _LINGERING = range(4)


class DayPeak(NamedTuple):
    """The most of a UTC day. The peaks of sessions (``online``) and offline seats may be at different instants.

    ``together``: the most of both at one instant. ``quota``: the seats of active subscriptions, the most in the day.
    ``reached``: at some instant both together were as many as the quota then in force. ``lingering``: the most leases
    that ran on at one instant although their sessions had ended.
    """

    day: date
    online: int
    offline: int
    together: int
    quota: int
    reached: bool
    lingering: int = 0


class _Begin(NamedTuple):
    at: datetime
    until: datetime
    what: int
    seats: int
    lingers: datetime
    """Until when a session's lease runs on: ``until`` or earlier where it does not."""


def daily_peaks(
    organization: Organization, product: str, first_day: date, last_day: date, now: datetime
) -> list[DayPeak]:
    """Return the peaks of each day from ``first_day`` through ``last_day``; what is after ``now`` counts nothing.

    A session is live from its start until it ended, or until its lease ran out: ``[start, end)``, as for licences and
    subscriptions.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where the period is empty or longer than ``LONGEST`` days.
    """
    days = (last_day - first_day).days + 1
    if not 1 <= days <= LONGEST:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{days} days cannot be shown",
            next_step=f"Ask for 1 to {LONGEST} days.",
        )
    since = _midnight(first_day)
    until = min(since + days * _DAY, now + _TICK)
    begins = heapq.merge(
        _quotas(organization, product, since, until),
        _sessions(organization, product, since, until),
        _offline(organization, product, since, until),
    )
    return _Sweep(first_day, days).run(begins, since, until)


class _Sweep:
    """Goes from instant to instant, and notes for each day the most it saw."""

    def __init__(self, first_day: date, days: int) -> None:
        self._first = first_day
        self._seen = [DayPeak(first_day + number * _DAY, 0, 0, 0, 0, reached=False) for number in range(days)]
        self._level = [0, 0, 0, 0]
        self._live: list[tuple[datetime, int, int, datetime]] = []

    def run(self, begins: Iterator[_Begin], since: datetime, until: datetime) -> list[DayPeak]:
        """Look at each midnight and each instant of ``[since, until)`` at which something changes; ends come first."""
        midnight, upcoming = since, next(begins, None)
        while True:
            at = min(
                midnight,
                until if upcoming is None else upcoming.at,
                self._live[0][0] if self._live else until,
            )
            if at >= until:
                return self._seen
            while self._live and self._live[0][0] == at:
                _end, what, seats, lingers = heapq.heappop(self._live)
                self._level[what] -= seats
                if at < lingers:
                    self._level[_LINGERING] += 1
                    heapq.heappush(self._live, (lingers, _LINGERING, 1, lingers))
            while upcoming is not None and upcoming.at == at:
                self._level[upcoming.what] += upcoming.seats
                heapq.heappush(self._live, (upcoming.until, upcoming.what, upcoming.seats, upcoming.lingers))
                upcoming = next(begins, None)
            self._look(at)
            if at == midnight:
                midnight += _DAY

    def _look(self, at: datetime) -> None:
        online, offline, quota, lingering = self._level
        number = (at.date() - self._first).days
        seen = self._seen[number]
        self._seen[number] = DayPeak(
            seen.day,
            max(seen.online, online),
            max(seen.offline, offline),
            max(seen.together, online + offline),
            max(seen.quota, quota),
            reached=seen.reached or 0 < quota <= online + offline,
            lingering=max(seen.lingering, lingering),
        )


def _sessions(organization: Organization, product: str, since: datetime, until: datetime) -> Iterator[_Begin]:
    # In the order of the index `lease_by_start`.
    rows = (
        Lease.objects.filter(organization=organization, product=product, started_at__lt=until)
        .filter(Q(ended_at__gt=since) | Q(ended_at__isnull=True, expires_at__gt=since) | Q(lingers_until__gt=since))
        .order_by("started_at")
        .values_list("started_at", "ended_at", "expires_at", "lingers_until")
    )
    for start, ended, expires, lingers in rows.iterator(_ROWS):
        end = ended or expires
        if since < end:
            yield from _begin(start, end, since, _ONLINE, 1, lingers)
        elif lingers is not None:
            yield from _begin(end, lingers, since, _LINGERING, 1)


def _offline(organization: Organization, product: str, since: datetime, until: datetime) -> Iterator[_Begin]:
    rows = (
        OfflineLicense.objects.filter(organization=organization, product=product)
        .filter(issued_at__lt=until, expires_at__gt=since)
        .order_by("issued_at")
        .values_list("issued_at", "expires_at", "allocation__count")
    )
    for start, end, seats in rows.iterator(_ROWS):
        yield from _begin(start, end, since, _OFFLINE, seats)


def _quotas(organization: Organization, product: str, since: datetime, until: datetime) -> Iterator[_Begin]:
    rows = (
        Pool.objects.filter(subscription__organization=organization, product=product)
        .filter(subscription__starts_at__lt=until, subscription__ends_at__gt=since)
        .order_by("subscription__starts_at")
        .values_list("subscription__starts_at", "subscription__ends_at", "quota")
    )
    for start, end, seats in rows:
        yield from _begin(start, end, since, _QUOTA, seats)


def _begin(  # noqa: PLR0917 - the parts of a `_Begin`
    start: datetime, end: datetime, since: datetime, what: int, seats: int, lingers: datetime | None = None
) -> Iterator[_Begin]:
    """Yield the begin of what lasts at all; what began before ``since`` begins then."""
    start = max(start, since)
    if start < end:
        yield _Begin(start, end, what, seats, lingers or end)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
