"""Databases for tests: a PostgreSQL server of the test session's own, and a fresh migrated ledger for each test.

Django is configured once per process, for one database. The tests re-point that connection instead: migrating
happens once per session and vendor into a template, and every test gets a copy of it (a file, or
``CREATE DATABASE … TEMPLATE``), so that each starts from an empty ledger and commits for real.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

import stories

URL_VARIABLE = "KEYSEAT_TEST_DATABASE_URL"
"""A PostgreSQL server for the tests, with the right to create databases; without it they start one."""

_START = 30.0
"""Seconds in which a PostgreSQL server must answer."""

# Durability costs time and no test here pulls the plug of the machine.
_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 250
shared_buffers = 64MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
"""


@dataclass
class Ledger:
    """A migrated, empty ledger to which this process's Django is pointed, and the issuer's home it belongs to."""

    vendor: str
    home: Path
    url: str

    @property
    def env(self) -> dict[str, str]:
        """The environment in which another process uses the same ledger."""
        kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return kept | {"KEYSEAT_ISSUER_HOME": str(self.home), "DATABASE_URL": self.url}


# A test session that is killed cannot stop its server, but its end of the pipe closes. INT is a fast shutdown.
_UNTIL_STDIN_ENDS = """
"$0" -D "$1" & server=$!
cat > /dev/null
kill -INT $server
wait $server
rm -rf "$PWD"
"""


class Postgres:
    """A PostgreSQL server; ``url(name)`` names a database of it."""

    def __init__(self, base: str, options: str = "", data: Path | None = None) -> None:
        """Keep the URL without its database, and the folder of the data where the server is ours."""
        self._base = base
        self._options = options
        self._data = data

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let the server hang, with all its connections, inside the block."""
        if self._data is None:
            pytest.skip("the database server is not of this test run, and may not be stopped")
        postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                    process.resume()

    def disconnect_all(self) -> None:
        """End every other connection, as a restart does, and wait until they are ended."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"{self._base}/{database}{self._options}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of any transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextlib.contextmanager
    def database(self, name: str, template: str = "template0") -> Iterator[str]:
        """Make a database, yield its URL, drop it whoever is still connected."""
        # Copying files is the faster way where nothing is synced to the disk.
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        try:
            yield self.url(name)
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def find_binaries() -> Path | None:
    """Return the folder of PostgreSQL's server programs, the newest version first."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True)
    for program in ([Path(on_path)] if on_path else []) + found:
        if (program.resolve().parent / "postgres").exists():
            return program.resolve().parent
    return None


@contextlib.contextmanager
def start_postgres(binaries: Path) -> Iterator[Postgres]:
    """Run a server on a private Unix socket until the block ends; its data are thrown away."""
    # Short and outside of pytest's folders: a socket's path has at most 107 bytes, and another account must reach it.
    folder = Path(tempfile.mkdtemp(prefix="keyseat-pg-", dir="/tmp"))
    account = None
    if os.getuid() == 0:
        account = "postgres"  # PostgreSQL refuses to run as root
        shutil.chown(folder, account)
    data = folder / "data"
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "keyseat", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            user=account,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        with (data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(folder=folder))
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                ["sh", "-c", _UNTIL_STDIN_ENDS, binaries / "postgres", data],
                user=account,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        try:
            postgres = Postgres("postgresql://keyseat@", f"?host={folder}", data)
            _wait_until_up(postgres, server, folder / "log")
            yield postgres
        finally:
            server.communicate(timeout=_START)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(postgres: Postgres, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START
    while True:
        try:
            postgres.execute("SELECT 1")
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.02)
        else:
            return


def set_up_django() -> None:
    """Configure Django in this process, with a ledger that does not exist until ``point_at`` names one."""
    from keyseat_issuer.server.django import setup  # noqa: PLC0415 - this module is imported without Django, too

    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        patch.setenv("KEYSEAT_ISSUER_HOME", home)
        # Gone afterwards: workers of pytest-xdist inherit it, and pytest-django would set Django up before us.
        patch.setenv("DJANGO_SETTINGS_MODULE", "keyseat_issuer.server.settings")
        patch.setenv("KEYSEAT_SECRET_KEY", "a secret of the tests' own process, which serves nobody else")
        setup()
    stories.begin()


def point_at(url: str) -> None:
    """Point this process's Django at another database; open connections of this thread are closed."""
    from django.db import connections  # noqa: PLC0415 - after set_up_django

    from keyseat_issuer.settings import database_from_url  # noqa: PLC0415 - as above

    connections.close_all()
    # A cached property: this is what Django computes from settings.DATABASES.
    connections.settings = connections.configure_settings({"default": database_from_url(url)})
    with contextlib.suppress(AttributeError):
        del connections["default"]


def close_all() -> None:
    """Close this thread's connection, so that its database can be copied or dropped."""
    from django.db import connections  # noqa: PLC0415 - after set_up_django

    connections.close_all()
