"""Deciding one request for an offline licence: pure functions of what is asked, what the ledger holds, policy, instant.

``issue`` and ``batch`` both decide here and nowhere else; the vendor's rules themselves are ``keyseat_shared.rules``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Protocol
from uuid import UUID

from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Grade, Verdict
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import match
from keyseat_shared.payloads import MAX_SESSIONS
from keyseat_shared.policy import NAMED, Policy, Product


@dataclass(frozen=True, slots=True)
class OfflineRequest:
    """What is asked for, as it was typed; ``expires_at`` is exclusive, ``None`` means the end of the subscription."""

    organization: str
    product: str
    machine_id: str
    user: str | None = None
    expires_at: datetime | None = None
    sessions: int = 1
    features: tuple[str, ...] = ()
    accept_weak: bool = False
    subscription: str | None = None


@dataclass(frozen=True, slots=True)
class OrganizationFacts:
    """The organisation that was named."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """An active offline licence: who and what it is bound to."""

    license_id: UUID
    organization: OrganizationFacts
    product: str
    user: str
    machine_id: str
    sessions: int
    expires_at: datetime


@dataclass(slots=True)
class PoolFacts:
    """A pool with its subscription. ``used`` follows what was decided so far in this transaction."""

    id: UUID
    subscription_id: UUID
    term: str
    starts_at: datetime
    ends_at: datetime
    quota: int
    used: int


class Facts(Protocol):
    """What deciding must know of the ledger; ``offline_facts`` reads it, under the locks of the pools."""

    def organization(self, name: str) -> OrganizationFacts:
        """Return the organisation, or raise ``NOT_FOUND`` with likely names."""

    def require_member(self, organization: OrganizationFacts, email: str) -> str:
        """Return the address as the ledger writes it, or raise ``NOT_A_MEMBER`` with likely names."""

    def pools(self, organization: OrganizationFacts, product: str) -> Sequence[PoolFacts]:
        """Return the organisation's pools of a product, of all times."""

    def named_seat(self, pool: PoolFacts, email: str) -> UUID | None:
        """Return the allocation by which a user holds a named seat of the pool."""

    def bound_to_user(self, organization: OrganizationFacts, product: str, email: str) -> Sequence[Bound]:
        """Return the user's active offline licences."""

    def next_free_at(self, pool: PoolFacts) -> datetime | None:
        """Return when the next offline licence of the pool expires."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A request that may be granted, and what granting it does. ``used_before`` and ``used_after`` count seats."""

    request: OfflineRequest
    organization: OrganizationFacts
    product: Product
    user: str | None
    machine: MachineID
    machine_id: str
    grade: Grade
    pool: PoolFacts
    expires_at: datetime
    converts: UUID | None
    used_before: int
    used_after: int


def decide(request: OfflineRequest, facts: Facts, policy: Policy, now: datetime) -> Decision:
    """Apply every rule to one request, in the order in which a person can do something about them.

    Args:
        request: what is asked.
        facts: the ledger as it stands.
        policy: the vendor's rules.
        now: the ledger's time, which becomes the time of issue.

    Raises:
        KeyseatError: ``ISSUED_AFTER_SUNSET``, ``NOT_FOUND``, ``INVALID_INPUT``, ``NOT_A_MEMBER``, ``MALFORMED``,
            ``MACHINE_WEAK``, ``NOT_YET_VALID``, ``SUBSCRIPTION_ENDED``, ``NOT_ANNUAL``, ``EXPIRY_AFTER_SUBSCRIPTION``,
            ``EXPIRY_IN_PAST``, ``ALREADY_BOUND`` or ``QUOTA_EXCEEDED``.
    """
    rules.check_sunset(now, policy)
    product = require_product(request.product, policy)
    organization = facts.organization(request.organization)
    _check_holder(request, product)
    user = None if request.user is None else facts.require_member(organization, request.user)
    machine = check_machine(request.machine_id, policy, accept_weak=request.accept_weak)
    machine_id = str(machine)
    held = (
        {pool.id: facts.named_seat(pool, user) for pool in facts.pools(organization, request.product)} if user else {}
    )
    pools = _usable_pools(request, facts.pools(organization, request.product), organization, policy, now)
    if user is not None:
        _check_not_bound(machine, machine_id, facts.bound_to_user(organization, request.product, user))
    # First the pool where the user's own seat is converted, then the one that serves longest.
    pools.sort(key=lambda pool: (held.get(pool.id) is not None, pool.ends_at), reverse=True)
    for pool in pools:
        converts = held.get(pool.id)
        used_after = pool.used + (0 if converts else request.sessions)
        if used_after <= pool.quota:
            return Decision(
                request=request,
                organization=organization,
                product=product,
                user=user,
                machine=machine,
                machine_id=machine_id,
                grade=machine.grade,
                pool=pool,
                expires_at=request.expires_at or pool.ends_at,
                converts=converts,
                used_before=pool.used,
                used_after=used_after,
            )
    raise _quota_exceeded(request, pools, facts)


def require_product(code: str, policy: Policy) -> Product:
    """Return a product of the catalogue.

    Raises:
        KeyseatError: ``NOT_FOUND`` with likely codes.
    """
    product = policy.products.get(code)
    if product is None:
        near = get_close_matches(code.upper(), policy.products, n=2, cutoff=0.5)
        raise KeyseatError(
            ReasonCode.NOT_FOUND,
            f"there is no product {code[:40]!r}",
            details={"did_you_mean": near} if near else {"products": sorted(policy.products)},
        )
    return product


