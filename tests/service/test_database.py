import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, connection, transaction
from pytest_django import DjangoDbBlocker

import databases
from databases import Ledger, Postgres
from keyseat_issuer import settings
from keyseat_issuer.bootstrap import SAFE_IN_WAL
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.ledger import database
from keyseat_issuer.ledger.models import AdditiveMigration, AuditHead
from keyseat_issuer.server import tables
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from races import race

_READY = "from keyseat_issuer.ledger import database; database.require_ready(); print('ready')"


def refusal() -> KeyseatError:
    """Return how the ledger is refused as it stands."""
    with pytest.raises(KeyseatError) as refused:
        database.require_ready()
    assert ReasonCode.LEDGER_UNAVAILABLE is refused.value.code
    return refused.value


@pytest.fixture
def unblocked(django_db_blocker: DjangoDbBlocker) -> object:
    """The right to use databases of the test's own making."""
    with django_db_blocker.unblock():
        yield
        databases.close_all()


def apply_newer(name: str, app: str = "ledger") -> None:
    """Leave the trace that a migration of a newer version leaves."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " SELECT %s, %s, applied FROM django_migrations WHERE app = 'ledger' AND name = '0001_initial'",
            [app, name],
        )


class TestReadiness:
    def test_a_migrated_ledger_is_ready(self, ledger: Ledger) -> None:
        database.require_ready()

        assert 0 == AuditHead.objects.get().seq

    def test_a_ledger_that_lacks_a_migration_is_answered_with_the_command(self, ledger: Ledger) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'ledger' AND name = '0002_audit_head'")

        assert "keyseat-issuer migrate" in STEPS.of(refusal())

    def test_a_ledger_of_a_newer_version_is_not_touched(self, ledger: Ledger) -> None:
        apply_newer("9999_future")

        assert "Update this software." == refusal().next_step

    def test_a_ledger_with_additive_newer_migrations_is_ready(self, ledger: Ledger) -> None:
        for name in ("9998_future", "9999_future"):
            AdditiveMigration.objects.create(app="ledger", name=name)
            apply_newer(name)

        database.require_ready()

    def test_one_newer_migration_that_is_not_additive_is_one_too_many(self, ledger: Ledger) -> None:
        AdditiveMigration.objects.create(app="ledger", name="9999_future")
        apply_newer("9999_future")
        apply_newer("9998_future")

        assert "Update this software." == refusal().next_step

    def test_the_name_of_an_additive_migration_counts_for_its_app_alone(self, ledger: Ledger) -> None:
        AdditiveMigration.objects.create(app="web", name="9999_future")
        apply_newer("9999_future")

        assert "Update this software." == refusal().next_step

    def test_newer_migrations_of_the_pages_count_as_well(self, ledger: Ledger) -> None:
        apply_newer("9999_future", app="web")

        assert "Update this software." == refusal().next_step

    def test_newer_migrations_of_other_peoples_apps_do_not(self, ledger: Ledger) -> None:
        apply_newer("9999_future", app="mfa")

        database.require_ready()

    def test_an_empty_postgresql_database_is_answered_with_the_command(
        self, postgres: Postgres, unblocked: None
    ) -> None:
        with postgres.database(f"keyseat_empty_{os.getpid()}") as url:
            databases.point_at(url)

            assert "keyseat-issuer migrate" in STEPS.of(refusal())
            databases.close_all()

    def test_a_postgresql_database_that_does_not_exist_is_told(self, postgres: Postgres, unblocked: None) -> None:
        databases.point_at(postgres.url("no_such_database"))

        assert "the database does not exist" == refusal().message

    def test_a_postgresql_account_that_does_not_exist_is_told(self, postgres: Postgres, unblocked: None) -> None:
        databases.point_at(postgres.url("postgres").replace("keyseat@", "nobody@"))

        assert "DATABASE_URL" in refusal().next_step

    def test_a_server_that_is_down_is_told_without_user_or_password(self, unblocked: None, tmp_path: Path) -> None:
        databases.point_at(f"postgresql://ada:sesame@/ledger?host={tmp_path}")

        error = refusal()

        assert "up and reachable" in error.next_step
        assert not {"ada", "sesame"} & set(f"{error} {error.next_step} {error.details}".replace(":", " ").split())

    def test_a_missing_file_is_told_and_not_made(self, unblocked: None, tmp_path: Path) -> None:
        path = tmp_path / "none" / "ledger.sqlite3"
        databases.point_at(f"sqlite:///{path}")

        assert "keyseat-issuer init" in STEPS.of(refusal())
        assert not path.exists()

    def test_a_file_that_is_no_database_is_told(self, unblocked: None, tmp_path: Path) -> None:
        path = tmp_path / "ledger.sqlite3"
        path.write_bytes(b"not a database at all, but long enough to look at" * 100)
        databases.point_at(f"sqlite:///{path}")

        assert "the file is not a usable SQLite database" == refusal().message

    def test_a_file_that_may_not_be_written_is_told(self, sqlite_template: Path, tmp_path: Path) -> None:
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        path = tmp_path / "ledger.sqlite3"
        path.write_bytes(sqlite_template.read_bytes())
        path.chmod(0o444)
        # Used once before, so that nothing remains to be imported: the interpreter may be out of reach of others. Modes
        # do not bind root, who gives that up.
        code = f"import os; {_READY}; from django.db import connection; connection.close()"
        code += "; os.getuid() or os.setuid(65534); database.require_ready()"

        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"DATABASE_URL": f"sqlite:///{path}"},
            capture_output=True,
            text=True,
            check=False,
        )

        assert "may not be read and written by you" in done.stderr


class TestMigrating:
    def test_a_new_sqlite_ledger_is_its_owners_alone(self, unblocked: None, tmp_path: Path) -> None:
        path = tmp_path / "new" / "ledger.sqlite3"
        databases.point_at(f"sqlite:///{path}")

        applied = tables.migrate()

        assert "0001_initial" in applied
        assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)

    def test_migrating_again_changes_nothing(self, ledger: Ledger) -> None:
        assert [] == tables.migrate()


class TestSettings:
    @pytest.mark.parametrize("url", ["mysql://a:sesame@b/c", "nonsense", "postgresql://", "postgresql://host:x/y"])
    def test_a_url_that_cannot_be_used_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ImproperlyConfigured) as refused:
            settings.database_from_url(url)

        assert "sesame" not in str(refused.value)

    def test_a_bad_url_in_the_environment_ends_set_up_with_advice(self, tmp_path: Path) -> None:
        code = f"""
