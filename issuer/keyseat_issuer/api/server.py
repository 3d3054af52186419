"""Running the service: one or several processes on one socket, ready before the first call, stopped gracefully."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keyseat_issuer.api.calls import App
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_BACKLOG = 1024
_GRACE = 10
"""Seconds that calls under way get when the service stops."""
_SWITCH = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it."""


def bind(address: str) -> socket.socket:
    """Bind ``HOST:PORT`` (or ``[IPv6]:PORT``); port 0 takes any free one.

    Raises:
        KeyseatError: ``INVALID_INPUT``; ``UNREADABLE`` where the address is in use or not of this machine.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
        raise KeyseatError(
            ReasonCode.INVALID_INPUT, f"{address!r} is not HOST:PORT", next_step="Write --bind 127.0.0.1:8000."
        )
    host = host.strip("[]") or "127.0.0.1"
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, int(port)))
            # Listening from here on: a client that connects while the processes start waits instead of failing.
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"cannot listen on {address}: {error.strerror or error}",
            next_step="Choose another address with --bind, or stop what listens there.",
        ) from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL under which this machine reaches the service."""
    host, port = sock.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(sock: socket.socket, make_app: Callable[[], App], *, workers: int = 1) -> int:
    """Serve until SIGTERM or SIGINT; return an exit code. ``make_app`` is called in each process.

    With several workers, this process starts them, passes signals on, and starts one again that died.
    """
    if workers == 1:
        return _serve_here(sock, make_app)
    return _Supervisor(sock, make_app, workers).run()


def configuration(app: App) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    return uvicorn.Config(
        app,
        http=_Protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn would believe X-Forwarded-For from loopback; we count proxies ourselves.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
        backlog=_BACKLOG,
    )


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP on httptools, over a transport that joins what is written."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own does
        """Begin a connection."""
        super().connection_made(cast("asyncio.Transport", _Joined(transport)))


class _Joined:
    """A transport that writes what comes within one step of the event loop at once.

    uvicorn writes the head of an answer and its body one after the other. Each costs a system call and may wake the
    client, for a head that it cannot use yet: joined, a sixth more renewals a second.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> object:
        """Everything but writing and closing is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = b"".join(self._held), []
            self._transport.write(held)


def _serve_here(sock: socket.socket, make_app: Callable[[], App]) -> int:
    _stop_at_signals()
    # The session desk's thread waits for the database at every statement and would get the interpreter back 5 ms
    # (Python's default) later, each time, while the event loop is busy: measured, a third of all requests a second.
    sys.setswitchinterval(_SWITCH)
    server = uvicorn.Server(configuration(make_app()))
    server.run(sockets=[sock])
    return 0 if server.started else 1


def _stop_at_signals() -> None:
    """Let SIGTERM and SIGINT end this process with 0: being asked to stop is no failure.

    While uvicorn runs it has handlers of its own, and raises the signal once more when it has stopped.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


class _Supervisor:
    """The parent of several workers. It has no threads and no database connection, so that forking is safe."""

    def __init__(self, sock: socket.socket, make_app: Callable[[], App], workers: int) -> None:
        self._sock = sock
        self._make_app = make_app
        self._workers = workers
        self._children: set[int] = set()
        self._stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        for _ in range(self._workers):
            self._start()
        failed = 0
        while self._children:
            pid, status = os.wait()
            self._children.discard(pid)
            if self._stopping:
                continue
            # One that cannot even start would be started again for ever.
            failed += 1 if os.waitstatus_to_exitcode(status) == 1 else 0
            if failed > self._workers:
                self._stop()
                return 1
            self._start()
        return 0

    def _start(self) -> None:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            if self._stopping:  # asked to while it was forked
                self._stop()
            return
        code = 1
        try:
            self._children.clear()  # its siblings are not its own
            code = _serve_here(self._sock, self._make_app)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self) -> None:
        self._stopping = True
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
