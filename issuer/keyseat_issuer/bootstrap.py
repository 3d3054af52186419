"""Starting Django for the ledger: a safe SQLite library, the settings module, and nothing web."""

import os
import sys

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

SETTINGS = "keyseat_issuer.settings"

SAFE_IN_WAL = (3, 51, 3)
"""The first SQLite whose WAL mode is safe with several writers.

3.7.0 to 3.51.2 can corrupt the file when two connections write or checkpoint at the same moment
(the WAL-reset bug, https://www.sqlite.org/wal.html).
"""


def use_safe_sqlite() -> None:
    """Let ``import sqlite3`` mean pysqlite3 where that is safe in WAL mode and the standard library's SQLite is not.

    Must run before Django's SQLite backend is imported; running it again changes nothing. Where neither
    library is safe, the settings choose a rollback journal instead.
    """
    import sqlite3  # late: looked at only here, at set-up

    if sqlite3.sqlite_version_info >= SAFE_IN_WAL or "django.db.backends.sqlite3.base" in sys.modules:
        return
    try:
        import pysqlite3  # late: exists on some platforms only
    except ImportError:
        return
    if pysqlite3.sqlite_version_info >= SAFE_IN_WAL:
        # Only Django opens the ledger, so no second SQLite library in this process ever drops its POSIX locks.
        sys.modules["sqlite3"] = pysqlite3


def setup() -> None:
    """Make the ledger's models usable in this process; calling it again does nothing.

    The environment (``DATABASE_URL``, ``KEYSEAT_ISSUER_HOME``) is read here, once.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE`` where ``DATABASE_URL`` cannot be used.
    """
    use_safe_sqlite()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    import django  # late: costs 0.2 s: paid by commands that use the ledger
    from django.apps import apps
    from django.core.exceptions import ImproperlyConfigured

    if apps.ready:
        return
    try:
        django.setup()
    except ImproperlyConfigured as error:
        raise KeyseatError(
            ReasonCode.LEDGER_UNAVAILABLE,
            str(error),
            next_step="Set DATABASE_URL to postgresql://USER:PASSWORD@HOST/NAME, or unset it to use SQLite.",
        ) from None
