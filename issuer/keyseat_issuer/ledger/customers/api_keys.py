"""API keys: how they are written, made, checked, listed and revoked. A key is shown once; the ledger keeps its hash.

A key reads ``ksk_<prefix>_<secret><checksum>``: 8, 32 and 6 characters of base 62. The prefix finds the row, the
secret holds 190 random bits, so one SHA-256 is enough to keep it, and the checksum (CRC-32) tells a mistyped key from
an unknown one and lets secret scanners recognise a leaked one.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import inviters
from keyseat_issuer.ledger.customers.guards import Guard, allow
from keyseat_issuer.ledger.customers.naming import clean_name
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.models import ApiKey, Organization
from keyseat_issuer.ledger.tools import paging
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

SCOPES: dict[str, str] = {
    "sessions": "acquire, renew and release floating sessions",
    "members:read": "list members",
    "members:write": "add, invite and remove members",
    "seats:read": "see subscriptions, seats and sessions",
    "seats:write": "assign, take back and transfer seats, end sessions",
    "offline:read": "list and download offline licences",
    "offline:write": "convert seats to offline licences",
    "audit:read": "read the audit log and the usage report",
}
"""What a key can be allowed to do."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX_LENGTH = 8
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_KEY = re.compile(r"ksk_([0-9A-Za-z]{8})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")
_TOUCH_EVERY = timedelta(minutes=1)
"""How exact ``last_used_at`` is: a busy key does not write on every call."""
FINGERPRINT = "fingerprint"
"""What the audit row of a new key says of it: a digest of the hash that the ledger keeps."""


class NewKey(NamedTuple):
    """A key that was just made; ``text`` is the only copy of it."""

    row: ApiKey
    text: str


def fingerprint(key_sha256: str) -> str:
    """Return the fingerprint that the audit log keeps of a key: it shows a replaced hash, and cannot sign in."""
    return _digest(key_sha256)


def create_key(
    organization: Organization,
    scopes: Iterable[str],
    *,
    name: str,
    expires_at: datetime | None,
    actor: str,
    now: datetime,
    guard: Guard = allow,
) -> NewKey:
    """Make a key of an organisation; ``guard`` may refuse it under the organisation's lock.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for unknown or no scopes, ``EXPIRY_IN_PAST``.
    """
    wanted = tuple(dict.fromkeys(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"unknown scope {unknown[0]!r}" if unknown else "an API key needs at least one scope",
            details={"scopes": sorted(SCOPES)},
            next_step=f"Choose from: {', '.join(SCOPES)}.",
        )
    if expires_at is not None and expires_at <= now:
        raise KeyseatError(ReasonCode.EXPIRY_IN_PAST, f"the expiry {format_instant(expires_at)} is not in the future")
    label = clean_name(name, "an API key")
    prefix = _random(_PREFIX_LENGTH)
    text = _with_checksum(f"ksk_{prefix}_{_random(_SECRET_LENGTH)}")
    with log.act("api-key.created", actor=actor, organization=organization, subject=prefix, now=now) as at:
        # A removal that comes first refuses the key, and one that comes after names it.
        lock_organization(organization)
        guard()
        row = ApiKey.objects.create(
            id=new_id(at),
            organization=organization,
            prefix=prefix,
            key_sha256=_digest(text),
            name=label,
            scopes=" ".join(wanted),
            created_at=at,
            created_by=actor,
            expires_at=expires_at,
        )
        log.append(
            actor=actor,
            action="api-key.created",
            organization=organization,
            subject=prefix,
            details={
                "name": label,
                "scopes": list(wanted),
                "expires_at": None if expires_at is None else format_instant(expires_at),
                FINGERPRINT: fingerprint(row.key_sha256),
            },
            now=at,
        )
    return NewKey(row, text)


def authenticate(text: str, now: datetime) -> ApiKey:
    """Return the key that ``text`` is, and note that it was used.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` with ``details["reason"]``: ``unknown``, ``expired`` or ``revoked``.
    """
    found = _KEY.fullmatch(text)
    if found is None or _with_checksum(text[:-_CHECKSUM_LENGTH]) != text:
        raise _refusal("unknown", "the API key is not complete or was mistyped")
    row = ApiKey.objects.filter(prefix=found[1]).first()
    # Compared in constant time although it is a hash: nothing about a stored key may be learnt from time.
    if row is None or not hmac.compare_digest(row.key_sha256, _digest(text)):
        raise _refusal("unknown", "the API key is unknown")
    if row.revoked_at is not None:
        raise _refusal("revoked", f"the API key {row.prefix} was revoked at {format_instant(row.revoked_at)}")
    if row.expires_at is not None and now >= row.expires_at:
        raise _refusal("expired", f"the API key {row.prefix} expired at {format_instant(row.expires_at)}")
    if row.last_used_at is None or now - row.last_used_at >= _TOUCH_EVERY:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - _TOUCH_EVERY)
        ApiKey.objects.filter(stale, pk=row.pk).update(last_used_at=now)
    return row


