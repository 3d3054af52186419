"""The pools that one turn of the desk needs, locked without waiting for other acts that hold one of them.

A turn answers many customers. It waits a moment for a lock at most, and only now and then, since another server's turn
is over in milliseconds; what needs a pool that somebody keeps longer is put off, and the others are answered
(ADR 0032).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

from keyseat_issuer.ledger.models import Pool
from keyseat_issuer.ledger.pools import pools, rows
from keyseat_issuer.ledger.sessions import entitlement
from keyseat_issuer.ledger.sessions.entitlement import Candidate
from keyseat_issuer.ledger.sessions.values import Acquire, Later, Release, ReleasePrevious, Request

_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Seconds between two looks at a pool that is held: together about as long as ten turns of another server."""

_SOON = 0.1
"""Seconds between two waits of a moment for a pool that is held."""
_LONG = 0.5
"""Seconds after which a pool that was held all the time is held by more than another server's turn."""
_SELDOM = 5.0
"""Seconds between two waits for such a pool."""

Candidates = Mapping[tuple[UUID, str], Sequence[Candidate]]


class Held:
    """The pools that were held when they were last wanted: each is looked at, and waited for a moment now and then."""

    def __init__(self) -> None:
        self._since: dict[UUID, float] = {}
        self._waited: dict[UUID, float] = {}

    def to_wait_for(self, missing: Iterable[UUID], now: float) -> set[UUID]:
        """Return which of the pools that are held a turn waits for at an instant of the steady clock."""
        found = {pk for pk in missing if now - self._waited.get(pk, -_SELDOM) >= self._pause(pk, now)}
        for pk in found:
            self._since.setdefault(pk, now)
            self._waited[pk] = now
        return found

    def free(self, locked: Iterable[UUID]) -> None:
        """Forget pools that could be locked."""
        for pk in locked:
            self._since.pop(pk, None)
            self._waited.pop(pk, None)

    def _pause(self, pk: UUID, now: float) -> float:
        return _SOON if now - self._since.get(pk, now) < _LONG else _SELDOM


class Needs:
    """Which pools each request of a turn may take seats of, or give seats back to."""

    def __init__(self, requests: Sequence[Request], organizations: Mapping[int, UUID], now: datetime) -> None:
        wanted = {
            (organizations[index], request.product)
            for index, request in enumerate(requests)
            if isinstance(request, Acquire) and index in organizations
        }
        self.candidates: Candidates = entitlement.candidates(wanted, now)
        live = rows.pools_of_live({request.session_id for request in requests if isinstance(request, Release)})
        self._of: dict[int, set[UUID]] = {}
        for index, request in enumerate(requests):
            if isinstance(request, Acquire) and index in organizations:
                listed = self.candidates.get((organizations[index], request.product), ())
                self._of[index] = {candidate.pool_id for candidate in listed}
            elif isinstance(request, Release) and request.session_id in live:
                self._of[index] = {live[request.session_id]}
            elif isinstance(request, ReleasePrevious):
                self._of[index] = rows.pools_of_machine(request.holder.name, request.product, request.machine_id)

    def lock(self, held: Held) -> dict[UUID, Pool]:
        """Lock the pools that can be had; ``held`` keeps from turn to turn which could not."""
        wanted = set().union(*self._of.values())
        locked = {pool.pk: pool for pool in pools.lock_free(wanted)}
        missing = wanted - locked.keys()
        if missing and connection.vendor == "postgresql":
            missing = held.to_wait_for(missing, time.monotonic())
            for pause in _PAUSES:
                if not missing:
                    break
                time.sleep(pause)
                locked |= {pool.pk: pool for pool in pools.lock_free(missing)}
                missing -= locked.keys()
        held.free(locked)
        return locked

    def put_off(self, locked: Mapping[UUID, Pool]) -> dict[int, Later]:
        """Return which requests need a pool that was not to be had, with those pools."""
        return {
            index: Later(frozenset(missing))
            for index, needed in self._of.items()
            if (missing := needed - locked.keys())
        }
