"""The rules of assigning seats: one set, for the acts and for their preview."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.ledger.models import Allocation, AllocationKind, OfflineLicense, Organization, Pool, SeatKind
from keyseat_issuer.ledger.models.seats import MAX_QUOTA
from keyseat_issuer.ledger.pools import pools
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import Policy

ASSIGNABLE = "could be assigned"
ALREADY = "already assigned"
STRANGER = "not a member"
UNREADABLE = "not an e-mail address"


class Line(NamedTuple):
    """The outcome for one address: a ``status``, the ``code`` of the obstacle, and perhaps a ``note``."""

    email: str
    status: str
    code: str = ReasonCode.OK
    note: str = ""


def judged_addresses(organization: Organization, emails: Sequence[str]) -> list[Line]:
    """Return a line for each address, once: whether it is one, and of a member."""
    lines = []
    cleaned: set[str] = set()
    for email in emails:
        try:
            address = normalize_email(email)
        except KeyseatError as error:
            lines.append(Line(email.strip()[:80], UNREADABLE, error.code))
            continue
        if address not in cleaned:
            lines.append(Line(address, ASSIGNABLE))
        cleaned.add(address)
    members = set(organization.memberships.filter(email__in=cleaned).values_list("email", flat=True))
    return [
        line._replace(status=STRANGER, code=ReasonCode.NOT_A_MEMBER)
        if line.status == ASSIGNABLE and line.email not in members
        else line
        for line in lines
    ]


def require_members(organization: Organization, lines: Sequence[Line]) -> None:
    """Refuse all of these addresses where one is in the way, with a report that tells every fault at once.

    Raises:
        KeyseatError: ``INVALID_INPUT``, ``NOT_A_MEMBER``; with ``details["lines"]``.
    """
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
            cause=Cause.MEMBERS_UNKNOWN,
        )


def judged_holders(
    organization: Organization, product: str, lines: Sequence[Line], active: Sequence[Pool], now: datetime
) -> list[Line]:
    """Return the lines with what their members hold of the active pools already, and offline."""
    holding = holders(active)
    offline = offline_until(organization, product, [line.email for line in lines if line.status == ASSIGNABLE], now)

    def judged(line: Line) -> Line:
        if line.status != ASSIGNABLE:
            return line
        if line.email in holding:
            return line._replace(status=ALREADY)
        until = offline.get(line.email)
        note = "" if until is None else f"also holds an offline licence until {format_instant(until)}"
        return line._replace(note=note)

    return [judged(line) for line in lines]


def holders(chosen: Iterable[Pool]) -> set[str]:
    """Return who is assigned a seat of these pools."""
    named = Allocation.objects.filter(
        pool__in=[pool.pk for pool in chosen], kind=AllocationKind.NAMED, released_at__isnull=True
    )
    return set(named.values_list("holder", flat=True))


def offline_until(
    organization: Organization, product: str, emails: Sequence[str], now: datetime
) -> dict[str, datetime]:
    """Return until when active offline licences hold seats of these addresses."""
    active = OfflineLicense.objects.filter(
        organization=organization, product=product, user__in=emails, expires_at__gt=now
    )
    return dict(active.order_by("expires_at").values_list("user", "expires_at"))


def users_limited(policy: Policy, product: str) -> bool:
    """Return whether the quota limits the assigned users: only a floating product can be without that limit."""
    return product not in policy.products or policy.products[product].assigned_users != "unlimited"


def room(pool: Pool, *, limit: bool) -> int:
    """Return how many more users can be assigned a seat of a pool whose expired seats are taken back.

    ``limit``: ``users_limited``. Without it a floating pool has room for more than any quota.
    """
    if pool.seats == SeatKind.FLOATING:
        return pool.quota - pool.assigned if limit else MAX_QUOTA
    return pool.quota - pool.used


def free_seats(active: Iterable[Pool], *, limit: bool) -> int:
    """Return how many more users can be assigned seats of these pools together."""
    return sum(max(0, room(pool, limit=limit)) for pool in active)


def require_room(active: Sequence[Pool], wanted: int, now: datetime, *, limit: bool) -> None:
    """Require that so many more users can be assigned seats of these pools together.

    Raises:
        KeyseatError: ``QUOTA_EXCEEDED``.
    """
    free = free_seats(active, limit=limit)
    if wanted > free:
        quota = sum(pool.quota for pool in active)
        named = active[0].seats == SeatKind.NAMED
        returns = [at for pool in active if (at := pools.next_offline_expiry(pool.pk, now))] if named else []
        raise pools.quota_exceeded(active[0].product, quota, quota - free, wanted, min(returns) if returns else None)
