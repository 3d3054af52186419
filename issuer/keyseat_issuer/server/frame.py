"""The outermost ASGI layer: request ids, client addresses, size limit, security headers, access log, figures.

Calls of the session routes are answered here, straight from the ASGI messages: routing and validation by the
framework would cost more than the whole rest of a renewal. They are the same handlers that the framework documents.
"""

import logging
import time
from collections.abc import Callable, Sequence

from keyseat_issuer.api.calls import (
    CLIENT,
    REFUSAL,
    REQUEST_ID,
    SECURITY_HEADERS,
    Answer,
    App,
    Call,
    ClientGone,
    Lane,
    Message,
    Receive,
    Scope,
    Send,
    client_address,
    read_body,
    request_id,
)
from keyseat_issuer.api.logs import LOGGER
from keyseat_issuer.api.metrics import Metrics
from keyseat_issuer.api.problems import status_of
from keyseat_issuer.ledger.patience import begin_call
from keyseat_shared.errors import KeyseatError

_log = logging.getLogger(LOGGER)
_SLOW = 1.0
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_API_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
_API_PREFIX = "/api/"


class _Watch:
    """Sees the answer of an inner application pass by: its status, and whether it has begun."""

    __slots__ = ("_api", "_id", "plain", "status")

    def __init__(self, send: Send, identifier: str, *, api: bool) -> None:
        self.plain = send
        self._id = identifier.encode()
        self._api = api
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._id)]
            if self._api:
                present = {name for name, _ in headers}
                headers.extend(header for header in SECURITY_HEADERS if header[0] not in present)
            message = {**message, "headers": headers}
        await self.plain(message)


class Frame:
    """Serves the lanes itself, API paths by ``api``, and every other path by ``web`` (Django), if there is one."""

    def __init__(
        self,
        api: App,
        *,
        lanes: Sequence[Lane],
        metrics: Metrics,
        trusted_proxies: int = 0,
        web: Callable[[], App] | None = None,
    ) -> None:
        """``web`` is called when the first page is asked for."""
        self._api = api
        self._lanes = {(lane.method, *_split(lane.template)): lane for lane in lanes}
        self._metrics = metrics
        self._trusted_proxies = trusted_proxies
        self._make_web = web
        self._web: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (or one lifespan, which is the API's)."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        started = time.perf_counter()
        identifier = scope[REQUEST_ID] = request_id(scope["headers"])
        scope[CLIENT] = client_address(scope, self._trusted_proxies)
        path: str = scope["path"]
        head, part, tail = _split_path(path)
        lane = self._lanes.get((scope["method"], head, tail))
        is_api = path.startswith(_API_PREFIX) or path in _API_PATHS
        if lane is not None and (part or "{" not in lane.template):
            status = _SERVER_ERROR
            try:
                status = await self._run_lane(lane, part, scope, receive, send)
            finally:
                self._count(scope, lane, status, started, is_api=is_api)
            return
        watch = _Watch(send, identifier, api=is_api)
        try:
            await self._pass_on(scope, receive, watch, is_api=is_api)
        finally:
            # No status means that the application failed; the layer around this one answers for it.
            self._count(scope, None, watch.status or _SERVER_ERROR, started, is_api=is_api)

    async def _run_lane(self, lane: Lane, part: str, scope: Scope, receive: Receive, send: Send) -> int:
        try:
            body = await read_body(scope, receive)
            begin_call()
            answer = await lane.handler(Call(scope, body, part))
        except KeyseatError as error:
            scope[REFUSAL] = error
            answer = Answer.refusal(error, scope[REQUEST_ID])
        except ClientGone:
            return _CLIENT_ERROR
        await answer.send(send, scope[REQUEST_ID])
        return answer.status

    async def _pass_on(self, scope: Scope, receive: Receive, send: "_Watch", *, is_api: bool) -> None:
        if not is_api and self._make_web is not None:
            if self._web is None:
                self._web = self._make_web()
            # It reads the body itself: forms with files may be longer, and what is too long is told by a page.
            await self._web(scope, receive, send)
            send.status = send.status or _CLIENT_ERROR  # no answer: the client has hung up
            return
        try:
            body = await read_body(scope, receive)
        except KeyseatError as error:
            scope[REFUSAL] = error
            await Answer.refusal(error, scope[REQUEST_ID]).send(send.plain, scope[REQUEST_ID])
            send.status = status_of(error)
            return
        except ClientGone:
            send.status = _CLIENT_ERROR
            return
        begin_call()
        await self._api(scope, _Replay(body, receive), send)

    def _count(self, scope: Scope, lane: Lane | None, status: int, started: float, *, is_api: bool) -> None:
        """Count an answer and log it; of session calls only those that failed or took long: the ledger has them all."""
        seconds = time.perf_counter() - started
        route = lane.template if lane else _route_of(scope, is_api=is_api)
        self._metrics.answered(route, scope["method"], status, seconds)
        if lane and status < _CLIENT_ERROR and seconds < _SLOW:
            return
        _log.log(
            logging.ERROR if status >= _SERVER_ERROR else logging.INFO,
            "request",
            extra={
                "request_id": scope[REQUEST_ID],
                "route": route,
                "method": scope["method"],
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
                "client": scope[CLIENT],
                **_why(scope.get(REFUSAL)),
            },
        )


class _Replay:
    """Hands an application the body that was read before, then whatever the connection still says."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


def _why(refusal: KeyseatError | None) -> dict[str, str]:
    """Return what the log says of a refusal: its code, and the cause where that is the database."""
    if refusal is None:
        return {}
    cause = refusal.details.get("cause")
    return {"code": str(refusal.code)} | ({"reason": cause} if isinstance(cause, str) else {})


def _split(template: str) -> tuple[str, str]:
    head, _, tail = template.partition("{id}")
    return head, tail


def _split_path(path: str) -> tuple[str, str, str]:
    """Split a session path around the one id it may hold: all lanes are ``/api/v1/sessions[/{id}[/verb]]``."""
    if not path.startswith("/api/v1/sessions/") or path == "/api/v1/sessions/release-previous":
        return path, "", ""
    part, slash, verb = path[17:].partition("/")
    return "/api/v1/sessions/", part, slash + verb


def _route_of(scope: Scope, *, is_api: bool) -> str:
    """Return the template of a route; pages are one route, since their paths may hold secrets (invitation links)."""
    if not is_api:
        return "web"
    route = scope.get("route")
    return str(getattr(route, "path", "unknown"))
