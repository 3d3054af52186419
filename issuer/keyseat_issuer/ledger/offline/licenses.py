"""Offline licences one at a time: the preview before the irreversible step, issuing, finding, handing out again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import organizations
from keyseat_issuer.ledger.customers.naming import shorten
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.ledger.models import AuditEvent, OfflineLicense, Organization
from keyseat_issuer.ledger.offline.conversion import ACTION, EXPORTED, convert
from keyseat_issuer.ledger.offline.rules import Decision, OfflineRequest
from keyseat_issuer.ledger.offline.values import IssuedLicense, Terms
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Verdict
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import match

MAX_COMPARED = 5_000
"""Active licences of the organisation that a preview compares with, component by component (about 50 µs each)."""

_KEYS = (paging.Key("expires_at", paging.instant), paging.Key("license_id", paging.uuid))
_MIN_PREFIX = 4
_UUID_DIGITS = 32
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Conflict:
    """An active licence on the machine that is about to be bound. ``relation`` says how alike the machines are."""

    license_id: UUID
    organization: str
    elsewhere: bool
    product: str
    user: str
    sessions: int
    expires_at: datetime
    relation: str

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "license_id": str(self.license_id),
            "organization": self.organization,
            "elsewhere": self.elsewhere,
            "product": self.product,
            "user": self.user or None,
            "sessions": self.sessions,
            "expires_at": format_instant(self.expires_at),
            "relation": self.relation,
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """What issuing would do, before it is done."""

    decision: Decision
    conflicts: tuple[Conflict, ...]

    @property
    def sessions_on_machine(self) -> int:
        """Sessions that active floating licences of this product give the machine already, in this organisation."""
        return sum(
            conflict.sessions
            for conflict in self.conflicts
            if not conflict.elsewhere and not conflict.user and conflict.product == self.decision.request.product
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should think about first, in sentences: weak spots of the ID, and conflicts."""
        remarks = list(self.decision.machine.grade_reasons[1:])
        for conflict in self.conflicts:
            # Parallel sessions on one machine are normal, and counted instead.
            if not conflict.elsewhere and not conflict.user and self.decision.user is None:
                continue
            where = f"another organisation, {conflict.organization!r}" if conflict.elsewhere else "this organisation"
            whose = f" of {conflict.user}" if conflict.user and not conflict.elsewhere else ""
            remarks.append(
                f"{conflict.relation}: an active {conflict.product} licence{whose} in {where} holds it"
                f" until {format_instant(conflict.expires_at)}."
            )
        return tuple(remarks)

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        decision, source = self.decision, self.decision.source
        return {
            "organization": decision.organization.name,
            "product": decision.request.product,
            "user": decision.user,
            "sessions": decision.request.sessions,
            "subscription": {
                "id": str(source.subscription_id),
                "term": source.term,
                "starts_at": format_instant(source.starts_at),
                "ends_at": format_instant(source.ends_at),
            },
            "machine_id": decision.machine_id,
            "grade": str(decision.grade),
            "grade_reasons": list(decision.machine.grade_reasons),
            "evidence": [str(kind) for kind in decision.machine.evidence],
            "instance_source": decision.machine.instance_source,
            "locked_until": format_instant(decision.expires_at),
            "quota": source.pool.quota,
            "used_before": decision.used_before,
            "used_after": decision.used_after,
            "converts_named_seat": decision.converts is not None,
            "sessions_on_machine": self.sessions_on_machine,
            "conflicts": [conflict.to_dict() for conflict in self.conflicts],
            "warnings": list(self.warnings),
        }


def preview(request: OfflineRequest, terms: Terms, *, dry_run: bool = False) -> Preview:
    """Apply every rule to a request and return what issuing would do; nothing is changed.

    Args:
        request: what is asked.
        terms: trust bundle, actor and instant; no signer is needed.
        dry_run: the person only looks: a refusal is not recorded as a refused attempt.

    Raises:
        KeyseatError: the refusal that issuing would meet.
    """
    try:
        [outcome] = convert([request], terms, dry_run=True)
        if outcome.error is not None:
            raise outcome.error
    except KeyseatError as error:
        if not dry_run and error.code is not ReasonCode.LEDGER_UNAVAILABLE:
            _record_refusal(error, request, terms)
        raise
    if outcome.decision is None:
        msg = "a dry run neither issues nor finds what was issued"
        raise RuntimeError(msg)
    with ledger_errors():
        return Preview(outcome.decision, tuple(conflicts(outcome.decision, terms.now)))


def issue(request: OfflineRequest, terms: Terms) -> IssuedLicense:
    """Issue one licence. It exists from here on whatever happens; every rule is applied once more before.

    Raises:
        KeyseatError: the refusal, which is recorded; nothing is issued then.
    """
    [outcome] = convert([request], terms)
    if outcome.license is None:
        raise outcome.error or RuntimeError("a request is granted or refused")
    return outcome.license


def list_licenses(
    *, now: datetime, organization: Organization | None = None, expiring_days: int | None = None
) -> Sequence[OfflineLicense]:
    """Return active licences by their expiry, the soonest first, without the files' bytes (see ``selected``)."""
    with ledger_errors():
        return list(selected(now=now, organization=organization, expiring_days=expiring_days).ordered)


