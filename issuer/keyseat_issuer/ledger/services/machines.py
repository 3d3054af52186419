"""Registered machines: those that hold something of an organisation now, and taking one off the list."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q, QuerySet

from keyseat_issuer.ledger.models import Lease, OfflineLicense, Organization, SessionEnding
from keyseat_issuer.ledger.services import audit, paging, pools
from keyseat_issuer.ledger.services.naming import shorten
from keyseat_issuer.ledger.services.session_admin import ended_event
from keyseat_issuer.ledger.services.sessions import end_for, pools_of
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

_BY_ID = paging.Key("machine_id", paging.text)
MOST = 5000
"""Offline licences of one machine that a removal tells of at most."""


class Machine(NamedTuple):
    """A machine with its live online sessions and its active offline licences."""

    machine_id: str
    sessions: tuple[Lease, ...]
    licenses: tuple[OfflineLicense, ...]


class Removed(NamedTuple):
    """What a removal did: the sessions that ended, and until when offline licences stay on the machine all the same."""

    sessions_ended: int
    offline_until: tuple[datetime, ...]


def machine_ids(organization: Organization, now: datetime, product: str) -> list[str]:
    """Return the ids of the machines with a live session or an active offline licence of a product, in order."""
    found: set[str] = set()
    for rows in (_live(organization, now), _bound(organization, now)):
        found.update(rows.filter(product=product).order_by().values_list("machine_id", flat=True).distinct())
    return sorted(found)


def list_machines(
    organization: Organization, now: datetime, ids: Collection[str], *, product: str | None = None
) -> list[Machine]:
    """Return those of these machines that hold something, by their ids: everything, or of one product."""
    held = Q(machine_id__in=ids) if product is None else Q(machine_id__in=ids, product=product)
    return _machines(_live(organization, now).filter(held), _bound(organization, now).filter(held))


def page_of_machines(organization: Organization, now: datetime, limit: int, cursor: str | None) -> paging.Page[Machine]:
    """Return a page of the same list.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for what is no cursor of this list.
    """
    after = "" if cursor is None else paging.read_cursor("machines", (_BY_ID,), cursor)[0]
    ids: set[str] = set()
    for rows in (_live(organization, now), _bound(organization, now)):
        behind = rows.order_by("machine_id").filter(machine_id__gt=after).values_list("machine_id", flat=True)
        ids.update(behind.distinct()[: limit + 1])
    # In the order of every database: the symbols of machine IDs are lower-case letters and digits.
    found = sorted(ids)
    shown = found[:limit]
    entries = list_machines(organization, now, shown)
    return paging.Page(entries, paging.write_cursor("machines", shown[-1:]) if len(found) > limit else None)


def remove_machine(organization: Organization, machine_id: str, *, actor: str, now: datetime) -> Removed:
    """Take a machine off the list: its online sessions end, their seats are free; offline licences stay (design, 3.4).

    Raises:
        KeyseatError: ``NOT_FOUND`` where the organisation has nothing on such a machine.
    """
    subject = shorten(machine_id)
    with audit.act("machine.removed", actor=actor, organization=organization, subject=subject, now=now) as at:
        locked = pools.lock_pools(pools_of(organization, at))
        ended = end_for(organization, SessionEnding.MACHINE_REMOVED, locked, at, machine_id=machine_id)
        kept = tuple(_bound(organization, at).filter(machine_id=machine_id).values_list("expires_at", flat=True)[:MOST])
        if not ended and not kept:
            raise KeyseatError(
                ReasonCode.NOT_FOUND,
                f"nothing of {organization.name!r} runs on a machine {subject!r}",
                next_step="The list of machines shows those that hold something.",
            )
        details = {"sessions_ended": len(ended), "offline_until": [format_instant(until) for until in kept]}
        removed = audit.NewEvent("machine.removed", subject, details, organization.pk)
        audit.append_many([*[ended_event(row) for row in ended], removed], actor=actor, now=at)
    return Removed(len(ended), kept)


def _machines(live: Iterable[Lease], bound: Iterable[OfflineLicense]) -> list[Machine]:
    sessions: dict[str, list[Lease]] = {}
    for row in live:
        sessions.setdefault(row.machine_id, []).append(row)
    licenses: dict[str, list[OfflineLicense]] = {}
    for made in bound:
        licenses.setdefault(made.machine_id, []).append(made)
    return [
        Machine(machine_id, tuple(sessions.get(machine_id, ())), tuple(licenses.get(machine_id, ())))
        for machine_id in sorted({*sessions, *licenses})
    ]


def _live(organization: Organization, now: datetime) -> QuerySet[Lease]:
    rows = Lease.objects.filter(organization=organization, ended_at__isnull=True, expires_at__gt=now)
    return rows.order_by("-started_at", "pk")


def _bound(organization: Organization, now: datetime) -> QuerySet[OfflineLicense]:
    rows = OfflineLicense.objects.filter(organization=organization, expires_at__gt=now)
    return rows.defer("file").order_by("expires_at", "pk")
