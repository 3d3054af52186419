"""The browser side as an ASGI application, to be mounted behind the API at ``/``."""

import asyncio
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyseat_issuer.api.calls import more_of
from keyseat_issuer.api.problems import ApiError
from keyseat_issuer.server import django
from keyseat_issuer.web.secret import ensure_secret
from keyseat_issuer.web.security import CONTENT_SECURITY_POLICY

if TYPE_CHECKING:
    from keyseat_issuer.console.vendor import Vendor

MOST_AT_ONCE = 8
"""Requests for pages that one process works on at a time."""
MOST_BODY = 1024 * 1024
"""Bytes of a request: far more than any form with its file may have, so that a page tells what is too much."""
SHORT_BODY = 64 * 1024
"""Bytes of a request that are kept in memory until it has its place."""
MOST_KEPT = 4 * 1024 * 1024
"""Bytes of an answer that are kept until the application is done; beyond, it is sent while it is made."""

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
    django.setup()
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

    A request takes its place when all of it has arrived, and gives it back before its answer is sent: eight clients
    that send slowly, or do not read, would keep everybody else waiting. What is too long for any form is refused before
    Django gets it; what is longer than most waits in a file, so that many of them cannot fill the memory.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_AT_ONCE) -> None:
        self._app = app
        self._places = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when it is this request's turn."""
        answer = _Answer(send, self._places)
        with tempfile.SpooledTemporaryFile(SHORT_BODY) as body:
            try:
                while more := await _read_part(receive, body):
                    if body.tell() > MOST_BODY:
                        await _TOO_LARGE(scope, receive, send)
                        return
            except ApiError:
                await _STOPPING(scope, receive, send)
                return
            if more is None:
                return  # the client has hung up
            await answer.enter()
            try:
                body.seek(0)
                await self._app(scope, _replayed(body.read(), receive), answer)
            finally:
                answer.leave()
        await answer.finish()


async def _read_part(receive: Receive, body: IO[bytes]) -> bool | None:
    """Take one part of a body; return whether there is more, or ``None`` where the client hung up first."""
    message = await more_of(receive)
    if message["type"] == "http.disconnect":
        return None
    body.write(message.get("body", b""))
    return bool(message.get("more_body", False)) or body.tell() > MOST_BODY


class _Answer:
    """Keeps an answer until the application is done with it, and then sends it.

    So the application's thread and its database connection are gone before a slow client reads. A long one (a report)
    is sent while it is made: its place is given back whenever a part is being sent, and taken again for the next part.
    """

    def __init__(self, send: Send, places: asyncio.Semaphore) -> None:
        self._send = send
        self._places = places
        self._inside = False
        self._kept: list[Message] = []
        self._size = 0

    async def enter(self) -> None:
        """Wait for a place."""
        await self._places.acquire()
        self._inside = True

    def leave(self) -> None:
        """Give the place back, if there is one."""
        if self._inside:
            self._inside = False
            self._places.release()

    async def __call__(self, message: Message) -> None:
        """Take what the application sends."""
        self._kept.append(message)
        self._size += len(message.get("body", b""))
        if self._size > MOST_KEPT:
            self.leave()
            await self.finish()
            await self.enter()

    async def finish(self) -> None:
        """Send what is kept."""
        kept, self._kept = self._kept, []
        for message in kept:
            await self._send(message)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the whole body first, and then what follows."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


_STOPPING = PlainTextResponse(
    "The server stops, and what you sent was not whole. Send it again.\n",
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"Cache-Control": "no-store", "Connection": "close"},
)
_TOO_LARGE = HTMLResponse(
    (Path(__file__).parents[1] / "web" / "templates" / "413.html").read_text(encoding="utf-8"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store", "Connection": "close"},
)
