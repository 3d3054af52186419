"""Connections that are slow, endless, too many or odd, over raw sockets; the test moves the server's time."""

import json
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from keyseat_issuer.server.connection import Connection
from keyseat_issuer.server.limits import Cut, Limits
from served import Served, first, get, keep, read

LIMITS = Limits(head=15, window=30, least=1000, head_bytes=8000, body_bytes=100_000, per_address=0)
BODY = ("Content-Length: 5000",)


@pytest.fixture
def server() -> Iterator[Served]:
    with Served(LIMITS).run() as running:
        yield running


def problem(answer: bytes) -> tuple[bytes, str]:
    """Return the status line and the code of an answer of the server itself."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-type: application/problem+json" in head
    return head.split(b"\r\n")[0], json.loads(body)["code"]


def answered(server: Served) -> bool:
    """Tell whether somebody else is served meanwhile."""
    return server.ask(get()).startswith(b"HTTP/1.1 200")


class TestHeads:
    @pytest.mark.parametrize("part", [b"GET / HTTP/1.1\r\nHost: a\r\n", b"G", b"\r\n"])
    def test_that_do_not_end_are_given_up(self, server: Served, part: bytes) -> None:
        slow = server.connect(part)
        server.until(lambda: any(each._raw for each in connections(server)))

        server.pass_time(14)
        assert answered(server)
        server.pass_time(1)

        assert (b"HTTP/1.1 408 Request Timeout", "MALFORMED") == problem(read(slow))
        assert {Cut.SLOW_HEAD: 1} == server.ended

    def test_that_trickle_are_given_up_as_well(self, server: Served) -> None:
        slow = server.connect(b"GET / HTTP/1.1\r\n")
        server.until(lambda: any(each._raw for each in connections(server)))
        for number in range(3):
            server.pass_time(5)
            assert not server.ended or number == 2
            slow.sendall(b"A: b\r\n") if number < 2 else None

        assert b"408" in read(slow)

    def test_are_looked_at_by_the_server_itself(self, server: Served) -> None:
        silent = server.connect()
        server.until(lambda: server.server.door.open == 1)

        server.late += 15

        assert b"" == read(silent)

    def test_that_do_not_begin_end_without_a_word(self, server: Served) -> None:
        silent = server.connect()
        server.until(lambda: server.server.door.open == 1)

        server.pass_time(15)

        assert b"" == read(silent)

    def test_of_a_later_request_have_no_more_time(self, server: Served) -> None:
        slow = server.connect(keep())
        assert b"HTTP/1.1 200 OK" == first(slow)
        server.pass_time(60)
        slow.sendall(b"\r\n")
        server.until(lambda: any(each._raw for each in connections(server)))

        server.pass_time(15)

        assert b"408" in read(slow)

    @pytest.mark.parametrize("ending", [b"", b"\r\n\r\n"])
    @pytest.mark.parametrize("header", [b"A: " + b"x" * 9000, b"A: b\r\n" * 1500, b"Cookie: " + b"x" * 600_000])
    def test_that_are_too_long_are_refused(self, server: Served, header: bytes, ending: bytes) -> None:
        answer = server.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + header + ending)

        assert (b"HTTP/1.1 431 Request Header Fields Too Large", "INVALID_INPUT") == problem(answer)
        assert [] == server.app.asked

    def test_that_just_fit_are_taken_with_a_body_behind_them(self, server: Served) -> None:
        answer = server.ask(get("/", "A: " + "x" * 7800, "Content-Length: 90000", method="POST") + bytes(90_000))

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"/ 90000 a,connection,content-length,host")

    def test_that_never_end_cost_no_memory(self, server: Served) -> None:
        endless = server.connect(b"GET / HTTP/1.1\r\nA: ")

        send_until_it_fails(server, endless, b"x" * 65536)

        assert 1 == server.ended[Cut.LONG_HEAD]

    @pytest.mark.parametrize(
        "data", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"CONNECT a:1 HTTP/1.1\r\n\r\n"]
    )
    def test_that_are_no_http_are_told_so(self, server: Served, data: bytes) -> None:
        assert (b"HTTP/1.1 400 Bad Request", "MALFORMED") == problem(server.ask(data))


class TestBodies:
    def test_that_do_not_end_are_given_up_and_the_application_hears_it(self, server: Served) -> None:
        slow = server.connect(keep("/", *BODY, method="POST") + bytes(900))
        server.until(lambda: server.app.asked)

        server.pass_time(29)
        assert answered(server)
        server.pass_time(1)

        assert (b"HTTP/1.1 408 Request Timeout", "MALFORMED") == problem(read(slow))
        server.until(server.app.gone.is_set)
        assert 1 == server.server.door.open, "it heard it before the connection was gone"

    def test_that_are_slow_but_go_on_arrive(self, server: Served) -> None:
        slow = server.connect(get("/", *BODY, method="POST"))
        for part in range(1, 5):
            slow.sendall(bytes(1000))
            server.until(lambda so_far=part * 1000: any(each._payload == so_far for each in connections(server)))
            server.pass_time(30)
        slow.sendall(bytes(1000))

        assert read(slow).startswith(b"HTTP/1.1 200 OK")
        assert {} == server.ended

    @pytest.mark.parametrize(
        "framing", [b"5;" + b"a" * 900_000, b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 150_000, b"0\r\nA: " + b"x" * 900_000]
    )
    def test_of_more_framing_than_content_are_refused(self, server: Served, framing: bytes) -> None:
        answer = server.ask(keep("/", "Transfer-Encoding: chunked", method="POST") + framing)

        assert (b"HTTP/1.1 400 Bad Request", "MALFORMED") == problem(answer)

    def test_in_chunks_of_one_byte_arrive(self, server: Served) -> None:
        chunks = b"1\r\na\r\n" * 90_000 + b"0\r\n\r\n"

        answer = server.ask(get("/", "Transfer-Encoding: chunked", method="POST") + chunks)

        assert b"/ 90000 " in answer

    def test_trailers_do_not_join_the_headers(self, server: Served) -> None:
        trailers = b"3\r\nabc\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"

        answer = server.ask(get("/", "Transfer-Encoding: chunked", method="POST") + trailers)

        assert answer.endswith(b"/ 3 connection,host,transfer-encoding")

    @pytest.mark.parametrize("length", ["Content-Length: 90000000", "Transfer-Encoding: chunked"])
    def test_longer_than_any_route_takes_end_the_connection_after_the_answer(self, server: Served, length: str) -> None:
        endless = server.connect(keep("/refuse", length, method="POST"))
        assert b"HTTP/1.1 413 Request Entity Too Large" == first(endless)
        part = b"8000\r\n" + bytes(0x8000) + b"\r\n"
        for _ in range(4):
            endless.sendall(part)
        server.until(lambda: all(each._phase.name == "LINGER" for each in connections(server)))

        send_until_it_fails(server, endless, part)

    def test_a_client_that_waits_for_100_continue_is_told_to_go_on(self, server: Served) -> None:
        waiting = server.connect(keep("/", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        assert b"HTTP/1.1 100 Continue" == first(waiting)
        waiting.sendall(b"abc")

        assert b"HTTP/1.1 200 OK\r\n" in read(waiting)

    def test_what_follows_a_refused_one_is_no_request(self, server: Served) -> None:
        waiting = server.connect(keep("/refuse", "Content-Length: 30", "Expect: 100-continue", method="POST"))
        assert b"HTTP/1.1 413 Request Entity Too Large" == first(waiting)
        waiting.sendall(get("/smuggled") * 2)
        server.pass_time(5)

        read(waiting)
        assert ["/refuse"] == server.app.asked


class TestReaders:
    def test_that_do_not_read_are_given_up(self, server: Served) -> None:
        lazy = server.connect(get("/long"), buffer=4096)
        server.until(lambda: any(each._joined.waiting for each in connections(server)))
        server.pass_time(1)

        server.pass_time(29)
        assert answered(server)
        assert {} == server.ended
        server.pass_time(1)

        server.until(lambda: not server.server.door.open)
        assert {Cut.SLOW_READER: 1} == server.ended
        # Reset, so that neither system keeps what nobody reads.
        server.until(lambda: lazy.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    @pytest.mark.parametrize("path", ["/long", "/whole"])
    def test_that_are_slow_but_go_on_get_all_of_it(self, path: str) -> None:
        with Served(LIMITS, size=4 * 1024 * 1024).run() as server:
            slow = server.connect(get(path), buffer=4096)
            found = 0
            while part := slow.recv(65536):
                found += len(part)
                server.pass_time(1)

            assert found > 4 * 1024 * 1024
            assert {} == server.ended

    def test_that_do_not_read_cost_no_memory(self, server: Served) -> None:
        server.connect(get("/long"), buffer=4096)
        server.until(lambda: any(each.flow.write_paused for each in connections(server)))

        # What a system may buffer, and not the 64 MiB that there are.
        assert server.app.sent < 16 * 1024 * 1024

    def test_that_hang_up_while_an_answer_waits_free_it(self, server: Served) -> None:
        lazy = server.connect(get("/long"), buffer=4096)
        server.until(lambda: any(each._joined.waiting for each in connections(server)))
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lazy.close()

        server.until(lambda: not server.server.door.open and not server.server.server_state.tasks)

    def test_an_answer_under_way_is_sent_before_the_service_stops(self, server: Served) -> None:
        waiting = server.connect(keep("/wait"))
        server.until(lambda: server.app.asked)
        server.server.handle_exit(signal.SIGTERM, None)
        server.server._captured_signals.clear()  # it would raise it again at the end, for this whole process
        server.until(lambda: not server.server.servers[0].is_serving())
        server.call(server.app.go.set)

        answer = read(waiting)

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nconnection: close\r\n" in answer

    def test_an_answer_may_take_its_time_to_be_made(self, server: Served) -> None:
        waiting = server.connect(get("/wait"))
        server.until(lambda: server.app.asked)
        server.pass_time(3600)
        server.call(server.app.go.set)

        assert read(waiting).startswith(b"HTTP/1.1 200 OK")


class TestConnections:
    def test_that_rest_too_long_are_closed(self, server: Served) -> None:
        resting = server.connect(keep())
        assert b"HTTP/1.1 200 OK" == first(resting)

        server.pass_time(76)

        read(resting)
        assert {Cut.IDLE: 1} == server.ended

    def test_beyond_what_there_is_room_for_are_told_to_come_back(self) -> None:
        with Served(LIMITS._replace(connections=10)).run() as server:
            for _ in range(10):
                server.connect(b"GET")
            server.until(lambda: server.server.door.open == 10)

            refused = server.ask(b"")
            assert b"HTTP/1.1 503 Service Unavailable" == problem(refused)[0]
            assert b"retry-after: " in refused
            server.pass_time(15)
            server.until(lambda: not server.server.door.open)
            assert answered(server)

    def test_that_rest_make_room_before_others_are_kept_out(self) -> None:
        with Served(LIMITS._replace(connections=10)).run() as server:
            for _ in range(10):
                assert b"HTTP/1.1 200 OK" == first(server.connect(keep()))

            server.pass_time(0)

            server.until(lambda: not server.server.door.open)
            assert answered(server)

    def test_of_one_address_keep_no_other_one_out(self) -> None:
        with Served(LIMITS._replace(per_address=5)).run() as server:
            for _ in range(5):
                server.connect(b"GET", source="127.0.0.2")
            server.until(lambda: server.server.door.open == 5)

            assert b"HTTP/1.1 429 Too Many Requests" == problem(server.ask(b"", source="127.0.0.2"))[0]
            assert server.ask(get(), source="127.0.0.3").startswith(b"HTTP/1.1 200 OK")
            server.pass_time(15)
            server.until(lambda: not server.server.door.open)
            assert server.ask(get(), source="127.0.0.2").startswith(b"HTTP/1.1 200 OK")

    def test_over_ipv6_are_served(self) -> None:
        with Served(LIMITS._replace(per_address=1), host="::1").run() as server:
            server.connect(b"GET")
            server.until(lambda: server.server.door.open == 1)

            assert b"HTTP/1.1 429 Too Many Requests" == problem(server.ask(b""))[0]

    def test_that_ask_several_at_once_get_several_answers(self, server: Served) -> None:
        assert 3 == server.ask(keep("/a") + keep("/b") + get("/c")).count(b"HTTP/1.1 200 OK")
        assert ["/a", "/b", "/c"] == server.app.asked

    def test_that_ask_a_great_many_at_once_are_dropped(self, server: Served) -> None:
        assert b"" == server.ask(keep("/wait") * 100)

    @pytest.mark.parametrize("wanted", ["websocket", "h2c"])
    def test_that_want_another_protocol_are_answered_in_this_one_and_closed(self, server: Served, wanted: str) -> None:
        request = keep("/", "Connection: Upgrade", f"Upgrade: {wanted}", "Content-Length: 3", method="POST")

        answer = server.ask(request + b"abc" + keep("/smuggled"))

        assert 1 == answer.count(b"HTTP/1.1 200 OK")
        assert b"\r\nconnection: close\r\n" in answer
        assert ["/"] == server.app.asked


def connections(server: Served) -> list[Connection]:
    """Return the server's connections."""
    return [each for each in server.server.server_state.connections if isinstance(each, Connection)]


def send_until_it_fails(server: Served, sock: socket.socket, part: bytes) -> None:
    """Send the same again and again, a second at a time."""
    end = time.monotonic() + 60
    try:
        while time.monotonic() < end:
            sock.sendall(part)
            server.pass_time(1)
    except ConnectionError:
        return
    pytest.fail("the server took it all")
