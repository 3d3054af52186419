"""Registered machines: those that hold something of an organisation now, and taking one off the list."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q, QuerySet

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import subscriptions
from keyseat_issuer.ledger.customers.naming import shorten
from keyseat_issuer.ledger.models import Lease, OfflineLicense, Organization, SessionEnding
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.pools.endings import end_for, pools_of
from keyseat_issuer.ledger.sessions.admin import ended_event
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

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


def machine_ids(organization: Organization, now: datetime, product: str | None = None) -> paging.Values:
    """Return the ids of the machines with a live session or an active offline licence, in order, page by page."""
    products = subscriptions.products(organization) if product is None else [product]
    found = [
        rows.filter(product=code) for code in products for rows in (_live(organization, now), _bound(organization, now))
    ]
    return paging.Values("machines", tuple([(rows, "machine_id") for rows in found]))


def list_machines(
    organization: Organization, now: datetime, ids: Collection[str], *, product: str | None = None
) -> list[Machine]:
    """Return those of these machines that hold something, by their ids: everything, or of one product."""
    held = Q(machine_id__in=ids) if product is None else Q(machine_id__in=ids, product=product)
    return _machines(_live(organization, now).filter(held), _bound(organization, now).filter(held))


def page_of_machines(organization: Organization, now: datetime, limit: int, cursor: str | None) -> paging.Page[Machine]:
    """Return a page of the same list.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for a text that is no cursor of this list.
    """
    found = machine_ids(organization, now).around(limit, cursor)
    return paging.Page(list_machines(organization, now, found.rows), found.after)


def remove_machine(organization: Organization, machine_id: str, *, actor: str, now: datetime) -> Removed:
    """Take a machine off the list: its online sessions end, their seats are free; offline licences stay.

    Raises:
        KeyseatError: ``NOT_FOUND`` where the organisation has nothing on such a machine.
    """
    subject = shorten(machine_id)
    with log.act("machine.removed", actor=actor, organization=organization, subject=subject, now=now) as at:
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
        removed = log.NewEvent("machine.removed", subject, details, organization.pk)
        log.append_many([*[ended_event(row) for row in ended], removed], actor=actor, now=at)
    return Removed(len(ended), kept)


def _machines(live: Iterable[Lease], bound: Iterable[OfflineLicense]) -> list[Machine]:
    # Put in order here: asked for an order, SQLite would read all sessions in it to find those of a few machines.
    sessions: dict[str, list[Lease]] = {}
    for row in sorted(sorted(live, key=lambda row: row.pk), key=lambda row: row.started_at, reverse=True):
        sessions.setdefault(row.machine_id, []).append(row)
    licenses: dict[str, list[OfflineLicense]] = {}
    for made in sorted(bound, key=lambda made: (made.expires_at, made.pk)):
        licenses.setdefault(made.machine_id, []).append(made)
    return [
        Machine(machine_id, tuple(sessions.get(machine_id, ())), tuple(licenses.get(machine_id, ())))
        for machine_id in sorted({*sessions, *licenses})
    ]


def _live(organization: Organization, now: datetime) -> QuerySet[Lease]:
    return Lease.objects.filter(organization=organization, ended_at__isnull=True, expires_at__gt=now)


def _bound(organization: Organization, now: datetime) -> QuerySet[OfflineLicense]:
    return OfflineLicense.objects.filter(organization=organization, expires_at__gt=now).defer("file")
