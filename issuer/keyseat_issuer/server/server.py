"""Running the service: one or several processes on one socket, ready before the first call, stopped gracefully."""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keyseat_issuer.api.calls import App
from keyseat_issuer.api.logs import LOGGER
from keyseat_issuer.causes import Cause
from keyseat_issuer.server.connection import Connection
from keyseat_issuer.server.limits import DOOR, Door, Limits
from keyseat_issuer.server.workers import Supervisor, stop_at_signals
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_log = logging.getLogger(LOGGER)
_BACKLOG = 1024
_GRACE = 10
"""Seconds that calls under way get when the service stops."""
_SWEEP = 1.0
"""Seconds between two looks at the connections."""
_SWITCH = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it."""


def bind(address: str) -> socket.socket:
    """Bind ``HOST:PORT`` (or ``[IPv6]:PORT``); port 0 takes any free one.

    Raises:
        KeyseatError: ``INVALID_INPUT``; ``UNREADABLE`` where the address is in use or not of this machine.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{address!r} is not HOST:PORT", cause=Cause.ADDRESS_MALFORMED)
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
            cause=Cause.ADDRESS_TAKEN,
        ) from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL under which this machine reaches the service."""
    host, port = sock.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    sock: socket.socket,
    make_app: Callable[[], App],
    *,
    workers: int = 1,
    limits: Limits | None = None,
    drain: float = 0.0,
) -> int:
    """Serve until SIGTERM or SIGINT; return an exit code. ``make_app`` is called in each process.

    After SIGTERM the service says for ``drain`` seconds that it is not ready, and goes on; a second one ends that.
    """

    def work() -> int:
        return _serve_here(sock, make_app, limits, drain)

    return work() if workers == 1 else Supervisor(work, workers, sock).run()


def configuration(app: App, door: Door) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    return uvicorn.Config(
        app,
        http=cast("type[HttpToolsProtocol]", partial(Connection, door)),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn would believe X-Forwarded-For from loopback; we count proxies ourselves.
        proxy_headers=False,
        timeout_keep_alive=door.limits.idle,
        timeout_graceful_shutdown=_GRACE,
        backlog=_BACKLOG,
    )


class Server(uvicorn.Server):
    """uvicorn's server with a door, which it sweeps once a second, and a time to drain before the port closes."""

    def __init__(
        self,
        app: App,
        limits: Limits | None = None,
        *,
        drain: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve ``app`` within ``limits``; ``clock`` gives the seconds that these count."""
        self.door = Door(limits, clock)
        super().__init__(configuration(app, self.door))
        self._drain = drain
        self._drained_at: float | None = None
        self._swept_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; the application finds the door in the state of each request."""
        await super().startup(sockets)
        self.lifespan.state[DOOR] = self.door

    async def on_tick(self, counter: int) -> bool:
        """Sweep the door, and see whether it is time to stop."""
        now = asyncio.get_running_loop().time()
        if now - self._swept_at >= _SWEEP:
            self._swept_at = now
            self.sweep()
        if self.door.draining and self._drained_at is None:
            self._drained_at = now + self._drain
        if self._drained_at is not None and now >= self._drained_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def sweep(self) -> None:
        """End connections that take too long."""
        self.door.sweep(cast("set[Connection]", self.server_state.connections))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM; stop at the second, or at Ctrl-C."""
        if sig == signal.SIGTERM and self._drain and not self.door.draining:
            self.door.draining = True
            self._captured_signals.append(sig)
            _log.info("draining", extra={"seconds": self._drain})
            return
        self.door.draining = True
        super().handle_exit(sig, frame)


def _serve_here(sock: socket.socket, make_app: Callable[[], App], limits: Limits | None, drain: float) -> int:
    stop_at_signals()
    # The session desk's thread waits for the database at every statement and would get the interpreter back 5 ms
    # (Python's default) later, each time, while the event loop is busy: measured, a third of all requests a second.
    sys.setswitchinterval(_SWITCH)
    server = Server(make_app(), limits, drain=drain)
    server.run(sockets=[sock])
    return 0 if server.started else 1
