"""What other customers feel while one customer's pool is held: latencies over HTTP on PostgreSQL, undisturbed and not.

Rounds alternate, so that whatever else the machine does meets both. Usage: held_lock.py [ROUNDS] [SECONDS]
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import leases
import ledgers
import psycopg
import uvloop
from lease_load import Client
from sample import machine

_OTHERS = 24
_HELD_CLIENTS = 4


def main() -> None:
    """Measure, and print the percentiles."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 4.0
    binaries = ledgers.find_postgres()
    if binaries is None:
        sys.exit("PostgreSQL is not installed here")
    with tempfile.TemporaryDirectory() as folder, ledgers.postgres(binaries) as cluster:
        url = ledgers.make_database(cluster, "ledger")
        home = Path(folder) / "home"
        os.environ["KEYSEAT_ISSUER_HOME"] = str(home)
        with leases.serving(home, url) as (port, key), psycopg.connect(url) as connection:
            [(pool,)] = connection.execute("SELECT id FROM ledger_pool").fetchall()
            connection.rollback()
            keys = [key, *[ledgers.sell(1000, f"Customer {number}")[2] for number in range(_OTHERS)]]
            found: dict[str, list[list[float]]] = {"undisturbed": [], "one pool held": []}
            for number in range(rounds + 1):
                for name, latencies in found.items():
                    if name != "undisturbed":
                        connection.execute("SELECT 1 FROM ledger_pool WHERE id = %s FOR UPDATE", (pool,))
                    latency = uvloop.run(_load(port, keys, seconds, held=name != "undisturbed"))
                    connection.rollback()
                    if number:  # the first one warms up
                        latencies.append(latency)
    for name, every in found.items():
        told = [
            f"{what} {statistics.median(leases.percentile(one, part) for one in every):.1f} ms" for what, part in _PARTS
        ]
        print(f"{_OTHERS} other customers, {name}: {', '.join(told)}, {sum(map(len, every)):,} requests")


_PARTS = (("p50", 50), ("p99", 99), ("worst", 100))


async def _load(port: int, keys: list[str], seconds: float, *, held: bool) -> list[float]:
    """Let every other customer renew, acquire and release; return the latencies (s)."""
    loop = asyncio.get_running_loop()
    job = {"seconds": seconds, "machine": str(machine(1)), "port": port}
    waiting = [asyncio.ensure_future(_ask(port, keys[0])) for _ in range(_HELD_CLIENTS)] if held else []
    clients = []
    for number, key in enumerate(keys[1:]):
        kind = "renew" if number % 2 else "cycle"
        _, client = await loop.create_connection(
            lambda n=number, k=key, what=kind: Client(n, job | {"key": k, "kind": what}), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*[client.done for client in clients])
    for task in waiting:
        task.cancel()
    return [latency for client in clients for found in client.latencies.values() for latency in found]


async def _ask(port: int, key: str) -> None:
    """Ask for a session of the customer whose pool is held, again and again."""
    body = json.dumps({"product": "KRE", "machine_id": str(machine(2)), "nonce": "n" * 22}).encode()
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
            f"content-type: application/json\r\nidempotency-key: {os.urandom(16).hex()}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await reader.read()
        writer.close()


if __name__ == "__main__":
    main()
