"""An answer of ``LicenseClient.check`` kept for a while, so that asking again costs next to nothing."""

import time
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.instants import shifted
from keyseat_verifier.client.clock import INTERVAL
from keyseat_verifier.client.entitlement import Entitlement
from keyseat_verifier.client.store import Stamp, unchanged
from keyseat_verifier.client.this_machine import account


class Answer(NamedTuple):
    """An answer, for whom, from when to when, and the stamps of the files it rests on.

    ``steady_until`` is the end by the steady clock: a wall clock that stands still keeps no answer alive.
    """

    entitlement: Entitlement
    user: int
    since: datetime
    until: datetime
    steady_until: float
    stamps: tuple[Stamp, ...]

    def stands(self, now: datetime) -> bool:
        """Tell whether a new look would give the same."""
        return (
            self.since <= now < self.until
            and time.monotonic() < self.steady_until
            and self.user == account()
            and unchanged(self.stamps)
        )


def answer(entitlement: Entitlement, now: datetime, until: datetime, stamps: tuple[Stamp, ...]) -> Answer:
    """Return an answer given at ``now`` that stands until ``until``, and for a minute at most."""
    steady_until = time.monotonic() + INTERVAL.total_seconds()
    return Answer(entitlement, account(), now, min(until, shifted(now, INTERVAL)), steady_until, stamps)
