"""Tokens of signed-in clients: made, looked up, refreshed and ended.

A sign-in is one chain of pairs. A refresh token is used once: each use gives the next pair (RFC 9700, section 4.14.2).
One that comes back later was stolen, or its thief came first; either way everything of that sign-in ends. For a minute
a used one gives the same next pair once more, because an answer lost on the network must not sign an honest client
out: never another pair, which would be a second chain that the first one never meets. So that the database alone gives
no token away, the next pair is kept under a mask that only the used token makes.
"""

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from keyseat_issuer.web.models import ClientSignIn, Decision, DeviceAuthorization, TokenKind, User, UserToken

ACCESS_TTL = timedelta(hours=1)
REFRESH_TTL = timedelta(days=60)
"""Sliding: a client that is started once in 60 days stays signed in."""

LONGEST = timedelta(days=180)
"""From the sign-in itself, however often it is renewed."""

LONGEST_ADMIN = timedelta(days=30)
"""The same for a sign-in with the scope ``admin``: it acts for a whole organisation."""

REUSE_GRACE = timedelta(seconds=60)

_PREFIX = {TokenKind.ACCESS: "ksu_", TokenKind.REFRESH: "ksr_"}
"""Lets secret scanners find a token that was committed or logged by mistake."""

_SECRET_BYTES = 32
_MAX_TOKEN = 64


class UserIdentity(NamedTuple):
    """Who sends an access token. ``email`` is written as in the ledger's memberships."""

    email: str
    user_id: str
    scopes: frozenset[str]
    authenticated_at: datetime | None
    """When the person last proved who they are for this sign-in (RFC 9470's ``auth_time``); renewing is no proof."""


class TokenPair(NamedTuple):
    """A fresh pair of tokens, in clear for the only time; ``expires_in`` is the access token's, in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    scope: str


def authenticate(token: str, now: datetime | None = None) -> UserIdentity | None:
    """Return whose access token this is, or None where it is unknown, expired or ended.

    The token is looked up by its SHA-256. What the database compares is thus a hash that the sender
    cannot steer towards a stored one byte by byte, so the time of the look-up tells nothing.
    """
    row = _find(token, TokenKind.ACCESS)
    if row is None or row.expires_at <= (now or timezone.now()) or not _alive(row.sign_in):
        return None
    user = row.sign_in.user
    sign_in = row.sign_in
    return UserIdentity(user.email, str(user.pk), frozenset(sign_in.scopes.split()), sign_in.authenticated_at)


def sign_in(
    user: User,
    *,
    client_id: str,
    scopes: str,
    device_name: str,
    now: datetime,
    authenticated_at: datetime | None = None,
) -> TokenPair:
    """Record that ``user`` signed in on a client, and give that client its first pair of tokens.

    ``authenticated_at``: when they gave a password or second factor for it, where that is known.
    """
    record = ClientSignIn.objects.create(
        user=user,
        client_id=client_id,
        scopes=scopes,
        device_name=device_name,
        created_at=now,
        refreshed_at=now,
        authenticated_at=authenticated_at,
    )
    return _store(record, _Secrets.fresh(), now)


def ends_at(record: ClientSignIn) -> datetime:
    """Return when a sign-in ends, however often it is renewed."""
    return record.created_at + (LONGEST_ADMIN if "admin" in record.scopes.split() else LONGEST)


def refresh(token: str, client_id: str, now: datetime) -> TokenPair | None:
    """Exchange a refresh token for a new pair; None where it is not (or no longer) good."""
    # Before the transaction, which on SQLite takes the ledger's write lock: anybody may send a wrong token.
    found = _find(token, TokenKind.REFRESH)
    if found is None or found.sign_in.client_id != client_id:
        return None
    with transaction.atomic():
        # The sign-in's row is the lock: two uses of one token come one after the other.
        record = ClientSignIn.objects.select_for_update().get(pk=found.sign_in_id)
        row = UserToken.objects.filter(pk=found.pk).first()
        if row is None or row.expires_at <= now or not _alive(record):
            return None
        if ends_at(record) <= now:
            _end(record, now)
            return None
        if row.used_at is None:
            return _go_on(record, row, token, now)
        again = _same_answer(record, row, token, now)
        if again is None:
            _end(record, now)
        return again


def revoke(token: str, client_id: str, now: datetime) -> None:
    """End the sign-in that a token of either kind belongs to (RFC 7009); unknown tokens are no error."""
    for kind in TokenKind:
        row = _find(token, kind)
        if row is not None and row.sign_in.client_id == client_id:
            end_sign_in(row.sign_in, now)


def end_sign_in(record: ClientSignIn, now: datetime) -> None:
    """End one client's sign-in: its tokens are gone when this returns."""
    with transaction.atomic():
        _end(ClientSignIn.objects.select_for_update().get(pk=record.pk), now)


