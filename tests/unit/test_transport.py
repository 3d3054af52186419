"""The client's transport against real servers and proxies on loopback: TLS, proxies, bounds on time and size."""

import base64
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyseat_verifier.online.config import load_config
from keyseat_verifier.online.transport import MAX_ANSWER, Answer, Deadline, Transport, UnreachableError
from loopback import Authority, ConnectProxy, Handler, Listener, answer, head, saying

HOST = "licenses.example"
"""A name that only the proxy of a test can reach."""
HERE = "127.1"
"""This machine under a name that does not count as loopback, and that needs no name server."""
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.contextmanager
def plain(handler: Handler) -> Iterator[Transport]:
    with Listener(handler).accepting() as listener:
        yield Transport(f"http://127.0.0.1:{listener.port}")


@contextlib.contextmanager
def secure(authority: Authority, *names: str, handler: Handler | None = None) -> Iterator[Listener]:
    with Listener(handler or saying(answer()), authority.context(*names)).accepting() as listener:
        yield listener


def ask(transport: Transport, seconds: float = PATIENCE, path: str = "/api/v1/trust", **more: bytes) -> Answer:
    return transport.request("GET", path, Deadline(seconds), headers={}, **more)


def refused(transport: Transport, seconds: float = PATIENCE) -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        ask(transport, seconds)
    return caught.value


class TestTLS:
    def test_accepts_an_authority_of_ones_own(self, authority: Authority, tmp_path: Path) -> None:
        with secure(authority, "127.0.0.1") as server:
            given = {"KEYSEAT_SERVER": f"https://127.0.0.1:{server.port}", "KEYSEAT_CA_BUNDLE": str(authority.pem)}
            config = load_config(str(tmp_path), given)
            assert config is not None
            transport = Transport(config.url, config.ca_bundle)

            assert [(200, b"{}")] * 2 == [(found.status, found.body) for found in (ask(transport), ask(transport))]

    def test_refuses_an_authority_that_nobody_named_and_says_how_to_name_it(self, authority: Authority) -> None:
        with secure(authority, "127.0.0.1") as server:
            error = refused(Transport(f"https://127.0.0.1:{server.port}"))

        assert ("SERVER_UNREACHABLE", True) == (error.code, error.is_lasting)
        assert "is not trusted: unable to get local issuer certificate" in error.message
        assert "KEYSEAT_CA_BUNDLE" in error.next_step

    def test_refuses_a_certificate_for_another_host(self, authority: Authority) -> None:
        with secure(authority, HOST) as server:
            error = refused(Transport(f"https://127.0.0.1:{server.port}", str(authority.pem)))

        assert error.is_lasting
        assert "not valid for '127.0.0.1'" in error.message

    def test_refuses_a_server_without_tls(self, authority: Authority) -> None:
        with Listener(lambda connection: connection.sendall(answer())).accepting() as server:
            error = refused(Transport(f"https://127.0.0.1:{server.port}", str(authority.pem)))

        assert f"https://127.0.0.1:{server.port} cannot be reached: " in error.message
        assert not error.is_lasting

    @pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), (b"junk", "no pem certificate")])
    def test_says_that_a_ca_bundle_cannot_be_used(self, tmp_path: Path, content: bytes | None, reason: str) -> None:
        bundle = tmp_path / "bundle.pem"
        if content is not None:
            bundle.write_bytes(content)

        error = refused(Transport("https://127.0.0.1:9", str(bundle)))

        assert (True, True) == (error.is_lasting, reason in error.message.lower())
        assert "KEYSEAT_CA_BUNDLE" in error.next_step

    def test_does_not_wait_for_a_ca_bundle_that_is_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")

        error = refused(Transport("https://127.0.0.1:9", str(tmp_path / "pipe")))

        assert "cannot be used: it is a pipe, not a file" in error.message


