"""Migrations: what calls itself additive is so, and the ledger knows it before it is applied."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from pytest_django import DjangoDbBlocker

import databases
from databases import Ledger
from keyseat_issuer.ledger import schema
from keyseat_issuer.ledger.models import AdditiveMigration
from keyseat_issuer.ledger.tools.index_operations import DropCoveredIndex
from keyseat_issuer.server import tables


@pytest.fixture
def fresh(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of the test's own, without any table."""
    databases.point_at(f"sqlite:///{tmp_path}/ledger.sqlite3")
    with django_db_blocker.unblock():
        yield
        databases.close_all()


def not_additive(migration: migrations.Migration) -> list[str]:
    """Return what in a migration would disturb servers that do not know it."""
    return [type(step).__name__ for step in migration.operations if not _is_additive(step)]


def _is_additive(step: object) -> bool:
    if isinstance(step, migrations.AddField):
        # An INSERT of an older server does not name the column.
        return step.field.null or step.field.db_default is not models.NOT_PROVIDED
    # `DropCoveredIndex` changes no column, whatever the models say of it afterwards.
    return isinstance(step, migrations.CreateModel | migrations.AddIndex | migrations.RemoveIndex | DropCoveredIndex)


def all_of_ours() -> list[migrations.Migration]:
    loader = MigrationLoader(None)
    return [found for (app, _), found in sorted(loader.disk_migrations.items()) if app in {"ledger", "web"}]


def test_what_calls_itself_additive_is_so() -> None:
    found = {str(each): not_additive(each) for each in all_of_ours() if getattr(each, "additive", False)}

    assert found
    assert {} == {name: steps for name, steps in found.items() if steps}


@pytest.mark.parametrize(
    ("step", "is_so"),
    [
        (migrations.AddField("lease", "note", models.TextField(null=True)), True),
        (migrations.AddField("lease", "note", models.TextField(db_default="")), True),
        (migrations.AddField("lease", "note", models.TextField(default="")), False),
        (migrations.RemoveField("lease", "note"), False),
        (migrations.AlterField("lease", "note", models.TextField()), False),
        (migrations.RunPython(migrations.RunPython.noop), False),
        (migrations.AddIndex("lease", models.Index(fields=("note",), name="by_note")), True),
    ],
)
def test_an_older_server_must_be_able_to_write_rows(step: object, is_so: bool) -> None:  # noqa: FBT001 - a test's case
    assert is_so == _is_additive(step)


def test_migrating_writes_down_what_is_additive(fresh: None) -> None:
    tables.migrate()

    ours = {str(each) for each in all_of_ours() if getattr(each, "additive", False)}
    assert ours == {str(each) for each in AdditiveMigration.objects.all()}
    assert [] == tables.pending()


def test_it_is_written_down_before_it_is_applied(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    AdditiveMigration.objects.all().delete()
    seen: list[int] = []
    monkeypatch.setattr(
        "django.core.management.call_command", lambda *_, **__: seen.append(AdditiveMigration.objects.count())
    )

    tables.migrate()

    assert [len([each for each in all_of_ours() if getattr(each, "additive", False)])] == seen


def test_a_ledger_without_the_table_takes_newer_migrations_as_changes(ledger: Ledger) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_additivemigration RENAME TO elsewhere")
    try:
        assert set() == schema._declared()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO ledger_additivemigration")


def test_the_plan_says_whether_running_servers_can_go_on(fresh: None) -> None:
    Path(str(connection.settings_dict["NAME"])).touch()

    plan = {step.name: step.additive for step in tables.pending()}

    assert (False, True) == (plan["ledger.0001_initial"], plan["ledger.0005_additive_migrations"])
