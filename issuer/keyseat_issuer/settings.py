"""Django settings of the ledger: one database, no web apps. Loaded by ``bootstrap.setup``, which reads the environment.

``DATABASE_URL`` names a PostgreSQL (or SQLite) database; without it the ledger is the SQLite file
``ledger.sqlite3`` in the issuer's home.
"""

import os
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from keyseat_issuer.bootstrap import SAFE_IN_WAL, use_safe_sqlite
from keyseat_issuer.home import LEDGER_FILE, issuer_home

WAIT = 30
"""Seconds a transaction waits for another one before it gives up, where a file is locked as a whole (SQLite)."""
LOCK = 8
"""Seconds a command waits for a row that another act holds. It may hold rows itself then, and the session desk waits
9.5 seconds for those (``ledger.patience``)."""
IDLE = 5
"""Seconds that a transaction may stand still between two statements before PostgreSQL ends it: a command that was
suspended in the middle of an act must not stop the servers. Shorter than they wait for a lock (``ledger.bounds``)."""
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server gone without a word (power, network, fail-over) is noticed within half a minute (tcp(7)). In seconds;
the last one in milliseconds."""
OPERATORS = "KEYSEAT_OPTIONS"
"""The entry of ``DATABASES`` that holds what the operator's URL gives as ``options=``."""


def sqlite_options() -> dict[str, Any]:
    """Return the options of every SQLite connection.

    IMMEDIATE: a transaction that starts by reading and then writes fails at once with "database is
    locked" when another one wrote in between; taking the write lock first makes it wait instead.
    FULL: a commit survives a power cut in WAL mode as well.
    """
    import sqlite3  # noqa: PLC0415 - after use_safe_sqlite, which may exchange the module

    journal = "WAL" if sqlite3.sqlite_version_info >= SAFE_IN_WAL else "TRUNCATE"
    return {
        "transaction_mode": "IMMEDIATE",
        "timeout": WAIT,
        "init_command": f"PRAGMA journal_mode={journal}; PRAGMA synchronous=FULL;",
    }


def database_from_environment() -> dict[str, Any]:
    """Return the ``default`` database that the environment asks for.

    Raises:
        ImproperlyConfigured: where ``DATABASE_URL`` cannot be used. The message never repeats it: it holds a password.
    """
    url = os.environ.get("DATABASE_URL", "").strip()
    if not url:
        return sqlite_database(str(issuer_home() / LEDGER_FILE))
    return database_from_url(url)


def database_from_url(url: str) -> dict[str, Any]:
    """Return the database a URL names: ``postgresql://…`` or ``sqlite:////absolute/path``.

    Raises:
        ImproperlyConfigured: for any other URL.
    """
    scheme = url.partition(":")[0]
    if scheme not in {"postgres", "postgresql", "pgsql", "psql", "sqlite"}:
        raise ImproperlyConfigured("DATABASE_URL names neither PostgreSQL nor SQLite")
    import environ  # noqa: PLC0415 - only where a URL is given

    try:
        found: dict[str, Any] = dict(environ.Env.db_url_config(url))
    except (ValueError, LookupError, TypeError):
        raise ImproperlyConfigured("DATABASE_URL cannot be read as a URL") from None
    if scheme == "sqlite":
        return sqlite_database(str(found["NAME"]))
    if not found.get("NAME"):
        raise ImproperlyConfigured("DATABASE_URL names no database")
    found["HOST"] = unquote(str(found.get("HOST") or ""))  # a Unix socket's folder is written with %2F
    own = dict(found.get("OPTIONS", {}))
    wanted = str(own.pop("options", ""))
    options = {"connect_timeout": 10} | _KEEPALIVE | own | {"options": session_options(wanted, lock_timeout=LOCK)}
    return found | {
        "ENGINE": "keyseat_issuer.ledger.postgresql",
        "OPTIONS": options,
        OPERATORS: wanted,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
    }


def session_options(wanted: str, **seconds: int) -> str:
    """Return what each session asks of PostgreSQL: time-outs of ours, and what the operator's URL wants.

    The operator's come last: where both set the same, PostgreSQL takes the last.
    """
    limits = {"idle_in_transaction_session_timeout": IDLE} | seconds
    return " ".join([*[f"-c {name}={value}s" for name, value in limits.items()], wanted]).strip()


def sqlite_database(path: str) -> dict[str, Any]:
    """Return the database in a SQLite file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": sqlite_options(),
        "ATOMIC_REQUESTS": False,
    }


use_safe_sqlite()

DATABASES = {"default": database_from_environment()}
INSTALLED_APPS = ["keyseat_issuer.ledger"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LOGGING_CONFIG = None
