"""Where ordinary routes use the ledger: a few threads with a connection each, kept open, closed when they fail."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import connection

from keyseat_issuer.database import ledger_errors
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4


class LedgerThreads:
    """Runs blocking functions of the ledger off the event loop."""

    def __init__(self, threads: int = THREADS) -> None:
        """Make the threads; they start when used."""
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="ledger")

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Return ``function(*arguments, **options)``, called on one of the threads.

        Raises:
            KeyseatError: what the function raises; ``LEDGER_UNAVAILABLE`` where the database fails.
        """

        def call() -> T:
            try:
                with ledger_errors():
                    return function(*arguments, **options)
            except KeyseatError as error:
                if error.code is ReasonCode.LEDGER_UNAVAILABLE:
                    connection.close()  # it may be broken: the next call makes a new one
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Let running calls end, and the threads with them."""
        self._pool.shutdown(wait=True)
