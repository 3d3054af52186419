"""Which migrations the database has and which this code knows: what is missing, and what is newer but does no harm.

A migration is *additive* where servers that do not know it can go on: it adds tables, indexes, and columns that need no
value from who does not know them. It says so itself (``additive = True`` in its class). ``migrate`` writes that down in
the ledger before it applies it, since an older server cannot read it anywhere else.
"""

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_OURS = "keyseat_issuer."
"""Apps under this name are ours; newer migrations of others' apps are taken to be additive."""
_TABLE = "ledger_additivemigration"


class Pending(NamedTuple):
    """A migration that is to be applied: ``app.name``."""

    name: str
    additive: bool


def require_fitting() -> None:
    """Make sure that this code can work on the database as it is migrated.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``: tables are missing, or were changed by a newer version.
    """
    known, applied = _known(), _applied()
    if known - applied:
        raise KeyseatError(
            ReasonCode.LEDGER_UNAVAILABLE,
            "the ledger was made by an older version" if applied else "the ledger is not migrated",
            cause=Cause.LEDGER_NOT_MIGRATED,
        )
    newer = applied - known
    if newer and not newer <= _declared():
        raise KeyseatError(
            ReasonCode.LEDGER_UNAVAILABLE,
            "the ledger was made by a newer version, which this one cannot work with",
            next_step="Update this software.",
        )


def pending() -> list[Pending]:
    """Return what ``apply`` would apply, in its order."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [
        Pending(f"{found.app_label}.{found.name}", additive=getattr(found, "additive", False)) for found, _back in plan
    ]


def apply() -> list[str]:
    """Apply what is pending; return the names of the ledger's own migrations among it."""
    from django.core.management import call_command

    before = _applied()
    # Before they are applied: from then on, older servers look them up.
    _declare()
    call_command("migrate", verbosity=0, interactive=False)
    _declare()
    return sorted(name for app, name in _applied() - before if app == "ledger")


def _labels() -> dict[str, str]:
    """Return our apps that this process has, and the packages of their migrations."""
    from django.apps import apps

    found = {config.label: f"{config.name}.migrations" for config in apps.get_app_configs()}
    return {label: package for label, package in found.items() if package.startswith(_OURS) and find_spec(package)}


def _known() -> set[tuple[str, str]]:
    return {
        (label, entry.name)
        for label, package in _labels().items()
        for entry in pkgutil.iter_modules(import_module(package).__path__)
    }


def _applied() -> set[tuple[str, str]]:
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder

    labels = _labels()
    return {entry for entry in MigrationRecorder(connection).applied_migrations() if entry[0] in labels}


def _declared() -> set[tuple[str, str]]:
    """Return the migrations that are written down as additive; the table itself may be newer than the ledger."""
    from django.db import connection

    from keyseat_issuer.ledger.models import AdditiveMigration

    if _TABLE not in connection.introspection.table_names():
        return set()
    return set(AdditiveMigration.objects.values_list("app", "name"))


def _declare() -> None:
    from django.db import connection

    from keyseat_issuer.ledger.models import AdditiveMigration

    if _TABLE not in connection.introspection.table_names():
        return
    known = {
        (label, name)
        for label, name in _known()
        if getattr(import_module(f"{_labels()[label]}.{name}").Migration, "additive", False)
    }
    AdditiveMigration.objects.bulk_create(
        [AdditiveMigration(app=app, name=name) for app, name in sorted(known - _declared())],
        ignore_conflicts=True,  # somebody else migrates at the same time
    )
