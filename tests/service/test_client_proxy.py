"""The client and the real service with a network in between: TLS by an authority of the firm's own, and its proxy."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import shop
from activation import Site, make_key, serve_here
from customers import Desktop
from databases import Ledger
from keyseat_issuer.ledger.models import Pool
from keyseat_verifier import NotEntitled
from keyseat_verifier.online import grants
from loopback import Authority, ConnectProxy, Listener, pump

HOST = "licenses.example"
pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture
def proxy(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, ConnectProxy]]:
    """The service behind TLS, which is reached by the name of ``HOST`` through the proxy only."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith("KEYSEAT_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(grants, "ACQUIRE_SECONDS", 30.0)  # a busy machine
    customer = shop.organization()
    shop.subscribe(customer, {"KRE": 1})
    monkeypatch.setenv("KEYSEAT_API_KEY", make_key(customer))
    authority = Authority(tmp_path)
    monkeypatch.setenv("KEYSEAT_CA_BUNDLE", str(authority.pem))
    with serve_here() as site:

        def forward(connection: socket.socket) -> None:
            with socket.create_connection(("127.0.0.1", urlsplit(site.url).port or 0)) as service:
                pump(connection, service)

        with (
            Listener(forward, authority.context(HOST)).accepting() as front,
            ConnectProxy(front.port).accepting() as found,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://ada:secret@{found.address}")
            yield site, found


def test_a_seat_is_taken_and_given_back_through_the_proxy(proxy: tuple[Site, ConnectProxy], tmp_path: Path) -> None:
    site, found = proxy
    client = Desktop(tmp_path / "home", site).client(server=f"https://{HOST}")

    assert "online" == client.activate().source
    assert 1 == Pool.objects.get().used
    assert 1 == len(client.release().ended)
    assert 0 == Pool.objects.get().used
    assert {f"CONNECT {HOST}:443"} == {" ".join(request.split()[:2]) for request in found.requests}


def test_an_authority_that_is_not_named_is_refused_with_the_way_out(
    proxy: tuple[Site, ConnectProxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEYSEAT_CA_BUNDLE")
    with pytest.raises(NotEntitled) as caught:
        Desktop(tmp_path / "home", proxy[0]).client(server=f"https://{HOST}").check()

    assert ("SERVER_UNREACHABLE", True) == (caught.value.code, "KEYSEAT_CA_BUNDLE" in caught.value.next_step)
    assert 0 == Pool.objects.get().used
    assert 1 == len(proxy[1].requests)  # a certificate does not become good by asking again