from keyseat_shared.errors import KeyseatError
try:
    {_READY.replace("; ", chr(10) + "    ")}
except KeyseatError as error:
    print(error, error.next_step)
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"DATABASE_URL": "mysql://a:sesame@b/c"},
            capture_output=True,
            text=True,
            check=True,
        )

        assert "LEDGER_UNAVAILABLE" in done.stdout
        assert "sesame" not in done.stdout + done.stderr

    def test_a_unix_sockets_folder_may_be_written_as_the_host(self) -> None:
        assert "/run/pg" == settings.database_from_url("postgresql://u@%2Frun%2Fpg/ledger")["HOST"]

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_sqlite_waits_syncs_and_uses_wal_only_where_that_is_safe(self, ledger: Ledger) -> None:
        with connection.cursor() as cursor:
            pragmas = {
                name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            version = tuple(map(int, cursor.execute("SELECT sqlite_version()").fetchone()[0].split(".")))

        assert {
            "journal_mode": "wal" if version >= SAFE_IN_WAL else "truncate",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 30_000,
        } == pragmas

    def test_an_old_sqlite_is_exchanged_before_django_loads_it(self) -> None:
        pysqlite3 = pytest.importorskip("pysqlite3")
        if sqlite3.sqlite_version_info >= SAFE_IN_WAL and sqlite3 is not pysqlite3:
            pytest.skip("the standard library's SQLite is safe")
        code = "from keyseat_issuer.bootstrap import setup; setup(); import sqlite3; print(sqlite3.sqlite_version)"

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert pysqlite3.sqlite_version == done.stdout.strip()

    def test_without_a_substitute_an_old_sqlite_keeps_a_rollback_journal(self) -> None:
        code = (
            "import sys; sys.modules['pysqlite3'] = None\n"
            "from keyseat_issuer.settings import sqlite_options\n"
            "import sqlite3; print(sqlite3.sqlite_version, sqlite_options()['init_command'])"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        version, command = done.stdout.strip().split(" ", 1)
        journal = "WAL" if tuple(map(int, version.split("."))) >= SAFE_IN_WAL else "TRUNCATE"
        assert f"PRAGMA journal_mode={journal}; PRAGMA synchronous=FULL;" == command

    def test_setting_the_ledger_up_loads_nothing_of_the_web(self) -> None:
        code = (
            "from keyseat_issuer.bootstrap import setup; setup(); import sys;"
            "print([name for name in sys.modules if 'allauth' in name or 'keyseat_issuer.web' in name])"
        )

        done = subprocess.run(
            [sys.executable, "-c", code],
            env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            capture_output=True,
            text=True,
            check=True,
        )

        assert "[]" == done.stdout.strip()


class TestErrors:
    def test_a_broken_constraint_is_told_as_such(self, ledger: Ledger) -> None:
        with pytest.raises(KeyseatError, match="constraints") as refused, database.ledger_errors():
            AuditHead.objects.create(id=3, seq=0, digest="", at="2023-01-01T00:00:00Z")

        assert isinstance(refused.value.__cause__, IntegrityError)

    @pytest.mark.parametrize(
        ("text", "advice"),
        [
            ("database is locked", "Try again"),
            ("no such table: ledger_pool", "keyseat-issuer migrate"),
            ('relation "ledger_pool" does not exist', "keyseat-issuer migrate"),
            ("attempt to write a readonly database", "disk has room"),
            ('connection failed: FATAL: password authentication failed for user "x"', "DATABASE_URL"),
            ("something else", "up and reachable"),
        ],
    )
    def test_each_failure_has_advice_of_its_own(self, text: str, advice: str) -> None:
        assert advice in STEPS.of(database.explain(OperationalError(text)))

    def test_refusals_of_ours_pass_unchanged(self) -> None:
        with pytest.raises(KeyseatError, match="NOT_FOUND"), database.ledger_errors():
            raise KeyseatError(ReasonCode.NOT_FOUND, "x")


class TestSnapshot:
    def test_it_reads_one_instant_while_others_write(self, ledger: Ledger) -> None:
        if ledger.vendor == "sqlite" and connection.Database.sqlite_version_info < SAFE_IN_WAL:
            pytest.skip("a rollback journal has one reader or one writer")
        with database.snapshot():
            before = AuditHead.objects.get().seq
            race(ledger, "race_tasks:add_organization", 1)
            during = AuditHead.objects.get().seq

        assert (0, 0, 1) == (before, during, AuditHead.objects.get().seq)

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_a_write_lock_is_taken_before_the_first_read(self, ledger: Ledger) -> None:
        path = ledger.home / "ledger.sqlite3"

        with transaction.atomic():
            AuditHead.objects.get()
            other = connection.Database.connect(path, timeout=0)
            with pytest.raises(connection.Database.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()
