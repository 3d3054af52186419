"""Load for the lease rows: keep-alive clients that send the next request when the last one is answered.

Reads jobs from stdin, one JSON object a line, and answers each with one: requests a second and latencies in seconds.
Usage: lease_load.py < jobs
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

import uvloop

_NONCE = "n" * 22


class Client(asyncio.Protocol):
    """One connection. ``kind``: ``bare`` and ``renew`` repeat one request, ``cycle`` acquires and releases in turn."""

    def __init__(self, number: int, job: dict[str, Any]) -> None:
        self.job, self.number = job, number
        self.latencies: dict[str, list[float]] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._session = str(number)
        self._doing = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport: Any = transport
        self._stop = float("inf")
        if self.job["kind"] == "bare":
            self._begin()
        else:
            self._acquire()

    def _begin(self) -> None:
        self._stop = time.perf_counter() + self.job["seconds"]
        self._next()

    def _next(self) -> None:
        if self.job["kind"] == "cycle":
            self._release()
        else:
            self._send("renew", "POST", f"/{self._session}/renew", {"nonce": _NONCE, "machine_id": self.job["machine"]})

    def _acquire(self) -> None:
        body = {"product": "KRE", "machine_id": self.job["machine"], "nonce": _NONCE}
        self._send("acquire", "POST", "", body, f"idempotency-key: {os.urandom(16).hex()}")

    def _release(self) -> None:
        self._send("release", "DELETE", f"/{self._session}", None)

    def _send(self, doing: str, method: str, path: str, body: object, *more: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} /api/v1/sessions{path} HTTP/1.1",
            "host: localhost",
            f"authorization: Bearer {self.job['key']}",
            *more,
            "content-type: application/json",
            f"content-length: {len(content)}",
        ]
        head = "\r\n".join(lines) + "\r\n\r\n"
        self._doing, self._sent = doing, time.perf_counter()
        self._transport.write(head.encode() + content)

    def data_received(self, data: bytes) -> None:
        """Take an answer, and send the next request."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, rest = head.lower().partition(b"content-length:")
        length = int(rest.split(b"\r\n")[0]) if rest else 0
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 20"):
            self.done.set_exception(RuntimeError((head + body).decode()))
            return
        now = time.perf_counter()
        self._buffer = body[length:]
        if self._doing == "acquire":
            self._session = json.loads(body[:length])["session_id"]
        if self._stop < float("inf"):
            self.latencies.setdefault(self._doing, []).append(now - self._sent)
        if now >= self._stop:
            self._transport.close()
            self.done.set_result(None)
        elif self._stop == float("inf"):
            self._begin()
        elif self._doing == "release":
            self._acquire()
        else:
            self._next()


async def run(job: dict[str, Any]) -> dict[str, object]:
    """Run one job and return what it measured."""
    loop = asyncio.get_running_loop()
    clients = []
    started = time.perf_counter()
    for number in range(job["clients"]):
        _, client = await loop.create_connection(lambda n=number: Client(n, job), "127.0.0.1", job["port"])  # type: ignore[misc] # a default argument
        clients.append(client)
    await asyncio.gather(*[client.done for client in clients])
    seconds = time.perf_counter() - started
    together: dict[str, list[float]] = {}
    for client in clients:
        for doing, found in client.latencies.items():
            together.setdefault(doing, []).extend(found)
    return {"seconds": seconds, "latencies": together}


def main() -> None:
    """Answer jobs until stdin ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(uvloop.run(run(json.loads(line)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
