"""Who calls: bearer tokens become callers. API keys belong to an organisation, user tokens to a signed-in person."""

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from keyseat_issuer.api.threads import LedgerThreads
from keyseat_issuer.api.throttle import Throttle
from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.sessions.values import Holder
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

REMEMBER = 2.0
"""Seconds for which a good token is not looked up again: the longest time a revoked one goes on working."""
_MOST_REMEMBERED = 10_000
_MAX_TOKEN = 512


class Identity(Protocol):
    """A signed-in user, as ``keyseat_issuer.web.tokens`` tells it."""

    @property
    def email(self) -> str:
        """The address, written as in the ledger's memberships."""

    @property
    def scopes(self) -> frozenset[str]:
        """What the sign-in was allowed."""

    @property
    def authenticated_at(self) -> datetime | None:
        """When the user last proved who they are for this sign-in."""


UserLookup = Callable[[str, datetime], Identity | None]


class Caller(NamedTuple):
    """Who sent a request, and what the token was made for; what that allows is told by ``keyseat_issuer.api.roles``."""

    holder: Holder
    scopes: frozenset[str]
    authenticated_at: datetime | None = None

    @property
    def is_user(self) -> bool:
        """Whether a person signed in, rather than a program with an API key."""
        return self.holder.key_id is None

    @property
    def actor(self) -> str:
        """The name for the audit log."""
        return self.holder.name

    @property
    def email(self) -> str:
        """The user's address; empty for API keys."""
        return self.holder.email

    @property
    def organization_id(self) -> UUID | None:
        """The organisation of an API key; ``None`` for users."""
        return self.holder.organization_id


class Authenticator:
    """Turns tokens into callers, and counts who calls too often."""

    def __init__(
        self,
        threads: LedgerThreads,
        throttle: Throttle,
        clock: Callable[[], datetime],
        find_user: UserLookup | None = None,
    ) -> None:
        """``find_user`` looks up user tokens; without it only API keys count."""
        self._threads = threads
        self._throttle = throttle
        self._clock = clock
        self._find_user = find_user
        self._known: dict[bytes, tuple[Caller, float]] = {}

    async def caller(self, token: str | None, client: str) -> Caller:
        """Return who ``token`` belongs to.

        Raises:
            KeyseatError: ``NOT_ALLOWED`` with ``details["reason"]`` (401), or too many calls (429).
        """
        if token is None:
            # No guess, and not counted as one: any web page can make browsers send such calls, and those of a whole
            # network would be refused for it.
            raise _refused("missing", "a bearer token is needed")
        if len(token) > _MAX_TOKEN:
            self._throttle.check_failures(client)
            self._throttle.count_failure(client)
            raise _refused("unknown", "a bearer token is needed")
        # Its digest is the key: the token itself is not kept in memory.
        digest = hashlib.sha256(token.encode()).digest()
        found = self._known.get(digest)
        if found is None or found[1] < time.monotonic():
            if found is None:  # one that was good before is no guess, even where others guess behind the same address
                self._throttle.check_failures(client)
            caller = await self._look_up(token, digest, client)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (caller, time.monotonic() + REMEMBER)
        else:
            caller = found[0]
        self._throttle.count_call(caller.holder.name)
        return caller

    async def _look_up(self, token: str, digest: bytes, client: str) -> Caller:
        try:
            return await self._threads.run(self._find, token, self._clock())
        except KeyseatError as error:
            if error.code is ReasonCode.NOT_ALLOWED:
                self._known.pop(digest, None)
                self._throttle.count_failure(client)
            raise

    def _find(self, token: str, now: datetime) -> Caller:
        if token.startswith("ksk_"):
            row = api_keys.authenticate(token, now)
            holder = Holder(f"key:{row.prefix}", key_id=row.pk, organization_id=row.organization_id)
            return Caller(holder, frozenset(row.scopes.split()))
        identity = None if self._find_user is None else self._find_user(token, now)
        if identity is None:
            raise _refused("unknown", "the token is unknown or has expired")
        return Caller(Holder(identity.email, email=identity.email), identity.scopes, identity.authenticated_at)


def _refused(reason: str, message: str) -> KeyseatError:
    return KeyseatError(
        ReasonCode.NOT_ALLOWED,
        message,
        details={"reason": reason},
        cause=Cause.TOKEN_REFUSED,
    )