def listed(organization: Organization) -> paging.Source[ApiKey]:
    """Return the keys of an organisation, newest first, to be read page by page."""
    rows = ApiKey.objects.filter(organization=organization)
    return paging.Source("api-keys", rows, (paging.Key("id", paging.uuid, down=True),), lambda row: row)


def list_keys(organization: Organization | None) -> list[ApiKey]:
    """Return the keys of one organisation or of all, newest first."""
    rows = ApiKey.objects.select_related("organization").order_by("-id")
    return list(rows if organization is None else rows.filter(organization=organization))


def made_by(organization: Organization, email: str, now: datetime) -> list[ApiKey]:
    """Return the keys that a member made and that still work, newest first."""
    rows = organization.api_keys.filter(created_by=f"user:{email}", revoked_at__isnull=True).exclude(
        expires_at__lte=now
    )
    return list(rows.order_by("-id"))


def state(row: ApiKey, now: datetime) -> str:
    """Return ``active``, ``expired`` or ``revoked``."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and now >= row.expires_at else "active"


def revoke_key(organization: Organization | None, prefix: str, *, actor: str, now: datetime) -> ApiKey:
    """Revoke a key, named by its prefix (or by the whole text); its sessions run until their leases end.

    Invitations that it gave out end: a thief of the key may have invited somebody.

    Raises:
        KeyseatError: ``NOT_FOUND``.
    """
    named = prefix.removeprefix("ksk_")[:_PREFIX_LENGTH]
    with log.act("api-key.revoked", actor=actor, organization=organization, subject=named, now=now) as at:
        rows = (
            ApiKey.objects.select_for_update(of=("self",), no_key=True)
            .select_related("organization")
            .filter(prefix=named)
        )
        row = (rows if organization is None else rows.filter(organization=organization)).first()
        if row is not None:
            lock_organization(row.organization)
        if row is None:
            raise KeyseatError(
                ReasonCode.NOT_FOUND,
                f"there is no API key {named!r}",
                cause=Cause.API_KEY_UNKNOWN,
            )
        if row.revoked_at is None:
            row.revoked_at = at
            row.save(update_fields=("revoked_at",))
            log.append(
                actor=actor,
                action="api-key.revoked",
                organization=row.organization,
                subject=row.prefix,
                details={"name": row.name},
                now=at,
            )
            inviters.end_of(
                row.organization, inviters.of_key(row.prefix), because="API key revoked", actor=actor, now=at
            )
    return row


def _refusal(reason: str, message: str) -> KeyseatError:
    return KeyseatError(
        ReasonCode.NOT_ALLOWED,
        message,
        details={"reason": reason},
        next_step="Ask an owner or admin of your organisation for a new API key.",
    )


def _with_checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return body + digits


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
