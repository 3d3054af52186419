"""One HTTP call as the lean routes see it, and its answer: no framework objects on the way to the desk."""

import asyncio
import functools
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple

from keyseat_issuer.api.problems import ApiError, headers_of, problem_body, status_of, too_large
from keyseat_issuer.web.addresses import network, told_address
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 64 * 1024
"""Largest request body, in bytes."""
REQUEST_ID = "keyseat.request_id"
CLIENT = "keyseat.client"
REFUSAL = "keyseat.refusal"
"""The key under which a refusal is left in the scope, for the access log."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{8,64}")

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""Headers of every answer of the API: nothing is cached, framed, sniffed or leaked to other sites."""

JSON_TYPE = (b"content-type", b"application/json")
PROBLEM_TYPE = (b"content-type", b"application/problem+json")


class ClientGone(Exception):  # noqa: N818 - not an error of anybody: the connection was closed
    """The client closed the connection before its request was whole."""


class Answer:
    """A finished answer: status, body and headers beyond the security headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = (JSON_TYPE,)) -> None:
        self.status = status
        self.body = body
        self.headers = tuple(headers)

    @classmethod
    def of(cls, value: Mapping[str, object], status: int = 200) -> "Answer":
        """Write a JSON answer."""
        return cls(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    @classmethod
    def refusal(cls, error: KeyseatError, request_id: str) -> "Answer":
        """Write a refusal as a problem document."""
        status = status_of(error)
        extra = [(name.lower().encode(), value.encode()) for name, value in headers_of(error, status).items()]
        return cls(status, problem_body(error, status, request_id), [PROBLEM_TYPE, *extra])

    async def send(self, send: Send, request_id: str) -> None:
        """Send the answer with the request's id and the security headers."""
        headers = [*self.headers, *SECURITY_HEADERS, (b"x-request-id", request_id.encode())]
        if self.status != 204:  # noqa: PLR2004 - RFC 9110, 8.6: no Content-Length with 204
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Call:
    """A request: its bearer token, one body, and who asks."""

    __slots__ = ("body", "client", "headers", "path_id", "request_id", "token")

    def __init__(self, scope: Scope, body: bytes, path_id: str = "") -> None:
        """Read the parts of an ASGI scope that the lean routes need."""
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.body = body
        self.client: str = scope[CLIENT]
        self.request_id: str = scope[REQUEST_ID]
        self.path_id = path_id
        self.token = bearer_token(self.headers)

    def header(self, name: bytes) -> bytes | None:
        """Return the first header called ``name`` (lower case), or ``None``."""
        return find_header(self.headers, name)


Handler = Callable[[Call], Awaitable[Answer]]


class Lane(NamedTuple):
    """A route answered by the frame: ``{id}`` in its template stands for one path segment."""

    method: str
    template: str
    handler: Handler


def find_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the first header called ``name`` (lower case), or ``None``."""
    for key, value in headers:
        if key == name:
            return value
    return None


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token of RFC 6750, section 2.1, or ``None``. Cookies and query parameters never count."""
    value = find_header(headers, b"authorization")
    if value is None or value[:7].lower() != b"bearer " or not value.isascii():
        return None
    return value[7:].strip().decode("ascii") or None


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's ``X-Request-Id`` where it is sane (8 to 64 harmless characters), else a new one."""
    offered = find_header(headers, b"x-request-id")
    if offered is not None and _SANE_ID.fullmatch(offered):
        return offered.decode("ascii")
    return os.urandom(12).hex()


def client_address(scope: Scope, trusted_proxies: int) -> str:
    """Return the address to count calls by; IPv6 clients count by their /64, which one site owns whole."""
    peer = scope.get("client")
    forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
    return counted_as(told_address(str(peer[0]) if peer else "", forwarded, trusted_proxies))


@functools.lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, an IPv6 /64, or ``unknown``."""
    return network(address) or "unknown"


def declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the ``Content-Length``, or 0."""
    value = find_header(headers, b"content-length")
    return int(value) if value is not None and value.isdigit() else 0


async def more_of(receive: Receive) -> Message:
    """Return the next part of a request.

    Raises:
        ApiError: 503 where the service stops, which cancels what is still being read.
    """
    try:
        return await receive()
    except asyncio.CancelledError:
        raise ApiError(
            ReasonCode.NOT_ALLOWED,
            "the service stops, and this request was not whole",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            details={"reason": "draining"},
            next_step="Send it again.",
        ) from None


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Read the body, of at most 64 KiB.

    Raises:
        ApiError: 413 for a larger one; 503 where the service stops before it is whole.
        ClientGone: where the client hung up first.
    """
    if declared_length(scope["headers"]) > MAX_BODY:
        raise too_large(MAX_BODY)
    message = await more_of(receive)
    body: bytes = message.get("body", b"")
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        if len(body) > MAX_BODY:
            raise too_large(MAX_BODY)
        if not message.get("more_body", False):
            return body
        message = await more_of(receive)
        body += message.get("body", b"")


def invalid(message: str, *, field: str) -> ApiError:
    """Return ``INVALID_INPUT`` that names the field."""
    return ApiError(ReasonCode.INVALID_INPUT, message, status=422, details={"field": field})
