"""How long pages and calls take while slow and endless clients hang on: readers, heads and bodies, 200 of each.

Each hanging client comes back when it is cut off. They come from several addresses, so that the limit of connections
for one address keeps none of them out. Usage: slow_requests.py [--quick] [--json]
"""

import argparse
import asyncio
import json
import math
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from leases import serving
from sample import machine

_HEAD = "{} {} HTTP/1.1\r\nHost: {}\r\n"
_ASKED = ("page", "seat")
_PATIENCE = 10
_SOURCES = 10
"""Addresses, 127.0.1.1 and the next, that the hanging clients share."""


class Hanging:
    """Clients of one kind that hang on, and come back."""

    def __init__(self, kind: str, port: int) -> None:
        """Take what they do: ``readers``, ``heads`` or ``bodies``."""
        self.kind, self.port = kind, port
        self.cut = 0
        self.hanging = 0

    def asked(self) -> bytes:
        """Return what each of them sends."""
        host = f"127.0.0.1:{self.port}"
        if self.kind == "heads":
            return (_HEAD.format("GET", "/sign-in", host) + "A: b").encode()
        if self.kind == "bodies":
            return (_HEAD.format("POST", "/sign-in", host) + "Content-Length: 1000\r\n\r\nlogin=").encode()
        # The long answer fills the buffers, so that the page behind it waits for its reader.
        end = _HEAD.format("GET", "/openapi.json", host) + "\r\n"
        return (end * 2 + _HEAD.format("GET", "/sign-in", host) + "\r\n").encode()

    async def hang(self, number: int) -> None:
        """Hang on until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with socket.socket() as sock:
                sock.settimeout(0)
                # With a small window and segments as on a network, the system buffers some 64 KB and not 3 MB.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
                sock.bind((f"127.0.1.{number % _SOURCES + 1}", 0))
                try:
                    await loop.sock_connect(sock, ("127.0.0.1", self.port))
                    await loop.sock_sendall(sock, self.asked())
                    self.hanging += 1
                    await self._wait(loop, sock)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    self.hanging -= 1
                    self.cut += 1

    async def _wait(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        if self.kind == "readers":
            while True:  # it never reads: an error, looked for now and then, is all that it hears
                await asyncio.sleep(1)
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return
        while await loop.sock_recv(sock, 4096):
            pass


class Honest:
    """A client that asks, reads, and asks again, each time on a new connection."""

    def __init__(self, port: int, key: str) -> None:
        """Take where, and an API key."""
        self.port, self.key = port, key

    def asked(self, what: str) -> bytes:
        """Return a request for ``page`` or ``seat``."""
        host, end = f"127.0.0.1:{self.port}", "Connection: close\r\n"
        if what == "page":
            return (_HEAD.format("GET", "/sign-in", host) + end + "\r\n").encode()
        wanted = {"product": "KRE", "machine_id": str(machine(1)), "nonce": "n" * 22, "release_previous": True}
        body = json.dumps(wanted).encode()
        end += f"Authorization: Bearer {self.key}\r\nIdempotency-Key: {os.urandom(16).hex()}\r\n"
        end += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return (_HEAD.format("POST", "/api/v1/sessions", host) + end).encode() + body

    async def ask(self, what: str) -> float:
        """Return the seconds until all of the answer is there."""
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.asked(what))
            answer = await reader.read()
        finally:
            writer.close()
        if not answer.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(answer[:300].decode())
        return time.perf_counter() - started

    async def measure(self, seconds: float) -> dict[str, dict[str, float]]:
        """Ask for this long; return percentiles in milliseconds."""
        times: dict[str, list[float]] = {what: [] for what in _ASKED}
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for what, found in times.items():
                try:
                    found.append(await asyncio.wait_for(self.ask(what), _PATIENCE))
                except TimeoutError:
                    found.append(float("inf"))
        return {what: _figures(sorted(found)) for what, found in times.items()}


def _figures(ordered: list[float]) -> dict[str, float]:
    last = len(ordered) - 1
    return {
        "p50": ordered[last // 2] * 1000,
        "p99": ordered[math.ceil(last * 0.99)] * 1000,
        "asked": len(ordered),
        "unanswered": ordered.count(float("inf")),
    }


async def _campaign(port: int, key: str, *, clients: int, seconds: float) -> dict[str, Any]:
    honest = Honest(port, key)
    for what in _ASKED:
        await honest.ask(what)
    alone = await honest.measure(seconds)
    kinds = [Hanging(kind, port) for kind in ("readers", "heads", "bodies")]
    tasks = [asyncio.create_task(kind.hang(number)) for kind in kinds for number in range(clients)]
    await asyncio.sleep(min(seconds, 5))
    disturbed = await honest.measure(seconds)
    hanging = {kind.kind: kind.hanging for kind in kinds}
    cut = {kind.kind: kind.cut for kind in kinds}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"alone": alone, "disturbed": disturbed, "hanging": hanging, "cut": cut}


def main() -> int:
    """Run the campaign and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few clients, short: does it run, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    clients, seconds = (5, 0.5) if given.quick else (200, 40.0)
    with tempfile.TemporaryDirectory() as folder, serving(*_place(folder)) as (port, key):
        found = asyncio.run(_campaign(port, key, clients=clients, seconds=seconds))
    if given.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    for what in _ASKED:
        for when in ("alone", "disturbed"):
            told = ", ".join(f"{name} {value:.1f}" for name, value in found[when][what].items())
            sys.stdout.write(f"{what} {when} (milliseconds): {told}\n")
    sys.stdout.write(f"hanging at the end: {found['hanging']}; cut off, and back again: {found['cut']}\n")
    return 0


def _place(folder: str) -> tuple[Path, str]:
    home = Path(folder) / "issuer"
    return home, f"sqlite:///{folder}/ledger.sqlite3"


if __name__ == "__main__":
    sys.exit(main())