class TestProxy:
    def test_is_asked_for_a_tunnel_to_the_server(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        with secure(authority, HOST) as server, ConnectProxy(server.port).accepting() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
            found = ask(Transport(f"https://{HOST}", str(authority.pem)))

        assert (200, 1) == (found.status, len(proxy.requests))
        assert f"CONNECT {HOST}:443 HTTP/1." in proxy.requests[0]
        assert "authorization" not in proxy.requests[0].lower()

    @pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
    def test_is_found_under_its_other_names(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        with secure(authority, HOST) as server, ConnectProxy(server.port).accepting() as proxy:
            monkeypatch.setenv(variable, proxy.address)  # without http:// in front, as many write it
            assert 200 == ask(Transport(f"https://{HOST}:8443", str(authority.pem))).status

        assert f"CONNECT {HOST}:8443 HTTP/1." in proxy.requests[0]

    def test_gets_its_credentials_and_the_server_does_not(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def keep(connection: socket.socket) -> None:
            asked.append(head(connection))
            connection.sendall(answer())

        with secure(authority, HOST, handler=keep) as server, ConnectProxy(server.port).accepting() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://ada:p%40ss@{proxy.address}")
            ask(Transport(f"https://{HOST}", str(authority.pem)))

        sent = base64.b64encode(b"ada:p@ss").decode()
        assert f"Proxy-Authorization: Basic {sent}" in proxy.requests[0]
        assert (1, False) == (len(asked), "proxy-authorization" in asked[0].lower())

    def test_is_not_trusted_to_be_the_server(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        with secure(authority, "elsewhere.example") as server, ConnectProxy(server.port).accepting() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
            error = refused(Transport(f"https://{HOST}", str(authority.pem)))

        assert f"not valid for '{HOST}'" in error.message

    @pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
    def test_that_refuses_is_named(self, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
        with ConnectProxy(9, refusal=status).accepting() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://ada:hunter2@{proxy.address}")
            error = refused(Transport(f"https://{HOST}"))

        assert f"cannot be reached through the proxy 127.0.0.1: tunnel connection failed: {status.lower()}" in (
            error.message
        )
        assert "hunter2" not in str(error.to_dict())
        assert (status.startswith("407"), "HTTPS_PROXY" in error.next_step) == (error.is_lasting, error.is_lasting)

    def test_cannot_write_escapes_into_a_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with ConnectProxy(9, refusal="502 \x1b[2Jgone").accepting() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
            error = refused(Transport(f"https://{HOST}"))

        assert error.message.isprintable()

    def test_that_is_away_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        error = refused(Transport(f"https://{HOST}"))

        assert f"https://{HOST} cannot be reached through the proxy 127.0.0.1: connection refused" == error.message

    def test_that_answers_no_http_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Listener(saying(b"220 mail.example ESMTP\r\n")).accepting() as server:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
            assert "through the proxy 127.0.0.1: " in refused(Transport(f"https://{HOST}")).message

    def test_is_passed_by_for_hosts_that_no_proxy_names(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with secure(authority, HERE) as server:
            transport = Transport(f"https://{HERE}:{server.port}", str(authority.pem))
            assert "connection refused" in refused(transport).message

            monkeypatch.setenv("NO_PROXY", f"intranet.example,{HERE}")
            assert 200 == ask(transport).status

    def test_is_never_asked_for_this_machine(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with secure(authority, "localhost") as server:
            assert 200 == ask(Transport(f"https://localhost:{server.port}", str(authority.pem))).status

    @pytest.mark.parametrize(
        "address",
        [
            "socks5://127.0.0.1:1080",
            "https://proxy.example:3128",
            "http://",
            "proxy.example:port",
            "http://[::1",
            ":0",
            "http://a b:1",
        ],
    )
    def test_whose_address_is_no_such_thing_is_refused(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", address)
        error = refused(Transport(f"https://{HOST}"))

        assert ("the proxy that is set for https is not an address of the form http://host:port", True) == (
            error.message,
            error.is_lasting,
        )
        assert "NO_PROXY" in error.next_step


class TestBounds:
    def test_a_server_that_never_answers_is_left_at_the_deadline(self) -> None:
        def hold(connection: socket.socket) -> None:
            connection.recv(1)
            listener.over.wait(PATIENCE)

        listener = Listener(hold)
        with listener.accepting():
            url = f"http://127.0.0.1:{listener.port}"
            error = refused(Transport(url), 0.2)
            listener.over.set()

        assert (f"{url} did not answer in time", False) == (error.message, error.is_lasting)

    def test_a_server_that_never_shakes_hands_is_left_at_the_deadline(self) -> None:
        listener = Listener(lambda _connection: listener.over.wait(PATIENCE))
        with listener.accepting():
            error = refused(Transport(f"https://127.0.0.1:{listener.port}"), 0.2)
            listener.over.set()

        assert error.message.endswith("did not answer in time")

    def test_a_server_that_sends_a_byte_now_and_then_is_left_at_the_deadline(self) -> None:
        def dribble(connection: socket.socket) -> None:
            head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not listener.over.wait(0.01):
                connection.sendall(b"x")

        listener = Listener(dribble)
        with listener.accepting():
            error = refused(Transport(f"http://127.0.0.1:{listener.port}"), 0.3)

        assert error.message.endswith("did not answer in time")

    def test_no_time_left_is_told_before_anybody_is_asked(self) -> None:
        with Listener(saying(answer())).accepting() as listener:
            error = refused(Transport(f"http://127.0.0.1:{listener.port}"), 0.0)
            assert 0 == listener.connections

        assert error.message.endswith("did not answer in time")

    @pytest.mark.parametrize(
        "data",
        [
            answer(b"x" * (MAX_ANSWER + 1)),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER + 1),
        ],
        ids=["announced", "chunked and cut off", "without a length"],
    )
    def test_an_answer_too_large_or_cut_off_is_refused(self, data: bytes) -> None:
        with plain(saying(data)) as transport:
            message = refused(transport).message

        assert "cannot be reached: " in message

    def test_an_answer_of_just_the_limit_is_read(self) -> None:
        with plain(saying(answer(b"x" * MAX_ANSWER))) as transport:
            assert MAX_ANSWER == len(ask(transport).body)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            b"HTTP/1.1 200 " + b"x" * 70_000,
        ],
        ids=["nothing", "half a body", "another protocol", "many headers", "a long line"],
    )
    def test_what_is_no_whole_answer_is_refused(self, data: bytes) -> None:
        with plain(saying(data)) as transport:
            error = refused(transport)

        assert f"{transport.url} cannot be reached: " in error.message
        assert error.message.isprintable()

    def test_a_redirect_is_not_followed(self) -> None:
        with plain(saying(answer(b"", "302 Found", Location="http://127.0.0.1:9/"))) as transport:
            assert (302, b"") == ask(transport)[::2]

    def test_headers_come_by_their_lower_case_names(self) -> None:
        with plain(saying(answer(b"<html>", Content_Type="text/html", Retry_After="7"))) as transport:
            found = ask(transport)

        assert ("text/html", "7", b"<html>") == (
            found.headers["content-type"],
            found.headers["retry-after"],
            found.body,
        )

    def test_a_path_in_the_servers_address_stays_in_front(self) -> None:
        asked: list[str] = []

        def keep(connection: socket.socket) -> None:
            asked.append(head(connection))
            connection.sendall(answer())

        with plain(keep) as transport:
            ask(Transport(f"{transport.url}/licences"))

        assert asked[0].startswith("GET /licences/api/v1/trust HTTP/1.1\r\n")
        assert "Connection: close" in asked[0]


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [".".join(["a" * 60] * 5), "a" * 64 + ".example", "a..example"],
        ids=["too long", "a label too long", "an empty label"],
    )
    def test_that_cannot_be_resolved_are_told(self, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert f"the name of https://{host} cannot be resolved" == refused(Transport(f"https://{host}")).message

        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:3128")
        assert refused(Transport("https://a.example")).message.startswith("the name of https://a.example cannot be")

    def test_of_this_machine_are_tried_at_each_address(self) -> None:
        """``localhost`` may mean ::1 first, where nobody listens."""
        with Listener(saying(answer())).accepting() as listener:
            assert 200 == ask(Transport(f"http://localhost:{listener.port}")).status
