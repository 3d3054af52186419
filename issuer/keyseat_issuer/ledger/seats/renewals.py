"""Renewing: seats that were assigned in an ended subscription go on in the one that runs now, in one act."""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import QuerySet

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.customers.subscriptions import active_pools
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Ending, Organization, Pool
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats.rules import ALREADY, Line, holders, require_room, room, users_limited
from keyseat_shared.policy import Policy

CARRIED = "carried over"


def carry_over(organization: Organization, product: str, *, policy: Policy, actor: str, now: datetime) -> list[Line]:
    """Move every seat still assigned in an ended subscription to a running one: all of them, or none.

    Offline licences stay where they are: they end with the subscription they were issued from.

    Raises:
        KeyseatError: ``QUOTA_EXCEEDED`` where the new subscription has fewer seats; ``SUBSCRIPTION_ENDED``,
            ``NOT_YET_VALID`` or ``NOT_FOUND`` where none is running.
    """
    with log.act("seat.carried", actor=actor, organization=organization, subject=product, now=now) as at:
        lock_organization(organization)
        running = active_pools(organization, product, at)
        left = left_behind(organization, product, at)
        locked = {
            pool.pk: pool
            for pool in pools.lock_pools({*(pool.pk for pool in running), *(seat.pool_id for seat in left)})
        }
        targets = [locked[pool.pk] for pool in running]
        for pool in targets:
            pools.reclaim_expired(pool, at)
        held = holders(targets)
        limit = users_limited(policy, product)
        require_room(targets, len({seat.holder for seat in left} - held), at, limit=limit)
        lines, events = [], []
        for seat in left:
            pools.give_back(locked[seat.pool_id], seat, at, Ending.TRANSFERRED)
            if seat.holder in held:
                lines.append(Line(seat.holder, ALREADY))
                freed = {"product": product, "pool": str(seat.pool_id), "allocation": str(seat.pk)}
                events.append(log.NewEvent("seat.unassigned", seat.holder, freed, organization.pk))
                continue
            held.add(seat.holder)
            pool = next(pool for pool in targets if room(pool, limit=limit) > 0)
            taken = pools.take(pool, AllocationKind.NAMED, seat.holder, expires_at=None, now=at, limit_assigned=limit)
            lines.append(Line(seat.holder, CARRIED))
            details = {"product": product, "from_pool": str(seat.pool_id), "pool": str(pool.pk)}
            events.append(
                log.NewEvent("seat.carried", seat.holder, details | {"allocation": str(taken.pk)}, organization.pk)
            )
        log.append_many(events, actor=actor, now=at)
    return lines


def left_behind(organization: Organization, product: str, now: datetime) -> Sequence[Allocation]:
    """Return the seats that are still assigned in subscriptions that have ended, by holder."""
    return list(_left_behind(organization, product, now).order_by("holder", "pk"))


def count_left_behind(organization: Organization, product: str, now: datetime) -> int:
    """Return how many those are."""
    return _left_behind(organization, product, now).count()


def _left_behind(organization: Organization, product: str, now: datetime) -> QuerySet[Allocation]:
    ended = Pool.objects.filter(
        subscription__organization=organization, product=product, subscription__ends_at__lte=now
    )
    return Allocation.objects.filter(pool__in=ended, kind=AllocationKind.NAMED, released_at__isnull=True)
