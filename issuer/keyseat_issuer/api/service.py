"""What one process of the service holds: trust and lease key, the session desk, threads, limits, figures."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from keyseat_issuer.api.auth import Authenticator, UserLookup
from keyseat_issuer.api.licensing import Licensing
from keyseat_issuer.api.metrics import Metrics
from keyseat_issuer.api.threads import LedgerThreads
from keyseat_issuer.api.throttle import Throttle
from keyseat_issuer.api.trust_source import TrustSource
from keyseat_issuer.ledger.sessions.desk import SessionDesk
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc

_LOOK_EVERY = 1.0
"""Seconds between looks for a newer trust bundle while nobody asks for a lease."""


class Service:
    """The parts that routes share. Make one per process, on the event loop's thread."""

    def __init__(
        self,
        trust: TrustSource,
        *,
        clock: Callable[[], datetime] = now_utc,
        throttle: Throttle | None = None,
        find_user: UserLookup | None = None,
        trusted_proxies: int = 0,
        licensing: Licensing | None = None,
    ) -> None:
        """Take the parts.

        Args:
            trust: the trust bundle and the lease key.
            clock: gives the present instant in whole seconds.
            throttle: how often a caller may call.
            find_user: looks up user tokens.
            trusted_proxies: how many proxies stand in front.
            licensing: the licence keys, where this service may issue offline licences.
        """
        self.trust = trust
        self.licensing = licensing
        self.clock = clock
        self.throttle = throttle or Throttle()
        self.trusted_proxies = trusted_proxies
        self.metrics = Metrics()
        self.threads = LedgerThreads()
        self.authenticator = Authenticator(self.threads, self.throttle, clock, find_user)
        self.desk = SessionDesk(trust.authority, clock, self.metrics.turn)

    async def follow(self) -> None:
        """Take up newer trust bundles without end: a quiet service shows the policy in force too."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with contextlib.suppress(KeyseatError):  # the next look may succeed
                await self.threads.run(self.trust.look, self.clock())

    async def close(self) -> None:
        """Answer what is under way, then end the threads and their connections."""
        await self.desk.close()
        self.threads.close()
