"""The bare server that leases are compared with: on uvloop, one durable transaction and one signature a request.

It does what nobody can leave out, request by request: find the session's row and write its new end, wait until that
is on the disk, sign the answer. No authentication, no audit row, no rules. Usage: bare_server.py FD DATABASE_URL
"""

import asyncio
import json
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Callable

import httptools
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROWS = 1000
_TTL = 3600
_TABLE = "CREATE TABLE bare_lease (id TEXT PRIMARY KEY, expires DOUBLE PRECISION, ended DOUBLE PRECISION)"


def _sqlite(path: str) -> Callable[[str], int]:
    from keyseat_issuer.bootstrap import use_safe_sqlite  # noqa: PLC0415 - SQLite only

    use_safe_sqlite()
    import sqlite3  # noqa: PLC0415 - after the exchange

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_TABLE)
    connection.executemany("INSERT INTO bare_lease VALUES (?, 0, NULL)", [(str(n),) for n in range(ROWS)])

    def renew(session: str) -> int:
        connection.execute("BEGIN IMMEDIATE")
        changed = connection.execute(
            "UPDATE bare_lease SET expires = ? WHERE id = ? AND ended IS NULL", (time.time() + _TTL, session)
        ).rowcount
        connection.execute("COMMIT")
        return changed

    return renew


def _postgresql(url: str) -> Callable[[str], int]:
    import psycopg  # noqa: PLC0415 - PostgreSQL only

    connection = psycopg.connect(url, autocommit=True)
    connection.execute(_TABLE)
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO bare_lease VALUES (%s, 0, NULL)", [(str(n),) for n in range(ROWS)])

    def renew(session: str) -> int:
        return connection.execute(
            "UPDATE bare_lease SET expires = %s WHERE id = %s AND ended IS NULL", (time.time() + _TTL, session)
        ).rowcount

    return renew


class _Protocol(asyncio.Protocol):
    def __init__(self, renew: Callable[[str], int], key: Ed25519PrivateKey) -> None:
        self._renew, self._key = renew, key
        self._body = b""
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        asked = json.loads(self._body)
        session = self._url.rsplit(b"/", 2)[1].decode()
        if self._renew(session) != 1:
            raise LookupError(session)
        payload = json.dumps({"session": session, "nonce": asked["nonce"], "expires": time.time() + _TTL}).encode()
        signed = {"payload": b64encode(payload).decode(), "sig": b64encode(self._key.sign(payload)).decode()}
        answer = json.dumps(signed).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        self._transport.write(head + answer)  # type: ignore[attr-defined] # a TCP transport writes


async def _main(descriptor: int, url: str) -> None:
    renew = _sqlite(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else _postgresql(url)
    key = Ed25519PrivateKey.generate()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(renew, key), sock=socket.socket(fileno=descriptor)
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2]))
