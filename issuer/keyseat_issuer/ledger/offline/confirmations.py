"""Converting seats over the API: a preview with a token, and issuing what that token confirms and nothing else.

The token is bound to who asked, to the organisation, and to what the preview said. It ends after ten minutes and issues
one licence: its digest becomes the licence's key in the ledger, so that a second use finds the licence that is there.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from keyseat_issuer.ledger.audit.ledger_time import ledger_now
from keyseat_issuer.ledger.customers.guards import Guard, allow
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.ledger.models import Confirmation, OfflineLicense, Organization
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.offline.conversion import convert
from keyseat_issuer.ledger.offline.licenses import Conflict, Preview
from keyseat_issuer.ledger.offline.rules import Decision, OfflineRequest
from keyseat_issuer.ledger.offline.values import IssuedLicense, Status, Terms
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, parse_instant
from keyseat_shared.strictjson import dumps_compact

LIFETIME = timedelta(minutes=10)
KEPT = timedelta(days=1)
"""How long a dead confirmation is remembered, so that a late answer says why it does not count."""

_TOKEN_BYTES = 32
_AGAIN = "Ask for a new preview, read it, and confirm that one."
_ELSEWHERE = "The machine ID is bound already: an active licence in another organisation holds it."


class Shown(NamedTuple):
    """A preview as an organisation may see it, and the token that confirms it. The token is in clear here only."""

    preview: dict[str, object]
    token: str
    expires_at: datetime


def preview(organization: Organization, request: OfflineRequest, terms: Terms) -> Shown:
    """Apply every rule to a request and return what issuing would do; only the preview itself is recorded.

    Args:
        organization: whose seats are converted.
        request: what is asked; its ``organization`` is replaced by this one's id.
        terms: trust bundle, actor and instant; no signer is needed.

    Raises:
        KeyseatError: the refusal that issuing would meet; it is recorded as a refused attempt.
    """
    asked = request._replace(organization=str(organization.pk))
    found = licenses.preview(asked, terms)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with ledger_errors(), transaction.atomic():
        at = ledger_now(terms.now)
        Confirmation.objects.filter(expires_at__lte=at - KEPT).delete()
        Confirmation.objects.create(
            id=new_id(at),
            organization=organization,
            token_sha256=_digest(token),
            actor=terms.actor,
            request=_written(asked),
            preview_sha256=fingerprint(found),
            created_at=at,
            expires_at=at + LIFETIME,
        )
    return Shown(visible(found), token, at + LIFETIME)


def confirm(organization: Organization, token: str, terms: Terms, *, guard: Guard = allow) -> IssuedLicense:
    """Issue the licence whose preview this token confirms. Every rule is applied once more, and the preview compared.

    ``guard`` may refuse it as well, under the locks: the caller may have lost the role meanwhile.

    Raises:
        KeyseatError: ``NOT_CONFIRMED`` where the token is unknown, somebody else's or too old, or where what would
            happen is no longer what was shown; ``ALREADY_EXISTS`` where it issued a licence before; else the refusal.
    """
    digest = _digest(token)
    with ledger_errors():
        row = Confirmation.objects.filter(organization=organization, token_sha256=digest, actor=terms.actor).first()
        if row is None:
            raise _not_confirmed("the confirmation is unknown, or was given for somebody else's preview")
        issued = OfflineLicense.objects.filter(idempotency_key=digest).values_list("pk", flat=True).first()
        if issued is not None:
            raise _used(issued)
        if ledger_now(terms.now) >= row.expires_at:
            raise _not_confirmed(f"the confirmation ended at {format_instant(row.expires_at)}")
        request = _read(row.request)
    [outcome] = convert([request], terms, keys=[digest], approve=_approval(row, terms.now, guard))
    if outcome.license is None:
        raise outcome.error or RuntimeError("a request is granted or refused")
    if outcome.status is Status.ALREADY_ISSUED:
        # Two calls with one token at the same moment: the other one has the licence.
        raise _used(outcome.license.license_id)
    return outcome.license


def visible(found: Preview) -> dict[str, object]:
    """Return a preview as the organisation may see it: of others only that there is something."""
    own = tuple(conflict for conflict in found.conflicts if not conflict.elsewhere)
    elsewhere = len(own) < len(found.conflicts)
    shown = replace(found, conflicts=own)
    return shown.to_dict() | {
        "bound_elsewhere": elsewhere,
        "warnings": [*shown.warnings, *([_ELSEWHERE] if elsewhere else [])],
    }


def fingerprint(found: Preview) -> str:
    """Return a digest of all that a person decides upon.

    How many seats are taken is left out: in a busy pool it changes every second, and the quota is checked anyway.
    """
    decision, source = found.decision, found.decision.source
    return hashlib.sha256(
        dumps_compact(
            [
                "keyseat/preview/v1",
                str(decision.organization.pk),
                decision.request.product,
                decision.user or "",
                decision.request.sessions,
                decision.machine_id,
                str(source.subscription_id),
                format_instant(decision.expires_at),
                decision.converts is not None,
                sorted(str(conflict.license_id) for conflict in found.conflicts),
            ]
        )
    ).hexdigest()


def _approval(row: Confirmation, now: datetime, guard: Guard) -> Callable[[Decision], None]:
    """Return the check, under the locks, that what happens is what was shown."""

    def approve(decision: Decision) -> None:
        guard()
        conflicts: Sequence[Conflict] = licenses.conflicts(decision, now)
        if fingerprint(Preview(decision, tuple(conflicts))) != row.preview_sha256:
            raise _not_confirmed("what would happen is no longer what the preview said")

    return approve


def _written(request: OfflineRequest) -> str:
    return json.dumps(
        {
            "organization": request.organization,
            "product": request.product,
            "machine_id": request.machine_id,
            "user": request.user,
            "expires_at": None if request.expires_at is None else format_instant(request.expires_at),
            "sessions": request.sessions,
            "accept_weak": request.accept_weak,
            "subscription": request.subscription,
        }
    )


def _read(text: str) -> OfflineRequest:
    found: dict[str, Any] = json.loads(text)
    expires_at = found.pop("expires_at")
    return OfflineRequest(**found, expires_at=None if expires_at is None else parse_instant(expires_at))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _not_confirmed(message: str) -> KeyseatError:
    return KeyseatError(ReasonCode.NOT_CONFIRMED, f"{message}; nothing was issued", next_step=_AGAIN)


def _used(license_id: UUID) -> KeyseatError:
    return KeyseatError(
        ReasonCode.ALREADY_EXISTS,
        "this confirmation has issued its licence already",
        details={"license_id": str(license_id)},
        next_step="Download the file of that licence.",
    )
