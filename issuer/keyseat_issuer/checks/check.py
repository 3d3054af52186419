"""Checking the ledger against itself: the audit chain, what its rows tell of, licences' signatures, pools' counters.

An attacker who can write the database can rewrite the whole chain and its head. An anchor, the ``SEQ:DIGEST`` of the
newest row, noted elsewhere and given to a later check, shows that too.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet, Sum

from keyseat_issuer.causes import Cause
from keyseat_issuer.checks import rows as audit_rows
from keyseat_issuer.checks.people import People
from keyseat_issuer.checks.rows import WRONG_KIND, Finding, Spoilt
from keyseat_issuer.checks.seats import Seats
from keyseat_issuer.checks.signatures import Signatures
from keyseat_issuer.ledger.audit.clock_correction import ACCEPTED
from keyseat_issuer.ledger.audit.log import FILE_DIGEST, OFFLINE_ISSUED, Row, row_digest
from keyseat_issuer.ledger.customers.subscriptions import ADDED, terms_of
from keyseat_issuer.ledger.database import ledger_errors, snapshot
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Lease, OfflineLicense, Pool, Subscription
from keyseat_issuer.ledger.models.audit import ZERO_DIGEST
from keyseat_issuer.ledger.models.seats import SeatKind
from keyseat_issuer.ledger.tools.plain_sql import fetch, instant_in
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.instants import format_instant
from keyseat_shared.payloads import LicensePayload
from keyseat_shared.trust import TrustBundle

MAX_FINDINGS = 50
"""Findings reported; a ledger with more has one cause, and the first places show it."""

_CHUNK = 2000
UNREADABLE = "it holds what this software never writes there: changed"
_ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


class AuditReport(NamedTuple):
    """What a check saw. ``anchor`` is the ``SEQ:DIGEST`` of the newest row; ``findings`` is empty where all agrees.

    ``unchecked``: what a check from an anchor on (``since``) left out.
    """

    events: int
    licenses: int
    pools: int
    anchor: str
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return not self.findings


def verify(anchor: str | None = None, *, trust: TrustBundle | None = None) -> AuditReport:
    """Check the whole ledger as it is at one instant, without blocking writers.

    Args:
        anchor: ``SEQ:DIGEST`` that an earlier check reported; the chain must still hold that row.
        trust: the vendor's trust bundle, to check licences' signatures with; without one they are not checked.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for an anchor that is none; ``LEDGER_UNAVAILABLE``.
    """
    noted = None if anchor is None else parse_anchor(anchor)
    with ledger_errors(), snapshot():
        check = Check(noted, None if trust is None else Signatures(trust), People(), Seats())
        check.chain()
        check.bundles()
        check.licenses()
        # By a database whose columns take anything, values of the wrong kind come as errors.
        steps = {
            "subscriptions": check.subscriptions,
            "pools": check.pools,
            "seats": check.seats,
            "people and keys": check.people,
        }
        for what, step in steps.items():
            try:
                step()
            except WRONG_KIND:
                check.find(what, f"one of them cannot be read: {UNREADABLE}")
        return check.report()


def parse_anchor(text: str) -> tuple[int, str]:
    """Read ``SEQ:DIGEST``.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    found = _ANCHOR.fullmatch(text.strip())
    if found is None:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the anchor is not SEQ:DIGEST",
            cause=Cause.ANCHOR_MALFORMED,
        )
    return int(found[1]), found[2]


