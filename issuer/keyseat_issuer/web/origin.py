"""The origin that links lead to: the public URL, never what a request says of itself.

The sender of a request writes its ``Host``. In the link of a mail, a wrong port or a trailing dot would lead the
reader, and the secret in the link, to another server.
"""

from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from keyseat_issuer.web.public_url import DEFAULT_ORIGIN, is_loopback


def origin_of(request: HttpRequest | None = None) -> str:
    """Return where people reach this server, without a slash at the end.

    Without a public URL only this machine does: at the address that the server's own socket has.
    """
    if settings.KEYSEAT_PUBLIC_ORIGIN is not None:
        return str(settings.KEYSEAT_PUBLIC_ORIGIN)
    name, port = (
        ("", "") if request is None else (request.META.get(part, "") for part in ("SERVER_NAME", "SERVER_PORT"))
    )
    if not str(port).isdigit():  # a Unix socket has none
        return DEFAULT_ORIGIN
    host = str(name) if is_loopback(str(name)) else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def site_of(request: HttpRequest | None) -> SimpleNamespace:
    """Return what mails call this server."""
    host = urlsplit(origin_of(request)).netloc
    return SimpleNamespace(name=host, domain=host)


class PublicHost:
    """Takes the ``Host`` of a request, once it is known to be ours, for that of the public URL.

    Whatever is built from it afterwards (links, redirects, the check of a form's origin) has the right port and no dot.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on; a host that is not ours is refused (400)."""
        request.get_host()
        if settings.KEYSEAT_PUBLIC_ORIGIN is not None:
            request.META["HTTP_HOST"] = urlsplit(settings.KEYSEAT_PUBLIC_ORIGIN).netloc
        return self._get_response(request)
