"""The device authorization grant (RFC 8628): a client without a browser is signed in by a user who has one.

Every step is one transaction on one locked row, so a code is redeemed once however many processes
serve, and a restart forgets nothing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.web import tokens
from keyseat_issuer.web.models import Decision, DeviceAuthorization, User
from keyseat_issuer.web.models.grants import MAX_DEVICE_NAME

CLIENTS = {"keyseat": "The keyseat command and programs licensed with it"}
"""Public clients (RFC 6749, section 2.1): they are known by name and hold no secret."""

SCOPES = {
    "sessions": "activate licences and hold sessions as you",
    "admin": "manage members and seats of your organisations, as far as your role goes",
}
DEFAULT_SCOPES = ("sessions",)

CODE_TTL = timedelta(minutes=15)
INTERVAL = 5
"""Seconds a client waits between two polls; five more after each time it was too quick (RFC 8628, section 3.5)."""

KEPT_AFTER_EXPIRY = timedelta(hours=1)
"""How long a dead request is remembered, so that its client hears ``expired_token`` and not ``invalid_grant``."""

_SWEEP = 10
_MAX_INTERVAL = 60
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels and no digits (RFC 8628, section 6.1): no words by accident, nothing to mix up."""

_USER_CODE_LENGTH = 8


class Started(NamedTuple):
    """What a client gets to begin with. The codes are in clear here only."""

    device_code: str
    user_code: str
    expires_in: int
    interval: int


class Poll(NamedTuple):
    """The answer to a poll: tokens, or one of the errors of RFC 8628, section 3.5."""

    error: str | None
    pair: tokens.TokenPair | None = None


def start(*, client_id: str, scopes: Iterable[str], device_name: str, address: str | None, now: datetime) -> Started:
    """Begin: remember the request and return its two codes. ``client_id`` and ``scopes`` must be known ones."""
    device_code = tokens.new_secret()
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_USER_CODE_LENGTH))
    DeviceAuthorization.objects.create(
        device_code_digest=tokens.digest(device_code),
        user_code_digest=_user_code_digest(letters),
        client_id=client_id,
        scopes=" ".join(sorted(set(scopes) or DEFAULT_SCOPES)),
        device_name=clean_device_name(device_name),
        address=address,
        created_at=now,
        expires_at=now + CODE_TTL,
        interval=INTERVAL,
    )
    _sweep(now)
    half = _USER_CODE_LENGTH // 2
    return Started(device_code, f"{letters[:half]}-{letters[half:]}", int(CODE_TTL.total_seconds()), INTERVAL)


def _sweep(now: datetime) -> None:
    """Delete some dead requests: who never signs in must not fill the disk with them."""
    dead = DeviceAuthorization.objects.filter(expires_at__lte=now - KEPT_AFTER_EXPIRY).order_by("expires_at")
    keys = list(dead.values_list("pk", flat=True)[:_SWEEP])
    if keys:
        DeviceAuthorization.objects.filter(pk__in=keys).delete()


def find(user_code: str, now: datetime) -> DeviceAuthorization | None:
    """Return the request a typed user code belongs to, if it still waits for an answer. Case and dashes don't count."""
    letters = "".join(character for character in user_code.upper() if character.isalnum())
    return DeviceAuthorization.objects.filter(
        user_code_digest=_user_code_digest(letters), decision=Decision.PENDING, expires_at__gt=now
    ).first()


def decide(
    request: DeviceAuthorization,
    user: User,
    *,
    approve: bool,
    now: datetime,
    authenticated_at: datetime | None = None,
) -> bool:
    """Record the user's answer; False where somebody answered before, or time ran out.

    ``authenticated_at``: when the user last gave a password or second factor; the client's tokens carry it.

    Raises:
        KeyseatError: ``CLOCK_ROLLED_BACK``, ``LEDGER_UNAVAILABLE``.
    """
    action = "client.approved" if approve else "client.denied"
    actor = f"user:{user.email}"
    with log.act(action, actor=actor, organization=None, subject=user.email, now=now) as at:
        row = DeviceAuthorization.objects.select_for_update().get(pk=request.pk)
        if row.decision != Decision.PENDING or row.expires_at <= now:
            return False
        row.decision = Decision.APPROVED if approve else Decision.DENIED
        row.user, row.authenticated_at = user, authenticated_at
        row.save(update_fields=("decision", "user", "authenticated_at"))
        details = {"client": row.client_id, "device": row.device_name, "scopes": row.scopes}
        log.append(actor=actor, action=action, organization=None, subject=user.email, details=details, now=at)
    return True


def poll(device_code: str, client_id: str, now: datetime) -> Poll:
    """Answer a client that asks whether it is signed in. An approved request gives tokens once."""
    asked = DeviceAuthorization.objects.filter(device_code_digest=tokens.digest(device_code), client_id=client_id)
    # Before the transaction, which on SQLite takes the ledger's write lock: anybody may send a wrong code.
    return _polled(asked, now) if asked.exists() else Poll("invalid_grant")


def _polled(asked: QuerySet[DeviceAuthorization], now: datetime) -> Poll:
    with transaction.atomic():
        row = asked.select_for_update(of=("self",)).select_related("user").first()
        if row is None or row.redeemed_at is not None:
            return Poll("invalid_grant")
        if row.decision == Decision.DENIED:
            return Poll("access_denied")
        if row.expires_at <= now:
            return Poll("expired_token")
        if row.decision == Decision.PENDING or row.user is None:
            return Poll(_pace(row, now))
        if not row.user.is_active:
            return Poll("access_denied")
        row.redeemed_at = now
        row.save(update_fields=("redeemed_at",))
        pair = tokens.sign_in(
            row.user,
            client_id=row.client_id,
            scopes=row.scopes,
            device_name=row.device_name,
            now=now,
            authenticated_at=row.authenticated_at,
        )
    return Poll(None, pair)


def clean_device_name(name: str) -> str:
    """Return a machine's name fit to show: one line, printable, at most 64 characters. It is a claim, not a proof."""
    printable = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(printable.split())[:MAX_DEVICE_NAME]


def _pace(row: DeviceAuthorization, now: datetime) -> str:
    hasty = row.last_polled_at is not None and now - row.last_polled_at < timedelta(seconds=row.interval)
    if hasty:
        row.interval = min(row.interval + INTERVAL, _MAX_INTERVAL)
    row.last_polled_at = now
    row.save(update_fields=("interval", "last_polled_at"))
    return "slow_down" if hasty else "authorization_pending"


def _user_code_digest(letters: str) -> str:
    # Keyed: 35 bits fall to a plain hash table in seconds, should a copy of the database get out.
    key = b"keyseat/user-code\0" + settings.SECRET_KEY.encode()
    return hmac.new(key, letters.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
