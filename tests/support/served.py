"""A small application behind our HTTP server, in a thread of the test, whose time the test moves."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from keyseat_issuer.api.calls import Receive, Scope, Send
from keyseat_issuer.server.limits import Cut, Limits
from keyseat_issuer.server.server import Server, bind

_PATIENCE = 60.0


class Echo:
    """Answers with what it was asked, or by the path.

    ``/wait`` waits until it is told, ``/long`` and ``/whole`` (at once) send ``size`` bytes, ``/refuse`` reads no body.
    """

    def __init__(self, size: int) -> None:
        """Take how long ``/long`` is."""
        self.size = size
        self.asked: list[str] = []
        self.sent = 0
        self.gone = threading.Event()
        self.go = asyncio.Event()
        self.ready = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or one lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        self.asked.append(path)
        body = b""
        while path != "/refuse":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            body += message["body"]
            if not message["more_body"]:
                break
        if path == "/wait":
            await self.go.wait()
        if path == "/long":
            await self._send_long(send)
            return
        if path == "/whole":
            await _send(send, 200, bytes(self.size))
            return
        names = ",".join(sorted(name.decode() for name, _ in scope["headers"]))
        status = 413 if path == "/refuse" else 200
        await _send(send, status, f"{path} {len(body)} {names}".encode())

    async def _send_long(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.size // 65536):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            self.sent += 65536
        await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        self.ready.set()
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A running server."""

    def __init__(self, limits: Limits, *, host: str = "127.0.0.1", size: int = 64 * 1024 * 1024) -> None:
        """Prepare; ``run`` starts it."""
        self.app = Echo(size)
        self.late = 0.0
        self.server = Server(self.app, limits, clock=lambda: self.late)
        self.host = host
        self._sockets: list[socket.socket] = []

    @contextlib.contextmanager
    def run(self) -> Iterator["Served"]:
        """Serve until the block ends."""
        sock = bind(f"[{self.host}]:0" if ":" in self.host else f"{self.host}:0")
        self.port = sock.getsockname()[1]
        thread = threading.Thread(target=self.server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            assert self.app.ready.wait(_PATIENCE)
            yield self
        finally:
            for each in self._sockets:
                each.close()
            self.call(self.app.go.set)
            self.server.should_exit = True
            thread.join(_PATIENCE)
            sock.close()
            assert not thread.is_alive()

    def call(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """Call a function on the server's thread."""

        async def there() -> Any:  # noqa: ANN401 - as above
            return function()

        return asyncio.run_coroutine_threadsafe(there(), self.app.loop).result(_PATIENCE)

    def pass_time(self, seconds: float) -> None:
        """Let the server find that so much time has passed."""
        self.late += seconds
        self.call(self.server.sweep)

    def connect(self, data: bytes = b"", *, source: str | None = None, buffer: int = 0) -> socket.socket:
        """Connect and send; ``buffer`` is how much the client's system takes of an answer that nobody reads."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.settimeout(_PATIENCE)
        if buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        if source is not None:
            made.bind((source, 0))
        made.connect((self.host, self.port))
        self._sockets.append(made)
        made.sendall(data)
        return made

    def ask(self, data: bytes, *, source: str | None = None) -> bytes:
        """Send a request and return all that is answered until the server closes."""
        return read(self.connect(data, source=source))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so on the server."""
        end = time.monotonic() + _PATIENCE
        while not self.call(condition):
            assert time.monotonic() < end, "it never became so"

    @property
    def ended(self) -> dict[Cut, int]:
        """Which connections were ended, and why."""
        return dict(self.server.door.ended)


def read(sock: socket.socket) -> bytes:
    """Return what comes until the other side closes, or resets."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            found += part
    return found


def get(path: str = "/", *headers: str, method: str = "GET") -> bytes:
    """Return a request whose answer is the last on its connection."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", ""]).encode()


def keep(path: str = "/", *headers: str, method: str = "GET") -> bytes:
    """Return a request after which the connection stays open."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


def first(sock: socket.socket) -> bytes:
    """Return the status line of what is answered."""
    found = b""
    while b"\r\n" not in found and (part := sock.recv(4096)):
        found += part
    return found.split(b"\r\n")[0]
