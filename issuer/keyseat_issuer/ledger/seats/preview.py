"""A look ahead at acts on seats, by the acts' own rules and without writing anything."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.ledger.customers.subscriptions import active_pools
from keyseat_issuer.ledger.models import Organization, Pool
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats.rules import (
    ASSIGNABLE,
    Line,
    free_seats,
    holders,
    judged_addresses,
    judged_holders,
    offline_until,
    require_room,
    users_limited,
)
from keyseat_issuer.ledger.seats.seats import assigned_seats
from keyseat_shared.errors import KeyseatError
from keyseat_shared.policy import Policy


class Preview(NamedTuple):
    """What assigning would do. ``free``: seats free before it, ``None`` where the quota limits no users.

    ``offline``: until when addresses hold an offline licence besides. ``refusal``: why those who could be assigned
    one by one cannot all be: ``QUOTA_EXCEEDED``.
    """

    lines: list[Line]
    free: int | None
    offline: Mapping[str, datetime]
    refusal: KeyseatError | None

    @property
    def assignable(self) -> list[str]:
        """The addresses that would get a seat."""
        return [line.email for line in self.lines if line.status == ASSIGNABLE]

    @property
    def free_after(self) -> int | None:
        """How many seats would be free afterwards."""
        return None if self.free is None else max(0, self.free - len(self.assignable))

    @property
    def missing(self) -> int:
        """How many seats too few there are."""
        return 0 if self.free is None else max(0, len(self.assignable) - self.free)


def preview_assign(
    organization: Organization, product: str, emails: Sequence[str], *, policy: Policy, now: datetime
) -> Preview:
    """Return what ``seats.assign`` would do at this moment. It can change until the seats are assigned.

    Raises:
        KeyseatError: where nothing of the product can be assigned: ``NOT_FOUND``, ``NOT_YET_VALID`` or
            ``SUBSCRIPTION_ENDED``.
    """
    active = _as_counted(active_pools(organization, product, now), now)
    lines = judged_holders(organization, product, judged_addresses(organization, emails), active, now)
    limit = users_limited(policy, product)
    bound = offline_until(organization, product, [line.email for line in lines], now)
    seen = Preview(lines, free_seats(active, limit=limit) if limit else None, bound, None)
    try:
        require_room(active, len(seen.assignable), now, limit=limit)
    except KeyseatError as error:
        return seen._replace(refusal=error)
    return seen


def receivers(organization: Organization, product: str, from_email: str, now: datetime) -> list[str]:
    """Return the members to whom ``seats.transfer`` would move somebody's seat, by address.

    Raises:
        KeyseatError: as ``seats.transfer`` where the seat cannot be moved to anybody.
    """
    giver = normalize_email(from_email)
    active = active_pools(organization, product, now)
    every = {pool.pk: pool for pool in Pool.objects.filter(subscription__organization=organization, product=product)}
    given = assigned_seats(organization, product, every, [giver], now)[giver]
    taken = holders([*active, every[given.pool_id]])
    members = organization.memberships.order_by("email").values_list("email", flat=True)
    return [email for email in members if email not in taken]


def _as_counted(active: Sequence[Pool], now: datetime) -> list[Pool]:
    """Return the pools as they are once what has expired is taken back; they are not written."""
    figures = pools.availabilities(active, now)
    for pool in active:
        pool.used = figures[pool.pk].used
    return list(active)
