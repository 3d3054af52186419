"""The ledger's database: is it there and ready, and say what is wrong in words that help."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from keyseat_issuer.bootstrap import setup
from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger import schema
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_OLD = "the ledger's tables are missing or old"
_URL = "Check that DATABASE_URL names the right database, user and password."
_BUSY = "Try again; if it lasts, find out which program keeps the database locked."
_UP = "Check that the database server is up and reachable, and that DATABASE_URL is right."
_ROOM = "Make room on the disk of the database."
CHECK_FILE = "Check that you may read and write the file and its folder, and that the disk has room."

_GONE = (
    *("closed the connection", "connection is closed", "closed unexpectedly", "connection is lost"),
    *("connection reset", "terminating connection", "starting up", "shutting down"),
)
"""A server that goes or comes, or a proxy that stands in front of none."""

# What drivers say -> the cause in a word, and what we say. The drivers' own text stays out: it may hold hosts, users
# and passwords.
_KNOWN = (
    (
        ("no such table", "does not exist", "undefinedtable"),
        "tables",
        "the ledger's tables are missing or old",
        Cause.LEDGER_NOT_MIGRATED,
    ),
    (("no such column", "has no column"), "tables", _OLD, Cause.LEDGER_NOT_MIGRATED),
    (("statement timeout",), "slow", "the database took too long", _BUSY),
    (
        ("idle-in-transaction", "idle in transaction"),
        "idle",
        "this act stood still for too long, and the database ended it; nothing was done",
        "Do it again.",
    ),
    (("locked", "lock timeout", "deadlock"), "busy", "the database is busy", _BUSY),
    (("readonly", "read-only"), "read-only", "the database cannot be written", CHECK_FILE),
    (("disk is full", "no space left"), "disk-full", "the database's disk is full", _ROOM),
    (("unable to open", "disk i/o"), "file", "the database file cannot be used", CHECK_FILE),
    (("not a database", "malformed"), "file", "the file is not a usable SQLite database", "Restore it from a backup."),
    (
        ("password", "authentication", "permission denied", "role "),
        "sign-in",
        "the database refused the sign-in",
        _URL,
    ),
    (
        ("connection refused", "timeout expired", "unreachable", "no such file", *_GONE),
        "unreachable",
        "the database server cannot be reached",
        _UP,
    ),
    (("resolve", "translate host", "name or service"), "unknown-host", "the database server's name is unknown", _URL),
)


def unavailable(message: str, advice: str | Cause, word: str = "") -> KeyseatError:
    """Return the error for a ledger that cannot be used.

    ``advice`` is what to do next, or the cause of which each face knows that; ``word`` is one of few, for logs and
    figures.
    """
    said = {"cause": advice} if isinstance(advice, Cause) else {"next_step": advice}
    return KeyseatError(ReasonCode.LEDGER_UNAVAILABLE, message, details={"cause": word} if word else {}, **said)


def explain(error: Exception) -> KeyseatError:
    """Turn an error of Django's database layer into ``LEDGER_UNAVAILABLE`` that says what to do."""
    text = str(error).lower()
    # PostgreSQL says "does not exist" of databases and roles as well as of tables.
    if 'database "' in text and "does not exist" in text:
        return unavailable("the database does not exist", Cause.DATABASE_MISSING, "no-database")
    if 'role "' in text and "does not exist" in text:
        return unavailable("the database refused the sign-in", _URL, "sign-in")
    for signs, word, message, advice in _KNOWN:
        if any(sign in text for sign in signs):
            return unavailable(message, advice, word)
    return unavailable(f"the database did not answer ({type(error).__name__})", _UP, "unknown")


@contextlib.contextmanager
def ledger_errors() -> Iterator[None]:
    """Turn errors of the database inside the block into ``LEDGER_UNAVAILABLE``; other errors pass.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    from django.db import Error, IntegrityError, InterfaceError  # noqa: PLC0415 - Django is loaded by now

    try:
        yield
    except IntegrityError as error:
        raise unavailable(
            "the ledger refused an entry that breaks one of its constraints; nothing was changed",
            Cause.ENTRY_REFUSED,
        ) from error
    except (Error, InterfaceError) as error:
        raise explain(error) from error


@contextlib.contextmanager
def snapshot() -> Iterator[None]:
    """Read the database as it is at one instant, without holding up those who write (but in SQLite's rollback journal).

    Must not stand inside a transaction. Writing inside the block is an error.
    """
    from django.db import connection  # noqa: PLC0415 - Django is loaded by now

    # By hand: Django's atomic() is IMMEDIATE on SQLite (it would stop writers) and READ COMMITTED on PostgreSQL.
    start = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if connection.vendor == "postgresql" else "BEGIN DEFERRED"
    with connection.cursor() as cursor:
        cursor.execute(start)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")


def require_ready() -> None:
    """Set Django up and make sure that the ledger can be used: reachable, writable, migrated.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE`` with the command that helps.
    """
    setup()
    path = sqlite_file()
    if path is not None:
        require_file(path)
    with ledger_errors():
        schema.require_fitting()


def sqlite_file() -> Path | None:
    """Return the ledger's file, or ``None`` where it is not SQLite."""
    from django.db import connection  # noqa: PLC0415 - Django is loaded by now

    return Path(str(connection.settings_dict["NAME"])) if connection.vendor == "sqlite" else None


def require_file(path: Path) -> None:
    """Require a file that may be read and written.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    try:
        if not path.exists():
            raise unavailable(f"there is no ledger at {str(path)!r}", Cause.LEDGER_MISSING)
        usable = os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK)
    except PermissionError:
        usable = False
    if not usable:
        raise unavailable(f"the ledger {str(path)!r} may not be read and written by you", CHECK_FILE)
