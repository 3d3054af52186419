"""The trust bundles that the audit log has on record: each change of one is a row that carries the whole text."""

import hashlib
import json
from datetime import datetime
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import TrustError
from keyseat_shared.trust import TrustBundle

CREATED = "trust.created"
KEY_ADDED = "trust.key_added"
KEY_RETIRED = "trust.key_retired"
KEY_REVOKED = "trust.key_revoked"
ROOT_ROTATED = "trust.root_rotated"
POLICY_SET = "trust.policy_set"
RENEWED = "trust.renewed"
PROPOSED = "trust.proposed"
"""A proposal was written, which other root keys must sign; no bundle yet."""
BUNDLE_ACTIONS = (CREATED, KEY_ADDED, KEY_RETIRED, KEY_REVOKED, ROOT_ROTATED, POLICY_SET, RENEWED)
"""The audit rows that carry a bundle: details hold ``version``, ``digest`` and ``bundle`` (the whole text)."""


def bundle_digest(data: bytes) -> str:
    """Return ``sha256:`` and the hex digest of a bundle file."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def audit_details(data: bytes, version: int) -> dict[str, object]:
    """Return what an audit row says about a bundle, from which ``current_trust`` can restore it."""
    return {"version": version, "digest": bundle_digest(data), "bundle": data.decode()}


def newest_row() -> int:
    """Return the number of the newest row that carries a bundle, or 0: it changes when the bundle on record does.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    from keyseat_issuer.ledger.models import AuditEvent  # noqa: PLC0415 - Django is set up by now

    with ledger_errors():
        rows = AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS).order_by("-seq")
        return rows.values_list("seq", flat=True).first() or 0


def recorded_version(number: int) -> bytes | None:
    """Return the bundle of a version as the ledger has it on record, or ``None``."""
    found = [row.entry.bundle.encode() for row in history() if row.entry is not None and row.entry.version == number]
    return found[-1] if found else None


def require_newest(trust: TrustBundle) -> None:
    """Refuse to go on under a bundle that has been replaced.

    Call it in an act's transaction, after its audit rows: a change of the bundle waits for their lock then.

    Raises:
        TrustError: ``TRUST_ROLLBACK``; ``AUDIT_BROKEN`` where the newest row cannot be read.
    """
    rows = history()
    if not rows:
        return
    newest = rows[-1]
    if newest.entry is None:
        raise damaged(newest.seq)
    if newest.entry.digest != bundle_digest(trust.data):
        raise TrustError(
            ReasonCode.TRUST_ROLLBACK,
            "rules or keys were changed at the same time; nothing was issued",
            details={"version": newest.entry.version},
            next_step=f"Do it again: it is decided under version {newest.entry.version} of the trust bundle then.",
        )


def record(newer: TrustBundle, action: str, subject: str, *, actor: str, now: datetime) -> None:
    """Put a new version on record, in one transaction with the check that it follows the newest one there.

    Raises:
        TrustError: ``TRUST_ROLLBACK`` where another host was faster, ``AUDIT_BROKEN`` where the row before is damaged.
    """
    from django.db import transaction  # noqa: PLC0415 - Django is set up by now

    from keyseat_issuer.ledger.audit.log import append  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.models import AuditEvent  # noqa: PLC0415 - as above

    with ledger_errors(), transaction.atomic():
        details = audit_details(newer.data, newer.version)
        row = append(actor=actor, action=action, organization=None, subject=subject, details=details, now=now)
        # Another host with a copy of this home may have been faster; the audit head's lock orders us.
        before = AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS, seq__lt=row.seq).order_by("-seq").first()
        known = None if before is None else read_details(before.details)
        if before is not None and known is None:
            raise damaged(before.seq)
        if known is not None and known.version != newer.version - 1:
            raise TrustError(
                ReasonCode.TRUST_ROLLBACK,
                "somebody else changed the trust bundle at the same time; nothing was changed here",
                cause=Cause.BUNDLE_CHANGED_MEANWHILE,
            )


class Recorded(NamedTuple):
    """A bundle as an audit row has it."""

    version: int
    digest: str
    bundle: str


class HistoryRow(NamedTuple):
    """An audit row that should carry a bundle; ``entry`` is ``None`` where it was damaged or tampered with."""

    seq: int
    entry: Recorded | None


def history() -> list[HistoryRow]:
    """Return the rows of the ledger that carry bundles, oldest first."""
    from keyseat_issuer.ledger.models import AuditEvent  # noqa: PLC0415 - Django is set up by now

    with ledger_errors():
        rows = AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS).order_by("seq")
        return [HistoryRow(seq, read_details(details)) for seq, details in rows.values_list("seq", "details")]


def read_details(details: str) -> Recorded | None:
    """Read the details of an audit row that carries a bundle; ``None`` where they do not hold together."""
    try:
        found = json.loads(details)
        entry = Recorded(found["version"], found["digest"], found["bundle"])
        whole = isinstance(entry.version, int) and entry.digest == bundle_digest(entry.bundle.encode())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return entry if whole else None


def damaged(seq: int) -> TrustError:
    """Return the refusal of an audit row that should carry a signed bundle and does not."""
    return TrustError(
        ReasonCode.AUDIT_BROKEN,
        f"row {seq} of the audit log does not hold the trust bundle that it should: it was damaged or changed",
        details={"row": seq},
        cause=Cause.HISTORY_DAMAGED,
    )
