"""The roll-up of usage: what was live at most on each day, counted once, and on from there at each look.

Up to a while ago everything is settled: no act is dated before it any more, and no session that has ended by then can
be renewed. That much is stored, day by day, with how much was live at the end; the rest is counted at each look. So a
look costs what has happened since the last one, however much happened before.

Each look stores it, without a lock: a row replaces one that goes less far, and two that go equally far are equal. A
correction of the ledger's time (``clock_correction``) lets acts be dated earlier again: rows that reach beyond it no
longer count. Older servers that do not know of these rows do no harm: no act has to maintain them.
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db import Error, transaction
from django.db.models import Count, Q, QuerySet

from keyseat_issuer.ledger.audit import ledger_time
from keyseat_issuer.ledger.audit.clock_correction import ACCEPTED
from keyseat_issuer.ledger.models import AuditEvent, Lease, UsageDay
from keyseat_issuer.ledger.seats import usage_events
from keyseat_issuer.ledger.seats.usage_events import Levels, Most, Part, Place
from keyseat_issuer.ledger.tools.plain_sql import instant_out, run, uuid_out

SETTLED = timedelta(minutes=15)
"""After so long an act is committed or has failed, and clocks differ by a third of it at most."""
WORTH = 1000
"""What took so many rows to count is worth to be stored; less is counted again at each look."""

_DAY = timedelta(days=1)
_MOST = ("online", "offline", "together", "lingering")
_LEFT = ("online_left", "offline_left", "lingering_left")
_COLUMNS = (
    "organization_id, product, day, through, online, offline, together, lingering,"
    " online_left, offline_left, lingering_left, corrections"
)
_STORE = f"""
INSERT INTO ledger_usageday ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (organization_id, product, day) DO UPDATE SET
    through = excluded.through, online = excluded.online, offline = excluded.offline, together = excluded.together,
    lingering = excluded.lingering, online_left = excluded.online_left, offline_left = excluded.offline_left,
    lingering_left = excluded.lingering_left, corrections = excluded.corrections
WHERE ledger_usageday.corrections < excluded.corrections
   OR (ledger_usageday.corrections = excluded.corrections AND ledger_usageday.through < excluded.through)
"""  # noqa: S608 - fixed words


class Tally:
    """Counts on from an instant, and keeps the most of each day, and what was live at its end."""

    def __init__(self, through: datetime, levels: Levels, most: Most | None = None) -> None:
        """Begin at ``through``: what is live before it, and the most of its day so far; ``None`` at a midnight."""
        self.through = through
        self.levels = levels
        # A midnight begins its day: the one that is being counted is the day before.
        self.day = through.date() if most is not None else (through - _DAY).date()
        self.days: dict[date, Most] = {} if most is None else {self.day: most}
        self._left: dict[date, Levels] = {}
        self._kept = self.day

    def go_on(self, part: Part) -> None:
        """Take a part that begins at ``through``: look at each instant with a change, and at each midnight."""
        before = self.levels
        for first, most, change, _rows in part.days:
            self._open_days(first)
            self._turn_to(first.date())
            online, offline, lingering = before
            self._saw(
                Most(
                    online + most.online,
                    offline + most.offline,
                    online + offline + most.together,
                    lingering + most.lingering,
                )
            )
            self.levels = Levels(*[left + more for left, more in zip(self.levels, change, strict=True)])
        self._open_days(part.until)
        self.through = part.until

    def rows(self) -> list[tuple[date, datetime, Most, Levels]]:
        """Return the days that are to be stored: how far each goes, its most, and what is live there."""
        found = [
            (day, min(self.through, at_midnight(day + _DAY)), most, self._left.get(day, self.levels))
            for day, most in self.days.items()
            if day >= self._kept
        ]
        self._kept = self.day
        return found

    def _open_days(self, until: datetime) -> None:
        """Look at each midnight before ``until``."""
        while at_midnight(self.day + _DAY) < until:
            self._turn_to(self.day + _DAY)
            self._look()

    def _turn_to(self, day: date) -> None:
        if day != self.day:
            self._left[self.day] = self.levels
            self.day = day

    def _look(self) -> None:
        online, offline, lingering = self.levels
        self._saw(Most(online, offline, online + offline, lingering))

    def _saw(self, most: Most) -> None:
        seen = self.days.get(self.day, Most())
        self.days[self.day] = Most(*map(max, seen, most))


class Corrections(NamedTuple):
    """The corrections of the ledger's time: the audit row of the last one, and the rows that still count."""

    last: int
    counting: Q


