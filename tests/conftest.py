"""Fixtures of all tests: a fresh ledger on each database.

``ledger`` runs a test twice, on SQLite and on PostgreSQL. The PostgreSQL server is started by the test session
itself where its programs are installed, or taken from ``KEYSEAT_TEST_DATABASE_URL`` (one that may create
databases); else those tests are skipped. With pytest-xdist every worker has a server and templates of its own.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases
import pytest
from databases import Ledger, Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, or a skip."""
    given = os.environ.get(databases.URL_VARIABLE)
    if given:
        address, mark, options = given.partition("?")
        yield Postgres(address.rpartition("/")[0], mark + options)
        return
    binaries = databases.find_binaries()
    if binaries is None:
        pytest.skip(f"PostgreSQL is not installed here, and {databases.URL_VARIABLE} is not set")
    with databases.start_postgres(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def _django(tmp_path_factory: pytest.TempPathFactory) -> None:
    databases.set_up_django(tmp_path_factory.mktemp("django"))


@pytest.fixture(scope="session")
def sqlite_template(_django: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite ledger to be copied."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(_django: None, postgres: Postgres) -> Iterator[str]:
    """The name of a migrated, empty PostgreSQL ledger to be copied."""
    name = f"keyseat_template_{os.getpid()}"
    with postgres.database(name) as url:
        _migrate(url)
        yield name


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Iterator[Ledger]:
    """A migrated, empty ledger in an issuer's home of its own, on each database; Django is pointed at it."""
    home = tmp_path / "issuer"
    home.mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            path = home / "ledger.sqlite3"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            url = f"sqlite:///{path}"
        else:
            template: str = request.getfixturevalue("postgres_template")
            server: Postgres = request.getfixturevalue("postgres")
            url = stack.enter_context(server.database(f"keyseat_{os.getpid()}_{tmp_path.name}"[-60:], template))
        # pytest-django keeps tests off the database it would manage; here tests have one each.
        if django_db_blocker is not None:
            stack.enter_context(django_db_blocker.unblock())
        monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(home))
        monkeypatch.setenv("DATABASE_URL", url)
        databases.point_at(url)
        stack.callback(databases.close_all)
        yield Ledger(request.param, home, url)


def _migrate(url: str) -> None:
    from keyseat_issuer.database import migrate  # noqa: PLC0415 - most tests need no Django

    databases.point_at(url)
    migrate()
    databases.close_all()
