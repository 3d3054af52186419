"""The lease rows: renewals, acquisitions and releases over HTTP, against a bare server under the same load.

Both servers run all the time and the load goes to one after the other; so whatever else the machine does meets both.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import ledgers
from sample import machine
from timing import Row, compare, spread

CLIENTS = 16
_P99_LIMIT = 25.0
"""Milliseconds."""
_PASSPHRASE = "benchmark-passphrase"  # noqa: S105 - of a vendor that exists for a minute
_PATIENCE = 60.0
_OURS = ("renew", "acquire", "release")
_HERE = Path(__file__).parent
_BARE = "a bare uvloop server: a durable transaction and a signature a request"


def lease_rows(rounds: int, seconds: float, *, sqlite_only: bool = False) -> tuple[list[Row], list[str]]:
    """Measure on each database that is here; return rows (seconds a request) and notes with the latencies."""
    rows: list[Row] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        databases = {"SQLite": (f"sqlite:///{folder}/bare.sqlite3", f"sqlite:///{folder}/ledger.sqlite3")}
        binaries = ledgers.find_postgres()
        if sqlite_only:
            notes.append("a quick run leaves PostgreSQL out")
        elif binaries is None:
            notes.append("PostgreSQL is not installed here, so its rows are missing")
        else:
            cluster = stack.enter_context(ledgers.postgres(binaries))
            databases["PostgreSQL"] = (
                ledgers.make_database(cluster, "bare"),
                ledgers.make_database(cluster, "ledger"),
            )
        for name, (bare_url, url) in databases.items():
            with _servers(Path(folder) / name, bare_url, url) as (bare_port, port, key):
                found = _measure(bare_port, port, key, rounds, seconds)
            rows += [
                compare(
                    f"lease {doing} over HTTP, {CLIENTS} clients, {name}",
                    {_BARE: found["bare"].times, "keyseat": found[doing].times},
                    baseline=_BARE,
                    ours="keyseat",
                    limit=1.0,
                    aim=0.4,
                )
                for doing in _OURS
            ]
            bare = spread(found["bare"].p99)
            rows += [
                Row(
                    f"p99 of lease {doing} over HTTP, {CLIENTS} clients, {name}",
                    _BARE,
                    bare.median / 1e3,
                    spread(found[doing].p99),
                    _P99_LIMIT,
                    _P99_LIMIT,
                    {"the bare server's": bare},
                    "ms",
                )
                for doing in _OURS
            ]
            notes += [f"{name}, {doing}: {measured.told()}" for doing, measured in found.items()]
    return rows, notes


class _Found(NamedTuple):
    """Of one kind of request: seconds a request and p99 (ms) of each round, and the latencies of all rounds (s)."""

    times: list[float]
    p99: list[float]
    latencies: list[float]

    def add(self, latencies: list[float]) -> None:
        """Add a round."""
        # Closed loop: each client waits for its answer, so the mean latency over the clients is the pace.
        self.times.append(statistics.fmean(latencies) / CLIENTS)
        self.p99.append(percentile(latencies, 99))
        self.latencies.extend(latencies)

    def told(self) -> str:
        """Return the figures for people, over all rounds together."""
        return (
            f"{CLIENTS / statistics.fmean(self.latencies):,.0f} requests/s, "
            f"p50 {percentile(self.latencies, 50):.1f} ms, p99 {percentile(self.latencies, 99):.1f} ms"
        )


def _measure(bare_port: int, port: int, key: str, rounds: int, seconds: float) -> dict[str, _Found]:
    """Return what was found for each kind of request."""
    found: dict[str, _Found] = {}
    job = {"clients": CLIENTS, "seconds": seconds, "machine": str(machine(1)), "key": key}
    with _load() as send:
        for number in range(rounds + 1):
            jobs = [
                job | {"kind": "bare", "port": bare_port},
                *[job | {"kind": k, "port": port} for k in ("renew", "cycle")],
            ]
            for each in jobs:
                measured = send(each)
                if number == 0:  # warm
                    continue
                for doing, latencies in measured["latencies"].items():
                    name = "bare" if each["kind"] == "bare" else doing
                    found.setdefault(name, _Found([], [], [])).add(latencies)
    return found


@contextlib.contextmanager
def _load() -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, _HERE / "lease_load.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def send(job: dict[str, object]) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    try:
        yield send
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _servers(home: Path, bare_url: str, url: str) -> Iterator[tuple[int, int, str]]:
    """Run the bare server and `keyseat-issuer serve`; yield both ports and an API key."""
    with serving(home, url) as (port, key), socket.create_server(("127.0.0.1", 0)) as sock:
        bare = subprocess.Popen(
            [sys.executable, _HERE / "bare_server.py", str(sock.fileno()), bare_url], pass_fds=[sock.fileno()]
        )
        try:
            yield sock.getsockname()[1], port, key
        finally:
            bare.kill()
            bare.wait()


@contextlib.contextmanager
def serving(home: Path, url: str) -> Iterator[tuple[int, str]]:
    """Make an issuer on a database and run `keyseat-issuer serve`; yield its port and an API key."""
    os.environ["KEYSEAT_ISSUER_HOME"] = str(home)
    key = _issuer(home, url)
    secret = home / "passphrase"
    secret.write_text(_PASSPHRASE)
    secret.chmod(0o600)
    ours = os.environ | {
        "KEYSEAT_ISSUER_HOME": str(home),
        "DATABASE_URL": url,
        "KEYSEAT_PASSPHRASE_FILE": str(secret),
        # The limit is counted as always, and set so high that it never bites.
        "KEYSEAT_RATE_LIMIT": "100000000/minute",
    }
    ours.pop("DJANGO_SETTINGS_MODULE", None)
    port = _free_port()
    program = "from keyseat_issuer.cli import main; main()"
    options = ["--bind", f"127.0.0.1:{port}", "--log-level", "warning"]
    server = subprocess.Popen([sys.executable, "-c", program, "serve", *options], env=ours, stderr=subprocess.DEVNULL)
    try:
        _wait(port, server)
        yield port, key
    finally:
        # Twice: the first one drains.
        for _ in range(2):
            server.terminate()
            time.sleep(0.2)
        server.wait()


def _issuer(home: Path, url: str) -> str:
    """Make a vendor with one customer on this database; return an API key."""
    from keyseat_issuer.server.creation import create_issuer  # noqa: PLC0415 - after the environment is set
    from keyseat_shared.instants import now_utc  # noqa: PLC0415 - as above
    from keyseat_shared.policy import default_policy  # noqa: PLC0415 - as above

    ledgers.point_at(url)
    create_issuer(
        home,
        vendor="Benchmark",
        policy=default_policy(),
        passphrase=_PASSPHRASE,
        actor="benchmark",
        now=now_utc(),
    )
    return ledgers.sell(100_000)[2]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _wait(port: int, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile in milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1e3
