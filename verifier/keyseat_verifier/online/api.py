"""The calls of docs/spec/client-api.md: acquire, renew, release sessions, and fetch the trust bundle.

Every call is tried again with growing, jittered pauses while that can help, and ends at its deadline. Repeating is
safe: an idempotency key stands for one session, however often a lost answer makes us ask.
"""

import random
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from keyseat_shared import __version__, fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.strictjson import dumps_compact, loads_object
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.next_steps import next_step_of
from keyseat_verifier.online.transport import Answer, Deadline, Transport, UnreachableError

BASE = "/api/v1"
MOST_TRIES = 4
_FIRST_PAUSE = 0.25
_PASSING = frozenset({408, 429, 502, 503, 504})
_UNAUTHENTICATED = 401
_NO_CONTENT = 204
_MAX_TEXT = 400
_MAX_DETAILS = 4096

Pause = Callable[[float], object]


class ProblemError(KeyseatError):
    """A refusal of the server (RFC 9457): ``status`` of HTTP, ``retry_after`` in seconds (0 where it does not say)."""

    def __init__(
        self,
        code: ReasonCode,
        message: str,
        *,
        status: int,
        retry_after: float = 0.0,
        details: dict[str, object] | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(code, message, details=details, next_step=next_step)
        self.status = status
        self.retry_after = retry_after

    @property
    def reason(self) -> str:
        """The server's finer reason (``TAKEN_OVER``, ``unknown``, ...), or an empty text."""
        found = self.details.get("reason")
        return found if type(found) is str else ""

    @property
    def is_gone(self) -> bool:
        """Whether the session asked about is over."""
        return self.code in {ReasonCode.LEASE_ENDED, ReasonCode.MACHINE_MISMATCH}

    @property
    def is_unknown(self) -> bool:
        """Whether the server knows no such session under these credentials.

        It may belong to other credentials. Its seat then stays taken until its lease ends.
        """
        return self.code is ReasonCode.NOT_FOUND

    @property
    def may_begin_again(self) -> bool:
        """Whether a session that is over may be begun anew without asking anybody.

        One that ran out may. One that an admin ended or that another machine took over may not: two machines would
        take it from each other without end.
        """
        return self.is_unknown or (
            self.code is ReasonCode.LEASE_ENDED and self.reason in {"EXPIRED", "SUBSCRIPTION_ENDED"}
        )

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed in a while without anybody's help."""
        return self.status in _PASSING


class Granted(NamedTuple):
    """An answer with a lease, which is not verified yet."""

    session_id: str
    unverified_lease: bytes


class ServerApi:
    """One server, called for one product. Thread-safe.

    Args:
        transport: how it is reached.
        credentials: what it is called with.
        product: the product code.
        named: whether the product's seats are named users'.
        clock: tells the present instant, for tokens that run out.
        pause: waits between two tries.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        product: str,
        clock: Callable[[], datetime],
        *,
        named: bool,
        pause: Pause = time.sleep,
    ) -> None:
        self.transport = transport
        self.credentials = credentials
        self.product = product
        self.named = named
        self._clock = clock
        self._pause = pause

    def acquire(
        self,
        machine_id: str,
        nonce: str,
        idempotency: str,
        deadline: Deadline,
        *,
        organization: str | None = None,
        release_previous: bool = False,
    ) -> Granted:
        """Ask for a session.

        Raises:
            ProblemError: the server refuses.
            KeyseatError: ``SERVER_UNREACHABLE``, or there is nothing to sign in with.
        """
        body: dict[str, object] = {"product": self.product, "machine_id": machine_id, "nonce": nonce}
        if organization is not None:
            body["organization"] = organization
        body |= {
            "release_previous": release_previous,
            "client": {"version": __version__, "platform": sys.platform},
        }
        return self._granted(self._call("POST", "/sessions", deadline, body, {"Idempotency-Key": idempotency}))

    def renew(self, session_id: str, machine_id: str, nonce: str, deadline: Deadline) -> Granted:
        """Ask for a new lease for a session.

        Raises:
            ProblemError: ``LEASE_ENDED`` with ``reason``, or another refusal.
            KeyseatError: as ``acquire``.
        """
        body: dict[str, object] = {"machine_id": machine_id, "nonce": nonce}
        return self._granted(self._call("POST", f"/sessions/{session_id}/renew", deadline, body))

    def release(self, session_id: str, deadline: Deadline) -> None:
        """End a session; one that is over already is no error.

        Raises:
            KeyseatError: as ``acquire``.
        """
        self._call("DELETE", f"/sessions/{session_id}", deadline)

    def release_previous(self, machine_id: str, deadline: Deadline) -> int:
        """End all sessions of this holder on this machine; return how many there were.

        Raises:
            KeyseatError: as ``acquire``.
        """
        body: dict[str, object] = {"product": self.product, "machine_id": machine_id}
        value = self._json(self._call("POST", "/sessions/release-previous", deadline, body))
        released = value.get("released")
        return released if type(released) is int else 0

    def trust(self, deadline: Deadline, version: int | None = None) -> bytes:
        """Return the newest trust bundle, or an older version of it, which is not verified yet.

        Raises:
            KeyseatError: ``SERVER_UNREACHABLE``, or what the server refuses with.
        """
        path = "/trust" if version is None else f"/trust/{version}"
        return self._try("GET", path, deadline, None, {}).body

    def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a signed-in request; a token that the server does not take any more is renewed once."""
        now = self._clock()
        token = self.credentials.bearer(self.product, now, deadline, named=self.named)
        sent = dict(headers or {})
        data = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = dumps_compact(body)
        try:
            return self._try(method, path, deadline, data, {**sent, "Authorization": f"Bearer {token}"})
        except ProblemError as error:
            if error.status != _UNAUTHENTICATED or token.startswith("ksk_"):
                raise
        token = self.credentials.refreshed(token, now, deadline)
        return self._try(method, path, deadline, data, {**sent, "Authorization": f"Bearer {token}"})

    def _try(self, method: str, path: str, deadline: Deadline, body: bytes | None, headers: dict[str, str]) -> Answer:
        pause = _FIRST_PAUSE
        for tries_left in range(MOST_TRIES - 1, -1, -1):
            wait = jittered(pause)
            try:
                return self._send(method, path, deadline, body, headers)
            except UnreachableError as error:
                if error.is_lasting or not tries_left or wait >= deadline.left:
                    raise
            except ProblemError as error:
                wait = max(wait, jittered(error.retry_after, 1.0, 1.25))
                if not error.is_passing or not tries_left or wait >= deadline.left:
                    raise
            self._pause(wait)
            pause *= 2
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def _send(self, method: str, path: str, deadline: Deadline, body: bytes | None, headers: dict[str, str]) -> Answer:
        answer = self.transport.request(method, BASE + path, deadline, body=body, headers=headers)
        if answer.status in {200, 201, _NO_CONTENT}:
            return answer
        raise self._problem(answer)

    def _problem(self, answer: Answer) -> KeyseatError:
        retry_after = _seconds(answer.headers.get("retry-after", ""))
        try:
            value = loads_object(answer.body)
            code = ReasonCode(str(value.get("code")))
        except (MalformedError, ValueError):
            # A gateway in front of the server speaks for itself.
            if answer.status in _PASSING:
                return ProblemError(
                    ReasonCode.SERVER_UNREACHABLE,
                    f"{self.transport.url} is not available (status {answer.status})",
                    status=answer.status,
                    retry_after=retry_after,
                )
            return self._strange(answer)
        details = value.get("details")
        small = type(details) is dict and len(dumps_compact(details)) <= _MAX_DETAILS
        return ProblemError(
            code,
            _words(value.get("detail")) or f"the server refuses with status {answer.status}",
            status=answer.status,
            retry_after=retry_after,
            details=details if small and type(details) is dict else None,
            next_step=next_step_of(
                code, details.get("reason") if type(details) is dict else None, _words(value.get("next"))
            ),
        )

    def _granted(self, answer: Answer) -> Granted:
        value = self._json(answer)
        lease = value.get("lease")
        try:
            if type(lease) is not dict:
                raise self._strange(answer)
            return Granted(fields.uuid(value.get("session_id"), "session_id"), dumps_compact(lease) + b"\n")
        except MalformedError:
            raise self._strange(answer) from None

    def _json(self, answer: Answer) -> dict[str, object]:
        try:
            return loads_object(answer.body)
        except MalformedError:
            raise self._strange(answer) from None

    def _strange(self, answer: Answer) -> UnreachableError:
        kind = answer.headers.get("content-type", "")[:60]
        return UnreachableError(
            f"what answers at {self.transport.url} is not a keyseat server"
            f" (status {answer.status}{', ' + ascii(kind)[1:-1] if kind else ''})",
            next_step="Check the server's address, and whether a proxy or a network's sign-in page stands between.",
            is_lasting=True,
        )


def jittered(seconds: float, low: float = 0.5, high: float = 1.5) -> float:
    """Return a pause around ``seconds``, so that machines which failed together do not come back together."""
    return seconds * random.uniform(low, high)  # noqa: S311 - spreads load, keeps no secret


def _words(value: object) -> str:
    """Return a text of the server fit for people: printable, bounded; it is shown in terminals and logs."""
    if type(value) is not str:
        return ""
    return "".join([char if char.isprintable() else " " for char in value[:_MAX_TEXT]]).strip()


def _seconds(text: str) -> float:
    return float(min(int(text), 3600)) if text.isascii() and text.isdecimal() and len(text) < 7 else 0.0  # noqa: PLR2004 - a week has six digits
