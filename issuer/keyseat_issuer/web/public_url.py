"""Where people reach this server: ``KEYSEAT_PUBLIC_URL`` and ``KEYSEAT_TRUSTED_PROXIES``."""

import ipaddress
import os
from typing import NamedTuple
from urllib.parse import urlsplit

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

URL_VARIABLE = "KEYSEAT_PUBLIC_URL"
PROXIES_VARIABLE = "KEYSEAT_TRUSTED_PROXIES"
DEFAULT_ORIGIN = "http://127.0.0.1:8000"
"""Where `keyseat-issuer serve` listens unless told otherwise; right on this machine only."""
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_MOST_PROXIES = 10


class PublicUrl(NamedTuple):
    """The origin (``scheme://host[:port]``, no path) in mails and verification links, and its parts."""

    origin: str
    host: str
    https: bool


def public_url() -> PublicUrl | None:
    """Return the configured origin, or None where only this machine is meant to reach the server.

    Raises:
        KeyseatError: ``INVALID_INPUT``: not an origin, or plain http for other machines (passwords and
            tokens would cross the network in clear).
    """
    text = os.environ.get(URL_VARIABLE, "").strip().rstrip("/")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, parts, port = "", urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not host or parts.username or parts.path or parts.query:
        raise _bad(f"{URL_VARIABLE} is not an origin like https://license.example.com")
    if parts.scheme == "http" and not is_loopback(host):
        raise _bad(f"{URL_VARIABLE} must be https: passwords and tokens would cross the network in clear")
    name = f"[{host}]" if ":" in host else host
    return PublicUrl(f"{parts.scheme}://{name}" + (f":{port}" if port else ""), name, parts.scheme == "https")


def trusted_proxies() -> int:
    """Return how many proxies of our own stand in front; 0 (the default) ignores ``X-Forwarded-*``.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    text = os.environ.get(PROXIES_VARIABLE, "").strip() or "0"
    if not text.isascii() or not text.isdigit() or int(text) > _MOST_PROXIES:
        raise _bad(f"{PROXIES_VARIABLE} is not a number from 0 to {_MOST_PROXIES}")
    return int(text)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bad(message: str) -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, message)
