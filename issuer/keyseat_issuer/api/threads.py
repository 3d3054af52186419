"""Where ordinary routes use the ledger: a few threads with a connection each, kept open, closed when they fail."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ParamSpec, TypeVar

from django.db import connection, connections

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.database import ledger_errors, unavailable
from keyseat_issuer.ledger.patience import call_ends
from keyseat_issuer.ledger.tools.bounds import drop_dead_connection, within
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
_END = 10
"""Seconds that a thread waits for the others to finish their calls."""


class LedgerThreads:
    """Runs blocking functions of the ledger off the event loop."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._used = False
        self._pool = ThreadPoolExecutor(threads, "ledger")

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Return ``function(*arguments, **options)``, called on one of the threads, or not at all where none gets free.

        A call that has begun is waited for: what it waits for the database ends with the call of this context.

        Raises:
            KeyseatError: what the function raises; ``LEDGER_UNAVAILABLE`` where the database fails.
        """
        return await self.run_until(call_ends(), function, *arguments, **options)

    async def run_until(self, end: float, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Do as ``run``, until an instant of the steady clock."""

        def call() -> T:
            try:
                with ledger_errors(), within(end):
                    drop_dead_connection()
                    return function(*arguments, **options)
            except KeyseatError as error:
                if error.code is ReasonCode.LEDGER_UNAVAILABLE:
                    connection.close()  # it may be broken: the next call makes a new one
                raise

        self._used = True
        given = self._pool.submit(call)
        answer = asyncio.wrap_future(given)
        try:
            await asyncio.wait({answer}, timeout=max(0.0, end - time.monotonic()))
        except asyncio.CancelledError:
            given.cancel()
            answer.add_done_callback(_take)  # else asyncio reports an error that nobody took as a bug
            raise
        if not answer.done() and given.cancel():
            raise unavailable("the ledger did not answer in time; nothing was done", Cause.OVERLOADED)
        return await answer

    def close(self) -> None:
        """Let running calls end, then the threads; each thread closes its own connection, as no other may."""
        if self._used:
            # All of them, started or not: one that is just starting has a connection too, and nobody can count it yet.
            together = Barrier(self._threads)

            def end() -> None:
                together.wait(_END)
                connections.close_all()

            for _ in range(self._threads):
                self._pool.submit(end)
        self._pool.shutdown(wait=True)


def _take(answer: "asyncio.Future[T]") -> None:
    if not answer.cancelled():
        answer.exception()
