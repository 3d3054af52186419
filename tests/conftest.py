"""Fixtures of all tests: a home of its own for the account that runs them, and a fresh ledger on each database.

``ledger`` runs a test twice, on SQLite and on PostgreSQL; a test of a face (command line, console, administration
API) only on SQLite, unless it is marked ``both_databases``: the services behind the faces are tested on both. The
PostgreSQL server is started by the test session itself where its programs are installed, or taken from
``KEYSEAT_TEST_DATABASE_URL`` (one that may create databases); else those tests are skipped. With pytest-xdist every
worker has a server and templates of its own.

pytest-django is here for its block on the database (a test without ``ledger`` cannot touch one) and its test
client; its own ``db`` fixtures are not used: they roll back, and what commits is what is tested here.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

import databases
from databases import Ledger, Postgres

# Before any test module is imported: those of the issuer import its models.
databases.set_up_django()
# A shell starts what runs in its background with Ctrl-C ignored; programs that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FACES = ("cli/", "service/console/", "service/test_admin_")
"""What is tested on SQLite alone, where a test is not marked otherwise."""
QUICK = ("unit", "vectors", "service/test_seats.py", "service/test_api_sessions.py", "service/test_offline_issue.py")
"""What ``-m quick`` runs, on SQLite and without what is marked ``long``."""
TESTS = Path(__file__).parent
ACCOUNT_HOMES = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def clock_of_pytest() -> None:
    """Let pytest's own clock go on where a test freezes the time: durations are real."""
    import freezegun  # noqa: PLC0415 - loaded before Django, it leaves SQLite without a way to store its instants

    freezegun.configure(extend_ignore_list=["_pytest.timing"])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing that a quick run leaves out."""
    if config.option.markexpr != "quick" or collection_path == TESTS:
        return None
    here = collection_path.relative_to(TESTS)
    wanted = any(here.is_relative_to(quick) or Path(quick).is_relative_to(here) for quick in QUICK)
    return None if wanted else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is quick."""
    for item in items:
        here = item.path.relative_to(TESTS)
        on = getattr(item, "callspec", None)
        if (
            any(here.is_relative_to(quick) for quick in QUICK)
            and item.get_closest_marker("long") is None
            and (on is None or on.params.get("ledger") != "postgresql")
        ):
            item.add_marker(pytest.mark.quick)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the test of a face on one database."""
    here = metafunc.definition.path.relative_to(TESTS).as_posix()
    named = any("ledger" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if (
        "ledger" in metafunc.fixturenames
        and here.startswith(FACES)
        and not named
        and metafunc.definition.get_closest_marker("both_databases") is None
    ):
        metafunc.definition.add_marker(pytest.mark.parametrize("ledger", ["sqlite"], indirect=True))


@pytest.fixture(autouse=True)
def own_account_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for the account, as the account database names it: no environment variable of the product moves it.

    Sessions are counted there, and the time and newest trust bundle remembered: one test must not see another's.
    Programs that a test starts get it through ``sitecustomize.py``.
    """
    home = tmp_path_factory.getbasetemp() / "account-homes" / str(next(ACCOUNT_HOMES))
    home.mkdir(parents=True, mode=0o700)
    from_database = pwd.getpwuid

    def getpwuid(uid: int, /) -> pwd.struct_passwd:
        entry = from_database(uid)
        return pwd.struct_passwd((*entry[:5], str(home), *entry[6:])) if uid == os.getuid() else entry

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    monkeypatch.setenv("KEYSEAT_TEST_ACCOUNT_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "support" / "account_home"))
    return home


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
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """A migrated, empty SQLite ledger to be copied."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite3"
    with django_db_blocker.unblock():
        _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of a migrated, empty PostgreSQL ledger to be copied."""
    name = f"keyseat_template_{os.getpid()}"
    with postgres.database(name) as url:
        with django_db_blocker.unblock():
            _migrate(url)
        yield name


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: DjangoDbBlocker,
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
        stack.enter_context(django_db_blocker.unblock())
        monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(home))
        monkeypatch.setenv("DATABASE_URL", url)
        databases.point_at(url)
        stack.callback(databases.close_all)
        yield Ledger(request.param, home, url)


def _migrate(url: str) -> None:
    from keyseat_issuer.server.tables import migrate  # noqa: PLC0415 - most tests need no Django

    databases.point_at(url)
    migrate()
    databases.close_all()
