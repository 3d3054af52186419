"""How `serve` stops: it says so first, answers what is under way, and leaves no process behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from databases import Ledger
from serve_command import START, Server

_KEEPS_DYING = """
import os, sys
from keyseat_issuer.server import server
from keyseat_issuer.api.logs import configure_logging

configure_logging()
sys.exit(server.serve(server.bind("127.0.0.1:0"), lambda: os._exit(3), workers=2))
"""

_ASKED_WHILE_FORKING = """
import os, signal, socket, sys
from keyseat_issuer.server.workers import Supervisor

def work():
    while True:
        signal.pause()

def hurried(fork=os.fork):
    pid = fork()
    os.kill(os.getpid(), signal.SIGTERM)  # each side is asked to stop before it does anything else
    return pid

os.fork = hurried
sys.exit(Supervisor(work, 2, socket.socket()).run())
"""

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + START
    while not condition():
        assert time.monotonic() < end, "it never became so"


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}{path}", timeout=START, trust_env=False)


def runs(pid: str) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )


def listens(server: Server) -> bool:
    place = urlsplit(server.url)
    try:
        socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=START).close()
    except ConnectionError:
        return False
    return True


def _was_read(server: Server, call: socket.socket) -> bool:
    """Tell whether a worker has taken a connection and read what was sent."""
    port, own = urlsplit(server.url).port, call.getsockname()[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [row] = [row for row in rows if (row[1].endswith(f":{port:04X}"), row[2].endswith(f":{own:04X}")) == (True, True)]
    return row[4].endswith(":00000000") and row[9] != "0"  # nothing queued to be read, and a socket that is accepted


class TestDraining:
    def test_tells_who_probes_it_and_goes_on_until_a_second_signal(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--drain", "3600")

        server.process.send_signal(signal.SIGTERM)
        until(lambda: get(server, "/readyz").status_code == 503)

        refused = get(server, "/readyz").json()
        assert ("draining", "the service is about to stop") == (refused["details"]["reason"], refused["detail"])
        assert 200 == get(server, "/healthz").status_code
        page = get(server, "/sign-in")
        assert (200, "close") == (page.status_code, page.headers["connection"])
        assert 0 == server.stop()
        assert not listens(server)

    def test_ends_by_itself(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--drain", "1")

        assert 0 == server.stop()
        assert '"draining"' in server.log.read_text()

    def test_is_skipped_by_ctrl_c(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--drain", "3600")

        server.process.send_signal(signal.SIGINT)

        assert 0 == server.process.wait(START)

    def test_reaches_every_worker(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--workers", "2", "--drain", "3600")
        server.process.send_signal(signal.SIGTERM)

        until(lambda: {get(server, "/readyz").status_code for _ in range(20)} == {503})

        assert 0 == server.stop()


class TestWorkers:
    def test_close_the_port_while_they_answer_what_is_under_way(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--workers", "2")
        place = urlsplit(server.url)
        with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=START) as call:
            call.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
            until(lambda: _was_read(server, call))

            server.process.send_signal(signal.SIGTERM)
            until(lambda: not listens(server))
            call.sendall(b"}")

            assert call.recv(64).startswith(b"HTTP/1.1 401 ")
        assert 0 == server.process.wait(START)

    def test_end_when_their_parent_is_killed(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--workers", "2", "--drain", "3600")
        workers = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert 2 == len(workers)

        server.process.send_signal(signal.SIGKILL)
        server.process.wait(START)

        until(lambda: not any(map(runs, workers)))
        assert not listens(server)

    def test_that_are_asked_to_stop_while_they_are_forked_do(self, ledger: Ledger) -> None:
        done = run(_ASKED_WHILE_FORKING)

        assert (0, "") == (done.returncode, done.stderr)

    def test_that_keep_dying_end_the_service_loudly(self, ledger: Ledger) -> None:
        done = run(_KEEPS_DYING)

        assert 1 == done.returncode
        assert 6 == done.stderr.count('"message": "a worker ended"')
        assert '"exit_code": 3' in done.stderr
        assert "workers keep ending" in done.stderr
