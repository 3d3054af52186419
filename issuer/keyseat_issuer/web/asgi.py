"""The browser side as an ASGI application, to be mounted behind the API at ``/``."""

from typing import cast

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from keyseat_issuer.web import start
from keyseat_issuer.web.secret import ensure_secret

STATIC_PACKAGES: list[str | tuple[str, str]] = [
    ("keyseat_issuer.web", "static"),
    ("allauth.account", "static"),
    ("allauth.mfa", "static"),
]


def build() -> Starlette:
    """Set Django up and return its pages with their static files.

    Raises:
        KeyseatError: as ``start.setup``; ``UNREADABLE`` where the server's secret cannot be made.
    """
    ensure_secret()
    start.setup()
    return Starlette(
        routes=[
            Mount("/static", StaticFiles(packages=STATIC_PACKAGES), name="static"),
            # Django's stubs type the protocol's callables by their own names.
            Mount("/", cast("ASGIApp", get_asgi_application()), name="pages"),
        ]
    )