class Check:
    """One check of the ledger, step by step: the chain first, since the other steps hold the tables against it."""

    def __init__(
        self, anchor: tuple[int, str] | None, signatures: Signatures | None, people: People, seats: Seats
    ) -> None:
        """Take the anchor, the checker of signatures, and the replays of the acts on people and on their seats."""
        self._anchor = anchor
        self._signatures = signatures
        self._people = people
        self._seats = seats
        self._findings: list[Finding] = []
        self._counts = {"events": 0, "licenses": 0, "pools": 0}
        self._head = ""
        # licence id -> digest of its file, from the audit rows that issued them
        self.issued: dict[UUID, str] = {}
        # subscription id -> organisation and details of the audit row that added it
        self.bought: dict[str, tuple[UUID | None, str]] = {}

    def report(self) -> AuditReport:
        """Return what was seen."""
        return AuditReport(
            self._counts["events"],
            self._counts["licenses"],
            self._counts["pools"],
            self._head,
            tuple(self._findings),
        )

    def find(self, place: str, what: str) -> None:
        """Keep a finding."""
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(place, what))

    def start(self) -> tuple[int, str, datetime | None]:
        """Return number, digest and date of the row in front of the first one that is followed."""
        return 0, ZERO_DIGEST, None

    def chain(self) -> None:
        """Follow the chain from its start to its head."""
        seq, digest, at = self.start()
        for row in audit_rows.events(seq or None):
            self._counts["events"] += 1
            if isinstance(row, Spoilt):
                self.find(f"audit row {row.key}", UNREADABLE)
                # The row after it says what its digest was.
                if type(row.key) is int:
                    seq, digest = row.key, ""
                continue
            place = f"audit row {row.seq}"
            if row.seq != seq + 1:
                missing = f"row {seq + 1} is" if row.seq == seq + 2 else f"rows {seq + 1} to {row.seq - 1} are"
                self.find(place, f"{missing} missing before it: removed")
            if not hmac.compare_digest(row_digest(row).encode(), row.digest.encode()):
                self.find(place, "its content does not match its digest: changed")
            elif digest and row.previous != digest:
                self.find(place, "it does not follow the row before it: changed, inserted or moved")
            if at is not None and row.at < at and not _corrects(row, at):
                self.find(place, "it is dated before the row before it")
            if self._anchor is not None and row.seq == self._anchor[0] and row.digest != self._anchor[1]:
                self.find(place, "it is not the row of the anchor: the chain was rewritten")
            self._note(row)
            seq, digest, at = row.seq, row.digest, row.at
        self._check_end(seq, digest, at)

    def _check_end(self, seq: int, digest: str, at: datetime | None) -> None:
        self._head = f"{seq}:{digest}"
        if self._anchor is not None and self._anchor[0] > seq:
            self.find(f"audit row {self._anchor[0]}", "the row of the anchor is not there: removed")
        rows = fetch("SELECT seq, digest, at FROM ledger_audithead WHERE id = 1")
        if not rows:
            self.find("audit head", "it is missing: removed")
            return
        head_seq, head_digest, head_at = rows[0]
        if type(head_seq) is not int:
            self.find("audit head", UNREADABLE)
        elif head_seq > seq:
            self.find(f"audit row {seq + 1}", f"the log ends before it, but its head is row {head_seq}: removed")
        elif (head_seq, head_digest) != (seq, digest):
            self.find(f"audit row {seq}", f"the head is row {head_seq} with another digest: changed or inserted")
        # The ledger's time hangs on it: set back, it would let somebody date licences back.
        elif at is not None and not _is_instant(head_at, at):
            self.find("audit head", "it is dated otherwise than the newest row: changed")

    def _note(self, row: Row) -> None:
        if row.action == OFFLINE_ISSUED:
            self._note_issue(row)
        elif row.action == ADDED:
            self.bought[row.subject] = (row.organization_id, row.details)
        self._keep(self._people.note(row))
        self._keep(self._seats.note(row))

    def _keep(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.find(finding.place, finding.what)

    def bundles(self) -> None:
        """Take up the newest trust bundle on record."""
        if self._signatures is not None:
            self._keep(self._signatures.bundles())

    def seats(self) -> None:
        """Compare the assigned seats that are held with what the rows say of them."""
        self._keep(self._seats.compare())

    def people(self) -> None:
        """Compare organisations, members, invitations and API keys with what the rows say of them."""
        self._keep(self._people.compare())

    def _note_issue(self, row: Row) -> None:
        try:
            license_id = UUID(row.subject)
            digest = str(json.loads(row.details)[FILE_DIGEST])
        except (*WRONG_KIND, RecursionError):
            self.find(f"audit row {row.seq}", "it issues a licence, but does not say which")
            return
        if license_id in self.issued:
            self.find(f"audit row {row.seq}", f"licence {license_id} was issued before: issued twice")
        self.issued[license_id] = digest

    def licenses(self) -> None:
        """Compare every licence with the audit row that issued it, with its own signed file, and with its seat."""
        self.check_licenses(audit_rows.license_keys())

    def check_licenses(self, keys: Sequence[object]) -> None:
        """Compare licences by their ids, and every one that a row issues must be among them."""
        seen: set[UUID] = set()
        for row in audit_rows.licenses(keys):
            self._counts["licenses"] += 1
            if isinstance(row, Spoilt):
                self.find(f"licence {row.key}", "it, or its seat or pool, is not as this software writes it: changed")
                continue
            seen.add(row.license_id)
            for what in _license_faults(row, self.issued.get(row.license_id)):
                self.find(f"licence {row.license_id}", what)
            forged = None if self._signatures is None else self._signatures.fault(bytes(row.file))
            if forged is not None:
                self.find(f"licence {row.license_id}", forged)
        for license_id in self.issued.keys() - seen:
            self.find(f"licence {license_id}", "an audit row issued it, but the ledger does not hold it: removed")

    def subscriptions(self) -> None:
        """Compare every subscription and its quotas with the audit row that added it: nothing changes them later."""
        self.check_subscriptions(Subscription.objects.all())

    def check_subscriptions(self, rows: QuerySet[Subscription]) -> None:
        """Compare subscriptions; every one that a row adds must be among them."""
        seen: set[str] = set()
        for row in rows.prefetch_related("pools").order_by("pk").iterator(_CHUNK):
            seen.add(str(row.pk))
            place, told = f"subscription {row.pk}", self.bought.get(str(row.pk))
            if told is None:
                self.find(place, "no audit row added it: inserted")
                continue
            organization_id, details = told
            terms = terms_of(row, {pool.product: pool.quota for pool in row.pools.all()})
            if organization_id != row.organization_id or _parsed(details) != terms:
                self.find(place, "it is not what the audit row that added it tells of: changed")
        for missing in sorted(self.bought.keys() - seen):
            self.find(f"subscription {missing}", "an audit row added it, but the ledger does not hold it: removed")

    def pools(self) -> None:
        """Compare the pools' counters with the seats that are held."""
        live = Q(allocations__released_at__isnull=True)
        named = Q(allocations__kind=AllocationKind.NAMED)
        running = Lease.objects.filter(ended_at__isnull=True).values("pool").annotate(held=Sum("seats"))
        sessions: dict[UUID, int] = dict(running.values_list("pool", "held"))
        left = Lease.objects.filter(lingering=True).values("pool").annotate(number=Count("pk"))
        lingering: dict[UUID, int] = dict(left.values_list("pool", "number"))
        for pool in Pool.objects.annotate(
            held_named=Sum("allocations__count", filter=live & named, default=0),
            held_other=Sum("allocations__count", filter=live & ~named, default=0),
        ).iterator(_CHUNK):
            self._counts["pools"] += 1
            floating = pool.seats == SeatKind.FLOATING
            assigned = pool.held_named if floating else 0
            used = pool.held_other + sessions.get(pool.pk, 0) + (0 if floating else pool.held_named)
            if (pool.used, pool.assigned) != (used, assigned):
                self.find(
                    f"pool {pool.pk} ({pool.product})",
                    f"it counts {pool.used} used and {pool.assigned} assigned, but {used} and {assigned} are held",
                )
            if pool.lingering != lingering.get(pool.pk, 0):
                self.find(
                    f"pool {pool.pk} ({pool.product})",
                    f"it counts {pool.lingering} leases of ended sessions, but there are {lingering.get(pool.pk, 0)}",
                )
        orphans = Allocation.objects.filter(kind=AllocationKind.OFFLINE, offline_license__isnull=True)
        for allocation_id in orphans.values_list("pk", flat=True)[:MAX_FINDINGS]:
            self.find(f"allocation {allocation_id}", "it holds an offline seat without a licence")
        early = Allocation.objects.filter(kind=AllocationKind.OFFLINE, released_at__lt=F("expires_at"))
        for allocation_id in early.values_list("pk", flat=True)[:MAX_FINDINGS]:
            self.find(f"allocation {allocation_id}", "its offline seat was freed before it expired")


def _corrects(row: Row, before: datetime) -> bool:
    """Tell whether a row is the act that sets the ledger's time back, and says from when."""
    found = _parsed(row.details)
    return row.action == ACCEPTED and isinstance(found, dict) and found.get("from") == format_instant(before)


def _parsed(details: str) -> object:
    try:
        return json.loads(details)
    except (ValueError, RecursionError):
        return None


def _is_instant(stored: object, at: datetime) -> bool:
    try:
        return instant_in(stored) == at
    except ValueError:
        return False


def _license_faults(row: OfflineLicense, issued: str | None) -> Iterator[str]:
    data = bytes(row.file)
    digest = hashlib.sha256(data).hexdigest()
    if issued is None:
        yield "no audit row issued it: inserted"
    elif issued != digest:
        yield "its file is not the one that the audit row tells of: changed"
    if digest != row.file_sha256:
        yield "its file does not match its digest: changed"
    held = row.allocation
    if (held.pool_id, held.kind, held.count, held.expires_at) != (
        row.pool_id,
        AllocationKind.OFFLINE,
        row.sessions,
        row.expires_at,
    ):
        yield "its seat is not the one that it was issued for: changed"
    try:
        payload = LicensePayload.from_bytes(Envelope.from_bytes(data).payload)
    except MalformedError:
        yield "its file cannot be read"
        return
    stored = {
        "licence id": (str(row.license_id), payload.license_id),
        "product": (row.product, payload.product),
        "organisation": (str(row.organization_id), payload.organization_id),
        "subscription": (str(row.pool.subscription_id), payload.subscription_id),
        "user": (row.user or None, payload.user),
        "machine ID": (row.machine_id, payload.machine_id),
        "number of sessions": (row.sessions, payload.sessions),
        "time of issue": (row.issued_at, payload.issued_at),
        "expiry": (row.expires_at, payload.expires_at),
    }
    for what, (in_ledger, in_file) in stored.items():
        if in_ledger != in_file:
            yield f"its {what} differs from what its file says: changed"
