"""The browser side as an ASGI application, to be mounted behind the API at ``/``."""

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, cast

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyseat_issuer.web import start
from keyseat_issuer.web.secret import ensure_secret
from keyseat_issuer.web.security import CONTENT_SECURITY_POLICY

if TYPE_CHECKING:
    from keyseat_issuer.console.vendor import Vendor

MOST_AT_ONCE = 8
"""Requests for pages that one process works on at a time."""
MOST_BODY = 1024 * 1024
"""Bytes of a request: far more than any form with its file may have, so that a page tells what is too much."""

STATIC_PACKAGES: list[str | tuple[str, str]] = [
    ("keyseat_issuer.web", "static"),
    ("keyseat_issuer.console", "static"),
    ("allauth.account", "static"),
    ("allauth.mfa", "static"),
]


def build(vendor: "Vendor") -> Starlette:
    """Set Django up and return its pages with their static files; the console is this vendor's.

    Raises:
        KeyseatError: as ``start.setup``; ``UNREADABLE`` where the server's secret cannot be made.
    """
    ensure_secret()
    start.setup()
    from keyseat_issuer.console.vendor import use  # noqa: PLC0415 - Django is set up now

    use(vendor)
    return Starlette(
        routes=[
            Mount("/static", StaticFiles(packages=STATIC_PACKAGES), name="static"),
            # Django's stubs type the protocol's callables by their own names.
            Mount("/", FewAtOnce(cast("ASGIApp", get_asgi_application())), name="pages"),
        ]
    )


class FewAtOnce:
    """Lets few requests into an application at a time; the others wait for their turn.

    Django gives each request a thread and a database connection of its own: a few hundred at once, which anybody can
    send, would take all the connections that PostgreSQL has, and those of the activation service with them. A password
    that is checked takes 19 MiB besides.

    A request takes its place when all of it has arrived: eight that are sent slowly, or never to their end, would keep
    everybody else waiting. What is too long for any form is refused before Django writes it to the disk.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_AT_ONCE) -> None:
        """Wrap an application."""
        self._app = app
        self._places = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when it is this request's turn."""
        body = await _body(receive)
        if body is None:
            return  # the client has hung up
        if len(body) > MOST_BODY:
            await _TOO_LARGE(scope, receive, send)
            return
        async with self._places:
            await self._app(scope, _replayed(body, receive), send)


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or the beginning of one that is too long; ``None`` where the client hung up first."""
    body = bytearray()
    more = True
    while more and len(body) <= MOST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body at once, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


_TOO_LARGE = HTMLResponse(
    (Path(__file__).parent / "templates" / "413.html").read_text(encoding="utf-8"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store", "Connection": "close"},
)
