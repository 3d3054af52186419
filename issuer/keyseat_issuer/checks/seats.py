"""Replaying the audit log for the audit check: who holds which assigned seat.

An assigned seat has no signature of its own, and the pools' counters agree with whoever is written into it. What the
rows of the log say of seats is followed from the first row to the last, and then held against the seats that are held.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import QuerySet

from keyseat_issuer.checks.rows import Acts, Finding, followed
from keyseat_issuer.ledger.audit.log import OFFLINE_ISSUED, Row
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Ending, Membership, Pool

T = TypeVar("T")

_CHUNK = 400
"""Older SQLite takes at most 999 values a statement, and some here have two for each."""
Place = tuple[str, str]
"""A pool's id and a holder: nobody holds two assigned seats of one pool."""
Held = tuple[UUID, UUID, str]
"""The id of a seat that is held, its pool and its holder."""

GIVING = ("seat.assigned", "seat.returned", "seat.transferred", "seat.carried")
"""The acts that give somebody a seat."""


class Seats:
    """What the rows read so far say: the assigned seat of each holder in each pool."""

    def __init__(self) -> None:
        self.held: dict[Place, str | None] = {}
        self.pools_of: dict[tuple[UUID | None, str], set[str]] = {}
        self._pools: dict[tuple[str, str], str] | None = None
        self._latest: datetime | None = None
        self._acts: Acts = {
            "seat.assigned": self._given,
            "seat.returned": self._given,
            "seat.transferred": self._transferred,
            "seat.carried": self._carried,
            "seat.unassigned": self._unassigned,
            "member.removed": self.removed,
            OFFLINE_ISSUED: self._converted,
        }

    def note(self, row: Row) -> Iterator[Finding]:
        """Follow one row; yield what is wrong with it."""
        self._latest = row.at
        yield from followed(row, self._acts, " on a seat")

    def ended(self, place: Place) -> str | None:
        """Follow the end of a seat; return what is wrong with it."""
        if self.held.pop(place, None) is None:
            return f"it ends a seat of {place[1]}, but no row before it gave it"
        return None

    def removed(self, row: Row, _details: dict[str, object]) -> str | None:
        """Follow a removal, which frees all seats of a member."""
        for pool in self.pools_of.pop((row.organization_id, row.subject), ()):
            self.held.pop((pool, row.subject), None)
        return None

    def _given(self, row: Row, details: dict[str, object]) -> None:
        pool = str(details["pool"])
        self.held[pool, row.subject] = str(details["allocation"])
        self.pools_of.setdefault((row.organization_id, row.subject), set()).add(pool)

    def _transferred(self, row: Row, details: dict[str, object]) -> str | None:
        what = self.ended((str(details["pool"]), str(details["from"])))
        self._given(row, details)
        return what

    def _carried(self, row: Row, details: dict[str, object]) -> str | None:
        what = self.ended((str(details["from_pool"]), row.subject))
        self._given(row, details)
        return what

    def _unassigned(self, row: Row, details: dict[str, object]) -> str | None:
        return self.ended((str(details["pool"]), row.subject))

    def _converted(self, _row: Row, details: dict[str, object]) -> str | None:
        if details.get("converted_seat") is not True:
            return None
        if self._pools is None:
            rows = Pool.objects.values_list("subscription_id", "product", "pk").iterator(_CHUNK)
            self._pools = {(str(bought), product): str(pk) for bought, product, pk in rows}
        pool = self._pools[str(details["subscription"]), str(details["product"])]
        return self.ended((pool, str(details["user"])))

    def compare(self) -> Iterator[Finding]:
        """Hold what the rows say against the seats that are held; yield what differs."""
        told = {place: allocation for place, allocation in self.held.items() if allocation is not None}
        for pk, pool, holder in self.rows():
            expected = told.pop((str(pool), holder), None)
            if expected is None:
                yield Finding(_place(str(pool), holder), "no audit row gave it to them: inserted or changed")
            elif expected != str(pk):
                yield Finding(_place(str(pool), holder), "it is not the seat that the audit log tells of: changed")
        for left in sorted(told.keys() - self._left_behind(told)):
            yield Finding(
                _place(*left),
                "the audit log says that they hold it, but the ledger does not: removed or changed",
            )
        yield from self.strangers()

    def rows(self) -> Iterable[Held]:
        """Return the assigned seats that are compared."""
        return live().order_by("pk").values_list("pk", "pool_id", "holder").iterator(_CHUNK)

    def strangers(self) -> Iterator[Finding]:
        """Yield the seats whose holders are no members: a removal frees them."""
        # Not asked of the database for each seat: it would look through all members of the organisation every time.
        members = set(Membership.objects.values_list("organization_id", "email").iterator(_CHUNK))
        held = live().order_by("pk").values_list("pool_id", "holder", "pool__subscription__organization_id")
        for pool, holder, organization_id in held.iterator(_CHUNK):
            if (organization_id, holder) not in members:
                yield Finding(_place(str(pool), holder), "its holder is no member of the organisation: changed")

    def _left_behind(self, told: dict[Place, str]) -> set[Place]:
        """Return the places that earlier versions freed without a row: in ended subscriptions, by a renewal."""
        found: set[Place] = set()
        for part in chunks(sorted(told.values())):
            rows = Allocation.objects.filter(
                pk__in=[UUID(pk) for pk in part],
                ending=Ending.TRANSFERRED,
                pool__subscription__ends_at__lte=self._latest,
            )
            found |= {(str(pool), holder) for pool, holder in rows.values_list("pool_id", "holder")}
        return found


def live() -> QuerySet[Allocation]:
    """Return the assigned seats that are held, in no order."""
    return Allocation.objects.filter(kind=AllocationKind.NAMED, released_at__isnull=True)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values so many at a time that every database takes them in one statement."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _place(pool: str, holder: str) -> str:
    return f"seat of {holder} in pool {pool}"
