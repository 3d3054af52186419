"""What deciding on offline licences must know of the ledger: read in a few queries for any number of requests.

Reading locks the pools concerned, in the order of their ids, and takes back their expired seats, so that what is
decided on these facts holds until the transaction ends.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from keyseat_issuer.ledger.customers import members, organizations
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    Membership,
    OfflineLicense,
    Organization,
    Pool,
)
from keyseat_issuer.ledger.offline.rules import Bound, Decision, OfflineRequest, PoolFacts, Wanted
from keyseat_issuer.ledger.pools import pools
from keyseat_shared.errors import KeyseatError

T = TypeVar("T")

_CHUNK = 500
"""Values of one ``IN``: SQLite takes at most 32,766 variables a statement, older ones 999."""


class LedgerFacts:
    """The facts for a set of requests, from ``load``; ``apply`` keeps them right while requests are granted in turn."""

    def __init__(self) -> None:
        self.usable: dict[Wanted, list[PoolFacts]] = {}
        self._organizations: dict[str, Organization | KeyseatError] = {}
        self._emails: dict[str, str | KeyseatError] = {}
        self._members: set[tuple[UUID, str]] = set()
        self._pools: dict[tuple[UUID, str], list[PoolFacts]] = defaultdict(list)
        self._named: dict[tuple[UUID, str], UUID] = {}
        self._bound: dict[tuple[UUID, str, str], list[Bound]] = defaultdict(list)
        self._now: datetime

    @classmethod
    def load(cls, requests: Sequence[OfflineRequest], now: datetime, *, lock: bool = True) -> "LedgerFacts":
        """Read what the requests need, locking their pools. Call inside a transaction.

        Args:
            requests: whose organisations, products and users are looked up.
            now: the ledger's time; seats that expired before it are taken back.
            lock: otherwise nothing is locked or changed, and what is decided on these facts must be decided again.
        """
        facts = cls()
        facts._now = now
        named = sorted({request.organization for request in requests})
        for name in named:
            facts._organizations[name] = _result(organizations.find, name)
        for typed in {request.user for request in requests if request.user is not None}:
            facts._emails[typed] = _result(members.normalize_email, typed)
        found = {entry.pk: entry for entry in facts._organizations.values() if isinstance(entry, Organization)}
        products = sorted({request.product for request in requests})
        emails = sorted({email for email in facts._emails.values() if isinstance(email, str)})
        facts._load_pools(sorted(found), products, lock=lock)
        for part in _chunks(emails):
            facts._load_members(sorted(found), part)
            facts._load_named_seats(part)
            facts._load_bound(found, products, part)
        return facts

    def _load_pools(self, organization_ids: Sequence[UUID], products: Sequence[str], *, lock: bool) -> None:
        listed: list[Pool] = []
        for part in _chunks(organization_ids):
            listed += Pool.objects.filter(subscription__organization_id__in=part, product__in=products).select_related(
                "subscription"
            )
        # Subscriptions do not change, so only pools that can still give a seat need the lock.
        running = [pool for pool in listed if pool.subscription.starts_at <= self._now < pool.subscription.ends_at]
        locked: dict[UUID, Pool] = {}
        if lock:
            locked = {pool.pk: pool for pool in pools.lock_pools([pool.pk for pool in running])}
            for pool in locked.values():
                pools.reclaim_expired(pool, self._now)
        else:
            figures = pools.availabilities(running, self._now)
            for pool in running:
                pool.used = figures[pool.pk].used
        for pool in listed:
            bought = pool.subscription
            self._pools[bought.organization_id, pool.product].append(
                PoolFacts(locked.get(pool.pk, pool), bought.pk, bought.term, bought.starts_at, bought.ends_at)
            )

    def _load_members(self, organization_ids: Sequence[UUID], emails: Sequence[str]) -> None:
        for part in _chunks(organization_ids):
            self._members.update(
                Membership.objects.filter(organization_id__in=part, email__in=emails).values_list(
                    "organization_id", "email"
                )
            )

    def _load_named_seats(self, emails: Sequence[str]) -> None:
        known = [entry.pool.pk for entries in self._pools.values() for entry in entries]
        for part in _chunks(known):
            seats = Allocation.objects.filter(
                pool_id__in=part, kind=AllocationKind.NAMED, holder__in=emails, released_at__isnull=True
            )
            self._named.update(
                {(pool_id, holder): pk for pool_id, holder, pk in seats.values_list("pool_id", "holder", "pk")}
            )

    def _load_bound(self, found: dict[UUID, Organization], products: Sequence[str], emails: Sequence[str]) -> None:
        for part in _chunks(sorted(found)):
            active = OfflineLicense.objects.filter(
                organization_id__in=part, product__in=products, user__in=emails, expires_at__gt=self._now
            )
            names = ("license_id", "organization_id", "product", "user", "machine_id", "sessions", "expires_at")
            for license_id, organization_id, *bound in active.order_by("license_id").values_list(*names):
                product, user, *_ = bound
                self._bound[organization_id, product, user].append(Bound(license_id, found[organization_id], *bound))

    def organization(self, name: str) -> Organization:
        """Return the organisation.

        Raises:
            KeyseatError: ``NOT_FOUND`` with likely names.
        """
        return _value(self._organizations[name])

    def email(self, typed: str) -> str:
        """Return an address as the ledger writes it.

        Raises:
            KeyseatError: ``INVALID_INPUT``.
        """
        return _value(self._emails[typed])

    def require_member(self, organization: Organization, email: str) -> None:
        """Return if the address is a member's.

        Raises:
            KeyseatError: ``NOT_A_MEMBER`` with likely addresses.
        """
        if (organization.pk, email) not in self._members:
            raise members.not_a_member(organization, email)

    def pools(self, organization: Organization, product: str) -> Sequence[PoolFacts]:
        """Return the organisation's pools of a product, of all times."""
        return self._pools.get((organization.pk, product), [])

    def named_seat(self, pool: Pool, email: str) -> UUID | None:
        """Return the allocation by which a user holds a named seat of the pool."""
        return self._named.get((pool.pk, email))

    def bound_to_user(self, organization: Organization, product: str, email: str) -> Sequence[Bound]:
        """Return the user's active offline licences."""
        return self._bound.get((organization.pk, product, email), [])

    def apply(self, decision: Decision) -> None:
        """Take a granted request into account for the next one."""
        if decision.user is None:
            return
        self._named.pop((decision.source.pool.pk, decision.user), None)
        self._bound[decision.organization.pk, decision.request.product, decision.user].append(
            Bound(
                decision.license_id,
                decision.organization,
                decision.request.product,
                decision.user,
                decision.machine_id,
                decision.request.sessions,
                decision.expires_at,
                pending=True,
            )
        )


def _result(function: Callable[[str], T], argument: str) -> T | KeyseatError:
    """Return what the function says, a refusal included: that is told when the request concerned is decided."""
    try:
        return function(argument)
    except KeyseatError as error:
        return error


def _value(result: T | KeyseatError) -> T:
    if isinstance(result, KeyseatError):
        # A new one each time: an exception object gathers the traces of all places that raise it.
        raise type(result)(result.code, result.message, details=result.details, next_step=result.next_step)
    return result


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
