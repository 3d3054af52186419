"""Sessions of the client API: acquire, renew, release. Lean handlers from request bytes to the desk and back."""

import hashlib
import re
from uuid import UUID

from keyseat_issuer.api import patterns
from keyseat_issuer.api.auth import Authenticator, Caller
from keyseat_issuer.api.calls import JSON_TYPE, Answer, Call, Lane, invalid
from keyseat_issuer.api.roles import MATRIX, require_scope
from keyseat_issuer.ledger.sessions.desk import Reply, SessionDesk, Signed, parse_session_id
from keyseat_issuer.ledger.sessions.values import Acquire, Ended, Release, ReleasePrevious, Renew
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.strictjson import loads_object

BASE = "/api/v1/sessions"

_NONCE = re.compile(patterns.NONCE)
_KEY = re.compile(patterns.IDEMPOTENCY_KEY.encode())
_PRODUCT = re.compile(patterns.PRODUCT)
_MAX_MACHINE_ID = 90


class SessionRoutes:
    """The handlers, over one desk."""

    def __init__(self, desk: SessionDesk, authenticator: Authenticator) -> None:
        """Take the desk that answers and who tells callers apart."""
        self._desk = desk
        self._authenticator = authenticator

    def lanes(self) -> tuple[Lane, ...]:
        """Return the routes."""
        return (
            Lane("POST", BASE, self.acquire),
            Lane("POST", BASE + "/{id}/renew", self.renew),
            Lane("DELETE", BASE + "/{id}", self.release),
            Lane("POST", BASE + "/release-previous", self.release_previous),
        )

    async def acquire(self, call: Call) -> Answer:
        """Start a session: 201, or 200 where the same request came before or the user's session goes on."""
        caller = await self._caller(call, "sessions_acquire")
        body = loads_object(call.body)
        product = _product(body)
        machine_id = _machine_id(body)
        organization = _uuid(body, "organization")
        release_previous = body.get("release_previous", False)
        if type(release_previous) is not bool:
            raise invalid("release_previous is not true or false", field="release_previous")
        key = call.header(b"idempotency-key")
        if key is None or _KEY.fullmatch(key) is None:
            raise invalid("Idempotency-Key is missing or not 8 to 128 plain characters", field="Idempotency-Key")
        asked = "\n".join((product, machine_id, str(organization), str(release_previous)))
        request = Acquire(
            caller.holder,
            product,
            machine_id,
            _nonce(body),
            # Keys are per caller: nobody can find another caller's session by its key.
            hashlib.sha256(b"\n".join((caller.holder.name.encode(), key))).hexdigest(),
            hashlib.sha256(asked.encode()).hexdigest(),
            organization,
            release_previous,
        )
        return _granted(await self._desk.ask(request))

    async def renew(self, call: Call) -> Answer:
        """Give a live session a new lease."""
        caller = await self._caller(call, "sessions_renew")
        body = loads_object(call.body)
        request = Renew(caller.holder, _session_id(call), _machine_text(body), _nonce(body))
        return _granted(await self._desk.ask(request))

    async def release(self, call: Call) -> Answer:
        """End a session: 204, also where it was over."""
        caller = await self._caller(call, "sessions_release")
        await self._desk.ask(Release(caller.holder, _session_id(call)))
        return Answer(204, headers=())

    async def release_previous(self, call: Call) -> Answer:
        """End this holder's sessions on a machine."""
        caller = await self._caller(call, "sessions_release_previous")
        body = loads_object(call.body)
        reply = await self._desk.ask(ReleasePrevious(caller.holder, _product(body), _machine_id(body)))
        return Answer.of({"released": reply.sessions if isinstance(reply, Ended) else 0})

    async def _caller(self, call: Call, route: str) -> Caller:
        caller = await self._authenticator.caller(call.token, call.client)
        require_scope(MATRIX[route], caller)
        return caller


def _granted(reply: Reply) -> Answer:
    if not isinstance(reply, Signed):
        msg = "the desk gave no lease for a request that asks for one"
        raise TypeError(msg)
    grant = reply.grant
    # The signed file is JSON already; parsing it to write it again would only cost.
    body = b'{"session_id":"%s","lease":%s,"renew_after":"%s","expires_at":"%s","server_time":"%s"}' % (
        str(grant.session_id).encode(),
        reply.lease.rstrip(),
        format_instant(grant.renew_after).encode(),
        format_instant(grant.expires_at).encode(),
        format_instant(grant.issued_at).encode(),
    )
    return Answer(201 if grant.created else 200, body, (JSON_TYPE,))


def _session_id(call: Call) -> UUID:
    found = parse_session_id(call.path_id)
    if found is None:
        raise KeyseatError(ReasonCode.NOT_FOUND, "there is no such session", next_step="Acquire a session.")
    return found


def _text(body: dict[str, object], field: str, pattern: re.Pattern[str], what: str) -> str:
    value = body.get(field)
    if type(value) is not str or pattern.fullmatch(value) is None:
        raise invalid(f"{field} is missing or not {what}", field=field)
    return value


def _product(body: dict[str, object]) -> str:
    return _text(body, "product", _PRODUCT, "a product code")


def _nonce(body: dict[str, object]) -> str:
    return _text(body, "nonce", _NONCE, "22 to 86 characters of base64url")


def _machine_text(body: dict[str, object]) -> str:
    value = body.get("machine_id")
    if type(value) is not str or not value.startswith("mid1") or len(value) > _MAX_MACHINE_ID:
        raise invalid("machine_id is missing or not a machine ID", field="machine_id")
    return value


def _machine_id(body: dict[str, object]) -> str:
    value = _machine_text(body)
    try:
        MachineID.parse_canonical(value)
    except KeyseatError as error:
        raise invalid(f"machine_id is not a machine ID: {error.message}", field="machine_id") from None
    return value


def _uuid(body: dict[str, object], field: str) -> UUID | None:
    value = body.get(field)
    if value is None:
        return None
    found = parse_session_id(value) if type(value) is str else None
    if found is None:
        raise invalid(f"{field} is not a UUID in lower case", field=field)
    return found
