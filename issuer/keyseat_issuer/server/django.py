"""Starting Django with the browser side: what `serve`, `init`, `migrate` and `invite` load."""

import os

from keyseat_issuer import bootstrap
from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger import database
from keyseat_issuer.web.secret import read_secret

SETTINGS = "keyseat_issuer.server.settings"


def setup() -> None:
    """Make ledger and browser side usable in this process; calling it again does nothing.

    A server calls ``secret.ensure_secret`` before: sessions and codes need one, commands do not.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE`` where ``DATABASE_URL`` cannot be used; ``UNREADABLE`` or
            ``INVALID_INPUT`` for a bad secret, ``KEYSEAT_PUBLIC_URL``, ``KEYSEAT_TRUSTED_PROXIES`` or ``EMAIL_URL``.
    """
    from django.apps import apps  # late: loaded when a command needs it
    from django.conf import settings

    if not apps.ready:
        os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    bootstrap.setup()
    if settings.SETTINGS_MODULE != SETTINGS:
        msg = f"this process has set Django up for the ledger alone: call {__name__}.setup first"
        raise RuntimeError(msg)
    _take_secret()


def require_ready() -> None:
    """Set up, and make sure that the database has the tables of the ledger and those of the browser side.

    Raises:
        KeyseatError: as ``setup``; ``LEDGER_UNAVAILABLE`` with the command that helps.
    """
    setup()
    database.require_ready()
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    with database.ledger_errors():
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise database.unavailable("the server's tables are missing or old", Cause.SERVER_NOT_MIGRATED)


def _take_secret() -> None:
    """Take a secret that was made after the settings were read: `demo --serve` makes an issuer and serves it."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        bool(settings.SECRET_KEY)
    except ImproperlyConfigured:  # what Django says of an empty one
        secret = read_secret()
        if secret:
            settings.SECRET_KEY = secret
