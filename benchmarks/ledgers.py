"""Throwaway ledgers for the lease rows: SQLite in a file, PostgreSQL in a server of our own, both durable."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

_PATIENCE = 60.0
_CHUNK = 50_000


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's server programs, or ``None``."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    programs = [*([Path(on_path).resolve()] if on_path else []), *found]
    return next((program.parent for program in programs if (program.parent / "postgres").exists()), None)


@contextlib.contextmanager
def postgres(binaries: Path) -> Iterator[str]:
    """Run a server as it comes, fsync and all, and yield the URL of its cluster up to the database's name."""
    folder = Path(tempfile.mkdtemp(prefix="keyseat-bench-", dir="/tmp"))
    account = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    if account:
        shutil.chown(folder, account)
    data = folder / "data"
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "keyseat", "-A", "trust", "-E", "UTF8", "--no-locale"],
            user=account,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        log = (folder / "log").open("wb")
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "max_connections=60"]
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], user=account, cwd=folder, stdout=log, stderr=log
        )
        try:
            _wait(f"postgresql://keyseat@/postgres?host={folder}", server)
            yield f"postgresql://keyseat@/{{}}?host={folder}"
        finally:
            server.send_signal(2)
            server.wait(_PATIENCE)
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def make_database(cluster: str, name: str) -> str:
    """Make a database in a cluster and return its URL."""
    with psycopg.connect(cluster.format("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return cluster.format(name)


def point_at(url: str) -> None:
    """Point this process's Django at a database, and make its tables."""
    os.environ["DATABASE_URL"] = url
    from keyseat_issuer.server import django as start  # noqa: PLC0415 - after the environment is set
    from keyseat_issuer.server.tables import migrate  # noqa: PLC0415 - as above

    start.setup()
    go_to(url)
    migrate()


def go_to(url: str) -> None:
    """Point this process's Django at a database that is ready."""
    from django.db import connections  # noqa: PLC0415 - after set-up

    from keyseat_issuer.settings import database_from_url  # noqa: PLC0415 - as above

    connections.close_all()
    connections.settings = connections.configure_settings({"default": database_from_url(url)})
    with contextlib.suppress(AttributeError):
        del connections["default"]


def sell(quota: int, name: str = "Benchmark") -> tuple[UUID, UUID, str]:
    """Add a customer with a floating subscription; return the organisation, the pool and an API key."""
    from keyseat_issuer.ledger.customers import api_keys, organizations, subscriptions  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.models import Pool, Term  # noqa: PLC0415 - after set-up
    from keyseat_shared.instants import now_utc  # noqa: PLC0415 - as above
    from keyseat_shared.policy import default_policy  # noqa: PLC0415 - as above

    now = now_utc()
    start = now.replace(month=1, day=1, hour=0, minute=0, second=0)
    customer = organizations.add_organization(name, actor="benchmark", now=now)
    bought = subscriptions.add_subscription(
        customer,
        term=Term.ANNUAL,
        starts_at=start,
        ends_at=start.replace(year=start.year + 2),
        products={"KRE": quota},
        policy=default_policy(),
        actor="benchmark",
        now=now,
    )
    key = api_keys.create_key(customer, ["sessions"], name="bench", expires_at=None, actor="benchmark", now=now)
    return customer.pk, Pool.objects.get(subscription=bought).pk, key.text


def fill(count: int) -> None:
    """Put so many live sessions on machines of their own into the one pool, as if they had been acquired.

    For every ten of them there is one more that was given back early, whose lease lingers.
    """
    from django.db import connection, transaction  # noqa: PLC0415 - after set-up

    from keyseat_issuer.ledger.models import ApiKey, Lease, Pool  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.tools.identifiers import new_id  # noqa: PLC0415 - as above

    pool, key = Pool.objects.get(), ApiKey.objects.get()
    now = datetime.now(UTC).replace(microsecond=0)
    names = [field.attname for field in Lease._meta.concrete_fields]  # noqa: SLF001 - Django's Model._meta API
    with transaction.atomic():
        from keyseat_issuer.ledger.tools.bulk import insert_values  # noqa: PLC0415 - as above

        lingering = count // 10
        for start in range(0, count + lingering, _CHUNK):
            rows = []
            for number in range(start, min(start + _CHUNK, count + lingering)):
                over = number >= count
                value = {
                    "id": new_id(now),
                    "pool_id": pool.pk,
                    "organization_id": key.organization_id,
                    "api_key_id": key.pk,
                    "product": "KRE",
                    "holder": f"key:{key.prefix}",
                    "email": "",
                    "machine_id": f"mid1{number:040d}",
                    "seats": 1,
                    "started_at": now,
                    "renewed_at": now,
                    "expires_at": now + timedelta(days=1, seconds=number % 3600),
                    "ended_at": now if over else None,
                    "ending": "RELEASED" if over else "",
                    "idempotency": f"{number:064x}",
                    "request_sha256": "0" * 64,
                    "lingering": over,
                    "lingers_until": now + timedelta(days=1, seconds=number % 3600) if over else None,
                }
                rows.append([value[name] for name in names])
            insert_values(Lease, names, rows)
        Pool.objects.filter(pk=pool.pk).update(used=count, lingering=lingering)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
