"""Whose address counts: nobody's claim does, unless proxies of ours stand in front."""

import pytest
from django.conf import settings
from django.test import RequestFactory

from keyseat_issuer.web.addresses import client_address, network

PEER = "192.0.2.1"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "peer", "expected"),
    [
        (0, None, PEER, PEER),
        (0, "203.0.113.9", PEER, PEER),
        (1, "203.0.113.9", PEER, "203.0.113.9"),
        (1, "198.51.100.7, 203.0.113.9", PEER, "203.0.113.9"),
        (2, "198.51.100.7, 203.0.113.9", PEER, "198.51.100.7"),
        (2, "203.0.113.9", PEER, PEER),
        (1, None, PEER, ""),
        (1, "nonsense", PEER, ""),
        (0, None, "", ""),
        (0, None, "fe80::1%eth0", "fe80::1"),
        (0, None, "::ffff:192.0.2.1", PEER),
    ],
)
def test_the_entry_that_our_own_proxies_wrote_counts(
    monkeypatch: pytest.MonkeyPatch, proxies: int, forwarded: str | None, peer: str, expected: str
) -> None:
    monkeypatch.setattr(settings, "ALLAUTH_TRUSTED_PROXY_COUNT", proxies)
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)

    assert expected == client_address(request)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (PEER, PEER),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_a_whole_ipv6_site_counts_as_one_sender(address: str, expected: str) -> None:
    assert expected == network(address)
