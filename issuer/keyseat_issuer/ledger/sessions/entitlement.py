"""Who may hold a session: the organisation asked for, its active pools, and the seat assigned to a user."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.subscriptions import active_pools
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    Lease,
    Membership,
    OfflineLicense,
    Organization,
    Pool,
    Role,
    SeatKind,
)
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.sessions.values import Holder
from keyseat_issuer.ledger.tools.plain_sql import fetch, instant_in, instant_out, places, uuid_in, uuids_out
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

_MOST_NAMES = 10
"""How many people or organisations an answer lists."""

_CANDIDATES = """
SELECT pool.product, pool.id, pool.seats, subscription.ends_at, subscription.organization_id, organization.name
  FROM ledger_pool pool
  JOIN ledger_subscription subscription ON subscription.id = pool.subscription_id
  JOIN ledger_organization organization ON organization.id = subscription.organization_id
 WHERE subscription.organization_id IN ({}) AND pool.product IN ({})
       AND subscription.starts_at <= %s AND subscription.ends_at > %s
 ORDER BY subscription.ends_at DESC, pool.id"""


class Candidate(NamedTuple):
    """A pool of an active subscription, with what a lease needs to know of both."""

    pool_id: UUID
    seats: str
    ends_at: datetime
    organization_id: UUID
    organization_name: str


def organization_for(holder: Holder, wanted: UUID | None) -> UUID:
    """Return the organisation that a holder asks for: the one named, or the only one the holder belongs to.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` for a key of another organisation, ``NOT_A_MEMBER``, and ``INVALID_INPUT``
            with the choices where a member of several organisations names none.
    """
    if holder.organization_id is not None:
        if wanted is not None and wanted != holder.organization_id:
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                "the API key belongs to another organisation",
                next_step="Use an API key of that organisation, or leave the organisation out.",
            )
        return holder.organization_id
    memberships = Membership.objects.filter(email=holder.email)
    if wanted is not None:
        if not memberships.filter(organization_id=wanted).exists():
            raise KeyseatError(ReasonCode.NOT_A_MEMBER, "the user is not a member of this organisation")
        return wanted
    named = memberships.order_by("organization__name").values_list("organization_id", "organization__name")
    found = list(named[:_MOST_NAMES])
    if not found:
        raise KeyseatError(
            ReasonCode.NOT_A_MEMBER,
            "the user is not a member of any organisation",
            next_step="Ask an owner or admin of your organisation to invite you.",
        )
    if len(found) > 1:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the user belongs to several organisations; name one",
            details={"field": "organization", "organizations": [{"id": str(pk), "name": name} for pk, name in found]},
            cause=Cause.SEVERAL_ORGANIZATIONS,
        )
    return found[0][0]


def candidates(wanted: Collection[tuple[UUID, str]], now: datetime) -> dict[tuple[UUID, str], list[Candidate]]:
    """Return the active pools for each (organisation, product), the one that lasts longest first."""
    if not wanted:
        return {}
    organizations = {organization for organization, _ in wanted}
    products = {product for _, product in wanted}
    rows = fetch(
        _CANDIDATES.format(places(len(organizations)), places(len(products))),
        [*uuids_out(organizations), *products, *[instant_out(now)] * 2],
    )
    found: dict[tuple[UUID, str], list[Candidate]] = {}
    for product, pool_id, seats, ends_at, organization_id, name in rows:
        candidate = Candidate(uuid_in(pool_id), seats, instant_in(ends_at), uuid_in(organization_id), name)
        found.setdefault((candidate.organization_id, product), []).append(candidate)
    return found


def require_subscription(organization_id: UUID, product: str, now: datetime) -> None:
    """Refuse with the reason why an organisation has no active pool of a product.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``NOT_YET_VALID`` or ``SUBSCRIPTION_ENDED``.
    """
    organization = Organization.objects.filter(pk=organization_id).first()
    if organization is None:
        raise KeyseatError(ReasonCode.NOT_FOUND, "the organisation does not exist")
    active_pools(organization, product, now)


def assigned_pool(
    holder: Holder, product: str, listed: Sequence[Candidate], locked: Mapping[UUID, Pool], now: datetime
) -> UUID | None:
    """Return the pool in which a seat is assigned to this user; ``None`` for API keys, which need no assignment.

    A user whose seat was an offline licence that has expired gets a seat back here, while one is free. The pools are
    locked: assigning and taking back a seat hold the same locks.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` for an API key and a named product, ``NOT_A_MEMBER``, ``NOT_ASSIGNED``,
            ``SEAT_LOCKED_OFFLINE``, ``QUOTA_EXCEEDED``.
    """
    named = listed[0].seats == SeatKind.NAMED
    if holder.key_id is not None:
        if named:
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"{product} is licensed to users: an API key cannot activate it",
                details={"reason": "named"},
                cause=Cause.API_KEY_FOR_NAMED,
            )
        return None
    organization_id = listed[0].organization_id
    if not Membership.objects.filter(organization_id=organization_id, email=holder.email).exists():
        raise KeyseatError(ReasonCode.NOT_A_MEMBER, "the user is not a member of this organisation")
    order = [candidate.pool_id for candidate in listed]
    held = set(
        Allocation.objects.filter(
            pool__in=order, kind=AllocationKind.NAMED, holder=holder.email, released_at__isnull=True
        ).values_list("pool_id", flat=True)
    )
    for pool_id in order:
        if pool_id in held:
            return pool_id
    if named and _seat_comes_back(organization_id, product, holder.email, now):
        return _take_back(holder.email, organization_id, product, [locked[pool_id] for pool_id in order], now)
    raise _not_assigned(organization_id, product, holder.email)


def sessions_used_up(locked: Sequence[Pool], now: datetime) -> KeyseatError:
    """Return the refusal of a session where no locked pool has a free seat, with when the next one may be free."""
    ids = [pool.pk for pool in locked]
    live = Lease.objects.filter(ended_at__isnull=True, seats__gt=0, expires_at__gt=now)
    ends = [at for pk in ids if (at := pools.next_offline_expiry(pk, now)) is not None]
    for pk in ids:
        at = live.filter(pool_id=pk).order_by("expires_at").values_list("expires_at", flat=True).first()
        if at is not None:
            ends.append(at)
    quota = sum(pool.quota for pool in locked)
    used = sum(pool.used for pool in locked)
    return KeyseatError(
        ReasonCode.QUOTA_EXCEEDED,
        f"all {quota} sessions of {locked[0].product} are in use",
        details={
            "product": locked[0].product,
            "quota": quota,
            "used": used,
            "next_free_at": format_instant(min(ends)) if ends else None,
        },
        next_step="Wait for a session to end, end one that is not needed, or extend the subscription.",
    )


def _seat_comes_back(organization_id: UUID, product: str, email: str, now: datetime) -> bool:
    """Tell whether a seat that was the user's offline licence is free again, and the user's to take back.

    Several licences of one user that run at the same time are a seat each: the first to expire comes back.

    Raises:
        KeyseatError: ``SEAT_LOCKED_OFFLINE`` where every one is active, or went on in one that is.
    """
    licenses = OfflineLicense.objects.filter(organization_id=organization_id, product=product, user=email)
    periods = sorted(licenses.values_list("issued_at", "expires_at"))
    # One that was issued after another had expired goes on with the seat of that one.
    expired = [issued for issued, expires in periods if expires <= now and periods[-1][0] < expires]
    if not expired:
        until = min((expires for _, expires in periods if now < expires), default=None)
        if until is None:
            return False
        raise KeyseatError(
            ReasonCode.SEAT_LOCKED_OFFLINE,
            f"the user's {product} seat is an offline licence until {format_instant(until)}",
            details={"until": format_instant(until)},
            next_step="Use the offline licence on its machine until then; afterwards activate online.",
        )
    # A seat assigned after the licence was issued, and taken back since, was somebody's decision.
    return not Allocation.objects.filter(
        pool__subscription__organization_id=organization_id,
        pool__product=product,
        kind=AllocationKind.NAMED,
        holder=email,
        created_at__gt=expired[-1],
    ).exists()


def _take_back(email: str, organization_id: UUID, product: str, order: Sequence[Pool], now: datetime) -> UUID:
    for pool in order:
        pools.reclaim_expired(pool, now)
        if pool.used < pool.quota:
            taken = pools.take(pool, AllocationKind.NAMED, email, expires_at=None, now=now)
            log.append_many(
                [
                    log.NewEvent(
                        "seat.returned",
                        email,
                        {"product": product, "pool": str(pool.pk), "allocation": str(taken.pk)},
                        organization_id,
                    )
                ],
                actor="service",
                now=now,
            )
            return pool.pk
    quota = sum(pool.quota for pool in order)
    raise pools.quota_exceeded(product, quota, sum(pool.used for pool in order), 1, None)


def _not_assigned(organization_id: UUID, product: str, email: str) -> KeyseatError:
    managers = Membership.objects.filter(organization_id=organization_id, role__in=(Role.OWNER, Role.ADMIN))
    ask = list(managers.exclude(email=email).order_by("email").values_list("email", flat=True)[:_MOST_NAMES])
    details: dict[str, object] = {"ask": ask, "product": product}
    if managers.filter(email=email).exists():
        path = f"/api/v1/organizations/{organization_id}/seats/{product}/assign"
        details["assign"] = path
        body = json.dumps({"emails": [email]})
        step = f"Assign yourself one: in the browser under License Management, or POST {path} with {body}."
    else:
        step = f"Ask an owner or admin of your organisation{': ' if ask else ''}{', '.join(ask)}."
    return KeyseatError(
        ReasonCode.NOT_ASSIGNED, f"no {product} licence is assigned to {email}", details=details, next_step=step
    )
