"""How long a call may take in all: what it waits for (a thread, a turn, each answer of the database) has one end.

Bounds of single waits do not add up to a bound: a call that has waited for somebody else's wait begins its own.
"""

import time
from contextvars import ContextVar

PATIENCE = 9.5
"""Seconds after which a call is refused. Clients wait 10 for a lease: the answer has half a second to reach them."""

ends: ContextVar[float | None] = ContextVar("ends", default=None)
"""When the call of this context ends, on the steady clock; ``None`` where nobody waits for it (commands, pages)."""


def begin_call(seconds: float | None = None) -> float:
    """Let the call of this context end in so many seconds, ``PATIENCE`` unless told; return when."""
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    ends.set(end)
    return end


def call_ends(seconds: float | None = None) -> float:
    """Return when the call of this context ends, and in ``seconds`` at the latest."""
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    call = ends.get()
    return end if call is None else min(end, call)


def left() -> float | None:
    """Return the seconds that the call of this context has left; ``None`` is for ever."""
    end = ends.get()
    return None if end is None else end - time.monotonic()
