"""Requests of the session desk that wait for rows which another act holds.

They wait by what they wait for, and only the first of each asks again, every so often: a customer whose pool is held
does not fill everybody's turns. When it is answered, the others go back in their order.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.database import unavailable

AGAIN = 0.1
"""Seconds after which rows that were held are looked at again; the first times sooner."""
_FIRST = 0.2
"""The part of it after which they are looked at for the first time."""

_Key = frozenset[UUID]


class _Entry(Protocol):
    """A waiting request: its reply, and until when it waits on the steady clock."""

    @property
    def reply(self) -> "asyncio.Future[Any]": ...
    @property
    def until(self) -> float: ...


E = TypeVar("E", bound=_Entry)


class Aside(Generic[E]):
    """Keeps requests aside, on the event loop of the desk. ``back`` takes those that are to be asked again."""

    def __init__(self, back: Callable[[Sequence[E]], None]) -> None:
        self._back = back
        self._waiting: dict[_Key, deque[E]] = {}
        self._timers: dict[_Key, asyncio.TimerHandle] = {}
        self._asking: dict[int, _Key] = {}
        self._tries: dict[_Key, int] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return sum(map(len, self._waiting.values()))

    def put(self, entry: E, of: _Key) -> None:
        """Keep a request until what it waits for may be free."""
        before = self._asking.pop(id(entry), None)
        if before == of:
            self._waiting.setdefault(of, deque()).appendleft(entry)
        else:
            if before is not None:
                self._let_go(before)
            self._waiting.setdefault(of, deque()).append(entry)
        if of not in self._timers and of not in self._asking.values():
            tries = self._tries[of] = self._tries.get(of, 0) + 1
            pause = AGAIN * min(1.0, _FIRST * tries)
            self._timers[of] = asyncio.get_running_loop().call_later(pause, self._ask, of)

    def answered(self, entry: E) -> None:
        """Learn that a request waits no longer, whatever became of it: those behind it are asked again."""
        of = self._asking.pop(id(entry), None)
        if of is not None:
            self._let_go(of)

    def close(self) -> None:
        """Ask all again at once: nobody comes back later."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for of in list(self._waiting):
            self._let_go(of)

    def _ask(self, of: _Key) -> None:
        del self._timers[of]
        waiting = self._waiting.get(of, deque())
        now = time.monotonic()
        for entry in [entry for entry in waiting if entry.reply.done() or entry.until < now]:
            waiting.remove(entry)
            if not entry.reply.done():
                entry.reply.set_exception(held_too_long())
        if waiting:
            first = waiting.popleft()
            self._asking[id(first)] = of
            self._back([first])
        else:
            self._waiting.pop(of, None)
            self._tries.pop(of, None)

    def _let_go(self, of: _Key) -> None:
        waiting = self._waiting.pop(of, None)
        self._tries.pop(of, None)
        timer = self._timers.pop(of, None)
        if timer is not None:
            timer.cancel()
        if waiting:
            self._back(list(waiting))


def held_too_long() -> Exception:
    """Return the answer to a request that has waited as long as its client does."""
    return unavailable(
        "these seats are in the middle of another act, which has not ended yet; nothing was done",
        Cause.SEATS_HELD,
    )
