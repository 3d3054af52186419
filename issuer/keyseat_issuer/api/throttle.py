"""How often a caller may call: a moving window for each token, and for each address that fails or has no token."""

import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from keyseat_issuer.api.problems import too_many


class Throttle:
    """Counts calls in this process's memory; N processes allow N times as much in the worst case."""

    def __init__(
        self, *, calls: str = "6000/minute", failures: str = "30/minute", open_calls: str = "120/minute"
    ) -> None:
        """Take the limits in the notation of the `limits` library.

        Args:
            calls: calls with one good token.
            failures: calls from one address whose token was missing or not good.
            open_calls: calls from one address that need no token.

        Raises:
            ValueError: for a notation that cannot be read.
        """
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._calls = parse(calls)
        self._failures = parse(failures)
        self._open = parse(open_calls)

    def count_call(self, holder: str) -> None:
        """Count a call with a good token.

        Raises:
            ApiError: 429.
        """
        if not self._limiter.hit(self._calls, "call", holder):
            raise too_many(self._wait(self._calls, "call", holder), "calls with this token")

    def count_open_call(self, client: str) -> None:
        """Count a call that needs no token.

        Raises:
            ApiError: 429.
        """
        if not self._limiter.hit(self._open, "open", client):
            raise too_many(self._wait(self._open, "open", client), "calls from this address")

    def check_failures(self, client: str) -> None:
        """Refuse an address that has guessed too often, before its next guess is looked at.

        Raises:
            ApiError: 429.
        """
        if not self._limiter.test(self._failures, "failure", client):
            raise too_many(self._wait(self._failures, "failure", client), "refused calls from this address")

    def count_failure(self, client: str) -> None:
        """Count a call whose token was missing or not good."""
        self._limiter.hit(self._failures, "failure", client)

    def _wait(self, item: RateLimitItem, *key: str) -> int:
        """Return the whole seconds until the window has room, at least 1."""
        return max(1, int(self._limiter.get_window_stats(item, *key).reset_time - time.time()) + 1)
