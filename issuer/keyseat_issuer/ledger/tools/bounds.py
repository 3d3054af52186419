"""How long a server waits for its database: never so long that its callers have given up, and SIGTERM is always heard.

A command may wait for a lock or a long report; a person looks at it. A server has others waiting. What is bounded here
is each wait; together they end with the call (``ledger.patience``).
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections

from keyseat_issuer.ledger import patience
from keyseat_issuer.ledger.postgresql.base import WAIT
from keyseat_issuer.settings import OPERATORS, session_options

CONNECT = 3
"""Seconds to connect."""
LOCK = 6
"""Seconds to wait for a lock: acts take milliseconds, and one that stands still is ended before (``settings.IDLE``)."""
STATEMENT = 7
"""Seconds that PostgreSQL works on one statement."""
ANSWER = 8
"""Seconds to wait for any answer: a server that hangs keeps no time itself."""


def bound_waits() -> None:
    """Bound the waits of this process's connections from now on; open ones of this thread are closed.

    What the operator's URL sets itself stays as it is.
    """
    settings: dict[str, Any] = connections.settings["default"]
    options = settings["OPTIONS"]
    connections.close_all()
    if settings["ENGINE"].endswith("sqlite3"):
        options["timeout"] = LOCK
        return
    settings[WAIT] = ANSWER
    options["connect_timeout"] = CONNECT
    options["options"] = session_options(settings[OPERATORS], lock_timeout=LOCK, statement_timeout=STATEMENT)


def drop_dead_connection() -> None:
    """Close this thread's connection where the server has closed its end: the next statement opens a new one.

    Costs no round trip. Between two calls nothing should arrive; if something has, the server has closed.
    """
    kept = connection.connection
    if kept is None or connection.vendor != "postgresql" or connection.in_atomic_block:
        return
    if kept.closed or select.select([kept.pgconn.socket], [], [], 0)[0]:
        connection.close()


@contextmanager
def within(end: float) -> Iterator[None]:
    """Let what this thread does inside the block wait for the database until ``end`` on the steady clock, all in all.

    On SQLite it is the one wait for whoever writes that ends then.
    """
    before = patience.ends.set(end)
    try:
        if connection.vendor == "sqlite":
            _bound_sqlite(patience.left() or 0.0)
        yield
    finally:
        patience.ends.reset(before)


def _bound_sqlite(left: float) -> None:
    connection.ensure_connection()
    longest: float = connection.settings_dict["OPTIONS"]["timeout"]
    connection.connection.execute(f"PRAGMA busy_timeout = {int(max(0.0, min(longest, left)) * 1000)}")
