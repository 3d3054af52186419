"""The browser side as an ASGI application, to be mounted behind the API at ``/``."""

import asyncio
from typing import TYPE_CHECKING, cast

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from keyseat_issuer.web import start
from keyseat_issuer.web.secret import ensure_secret

if TYPE_CHECKING:
    from keyseat_issuer.console.vendor import Vendor

MOST_AT_ONCE = 8
"""Requests for pages that one process works on at a time."""

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
    """

    def __init__(self, app: ASGIApp, most: int = MOST_AT_ONCE) -> None:
        """Wrap an application."""
        self._app = app
        self._places = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when it is this request's turn."""
        async with self._places:
            await self._app(scope, receive, send)
