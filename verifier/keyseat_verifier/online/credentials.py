"""What a call to the server is signed in with: an API key that is configured, or the tokens of ``keyseat login``.

Tokens are kept in ``credentials.json`` in the home folder, mode 0600, for one server only. A refresh token works once,
so processes that share the file refresh under a lock, and store the new pair before they use it.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.files import read_file
from keyseat_shared.instants import format_instant
from keyseat_shared.strictjson import dumps_compact, loads_object, require_keys
from keyseat_verifier._internal.paths import CREDENTIALS, make_private, shown, write_private
from keyseat_verifier.client.slots import SlotLock, lock_file
from keyseat_verifier.online import oauth
from keyseat_verifier.online.config import ServerConfig, api_key
from keyseat_verifier.online.transport import Deadline, Transport

_KEYS = frozenset({"format", "server", "access_token", "refresh_token", "expires_at"})
_FORMAT = 1
_EARLY = timedelta(seconds=60)
_LOCK_PAUSE = 0.05
_PLACE_SECONDS = 20.0
"""Longest wait for another process that is renewing the sign-in."""


class Tokens(NamedTuple):
    """A stored sign-in, for the server at ``server``. ``repr`` shows no token."""

    server: str
    access_token: str
    refresh_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"<Tokens for {self.server} until {format_instant(self.expires_at)}>"


class Credentials:
    """Finds, refreshes and forgets what one server is called with. Thread-safe; processes may share the files."""

    def __init__(self, home: str, config: ServerConfig, environ: Mapping[str, str], transport: Transport) -> None:
        self._home = home
        self._config = config
        self._environ = environ
        self._transport = transport

    @property
    def path(self) -> str:
        """The file that holds the tokens."""
        return os.path.join(self._home, CREDENTIALS)

    def describe(self) -> str:
        """Return what there is, for people: ``API key``, ``signed in``, both or ``none``."""
        has_key = bool(self._environ.get("KEYSEAT_API_KEY") or self._config.api_key_file)
        found = ["API key"] if has_key else []
        if self.tokens() is not None:
            found.append("signed in")
        return ", ".join(found) or "none"

    def bearer(self, product: str, now: datetime, deadline: Deadline, *, named: bool) -> str:
        """Return what to send as bearer token for a product: a named seat is its user's, never an API key's.

        Raises:
            KeyseatError: ``NOT_ALLOWED`` with ``details["reason"] == "missing"`` where there is nothing to send.
        """
        key = None if named else api_key(self._config, self._environ)
        if key is not None:
            return key
        tokens = self.tokens()
        if tokens is None:
            raise self._missing(product, named=named)
        if tokens.expires_at - _EARLY > now:
            return tokens.access_token
        return self.refreshed(tokens.access_token, now, deadline)

    def refreshed(self, spent: str, now: datetime, deadline: Deadline) -> str:
        """Return an access token newer than ``spent``, which the server refuses or is about to.

        Raises:
            KeyseatError: ``NOT_ALLOWED`` where the sign-in has ended, ``SERVER_UNREACHABLE``.
        """
        with self._locked(deadline):
            tokens = self.tokens()
            if tokens is None:
                raise _ended()
            # Another process was first.
            if tokens.access_token != spent:
                return tokens.access_token
            try:
                granted = oauth.refresh(self._transport, tokens.refresh_token, deadline)
            except oauth.OAuthError as error:
                if error.error == "invalid_grant":
                    self.forget()
                    raise _ended() from None
                raise
            return self.store(granted, now).access_token

    def tokens(self) -> Tokens | None:
        """Return the stored sign-in for this server, or ``None``."""
        if not os.path.exists(self.path):
            return None
        try:
            value = loads_object(read_file(self.path))
            require_keys(value, "the file", _KEYS)
            fields.whole(value["format"], "format", _FORMAT, _FORMAT)
            found = Tokens(
                fields.text(value["server"], "server"),
                fields.text(value["access_token"], "access_token"),
                fields.text(value["refresh_token"], "refresh_token"),
                fields.instant(value["expires_at"], "expires_at"),
            )
        except MalformedError:
            return None  # signing in writes it anew
        # Tokens go only to the server that gave them, also where another address is configured later.
        return found if found.server == self._config.url else None

    def store(self, granted: "oauth.Granted", now: datetime) -> Tokens:
        """Keep new tokens.

        Raises:
            KeyseatError: ``UNREADABLE`` where the file cannot be written.
        """
        ends = (now + timedelta(seconds=granted.expires_in)).replace(microsecond=0)
        tokens = Tokens(self._config.url, granted.access_token, granted.refresh_token, ends)
        value = {"format": _FORMAT, **tokens._asdict(), "expires_at": format_instant(ends)}
        try:
            write_private(self.path, dumps_compact(value) + b"\n")
        except OSError as error:
            raise _unwritable(self.path, error) from None
        return tokens

    def require_place(self) -> None:
        """Make sure that tokens can be kept, before anybody is asked to approve a sign-in.

        Raises:
            KeyseatError: ``UNREADABLE`` where the home folder cannot be written.
        """
        with self._locked(Deadline(_PLACE_SECONDS)):
            pass

    def forget(self) -> None:
        """Remove the stored tokens; none is no error."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    @contextlib.contextmanager
    def _locked(self, deadline: Deadline) -> Iterator[None]:
        held = self._wait_for_lock(deadline)
        try:
            yield
        finally:
            held.release()

    def _wait_for_lock(self, deadline: Deadline) -> SlotLock:
        try:
            make_private(self._home)
            while True:
                held = lock_file(f"{self.path}.lock")
                if held is not None:
                    return held
                time.sleep(min(_LOCK_PAUSE, deadline.require()))
        except TimeoutError:
            raise KeyseatError(
                ReasonCode.SERVER_UNREACHABLE, "another process has been renewing the sign-in for too long"
            ) from None
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def _missing(self, product: str, *, named: bool) -> KeyseatError:
        url = self._config.url
        login = "Sign in with `keyseat login`."
        if not named:
            return KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"no API key is set for {url}, and nobody is signed in",
                details={"reason": "missing"},
                next_step=f"Set KEYSEAT_API_KEY_FILE (or KEYSEAT_API_KEY) to your organisation's API key. Or: {login}",
            )
        key = api_key(self._config, self._environ)
        but = "; the API key that is set cannot activate a user's seat" if key is not None else ""
        return KeyseatError(
            ReasonCode.NOT_ALLOWED,
            f"{product} is licensed to users, and nobody is signed in at {url}{but}",
            details={"reason": "missing"},
            next_step=login,
        )


def _ended() -> KeyseatError:
    return KeyseatError(
        ReasonCode.NOT_ALLOWED,
        "the sign-in has ended",
        details={"reason": "expired"},
        next_step="Sign in again with `keyseat login`.",
    )


def _unwritable(path: str, error: OSError) -> KeyseatError:
    return KeyseatError(
        ReasonCode.UNREADABLE,
        f"{shown(path)} cannot be written: {(error.strerror or 'unknown reason').lower()}",
        next_step="Make the home folder writable for this account, or set KEYSEAT_HOME to one that is.",
    )
