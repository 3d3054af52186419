"""Assigning, taking back and transferring seats; who holds which; and who of a paying organisation holds none."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.customers.subscriptions import active_pools
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    Ending,
    Lease,
    Membership,
    OfflineLicense,
    Organization,
    Pool,
    SessionEnding,
    Term,
)
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.pools.endings import end_for
from keyseat_issuer.ledger.seats.rules import (
    ASSIGNABLE,
    Line,
    holders,
    judged_addresses,
    judged_holders,
    offline_until,
    require_members,
    require_room,
    room,
    users_limited,
)
from keyseat_issuer.ledger.sessions import admin
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.policy import Policy

_BY_ID = paging.Key("pk", paging.uuid)
_BY_HOLDER = (paging.Key("holder", paging.text), _BY_ID)
_BY_END = (paging.Key("expires_at", paging.instant), _BY_ID)

ASSIGNED = "assigned"
UNASSIGNED = "unassigned"
ONLINE = "online"


class Seat(NamedTuple):
    """What somebody holds. ``kind``: ``named``, ``offline`` or ``online`` (a session, which takes ``seats`` 0 or 1)."""

    product: str
    holder: str
    kind: str
    seats: int
    since: datetime
    until: datetime | None
    license_id: UUID | None
    machine_id: str


def assign(
    organization: Organization, product: str, emails: Sequence[str], *, policy: Policy, actor: str, now: datetime
) -> list[Line]:
    """Assign a seat to each address, or to none of them. One that holds a seat already stays as it is.

    Raises:
        KeyseatError: ``INVALID_INPUT``, ``NOT_A_MEMBER``, ``QUOTA_EXCEEDED``, ...; where single addresses
            stand in the way, ``details["lines"]`` tells about every address.
    """
    subject = f"{product}: {', '.join(emails)}"
    with log.act("seat.assigned", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        lines = judged_addresses(organization, emails)
        require_members(organization, lines)
        locked = _lock(active_pools(organization, product, at), at)
        lines = judged_holders(organization, product, lines, locked, at)
        limit = users_limited(policy, product)
        require_room(locked, sum(line.status == ASSIGNABLE for line in lines), at, limit=limit)
        events = []
        for index, line in enumerate(lines):
            if line.status != ASSIGNABLE:
                continue
            pool = next(pool for pool in locked if room(pool, limit=limit) > 0)
            taken = pools.take(pool, AllocationKind.NAMED, line.email, expires_at=None, now=at, limit_assigned=limit)
            lines[index] = line._replace(status=ASSIGNED)
            events.append(
                log.NewEvent(
                    "seat.assigned",
                    line.email,
                    {"product": product, "pool": str(pool.pk), "allocation": str(taken.pk)},
                    organization.pk,
                )
            )
        log.append_many(events, actor=actor, now=at)
    return lines


def unassign(
    organization: Organization, product: str, emails: Sequence[str], *, actor: str, now: datetime
) -> list[Line]:
    """Take back the assigned seat of each address, or of none of them.

    Raises:
        KeyseatError: ``SEAT_LOCKED_OFFLINE``, ``NOT_ASSIGNED``, ``INVALID_INPUT``.
    """
    wanted = list(dict.fromkeys(normalize_email(email) for email in emails))
    subject = f"{product}: {', '.join(wanted)}"
    with log.act("seat.unassigned", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        locked, held = _held(organization, product, wanted, at)
        for email in wanted:
            allocation = held[email]
            pools.give_back(locked[allocation.pool_id], allocation, at, Ending.UNASSIGNED)
        end_for(organization, SessionEnding.UNASSIGNED, locked.values(), at, product=product, emails=wanted)
        log.append_many(
            [
                log.NewEvent(
                    "seat.unassigned",
                    email,
                    {"product": product, "pool": str(held[email].pool_id), "allocation": str(held[email].pk)},
                    organization.pk,
                )
                for email in wanted
            ],
            actor=actor,
            now=at,
        )
    return [Line(email, UNASSIGNED) for email in wanted]


def transfer(
    organization: Organization, product: str, from_email: str, to_email: str, *, actor: str, now: datetime
) -> Allocation:
    """Move an assigned seat from one member to another, in one act: nobody else can take it in between.

    Raises:
        KeyseatError: ``SEAT_LOCKED_OFFLINE``, ``NOT_ASSIGNED``, ``NOT_A_MEMBER``, ``ALREADY_EXISTS`` where the
            receiver holds a seat of the product.
    """
    giver, receiver = normalize_email(from_email), normalize_email(to_email)
    subject = f"{product}: {giver} to {receiver}"
    with log.act("seat.transferred", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        require_members(organization, judged_addresses(organization, [receiver]))
        locked, held = _held(organization, product, [giver], at)
        active = active_pools(organization, product, at)
        given = held[giver]
        # The giver's pool too: it may be of a subscription that has ended, where the receiver has been left behind.
        if receiver in holders([*active, locked[given.pool_id]]):
            raise KeyseatError(
                ReasonCode.ALREADY_EXISTS,
                f"{receiver} holds a {product} seat already",
                next_step=f"To free the seat of {giver}, unassign it.",
            )
        pool = locked[given.pool_id]
        pools.give_back(pool, given, at, Ending.TRANSFERRED)
        taken = pools.take(pool, AllocationKind.NAMED, receiver, expires_at=None, now=at, limit_assigned=False)
        end_for(organization, SessionEnding.SEAT_MOVED, locked.values(), at, product=product, emails=[giver])
        log.append(
            actor=actor,
            action="seat.transferred",
            organization=organization,
            subject=receiver,
            details={"product": product, "from": giver, "pool": str(pool.pk), "allocation": str(taken.pk)},
            now=at,
        )
    return taken


def held_by(organization: Organization, now: datetime, emails: Collection[str]) -> list[Seat]:
    """Return what these addresses hold at ``now``: assignments, active offline licences, then live online sessions."""
    held = _held_rows(now).filter(pool__subscription__organization=organization, holder__in=emails)
    online = admin.of_people(organization, now, emails)
    return [
        *map(_of_allocation, held.order_by("pool__product", "kind", "holder", "pk")),
        *map(_of_session, sorted(online, key=lambda row: (row.product, row.holder, row.pk))),
    ]


def assigned_since(organization: Organization, product: str) -> dict[str, datetime]:
    """Return who is assigned a seat of a product, and since when, by address."""
    rows = Allocation.objects.filter(
        pool__subscription__organization=organization,
        pool__product=product,
        kind=AllocationKind.NAMED,
        released_at__isnull=True,
    )
    return dict(rows.order_by("holder", "pk").values_list("holder", "created_at"))


def listed(organization: Organization, now: datetime, product: str | None = None) -> list[paging.Source[Seat]]:
    """Return what is held at ``now``, to be read page by page, each kind of rows in the order of an index.

    Product by product, and subscription by subscription: the assigned seats by holder, the offline licences by their
    end. Then the live sessions of each product, the one that started last first.
    """
    pools = Pool.objects.filter(subscription__organization=organization).select_related("subscription")
    if product is not None:
        pools = pools.filter(product=product)
    found = list(pools.order_by("product", "subscription__starts_at", "pk"))
    held: list[paging.Source[Seat]] = []
    for pool in found:
        rows = _held_rows(now).filter(pool=pool)
        named, offline = rows.filter(kind=AllocationKind.NAMED), rows.filter(kind=AllocationKind.OFFLINE)
        held.append(paging.Source(f"named {pool.pk.hex}", named, _BY_HOLDER, _of_allocation))
        if now < pool.subscription.ends_at:  # offline licences have ended with their subscription
            held.append(paging.Source(f"offline {pool.pk.hex}", offline, _BY_END, _of_allocation))
    online = [
        paging.Source(f"online {code}", live.rows, live.keys, _of_session)
        for code in dict.fromkeys(pool.product for pool in found)
        for live in [admin.listed(organization, now, code)]
    ]
    return [*held, *online] or [paging.Source("none", Allocation.objects.none(), _BY_HOLDER, _of_allocation)]


def _held_rows(now: datetime) -> QuerySet[Allocation]:
    rows = Allocation.objects.filter(released_at__isnull=True).exclude(expires_at__lte=now)
    return rows.select_related("pool", "offline_license").defer("offline_license__file")


def assigned_seats(
    organization: Organization, product: str, pool_ids: Collection[UUID], emails: Sequence[str], now: datetime
) -> dict[str, Allocation]:
    """Return the assigned seat of each address in these pools of the product.

    Raises:
        KeyseatError: ``SEAT_LOCKED_OFFLINE`` or ``NOT_ASSIGNED`` where one has none.
    """
    mine = Allocation.objects.filter(
        pool__in=list(pool_ids), holder__in=emails, kind=AllocationKind.NAMED, released_at__isnull=True
    )
    held: dict[str, Allocation] = {}
    # Where somebody holds seats of two subscriptions, the one that lasts longer is meant.
    for allocation in mine.order_by("pool__subscription__ends_at"):
        held[allocation.holder] = allocation
    missing = [email for email in emails if email not in held]
    if missing:
        until = offline_until(organization, product, missing, now)
        if until:
            raise pools.locked_offline(max(until.values()))
        raise KeyseatError(
            ReasonCode.NOT_ASSIGNED,
            f"no {product} seat is assigned to {', '.join(missing)}; nothing was changed",
            details={"emails": missing},
            cause=Cause.SEAT_NOT_HELD,
        )
    return held


def _of_allocation(row: Allocation) -> Seat:
    made = getattr(row, "offline_license", None)
    return Seat(
        row.pool.product,
        row.holder if made is None or not made.user else made.user,
        row.kind,
        row.count,
        row.created_at,
        row.expires_at,
        None if made is None else made.license_id,
        "" if made is None else made.machine_id,
    )


def _of_session(row: Lease) -> Seat:
    return Seat(row.product, row.holder, ONLINE, row.seats, row.started_at, row.expires_at, None, row.machine_id)


def unlicensed_members(organization: Organization, now: datetime) -> list[str]:
    """Return the members of a paying organisation who hold no paid seat (mixed licences, design 3.8), by address.

    Empty where the organisation has no active paid subscription.
    """
    return list(unlicensed(organization, now).order_by("email").values_list("email", flat=True))


def unlicensed(organization: Organization, now: datetime) -> QuerySet[Membership]:
    """Return the same as rows of members."""
    paid = Pool.objects.filter(
        subscription__organization=organization,
        subscription__starts_at__lte=now,
        subscription__ends_at__gt=now,
    ).exclude(subscription__term=Term.TRIAL)
    if not paid.exists():
        return organization.memberships.none()
    named = Allocation.objects.filter(pool__in=paid, kind=AllocationKind.NAMED, released_at__isnull=True)
    offline = OfflineLicense.objects.filter(organization=organization, expires_at__gt=now).exclude(user="")
    return organization.memberships.exclude(email__in=named.values("holder")).exclude(email__in=offline.values("user"))


def _lock(candidates: Sequence[Pool], now: datetime) -> list[Pool]:
    """Lock pools, take back what has expired, and keep the order of the candidates."""
    locked = {pool.pk: pool for pool in pools.lock_pools([pool.pk for pool in candidates])}
    for pool in locked.values():
        pools.reclaim_expired(pool, now)
    return [locked[pool.pk] for pool in candidates]


def _held(
    organization: Organization, product: str, emails: Sequence[str], now: datetime
) -> tuple[dict[UUID, Pool], dict[str, Allocation]]:
    """Lock the product's pools, of ended subscriptions as well; return them, and the seat of each address."""
    candidates = Pool.objects.filter(subscription__organization=organization, product=product)
    locked = {pool.pk: pool for pool in pools.lock_pools(list(candidates.values_list("pk", flat=True)))}
    if not locked:
        active_pools(organization, product, now)  # tells what the organisation has instead
    return locked, assigned_seats(organization, product, locked, emails, now)
