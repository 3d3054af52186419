"""The network address a request comes from, as far as we are told whom to believe."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the client's address, or an empty text where the server cannot know it (a Unix socket, say).

    Each trusted proxy (``KEYSEAT_TRUSTED_PROXIES``) appends the address that called it to ``X-Forwarded-For``, so the
    client's is the entry that many places from the right. What stands further left is what a caller wrote.
    """
    proxies: int = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    address = str(request.META.get("REMOTE_ADDR", ""))
    if proxies:
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(forwarded) >= proxies:
            address = forwarded[-proxies]
    parsed = _parse(address)
    return "" if parsed is None else str(parsed)


def network(address: str) -> str:
    """Return what counts as one sender: an IPv4 address, or the /64 that one IPv6 subscriber gets."""
    parsed = _parse(address)
    if parsed is None or parsed.version == 4:  # noqa: PLR2004 - the protocol's name
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


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
