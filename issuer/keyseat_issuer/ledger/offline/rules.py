"""Deciding one request for an offline licence: functions of what is asked, what the ledger holds, policy and instant.

``issue`` and ``batch`` both decide here and nowhere else; the vendor's rules themselves are ``keyseat_shared.rules``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.customers.naming import unknown
from keyseat_issuer.ledger.models import AllocationKind, Organization, Pool
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Grade, Verdict
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import match
from keyseat_shared.payloads import MAX_SESSIONS
from keyseat_shared.policy import NAMED, Policy, Product


class OfflineRequest(NamedTuple):
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

    @property
    def subject(self) -> str:
        """What the request is about, in a line of the audit log."""
        whose = f" for {self.user[:254]}" if self.user else ""
        return f"{self.product[:40]}{whose} on {self.machine_id[:90]}"


@dataclass(frozen=True, slots=True)
class Bound:
    """An active offline licence: who and what it is bound to; ``pending`` where it is of the present transaction."""

    license_id: UUID
    organization: Organization
    product: str
    user: str
    machine_id: str
    sessions: int
    expires_at: datetime
    pending: bool = False


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A pool with its subscription; the pool's counter follows what was decided so far in this transaction."""

    pool: Pool
    subscription_id: UUID
    term: str
    starts_at: datetime
    ends_at: datetime


Wanted = tuple[UUID, str, str | None, datetime | None]
"""What the choice of a pool depends on: organisation, product, subscription and expiry of a request."""


class Facts(Protocol):
    """What deciding must know of the ledger; ``facts`` reads it, under the locks of the pools.

    ``usable`` keeps which pools the rules allow: a batch asks a thousand times. Subscriptions do not change meanwhile.
    """

    usable: dict[Wanted, list[PoolFacts]]

    def organization(self, name: str) -> Organization:
        """Return the organisation, or raise ``NOT_FOUND`` with likely names."""

    def email(self, typed: str) -> str:
        """Return an address as the ledger writes it, or raise ``INVALID_INPUT``."""

    def require_member(self, organization: Organization, email: str) -> None:
        """Return if the address is a member's, or raise ``NOT_A_MEMBER`` with likely addresses."""

    def pools(self, organization: Organization, product: str) -> Sequence[PoolFacts]:
        """Return the organisation's pools of a product, of all times."""

    def named_seat(self, pool: Pool, email: str) -> UUID | None:
        """Return the allocation by which a user holds a named seat of the pool."""

    def bound_to_user(self, organization: Organization, product: str, email: str) -> Sequence[Bound]:
        """Return the user's active offline licences."""


class Identity(NamedTuple):
    """Who and what a request names, in the one way the ledger writes it."""

    organization: Organization
    user: str | None
    machine: MachineID
    machine_id: str


class Decision(NamedTuple):
    """A request that is granted, and what that does. ``used_before`` and ``used_after`` count the pool's seats."""

    license_id: UUID
    request: OfflineRequest
    organization: Organization
    product: Product
    user: str | None
    machine: MachineID
    machine_id: str
    grade: Grade
    source: PoolFacts
    expires_at: datetime
    converts: UUID | None
    used_before: int
    used_after: int


def identify(request: OfflineRequest, facts: Facts) -> Identity:
    """Find out who and what a request names.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``, ``MALFORMED`` or ``UNSUPPORTED_FORMAT``.
    """
    organization = facts.organization(request.organization)
    user = None if request.user is None else facts.email(request.user)
    machine = MachineID.parse(request.machine_id)
    return Identity(organization, user, machine, str(machine))