def peaks(place: Place, first: date, until: datetime, now: datetime) -> dict[date, Most]:
    """Return the most of each day from ``first`` on, up to ``until``; days before anything began are left out."""
    known = _corrections()
    count = _counted(place, until, known)
    found = _stored(place, first, count, known)
    _roll_up(place, count, min(until, _settled(now)), known)
    for part in usage_events.parts(place, count.through, until):
        count.go_on(part)
    return found | count.days


def changes_of_day(place: Place, midnight: datetime, until: datetime) -> tuple[Levels, list[tuple[datetime, Levels]]]:
    """Return what was live before a midnight, and what changed on its day, up to ``until``."""
    count = _counted(place, midnight, _corrections())
    for part in usage_events.parts(place, count.through, midnight):
        count.go_on(part)
    return count.levels, usage_events.changes(place, midnight, until)


def large(least: int = usage_events.AT_ONCE) -> list[Place]:
    """Return the products of which an organisation has had so many sessions that counting them all takes a while."""
    rows = Lease.objects.order_by().values_list("organization_id", "product").annotate(sessions=Count("*"))
    return [Place(*row[:2]) for row in rows.filter(sessions__gte=least)]


def fill(place: Place, now: datetime) -> None:
    """Store everything of a product that is settled: nobody who looks has to wait for it."""
    known = _corrections()
    settled = _settled(now)
    _roll_up(place, _counted(place, settled, known), settled, known)


def at_midnight(day: date) -> datetime:
    """Return the first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


def _roll_up(place: Place, count: Tally, settled: datetime, known: Corrections) -> None:
    """Count on through ``settled``, and store it as often as it is worth it."""
    cost = 0
    for part in usage_events.parts(place, count.through, settled):
        count.go_on(part)
        cost += part.cost
        if cost >= WORTH:
            _store(place, count, known)
            cost = 0


def _counted(place: Place, until: datetime, known: Corrections) -> Tally:
    """Return where to count on from to reach ``until``: the last row that goes no further, or the very beginning."""
    rows = _rows(place, known).filter(day__lte=until.date(), through__lte=until).order_by("-day")
    row = rows.values_list("day", "through", *_MOST, *_LEFT).first()
    if row is None:
        begun = usage_events.first(place)
        return Tally(until if begun is None else min(until, at_midnight(begun.date())), Levels())
    day, through, *figures = row
    whole = through == at_midnight(day + _DAY)
    return Tally(through, Levels(*figures[4:]), None if whole else Most(*figures[:4]))


def _stored(place: Place, first: date, count: Tally, known: Corrections) -> dict[date, Most]:
    """Return the days that are stored, up to where counting goes on. None is missing between the first and the last."""
    rows = _rows(place, known).filter(day__gte=first, day__lte=count.day, through__lte=count.through)
    return {day: Most(*figures) for day, *figures in rows.values_list("day", *_MOST)}


def _rows(place: Place, known: Corrections) -> QuerySet[UsageDay]:
    return UsageDay.objects.filter(known.counting, organization_id=place.organization_id, product=place.product)


def _store(place: Place, count: Tally, known: Corrections) -> None:
    rows = count.rows()
    try:
        with transaction.atomic():
            for day, through, most, left in rows:
                whose = (uuid_out(place.organization_id), place.product, day.isoformat(), instant_out(through))
                run(_STORE, (*whose, *most, *left, known.last))
    except Error:
        # A ledger that cannot be written now can be read all the same; the next look stores what this one could not.
        return


def _settled(now: datetime) -> datetime:
    """Return the instant up to which nothing changes any more, by the clock that acts are dated by."""
    head = ledger_time.read_head()
    return min(now, max(head.at, ledger_time.second_clock(head) or head.at)) - SETTLED


def _corrections() -> Corrections:
    found = sorted(
        (seq, _to(details)) for seq, details in AuditEvent.objects.filter(action=ACCEPTED).values_list("seq", "details")
    )
    seqs = [0, *(seq for seq, _ in found)]
    counting = Q(corrections=seqs[-1])
    earliest = None
    for before, (_, to) in zip(reversed(seqs[:-1]), reversed(found), strict=True):
        earliest = to if earliest is None else min(earliest, to)
        counting |= Q(corrections=before, through__lte=earliest)
    return Corrections(seqs[-1], counting)


def _to(details: str) -> datetime:
    """Return when the ledger's time went on from; where a row does not say so, from the very beginning."""
    try:
        return datetime.fromisoformat(json.loads(details)["to"])
    except (ValueError, TypeError, KeyError):  # `audit verify` names it
        return datetime(1970, 1, 1, tzinfo=UTC)
