"""Checking the ledger from an anchor on: what has happened since an earlier check, in time that goes with that.

The whole check reads every row that there ever was. This one begins behind the row of the anchor, and holds against the
tables what the rows behind it tell of; what it leaves out, it says.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from keyseat_issuer.checks import rows as audit_rows
from keyseat_issuer.checks.check import UNREADABLE, AuditReport, Check, parse_anchor
from keyseat_issuer.checks.people import People, Who
from keyseat_issuer.checks.rows import WRONG_KIND, Finding, Spoilt
from keyseat_issuer.checks.seats import GIVING, Held, Place, Seats, chunks, live
from keyseat_issuer.checks.signatures import Signatures
from keyseat_issuer.ledger.audit.log import OFFLINE_ISSUED, Row, row_digest
from keyseat_issuer.ledger.customers.subscriptions import ADDED
from keyseat_issuer.ledger.database import ledger_errors, snapshot
from keyseat_issuer.ledger.models import ApiKey, AuditEvent, Invitation, Membership, Organization, Subscription
from keyseat_issuer.ledger.models.audit import ZERO_DIGEST
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_issuer.ledger.tools.plain_sql import uuid_in
from keyseat_shared.trust import TrustBundle

UNCHECKED = (
    "licences and subscriptions from before it, and any that were put there by SQL with an earlier date",
    "members, their seats, invitations, API keys and organisations that no later row tells of",
    "whether the pools' counters are the seats that are held",
)
"""What is left out, besides the rows up to the anchor."""
_ALLOCATION = re.compile(r'"allocation": ?"([0-9a-f-]{36})"')
_TIME = 80
"""Bits of a UUIDv7 behind its time."""


def verify_from(anchor: str, *, trust: TrustBundle | None = None) -> AuditReport:
    """Check what has happened since an anchor, ``SEQ:DIGEST`` that an earlier check reported.

    Args:
        anchor: the row must still be there; nothing in front of it is looked at.
        trust: the vendor's trust bundle, to check licences' signatures with; without one they are not checked.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for an anchor that is none; ``LEDGER_UNAVAILABLE``.
    """
    noted = parse_anchor(anchor)
    with ledger_errors(), snapshot():
        seats = _ToldSeats(noted[0])
        check = _Since(noted, None if trust is None else Signatures(trust), seats)
        check.chain()
        check.bundles()
        check.licenses()
        steps = {"subscriptions": check.subscriptions, "seats": check.seats, "people and keys": check.people}
        for what, step in steps.items():
            try:
                step()
            except WRONG_KIND:
                check.find(what, f"one of them cannot be read: {UNREADABLE}")
        return check.report()._replace(unchecked=(f"audit rows 1 to {noted[0]}", *UNCHECKED))


class _Since(Check):
    """A check of what the rows behind the anchor tell of."""

    def __init__(self, noted: tuple[int, str], signatures: Signatures | None, seats: "_ToldSeats") -> None:
        """Take the anchor, the checker of signatures, and the replay of the acts on seats."""
        super().__init__(noted, signatures, _Told(), seats)
        self._told_seats = seats
        self._noted = noted
        self._first: UUID | None = None

    def start(self) -> tuple[int, str, datetime | None]:
        """Begin with the row of the anchor, which must be as it was."""
        seq, digest = self._noted
        if seq == 0:
            return 0, ZERO_DIGEST, None
        place, row = f"audit row {seq}", audit_rows.event(seq)
        if row is None:
            self.find(place, "the row of the anchor is not there: removed")
            return seq, "", None
        if isinstance(row, Spoilt):
            self.find(place, UNREADABLE)
            return seq, digest, None
        if row.digest != digest:
            self.find(place, "it is not the row of the anchor: the chain was rewritten")
        elif row_digest(row) != row.digest:
            self.find(place, "its content does not match its digest: changed")
        # The first id of that millisecond.
        self._first = self._told_seats.first = UUID(int=new_id(row.at).int >> _TIME << _TIME)
        return row.seq, row.digest, row.at

    def licenses(self) -> None:
        """Compare the licences that the rows issue, and those that are dated as late."""
        before = self._told_before(OFFLINE_ISSUED, [str(pk) for pk in self.issued])
        for subject in before:
            self.find(f"licence {subject}", "it was issued before the anchor and behind it: issued twice")
        dated = [_read(key) for key in audit_rows.license_keys(self._first)]
        earlier = self._told_before(OFFLINE_ISSUED, [str(pk) for pk in dated if pk not in self.issued])
        wanted = {*self.issued, *(pk for pk in dated if str(pk) not in earlier)}
        self.check_licenses(sorted(wanted, key=str))

    def subscriptions(self) -> None:
        """Compare the subscriptions that the rows add, and those that are dated as late."""
        dated = Subscription.objects.all() if self._first is None else Subscription.objects.filter(pk__gte=self._first)
        late = [str(pk) for pk in dated.values_list("pk", flat=True)]
        earlier = self._told_before(ADDED, [pk for pk in late if pk not in self.bought])
        wanted = {*self.bought, *(pk for pk in late if pk not in earlier)}
        self.check_subscriptions(Subscription.objects.filter(pk__in=wanted))

    def _told_before(self, action: str, subjects: Sequence[str]) -> set[str]:
        """Return those of these subjects that a row up to the anchor tells of."""
        rows = AuditEvent.objects.filter(action=action, seq__lte=self._noted[0])
        return {
            subject
            for part in chunks(subjects)
            for subject in rows.filter(subject__in=part).values_list("subject", flat=True)
        }


class _Told(People):
    """The people that the rows behind the anchor tell of; what was in front of it is not known."""

    def __init__(self) -> None:
        super().__init__()
        self._revoked: set[str] = set()

    def changed_role(self, row: Row, details: dict[str, object]) -> str | None:
        """Follow a change of a role."""
        self.members.setdefault((row.organization_id, row.subject), details["from"])
        return super().changed_role(row, details)

    def removed(self, row: Row, _details: dict[str, object]) -> None:
        """Follow a removal."""
        self.members[row.organization_id, row.subject] = None

    def accepted(self, row: Row, details: dict[str, object]) -> str | None:
        """Follow an invitation to its end."""
        self.invited.setdefault((row.organization_id, row.subject), details["role"])
        return super().accepted(row, details)

    def key_revoked(self, row: Row, details: dict[str, object]) -> None:
        """Follow the end of a key."""
        if row.subject in self.keys:
            super().key_revoked(row, details)
        else:
            self._revoked.add(row.subject)

    def compare(self) -> Iterator[Finding]:
        """Hold what the rows say against the tables; yield what differs."""
        yield from super().compare()
        for part in chunks(sorted(self._revoked)):
            for prefix in ApiKey.objects.filter(prefix__in=part, revoked_at__isnull=True).values_list(
                "prefix", flat=True
            ):
                yield Finding(f"API key {prefix}", "an audit row revoked it, but it works: changed")

    def rows_of_organizations(self) -> Iterator[Organization]:
        """Return the organisations that were added."""
        for part in chunks([pk for pk in self.organizations if pk is not None]):
            yield from Organization.objects.select_related("account").filter(pk__in=part)

    def rows_of_members(self) -> Iterator[tuple[UUID, str, str]]:
        """Return those whose membership was changed."""
        yield from _of(Membership.objects.all(), self.members)

    def rows_of_invitations(self) -> Iterator[tuple[UUID, str, str]]:
        """Return the invitations of those who were invited."""
        yield from _of(Invitation.objects.filter(accepted_at__isnull=True), self.invited)

    def rows_of_keys(self) -> Iterator[ApiKey]:
        """Return the keys that were made."""
        for part in chunks(list(self.keys)):
            yield from ApiKey.objects.filter(prefix__in=part)


class _ToldSeats(Seats):
    """The seats that the rows behind the anchor tell of; who held one in front of it is not known."""

    def __init__(self, noted: int) -> None:
        super().__init__()
        self.first = UUID(int=0)
        self._noted = noted
        self._cleared: set[Who] = set()

    def ended(self, place: Place) -> str | None:
        """Follow the end of a seat: nobody else may have it by now."""
        self.held[place] = None
        return None

    def removed(self, row: Row, details: dict[str, object]) -> str | None:
        """Follow a removal, which frees seats from in front of the anchor as well."""
        self._cleared.add((row.organization_id, row.subject))
        return super().removed(row, details)

    def rows(self) -> Iterator[Held]:
        """Return the seats of those whose seats changed, and those that are dated as late."""
        found = {held[0]: held for held in [*self._touched(), *self._late()]}
        return iter(found.values())

    def strangers(self) -> Iterator[Finding]:
        """Leave out what only the whole check looks at."""
        return iter(())

    def _touched(self) -> Iterator[Held]:
        for part in chunks(list(self.held)):
            rows = live().filter(pool_id__in={pool for pool, _ in part}, holder__in={holder for _, holder in part})
            for pk, pool, holder in rows.values_list("pk", "pool_id", "holder"):
                if (str(pool), holder) in self.held:
                    yield pk, pool, holder
        for cleared in chunks(list(self._cleared)):
            rows = live().filter(holder__in={holder for _, holder in cleared})
            of = rows.values_list("pk", "pool_id", "holder", "pool__subscription__organization_id")
            yield from [(pk, pool, holder) for pk, pool, holder, owner in of if (owner, holder) in self._cleared]

    def _late(self) -> Iterator[Held]:
        rows = live().filter(pk__gte=self.first).values_list("pk", "pool_id", "holder")
        late = [held for held in rows if (str(held[1]), held[2]) not in self.held]
        for part in chunks(late):
            given = AuditEvent.objects.filter(action__in=GIVING, seq__lte=self._noted)
            told = given.filter(subject__in={holder for *_, holder in part}).values_list("details", flat=True)
            earlier = {id_ for details in told for id_ in _ALLOCATION.findall(details)}
            yield from [held for held in part if str(held[0]) not in earlier]


def _of(rows: "QuerySet[Membership] | QuerySet[Invitation]", told: Iterable[Who]) -> Iterator[tuple[UUID, str, str]]:
    """Return organisation, address and role of the rows about these people, each in their organisation."""
    for part in chunks(list(told)):
        found = rows.filter(organization_id__in={pk for pk, _ in part}, email__in={email for _, email in part})
        for organization_id, email, role in found.values_list("organization_id", "email", "role"):
            if (organization_id, email) in part:
                yield organization_id, email, role


def _read(key: object) -> object:
    """Return the id of a licence, or the text in its place where it is no id."""
    try:
        return uuid_in(key)
    except WRONG_KIND:
        return key
