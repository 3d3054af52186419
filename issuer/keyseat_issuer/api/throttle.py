"""How often a caller may call: a sliding window for each token, and for each address that guesses or needs none.

Written here because the known library for it starts a timer thread whenever something is counted, which cost more than
a whole renewal. The window is the usual approximation: the calls of this fixed window, and of the one before as many
as still overlap with the last ``seconds``. It lets through at most what the limit says in any such stretch, if calls
come evenly, and never more than twice.
"""

import hashlib
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from keyseat_issuer.api.problems import too_many

DEFAULT_CALLS = "6000/minute"
_NOTATION = re.compile(r"([1-9][0-9]{0,9})\s*/\s*(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_MOST_KEYS = 50_000
"""Callers counted one by one at once; beyond, new ones share counts. Bounds memory under attack, and forgets nobody."""
_SHARED = 4096
"""Counts that those share. Who shares which, nobody outside can tell."""


class Limit(NamedTuple):
    """At most ``calls`` in any ``seconds``."""

    calls: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Read ``6000/minute``.

        Raises:
            ValueError: for anything else.
        """
        found = _NOTATION.fullmatch(text.strip())
        if found is None:
            msg = "a limit is a number and second, minute, hour or day: 6000/minute"
            raise ValueError(msg)
        return cls(int(found[1]), _SECONDS[found[2]])


class Window:
    """Counts calls by key against one limit. Used on the event loop only, so it needs no lock."""

    def __init__(self, limit: Limit, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; ``clock`` gives seconds that only grow."""
        self._limit = limit
        self._clock = clock
        # key -> [number of the present window, calls in it, calls in the one before]
        self._counts: OrderedDict[str, list[int]] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    def wait(self, key: str) -> int:
        """Return 0 where a call may pass now, else the whole seconds until one may. Counts nothing."""
        now = self._clock()
        number, into = divmod(now, self._limit.seconds)
        found = self._counts.get(self._place(key, int(number)))
        if found is None:
            return 0
        self._roll(found, int(number))
        _, present, before = found
        left = self._limit.seconds - into
        if present + before * left / self._limit.seconds <= self._limit.calls - 1:
            return 0
        if present >= self._limit.calls:
            # Even in the next window the calls of this one count until enough of them have slid out.
            return math.ceil(left + self._limit.seconds * (1 - (self._limit.calls - 1) / present))
        return max(1, math.ceil(left - self._limit.seconds * (self._limit.calls - 1 - present) / before))

    def count(self, key: str) -> None:
        """Count a call."""
        number = int(self._clock() // self._limit.seconds)
        place = self._place(key, number)
        found = self._counts.get(place)
        if found is None:
            self._counts[place] = [number, 1, 0]
            return
        self._roll(found, number)
        found[1] += 1
        self._counts.move_to_end(place)

    def _place(self, key: str, number: int) -> str:
        """Return where a caller is counted: alone, or where all places are taken, with others."""
        if key in self._counts or len(self._counts) < _MOST_KEYS:
            return key
        # The caller not seen for longest makes room, but only once its count has ended: others cannot flush it out.
        oldest, (last, _, _) = next(iter(self._counts.items()))
        if last < number - 1:
            del self._counts[oldest]
            return key
        return "\0" + str(
            int.from_bytes(hashlib.blake2b(key.encode(), key=self._salt, digest_size=4).digest()) % _SHARED
        )

    @staticmethod
    def _roll(found: list[int], number: int) -> None:
        if found[0] != number:
            found[2] = found[1] if found[0] == number - 1 else 0
            found[0], found[1] = number, 0


class Throttle:
    """Counts calls in this process's memory; N processes allow N times as much in the worst case."""

    def __init__(
        self,
        *,
        calls: str = DEFAULT_CALLS,
        failures: str = "30/minute",
        open_calls: str = "120/minute",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the limits, written like ``6000/minute``.

        Args:
            calls: calls with one good token.
            failures: calls from one address whose token was not good.
            open_calls: calls from one address that need no token.
            clock: seconds that only grow.

        Raises:
            ValueError: for a notation that cannot be read.
        """
        self._calls = Window(Limit.parse(calls), clock)
        self._failures = Window(Limit.parse(failures), clock)
        self._open = Window(Limit.parse(open_calls), clock)

    def count_call(self, holder: str) -> None:
        """Count a call with a good token.

        Raises:
            ApiError: 429.
        """
        _pass(self._calls, holder, "calls with this token")

    def count_open_call(self, client: str) -> None:
        """Count a call that needs no token.

        Raises:
            ApiError: 429.
        """
        _pass(self._open, client, "calls from this address")

    def check_failures(self, client: str) -> None:
        """Refuse an address that has guessed too often, before its next guess is looked at.

        Raises:
            ApiError: 429.
        """
        if seconds := self._failures.wait(client):
            raise too_many(seconds, "refused calls from this address")

    def count_failure(self, client: str) -> None:
        """Count a call whose token was not good."""
        self._failures.count(client)


def _pass(window: Window, key: str, what: str) -> None:
    if seconds := window.wait(key):
        raise too_many(seconds, what)
    window.count(key)