def end_all(user: User, now: datetime) -> None:
    """End the sign-ins of all of a user's clients, as a new password asks for.

    A request that was approved, but whose tokens are not fetched yet, is denied: a thief of the old password may have
    approved it, to fetch them later.
    """
    with transaction.atomic():
        waiting = DeviceAuthorization.objects.filter(user=user, decision=Decision.APPROVED, redeemed_at__isnull=True)
        waiting.update(decision=Decision.DENIED)
        for record in ClientSignIn.objects.select_for_update().filter(user=user, ended_at__isnull=True):
            _end(record, now)


def digest(token: str) -> str:
    """Return the SHA-256 of a token or device code as hex: what the database keeps of it."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def new_secret(prefix: str = "") -> str:
    """Return a prefix and 256 random bits as base64url."""
    return prefix + secrets.token_urlsafe(_SECRET_BYTES)


def _find(token: str, kind: TokenKind) -> UserToken | None:
    if not token.startswith(_PREFIX[kind]) or len(token) > _MAX_TOKEN:
        return None
    return UserToken.objects.select_related("sign_in__user").filter(pk=digest(token), kind=kind).first()


def _alive(record: ClientSignIn) -> bool:
    return record.ended_at is None and record.user.is_active


def _end(record: ClientSignIn, now: datetime) -> None:
    if record.ended_at is None:
        record.ended_at = now
        record.save(update_fields=("ended_at",))
    record.tokens.all().delete()


class _Secrets(NamedTuple):
    """The secret parts of a pair: 32 random bytes each."""

    access: bytes
    refresh: bytes

    @classmethod
    def fresh(cls) -> "_Secrets":
        return cls(secrets.token_bytes(_SECRET_BYTES), secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def unmasked(cls, masked: str, token: str) -> "_Secrets":
        both = _xor(bytes.fromhex(masked), _mask(token))
        return cls(both[:_SECRET_BYTES], both[_SECRET_BYTES:])

    def masked(self, token: str) -> str:
        return _xor(self.access + self.refresh, _mask(token)).hex()

    def text(self, kind: TokenKind) -> str:
        secret = self.access if kind is TokenKind.ACCESS else self.refresh
        return _PREFIX[kind] + base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def _mask(token: str) -> bytes:
    """Return 64 bytes that only who holds a used token can make; each masks one pair."""
    return hashlib.sha512(b"keyseat/next-pair\0" + token.encode()).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _go_on(record: ClientSignIn, row: UserToken, token: str, now: datetime) -> TokenPair:
    """Use a refresh token: the chain goes on with the next pair."""
    following = _Secrets.fresh()
    row.used_at, row.next_pair = now, following.masked(token)
    row.save(update_fields=("used_at", "next_pair"))
    record.refreshed_at = now
    record.save(update_fields=("refreshed_at",))
    record.tokens.filter(expires_at__lte=now).delete()
    # The answer before this one was not lost: nobody needs it again.
    record.tokens.exclude(pk=row.pk).exclude(next_pair="").update(next_pair="")
    return _store(record, following, now)


def _same_answer(record: ClientSignIn, row: UserToken, token: str, now: datetime) -> TokenPair | None:
    """Return the pair that a used token gave before, where its answer may have been lost.

    None where it came too late, or where the next token has been used: the answer was not lost then.
    """
    if row.used_at is None or now - row.used_at > REUSE_GRACE or not row.next_pair:
        return None
    following = _Secrets.unmasked(row.next_pair, token)
    access, fresh = (following.text(kind) for kind in (TokenKind.ACCESS, TokenKind.REFRESH))
    stored = UserToken.objects.filter(pk=digest(fresh), sign_in=record, used_at__isnull=True).exists()
    first = UserToken.objects.filter(pk=digest(access), sign_in=record, expires_at__gt=now).first()
    if not stored or first is None:
        return None
    return TokenPair(access, fresh, int((first.expires_at - now).total_seconds()), record.scopes)


def _store(record: ClientSignIn, pair: _Secrets, now: datetime) -> TokenPair:
    access, fresh = (pair.text(kind) for kind in (TokenKind.ACCESS, TokenKind.REFRESH))
    last = ends_at(record)
    access_end, refresh_end = min(now + ACCESS_TTL, last), min(now + REFRESH_TTL, last)
    UserToken.objects.bulk_create(
        [
            UserToken(digest=digest(access), sign_in=record, kind=TokenKind.ACCESS, expires_at=access_end),
            UserToken(digest=digest(fresh), sign_in=record, kind=TokenKind.REFRESH, expires_at=refresh_end),
        ]
    )
    return TokenPair(access, fresh, int((access_end - now).total_seconds()), record.scopes)
