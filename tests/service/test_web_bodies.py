"""Bodies of requests to the pages: slow ones hold nobody up, and what is too large is told so."""

import socket
from urllib.parse import urlsplit

import pytest

from databases import Ledger
from keyseat_issuer.server.pages import MOST_AT_ONCE, MOST_BODY
from web_server import Http, serve

_HEAD = "POST /sign-in HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def _sent(origin: str, head: str, body: bytes = b"") -> socket.socket:
    place = urlsplit(origin)
    made = socket.create_connection((place.hostname, place.port), timeout=60)
    made.sendall((_HEAD.format(host=place.netloc) + head + "\r\n").encode() + body)
    return made


def test_requests_that_never_end_keep_nobody_from_the_pages(ledger: Ledger) -> None:
    with serve() as origin:
        slow = [_sent(origin, "Content-Length: 100\r\n", b"login=") for _ in range(3 * MOST_AT_ONCE)]
        try:
            assert 200 == Http(origin).request("/sign-in").status
        finally:
            for each in slow:
                each.close()


def test_a_body_that_is_too_large_is_refused_with_a_page(ledger: Ledger) -> None:
    with serve() as origin:
        answer = Http(origin).request("/sign-in", body=b"x" * (MOST_BODY + 1))

    assert (413, "no-store") == (answer.status, answer.headers["Cache-Control"])
    assert "larger than 1 MiB" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_body_without_a_length_is_refused_before_it_ends(ledger: Ledger) -> None:
    with serve() as origin, _sent(origin, "Transfer-Encoding: chunked\r\n") as endless:
        part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(MOST_BODY // 0x10000 + 1):
            endless.sendall(part)
        assert b"HTTP/1.1 413" in endless.recv(100)
