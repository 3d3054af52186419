"""How many sessions were live at once, day by day, beside the seats bound offline and the quota.

What was live comes from the roll-up (``usage_days``). Quotas are looked up at each question: they are few, and a
subscription may be added for a period that is over.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from keyseat_issuer.ledger.models import Organization, Pool
from keyseat_issuer.ledger.seats import usage_days
from keyseat_issuer.ledger.seats.usage_days import at_midnight
from keyseat_issuer.ledger.seats.usage_events import Most, Place
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

LONGEST = 366
"""Days that one question may cover."""

_DAY = timedelta(days=1)
_TICK = timedelta(seconds=1)
"""The ledger's instants are in whole seconds: what is live at ``now`` is live until the next one."""


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


class _Quota(NamedTuple):
    starts_at: datetime
    ends_at: datetime
    seats: int


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
    since = at_midnight(first_day)
    until = min(since + days * _DAY, now + _TICK)
    place = Place(organization.pk, product)
    most = usage_days.peaks(place, first_day, until, now) if since < until else {}
    quotas = _quotas(organization, product, since, until)
    return [
        _peak(place, day, most.get(day, Most()), quotas, until)
        for day in (first_day + number * _DAY for number in range(days))
    ]


def _peak(place: Place, day: date, most: Most, quotas: Sequence[_Quota], until: datetime) -> DayPeak:
    midnight = at_midnight(day)
    end = min(midnight + _DAY, until)
    # The quota stays the same from each of these instants to the next one.
    turns = sorted({midnight, *(at for quota in quotas for at in quota[:2] if midnight < at < end)})
    in_force = [_in_force(quotas, at) for at in turns if at < end]
    if len(in_force) > 1:
        reached = _reached(place, turns, quotas, end)
    else:
        reached = bool(in_force) and 0 < in_force[0] <= most.together
    return DayPeak(day, most.online, most.offline, most.together, max(in_force, default=0), reached, most.lingering)


def _reached(place: Place, turns: Sequence[datetime], quotas: Sequence[_Quota], end: datetime) -> bool:
    """Tell whether a quota was reached on a day on which it changed: which one was in force then, and how much live."""
    levels, changes = usage_days.changes_of_day(place, turns[0], end)
    more = {at: change.online + change.offline for at, change in changes}
    together = levels.online + levels.offline
    for at in sorted({*turns, *more}):
        together += more.get(at, 0)
        if 0 < _in_force(quotas, at) <= together:
            return True
    return False


def _in_force(quotas: Sequence[_Quota], at: datetime) -> int:
    return sum(quota.seats for quota in quotas if quota.starts_at <= at < quota.ends_at)


def _quotas(organization: Organization, product: str, since: datetime, until: datetime) -> list[_Quota]:
    rows = Pool.objects.filter(subscription__organization=organization, product=product).filter(
        subscription__starts_at__lt=until, subscription__ends_at__gt=since
    )
    return [_Quota(*row) for row in rows.values_list("subscription__starts_at", "subscription__ends_at", "quota")]