def decide(
    request: OfflineRequest, facts: Facts, policy: Policy, now: datetime, identity: Identity | None = None
) -> Decision:
    """Apply every rule to one request, in the order in which a person can do something, and charge the pool in memory.

    Args:
        request: what is asked.
        facts: the ledger as it stands.
        policy: the vendor's rules.
        now: the ledger's time, which becomes the time of issue.
        identity: what ``identify`` found, where that was asked before.

    Raises:
        KeyseatError: ``ISSUED_AFTER_SUNSET``, ``NOT_FOUND``, ``INVALID_INPUT``, ``NOT_A_MEMBER``, ``MALFORMED``,
            ``MACHINE_WEAK``, ``NOT_YET_VALID``, ``SUBSCRIPTION_ENDED``, ``NOT_ANNUAL``, ``EXPIRY_AFTER_SUBSCRIPTION``,
            ``EXPIRY_IN_PAST``, ``ALREADY_BOUND`` or ``QUOTA_EXCEEDED``.
    """
    rules.check_sunset(now, policy)
    product = require_product(request.product, policy)
    _check_holder(request, product)
    found = identity or identify(request, facts)
    organization, user = found.organization, found.user
    if user is not None:
        facts.require_member(organization, user)
    grade = check_machine(found.machine, policy, accept_weak=request.accept_weak)
    # `id` here and below: Django looks up what `pk` is for each time, and a batch comes here a thousand times.
    wanted = (organization.id, request.product, request.subscription, request.expires_at)
    sources = facts.usable.get(wanted)
    if sources is None:
        sources = _usable_sources(request, facts.pools(organization, request.product), organization, policy, now)
        facts.usable[wanted] = sources
    held: dict[UUID, UUID] = {}
    if user is not None:
        _check_not_bound(found, facts.bound_to_user(organization, request.product, user))
        held = {s.pool.id: seat for s in sources if (seat := facts.named_seat(s.pool, user)) is not None}
    # First the pool where the user's own seat is converted, then (they are in that order) the one that serves longest.
    if held:
        sources = sorted(sources, key=lambda source: source.pool.id not in held)
    source = next((s for s in sources if s.pool.id in held or _has_room(s.pool, request.sessions)), sources[0])
    used_before = source.pool.used
    converts = held.get(source.pool.id)
    if converts is None:
        pools.charge(source.pool, AllocationKind.OFFLINE, now, count=request.sessions)
    return Decision(
        license_id=new_id(now),
        request=request,
        organization=organization,
        product=product,
        user=user,
        machine=found.machine,
        machine_id=found.machine_id,
        grade=grade,
        source=source,
        expires_at=request.expires_at or source.ends_at,
        converts=converts,
        used_before=used_before,
        used_after=source.pool.used,
    )


def require_product(code: str, policy: Policy) -> Product:
    """Return a product of the catalogue.

    Raises:
        KeyseatError: ``NOT_FOUND`` with likely codes.
    """
    product = policy.products.get(code)
    if product is None:
        raise unknown("product", code, policy.products, f"The catalogue has {', '.join(sorted(policy.products))}.")
    return product


def check_machine(machine: MachineID, policy: Policy, *, accept_weak: bool) -> Grade:
    """Judge whether a licence may be bound to a machine ID, and return its grade.

    Raises:
        KeyseatError: ``MACHINE_WEAK`` where its evidence is forbidden, or weak and not accepted.
    """
    rules.check_evidence(machine.instance_source, policy)
    grade = machine.grade
    if not accept_weak and grade is Grade.WEAK:
        raise KeyseatError(
            ReasonCode.MACHINE_WEAK,
            f"the machine ID is weak: {' '.join(machine.grade_reasons)}",
            details={"grade": str(grade), "grade_reasons": list(machine.grade_reasons)},
        )
    return grade


def _check_holder(request: OfflineRequest, product: Product) -> None:
    if not 1 <= request.sessions <= MAX_SESSIONS:
        raise _invalid(f"sessions is not a number from 1 to {MAX_SESSIONS:,}")
    if product.seats == NAMED:
        if request.user is None:
            raise _invalid(
                f"{request.product} has named seats: a licence is one user's, and none is named",
                Cause.HOLDER_LACKING,
            )
        if request.sessions != 1:
            raise _invalid(
                f"{request.product} has named seats: a licence is one user's, and has no number of sessions",
                Cause.SESSIONS_NOT_FOR_NAMED,
            )
    elif request.user is not None:
        raise _invalid(
            f"{request.product} has floating seats: its licences belong to no user",
            Cause.HOLDER_NOT_FOR_FLOATING,
        )