def selected(
    *,
    now: datetime,
    organization: Organization | None = None,
    machine_id: MachineID | None = None,
    user: str | None = None,
    expiring_days: int | None = None,
    everything: bool = False,
) -> paging.Source[OfflineLicense]:
    """Return licences by their expiry, the soonest first, without the files' bytes, to be read page by page.

    Args:
        now: licences that ended by then are left out unless ``everything``.
        organization: only this one's.
        machine_id: only those bound to exactly this ID.
        user: only this address's.
        expiring_days: only active ones that end within so many days.
        everything: with those that have ended.
    """
    rows = _rows()
    if expiring_days is not None:
        rows = rows.filter(expires_at__gt=now, expires_at__lte=now + timedelta(days=expiring_days))
    elif not everything:
        rows = rows.filter(expires_at__gt=now)
    if organization is not None:
        rows = rows.filter(organization=organization)
    if machine_id is not None:
        rows = rows.filter(machine_id=str(machine_id))
    if user is not None:
        rows = rows.filter(user=user)
    return paging.Source("offline-licenses", rows, _KEYS, lambda row: row)


def listed(
    organization: Organization, now: datetime, product: str | None = None, *, everything: bool = False
) -> paging.Source[OfflineLicense]:
    """Return the licences of an organisation in the same order, to be read page by page."""
    rows = _rows().filter(organization=organization)
    if not everything:
        rows = rows.filter(expires_at__gt=now)
    if product is not None:
        rows = rows.filter(product=product)
    return paging.Source("offline-licenses", rows, _KEYS, lambda row: row)


def _rows() -> QuerySet[OfflineLicense]:
    return OfflineLicense.objects.select_related("organization").defer("file")


def find(typed: str) -> OfflineLicense:
    """Return the licence with this id, or the one whose id begins like that.

    Raises:
        KeyseatError: ``NOT_FOUND``; ``INVALID_INPUT`` where it is no id, or several begin like that.
    """
    digits = typed.strip().lower().replace("-", "")
    if not _MIN_PREFIX <= len(digits) <= _UUID_DIGITS or not _HEX.issuperset(digits):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{shorten(typed)!r} is not the id of a licence",
            cause=Cause.LICENSE_ID_MALFORMED,
        )
    # As a range of ids: the same on a database with UUIDs of its own and on one that keeps text.
    low, high = UUID(digits.ljust(_UUID_DIGITS, "0")), UUID(digits.ljust(_UUID_DIGITS, "f"))
    rows = OfflineLicense.objects.select_related("organization", "pool__subscription")
    with ledger_errors():
        found = list(rows.filter(license_id__gte=low, license_id__lte=high).order_by("license_id")[:2])
    if not found:
        raise KeyseatError(
            ReasonCode.NOT_FOUND,
            f"there is no offline licence {shorten(typed)!r}",
            cause=Cause.LICENSE_UNKNOWN,
        )
    if len(found) > 1:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"several licences begin with {shorten(typed)!r}",
            details={"for_example": [str(row.license_id) for row in found]},
            next_step="Write more of the id.",
        )
    return found[0]


def export(typed: str, *, actor: str, now: datetime) -> IssuedLicense:
    """Return an issued licence with its file, byte for byte as it was signed, and record that it was handed out again.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``, ``CLOCK_ROLLED_BACK``.
    """
    row = find(typed)
    with log.act(EXPORTED, actor=actor, organization=row.organization, subject=str(row.license_id), now=now) as at:
        log.append(
            actor=actor,
            action=EXPORTED,
            organization=row.organization,
            subject=str(row.license_id),
            details={log.FILE_DIGEST: row.file_sha256},
            now=at,
        )
    return IssuedLicense.from_row(row, row.organization.name)


def history(row: OfflineLicense) -> Sequence[AuditEvent]:
    """Return the audit events of a licence, oldest first: who issued it, and who handed it out again."""
    with ledger_errors():
        return list(
            AuditEvent.objects.filter(action__in=(log.OFFLINE_ISSUED, EXPORTED), subject=str(row.license_id)).order_by(
                "seq"
            )
        )


def conflicts(decision: Decision, now: datetime) -> list[Conflict]:
    """Return active licences of the machine: the very ID anywhere, the same machine in this organisation."""
    active = OfflineLicense.objects.filter(expires_at__gt=now).select_related("organization").defer("file")
    equal = list(active.filter(machine_id=decision.machine_id).order_by("expires_at"))
    near = active.filter(organization=decision.organization).exclude(machine_id=decision.machine_id)
    found = [_conflict(row, decision, "The machine ID is bound already") for row in equal]
    for row in near.order_by("-license_id")[:MAX_COMPARED]:
        verdict = match(MachineID.parse_canonical(row.machine_id), decision.machine).verdict
        if verdict is Verdict.SAME:
            found.append(_conflict(row, decision, "The machine is bound already by another ID"))
        elif verdict is Verdict.OTHER_USER:
            found.append(_conflict(row, decision, "The machine is bound already for another account on it"))
    return found


def _record_refusal(error: KeyseatError, request: OfflineRequest, terms: Terms) -> None:
    with ledger_errors():
        try:
            organization = organizations.find(request.organization)
        except KeyseatError:
            organization = None
        log.refused(
            error, actor=terms.actor, action=ACTION, organization=organization, subject=request.subject, now=terms.now
        )


def _conflict(row: OfflineLicense, decision: Decision, relation: str) -> Conflict:
    return Conflict(
        row.license_id,
        row.organization.name,
        row.organization_id != decision.organization.pk,
        row.product,
        row.user,
        row.sessions,
        row.expires_at,
        relation,
    )
