"""Django's PostgreSQL backend with connections that do not wait longer than they are told.

A database server that hangs keeps its TCP connections: neither its own time-outs nor keepalives end a wait then. Only
the waiting side can.
"""

import time
from collections.abc import Generator
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from keyseat_issuer.ledger import patience

WAIT = "KEYSEAT_WAIT"
"""The entry of ``DATABASES`` that says how many seconds a connection waits for an answer; none is for ever."""
_SHORTEST = 2.0
"""The shortest limit on connecting, in seconds: libpq and psycopg take a shorter one for this."""
_OVER = "statement timeout: the time of the call is over"

_Waiting = Generator[Any, Any, Any]


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up, closed, where the server does not answer in time."""

    longest_wait: float

    def wait(self, gen: _Waiting, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - psycopg's own signature
        """Drive an operation as psycopg does (every round trip comes here), for so many seconds at most.

        Raises:
            psycopg.OperationalError: the time is over. Whether the server did what was asked is not known.
        """
        return super().wait(self._bounded(gen), *arguments, **options)

    def _bounded(self, gen: _Waiting) -> _Waiting:
        until = time.monotonic() + self.longest_wait
        end = patience.ends.get()
        message = "timeout expired: the database server did not answer"
        if end is not None and end < until:
            until, message = end, _OVER
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready and time.monotonic() >= until:
                    # At once: a roll-back would wait for the same server again.
                    gen.close()
                    self.close()
                    raise psycopg.OperationalError(message)
                state = gen.send(ready)
        except StopIteration as end:
            return end.value


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of Django's that waits no longer than ``KEYSEAT_WAIT`` seconds for each answer.

    And no longer than the call has left that it is used for (``ledger.patience``).
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:  # noqa: ANN401 - Django's own signature
        """Connect as Django does, and bound the waits from then on (``connect_timeout`` bounds the connecting)."""
        longest = self.settings_dict.get(WAIT)
        left = patience.left()
        if longest is not None and left is not None:
            if left < _SHORTEST:
                raise psycopg.OperationalError(_OVER)
            wanted = float(conn_params.get("connect_timeout", longest))
            conn_params = conn_params | {"connect_timeout": int(min(wanted, left))}
        made = super().get_new_connection(conn_params)
        if longest is not None:
            made.__class__ = BoundedConnection
            made.longest_wait = float(longest)
        return made
