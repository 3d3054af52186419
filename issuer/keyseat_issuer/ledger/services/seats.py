"""Assigning, taking back and transferring seats; who holds which; and who of a paying organisation holds none."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    Ending,
    Lease,
    OfflineLicense,
    Organization,
    Pool,
    SeatKind,
    SessionEnding,
    Term,
)
from keyseat_issuer.ledger.models.seats import MAX_QUOTA
from keyseat_issuer.ledger.services import audit, pools
from keyseat_issuer.ledger.services.members import normalize_email
from keyseat_issuer.ledger.services.organizations import lock_organization
from keyseat_issuer.ledger.services.sessions import end_for
from keyseat_issuer.ledger.services.subscriptions import active_pools
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import Policy

ASSIGNED = "assigned"
ALREADY = "already assigned"
UNASSIGNED = "unassigned"
ONLINE = "online"


class Line(NamedTuple):
    """What became of one address: a ``status``, the ``code`` of what stands in the way, and perhaps a ``note``."""

    email: str
    status: str
    code: str = ReasonCode.OK
    note: str = ""


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
    with audit.act("seat.assigned", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        lines = _check_addresses(organization, emails)
        locked = _lock(active_pools(organization, product, at), at)
        holding = _holders(locked)
        limit = policy.products[product].assigned_users != "unlimited" if product in policy.products else True
        offline = _offline_until(organization, product, [line.email for line in lines], at)
        newcomers = [line.email for line in lines if line.email not in holding]
        require_room(locked, len(newcomers), at, limit=limit)
        events = []
        for index, line in enumerate(lines):
            if line.email in holding:
                lines[index] = line._replace(status=ALREADY)
                continue
            pool = next(pool for pool in locked if room(pool, limit=limit) > 0)
            taken = pools.take(pool, AllocationKind.NAMED, line.email, expires_at=None, now=at, limit_assigned=limit)
            until = offline.get(line.email)
            note = "" if until is None else f"also holds an offline licence until {format_instant(until)}"
            lines[index] = line._replace(status=ASSIGNED, note=note)
            events.append(
                audit.NewEvent(
                    "seat.assigned",
                    line.email,
                    {"product": product, "pool": str(pool.pk), "allocation": str(taken.pk)},
                    organization.pk,
                )
            )
        audit.append_many(events, actor=actor, now=at)
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
    with audit.act("seat.unassigned", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        locked, held = _held(organization, product, wanted, at)
        for email in wanted:
            allocation = held[email]
            pools.give_back(locked[allocation.pool_id], allocation, at, Ending.UNASSIGNED)
        end_for(organization, SessionEnding.UNASSIGNED, locked.values(), at, product=product, emails=wanted)
        audit.append_many(
            [
                audit.NewEvent(
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
    with audit.act("seat.transferred", actor=actor, organization=organization, subject=subject, now=now) as at:
        lock_organization(organization)
        _check_addresses(organization, [receiver])
        locked, held = _held(organization, product, [giver], at)
        active = active_pools(organization, product, at)
        given = held[giver]
        # The giver's pool too: it may be of a subscription that has ended, where the receiver has been left behind.
        if receiver in _holders([*active, locked[given.pool_id]]):
            raise KeyseatError(
                ReasonCode.ALREADY_EXISTS,
                f"{receiver} holds a {product} seat already",
                next_step=f"To free the seat of {giver}, use `keyseat-issuer seat unassign`.",
            )
        pool = locked[given.pool_id]
        pools.give_back(pool, given, at, Ending.TRANSFERRED)
        taken = pools.take(pool, AllocationKind.NAMED, receiver, expires_at=None, now=at, limit_assigned=False)
        end_for(organization, SessionEnding.SEAT_MOVED, locked.values(), at, product=product, emails=[giver])
        audit.append(
            actor=actor,
            action="seat.transferred",
            organization=organization,
            subject=receiver,
            details={"product": product, "from": giver, "pool": str(pool.pk), "allocation": str(taken.pk)},
            now=at,
        )
    return taken


def list_seats(
    organization: Organization, now: datetime, product: str | None = None, *, holder: str | None = None
) -> list[Seat]:
    """Return what is held at ``now``: assignments, active offline licences, then live online sessions."""
    held = Q() if product is None else Q(pool__product=product)
    if holder is not None:
        held &= Q(holder=holder)
    rows = (
        Allocation.objects.filter(held, pool__subscription__organization=organization, released_at__isnull=True)
        .exclude(expires_at__lte=now)
        .select_related("pool", "offline_license")
        .defer("offline_license__file")
        .order_by("pool__product", "kind", "holder")
    )
    sessions = (
        Lease.objects.filter(held, organization=organization, ended_at__isnull=True, expires_at__gt=now)
        .select_related("pool")
        .order_by("pool__product", "holder", "pk")
    )
    return [
        Seat(
            row.pool.product,
            row.holder if made is None or not made.user else made.user,
            row.kind,
            row.count,
            row.created_at,
            row.expires_at,
            None if made is None else made.license_id,
            "" if made is None else made.machine_id,
        )
        for row in rows
        for made in (getattr(row, "offline_license", None),)
    ] + [
        Seat(row.pool.product, row.holder, ONLINE, row.seats, row.started_at, row.expires_at, None, row.machine_id)
        for row in sessions
    ]


def unlicensed_members(organization: Organization, now: datetime) -> list[str]:
    """Return the members of a paying organisation who hold no paid seat (mixed licences, design 3.8), by address.

    Empty where the organisation has no active paid subscription.
    """
    paid = Pool.objects.filter(
        subscription__organization=organization,
        subscription__starts_at__lte=now,
        subscription__ends_at__gt=now,
    ).exclude(subscription__term=Term.TRIAL)
    if not paid.exists():
        return []
    named = Allocation.objects.filter(pool__in=paid, kind=AllocationKind.NAMED, released_at__isnull=True)
    offline = OfflineLicense.objects.filter(organization=organization, expires_at__gt=now).exclude(user="")
    return list(
        organization.memberships.exclude(email__in=named.values("holder"))
        .exclude(email__in=offline.values("user"))
        .order_by("email")
        .values_list("email", flat=True)
    )


def _check_addresses(organization: Organization, emails: Sequence[str]) -> list[Line]:
    """Return a line for each address, or refuse all of them with a report that tells every fault at once."""
    lines = []
    cleaned: set[str] = set()
    for email in emails:
        try:
            address = normalize_email(email)
        except KeyseatError as error:
            lines.append(Line(email.strip()[:80], "not an e-mail address", error.code))
            continue
        if address not in cleaned:
            lines.append(Line(address, "could be assigned"))
        cleaned.add(address)
    members = set(organization.memberships.filter(email__in=cleaned).values_list("email", flat=True))
    lines = [
        line._replace(status="not a member", code=ReasonCode.NOT_A_MEMBER)
        if line.code == ReasonCode.OK and line.email not in members
        else line
        for line in lines
    ]
    strangers = [line.email for line in lines if line.code == ReasonCode.NOT_A_MEMBER]
    unreadable = [line.email for line in lines if line.code == ReasonCode.INVALID_INPUT]
    details = {"lines": [line._asdict() for line in lines]}
    if unreadable:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"not an e-mail address: {', '.join(unreadable)}; nothing was changed",
            details=details,
        )
    if strangers:
        raise KeyseatError(
            ReasonCode.NOT_A_MEMBER,
            f"not a member of {organization.name!r}: {', '.join(strangers)}; nothing was changed",
            details=details | {"emails": strangers},
            next_step="Add them first: `keyseat-issuer member add ORG EMAIL...`.",
        )
    return lines


def _lock(candidates: Sequence[Pool], now: datetime) -> list[Pool]:
    """Lock pools, take back what has expired, and keep the order of the candidates."""
    locked = {pool.pk: pool for pool in pools.lock_pools([pool.pk for pool in candidates])}
    for pool in locked.values():
        pools.reclaim_expired(pool, now)
    return [locked[pool.pk] for pool in candidates]


def _holders(locked: Iterable[Pool]) -> set[str]:
    named = Allocation.objects.filter(
        pool__in=[pool.pk for pool in locked], kind=AllocationKind.NAMED, released_at__isnull=True
    )
    return set(named.values_list("holder", flat=True))


def room(pool: Pool, *, limit: bool) -> int:
    """Return how many more users can be assigned a seat of a locked pool."""
    if pool.seats == SeatKind.FLOATING:
        return pool.quota - pool.assigned if limit else MAX_QUOTA
    return pool.quota - pool.used


def require_room(locked: Sequence[Pool], wanted: int, now: datetime, *, limit: bool) -> None:
    """Require that so many more users can be assigned seats of these locked pools together.

    Raises:
        KeyseatError: ``QUOTA_EXCEEDED``.
    """
    free = sum(max(0, room(pool, limit=limit)) for pool in locked)
    if wanted > free:
        quota = sum(pool.quota for pool in locked)
        named = locked[0].seats == SeatKind.NAMED
        returns = [at for pool in locked if (at := pools.next_offline_expiry(pool.pk, now))] if named else []
        raise pools.quota_exceeded(locked[0].product, quota, quota - free, wanted, min(returns) if returns else None)


def _held(
    organization: Organization, product: str, emails: Sequence[str], now: datetime
) -> tuple[dict[UUID, Pool], dict[str, Allocation]]:
    """Lock the product's pools, of ended subscriptions as well; return them, and the seat of each address."""
    candidates = Pool.objects.filter(subscription__organization=organization, product=product)
    locked = {pool.pk: pool for pool in pools.lock_pools(list(candidates.values_list("pk", flat=True)))}
    if not locked:
        active_pools(organization, product, now)  # tells what the organisation has instead
    mine = Allocation.objects.filter(
        pool__in=list(locked), holder__in=emails, kind=AllocationKind.NAMED, released_at__isnull=True
    )
    held: dict[str, Allocation] = {}
    # Where somebody holds seats of two subscriptions, the one that lasts longer is meant.
    for allocation in mine.order_by("pool__subscription__ends_at"):
        held[allocation.holder] = allocation
    missing = [email for email in emails if email not in held]
    if missing:
        until = _offline_until(organization, product, missing, now)
        if until:
            raise pools.locked_offline(max(until.values()))
        raise KeyseatError(
            ReasonCode.NOT_ASSIGNED,
            f"no {product} seat is assigned to {', '.join(missing)}; nothing was changed",
            details={"emails": missing},
            next_step="`keyseat-issuer seat list` shows who holds one.",
        )
    return locked, held


def _offline_until(
    organization: Organization, product: str, emails: Sequence[str], now: datetime
) -> dict[str, datetime]:
    """Return until when active offline licences hold seats of these addresses."""
    active = OfflineLicense.objects.filter(
        organization=organization, product=product, user__in=emails, expires_at__gt=now
    )
    return dict(active.order_by("expires_at").values_list("user", "expires_at"))
