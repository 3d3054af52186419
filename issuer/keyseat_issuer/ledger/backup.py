"""A copy of a SQLite ledger as it is at one instant, while others go on writing: `keyseat-issuer backup`.

By the library that Python has, which is the one the ledger is used with: a `sqlite3` program is often older.
"""

import contextlib
import os
import secrets
from pathlib import Path

from keyseat_issuer.bootstrap import setup
from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.database import explain, ledger_errors, require_file, sqlite_file
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.writing import place_new, sync_folder


def back_up(target: Path) -> int:
    """Write the ledger, of this version or an earlier one, to a new file that its owner alone may read.

    Returns:
        The size of the file, in bytes; it is whole and durable.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where the ledger is not SQLite, ``ALREADY_EXISTS`` where the file is there,
            ``UNREADABLE`` where it cannot be written, ``LEDGER_UNAVAILABLE``.
    """
    setup()
    ledger = sqlite_file()
    if ledger is None:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the ledger is a PostgreSQL database, which has its own tool",
            cause=Cause.BACKUP_OF_POSTGRESQL,
        )
    require_file(ledger)
    if os.path.lexists(target):
        raise _exists(target)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        # Before SQLite makes it with the umask's rights: it holds customers' addresses.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            return _fill(part, target)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
    except OSError as error:
        raise _cannot_write(target, error.strerror or "") from None


def _fill(part: Path, target: Path) -> int:
    from django.db import DatabaseError, connection  # noqa: PLC0415 - Django is loaded by now

    with ledger_errors():
        connection.ensure_connection()
    try:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(part)])
    except DatabaseError as error:
        # The disk that is full, say, is the one of either file.
        raise _cannot_write(target, explain(error).message) from error
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if not place_new(str(part), str(target)):
        raise _exists(target)
    sync_folder(target.parent)
    return target.stat().st_size


def _exists(target: Path) -> KeyseatError:
    return KeyseatError(
        ReasonCode.ALREADY_EXISTS, f"{str(target)!r} exists and is not overwritten", next_step="Name another file."
    )


def _cannot_write(target: Path, why: str) -> KeyseatError:
    return KeyseatError(
        ReasonCode.UNREADABLE,
        f"the backup {str(target)!r} could not be written: {why}",
        next_step="Check that the folder exists, is yours, and that the disk has room.",
    )