def _usable_sources(
    request: OfflineRequest,
    sources: Sequence[PoolFacts],
    organization: Organization,
    policy: Policy,
    now: datetime,
) -> list[PoolFacts]:
    """Return the pools that every rule allows but the count of seats; raise the reason where the last one falls."""
    wanted = list(sources)
    if not wanted:
        raise KeyseatError(
            ReasonCode.NOT_FOUND,
            f"{organization.name!r} has no subscription with {request.product}",
            cause=Cause.PRODUCT_NEVER_BOUGHT,
        )
    if request.subscription is not None:
        wanted = [source for source in wanted if str(source.subscription_id) == request.subscription.lower()]
        if not wanted:
            raise KeyseatError(
                ReasonCode.NOT_FOUND,
                f"{organization.name!r} has no subscription {request.subscription[:40]!r} with {request.product}",
                cause=Cause.SUBSCRIPTION_UNKNOWN,
            )
    # The latest end first: where none passes, people are told about the one that comes closest.
    wanted.sort(key=lambda source: source.ends_at, reverse=True)
    wanted = _passing(wanted, lambda s: _check_running(s, now))
    wanted = _passing(wanted, lambda s: rules.check_annual(s.term, s.starts_at, s.ends_at, policy))
    return _passing(wanted, lambda s: rules.check_expiry_bounds(request.expires_at or s.ends_at, now, s.ends_at))


def _passing(sources: list[PoolFacts], check: Callable[[PoolFacts], None]) -> list[PoolFacts]:
    passing: list[PoolFacts] = []
    first: KeyseatError | None = None
    for source in sources:
        try:
            check(source)
        except KeyseatError as error:
            first = first or error
        else:
            passing.append(source)
    if not passing and first is not None:
        raise first
    return passing


def _check_running(source: PoolFacts, now: datetime) -> None:
    if now < source.starts_at:
        raise KeyseatError(
            ReasonCode.NOT_YET_VALID,
            f"the subscription begins at {format_instant(source.starts_at)}",
            details={"starts_at": format_instant(source.starts_at)},
            next_step="Wait until the subscription begins.",
        )
    rules.check_expiry_bounds(source.ends_at, now, source.ends_at)


def _has_room(pool: Pool, seats: int) -> bool:
    return pool.used + seats <= pool.quota


def _check_not_bound(found: Identity, bound: Sequence[Bound]) -> None:
    for other in bound:
        if other.machine_id != found.machine_id and not same_machine(found.machine, other.machine_id):
            continue
        if other.pending:
            raise KeyseatError(
                ReasonCode.ALREADY_BOUND,
                f"a licence of {other.user} for this machine is asked for twice",
                next_step="Leave one of the two out.",
            )
        raise KeyseatError(
            ReasonCode.ALREADY_BOUND,
            f"{other.user} has an active licence on this machine until {format_instant(other.expires_at)}",
            details={"license_id": str(other.license_id), "expires_at": format_instant(other.expires_at)},
            cause=Cause.MACHINE_BOUND,
        )


def same_machine(machine: MachineID, enrolled: str) -> bool:
    """Tell whether an ID in a stored licence is of the same machine and user account, by the matching rules."""
    other = MachineID.parse_canonical(enrolled)
    # Every rule of the same machine asks for at least one equal item: most pairs are settled by that.
    if set(machine.search_keys).isdisjoint(other.search_keys):
        return False
    # Either way round: which of two IDs of one machine saw more of it does not matter here.
    return Verdict.SAME in {match(other, machine).verdict, match(machine, other).verdict}


def _invalid(message: str, cause: str = "") -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, message, cause=cause)
