"""The network address a request comes from, as far as we are told whom to believe."""

import ipaddress
from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the client's address, or an empty text where the server cannot know it (a Unix socket, say)."""
    proxies: int = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    forwarded = [request.headers.get("X-Forwarded-For", "")]
    parsed = _parse(told_address(str(request.META.get("REMOTE_ADDR", "")), forwarded, proxies))
    return "" if parsed is None else str(parsed)


def told_address(peer: str, forwarded: Iterable[str], trusted_proxies: int) -> str:
    """Return the client's address as the connection or a proxy of ours tells it; nobody has looked at what it is.

    Each trusted proxy (``KEYSEAT_TRUSTED_PROXIES``) appends the address that called it to ``X-Forwarded-For``, so the
    client's is the entry that many places from the right. What stands further left is what a caller wrote.
    """
    if not trusted_proxies:
        return peer
    entries = [part.strip() for value in forwarded for part in value.split(",")]
    return entries[-trusted_proxies] if len(entries) >= trusted_proxies else peer


def network(address: str) -> str:
    """Return what counts as one sender: an IPv4 address, or the /64 that one IPv6 subscriber gets, or nothing."""
    parsed = _parse(address)
    if parsed is None:
        return ""
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((parsed, 64), strict=False))  # noqa: PLR2004 - the protocol's name


def wide_network(address: str) -> str:
    """Return the /48 of an IPv6 network, as one customer of a hoster may get; empty for IPv4."""
    parsed = _parse(address.partition("/")[0])
    if parsed is None or parsed.version == 4:  # noqa: PLR2004 - the protocol's name
        return ""
    return str(ipaddress.ip_network((parsed, 48), strict=False))


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # A zone ("%eth0") is this machine's name for a link and no part of the address.
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
