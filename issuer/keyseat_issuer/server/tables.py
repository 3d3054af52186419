"""The tables of ledger and pages together: make them, bring them up to date, tell what is missing."""

import os
from pathlib import Path

from keyseat_issuer.ledger import schema
from keyseat_issuer.ledger.database import CHECK_FILE, ledger_errors, require_file, sqlite_file, unavailable
from keyseat_issuer.server import django


def migrate() -> list[str]:
    """Make the tables of ledger and server, or bring them up to date. Return the names of the migrations applied.

    A SQLite file is made readable by its owner only.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    django.setup()
    path = sqlite_file()
    if path is not None:
        _make_file(path)
    with ledger_errors():
        return schema.apply()


def pending() -> list[schema.Pending]:
    """Return the migrations that ``migrate`` would apply, without changing anything.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    django.setup()
    path = sqlite_file()
    if path is not None:
        require_file(path)
    with ledger_errors():
        return schema.pending()


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before SQLite makes it with the umask's rights: it holds customers' addresses.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise unavailable(f"cannot write the ledger {str(path)!r}: {error.strerror}", CHECK_FILE) from None