def check_machine(text: str, policy: Policy, *, accept_weak: bool) -> MachineID:
    """Read a machine ID and judge whether a licence may be bound to it.

    Raises:
        KeyseatError: ``MALFORMED`` or ``UNSUPPORTED_FORMAT`` where it is mistyped, ``MACHINE_WEAK`` where its evidence
            is forbidden, or weak and not accepted.
    """
    machine = MachineID.parse(text)
    rules.check_evidence(machine.instance_source, policy)
    if not accept_weak and machine.grade is Grade.WEAK:
        raise KeyseatError(
            ReasonCode.MACHINE_WEAK,
            f"the machine ID is weak: {' '.join(machine.grade_reasons)}",
            details={"grade": str(machine.grade), "grade_reasons": list(machine.grade_reasons)},
        )
    return machine


def _check_holder(request: OfflineRequest, product: Product) -> None:
    if not 1 <= request.sessions <= MAX_SESSIONS:
        raise _invalid(f"sessions is not a number from 1 to {MAX_SESSIONS:,}")
    if product.seats == NAMED:
        if request.user is None:
            raise _invalid(f"{request.product} has named seats: say whose with --user EMAIL (column user)")
        if request.sessions != 1:
            raise _invalid(f"{request.product} has named seats: a licence is one user's, --sessions does not apply")
    elif request.user is not None:
        raise _invalid(f"{request.product} has floating seats: its licences belong to no user, leave --user out")


def _usable_pools(
    request: OfflineRequest,
    pools: Sequence[PoolFacts],
    organization: OrganizationFacts,
    policy: Policy,
    now: datetime,
) -> list[PoolFacts]:
    """Return the pools that every rule allows but the count of seats; raise the reason where the last one falls."""
    wanted = list(pools)
    if not wanted:
        raise KeyseatError(
            ReasonCode.NOT_FOUND,
            f"{organization.name!r} has no subscription with {request.product}",
            next_step="`keyseat-issuer subscription list` shows what each organisation has.",
        )
    if request.subscription is not None:
        wanted = [pool for pool in wanted if str(pool.subscription_id) == request.subscription.lower()]
        if not wanted:
            raise KeyseatError(
                ReasonCode.NOT_FOUND,
                f"{organization.name!r} has no subscription {request.subscription[:40]!r} with {request.product}",
                next_step="`keyseat-issuer subscription list` shows the ids.",
            )
    # The latest end first: where none passes, people are told about the one that comes closest.
    wanted.sort(key=lambda pool: pool.ends_at, reverse=True)
    wanted = _passing(wanted, lambda pool: _check_running(pool, now))
    wanted = _passing(wanted, lambda pool: rules.check_annual(pool.term, pool.starts_at, pool.ends_at, policy))
    return _passing(
        wanted, lambda pool: rules.check_expiry_bounds(request.expires_at or pool.ends_at, now, pool.ends_at)
    )


def _passing(pools: list[PoolFacts], check: Callable[[PoolFacts], None]) -> list[PoolFacts]:
    passing: list[PoolFacts] = []
    first: KeyseatError | None = None
    for pool in pools:
        try:
            check(pool)
        except KeyseatError as error:
            first = first or error
        else:
            passing.append(pool)
    if not passing and first is not None:
        raise first
    return passing


def _check_running(pool: PoolFacts, now: datetime) -> None:
    if now < pool.starts_at:
        raise KeyseatError(
            ReasonCode.NOT_YET_VALID,
            f"the subscription begins at {format_instant(pool.starts_at)}",
            details={"starts_at": format_instant(pool.starts_at)},
            next_step="Wait until the subscription begins.",
        )
    rules.check_expiry_bounds(pool.ends_at, now, pool.ends_at)


def _check_not_bound(machine: MachineID, machine_id: str, bound: Sequence[Bound]) -> None:
    for other in bound:
        if other.machine_id == machine_id or _same_machine(machine, other.machine_id):
            raise KeyseatError(
                ReasonCode.ALREADY_BOUND,
                f"{other.user} has an active licence on this machine until {format_instant(other.expires_at)}",
                details={"license_id": str(other.license_id), "expires_at": format_instant(other.expires_at)},
                next_step=f"Hand out the same file again: keyseat-issuer offline export {other.license_id}",
            )


def _same_machine(machine: MachineID, enrolled: str) -> bool:
    # Either way round: which of two IDs of one machine saw more of it does not matter here.
    other = MachineID.parse_canonical(enrolled)
    return Verdict.SAME in {match(other, machine).verdict, match(machine, other).verdict}


def _quota_exceeded(request: OfflineRequest, pools: Sequence[PoolFacts], facts: Facts) -> KeyseatError:
    best = max(pools, key=lambda pool: pool.quota - pool.used)
    free = best.quota - best.used
    back = facts.next_free_at(best)
    wanted = f"{request.sessions} seats are wanted and {free} free" if request.sessions > 1 else "no seat is free"
    return KeyseatError(
        ReasonCode.QUOTA_EXCEEDED,
        f"{wanted}: {best.used} of {best.quota} {request.product} seats are taken",
        details={
            "quota": best.quota,
            "used": best.used,
            "wanted": request.sessions,
            "next_offline_expiry": None if back is None else format_instant(back),
        },
    )


def _invalid(message: str) -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, message)
