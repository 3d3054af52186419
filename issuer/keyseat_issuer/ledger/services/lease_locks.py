"""The pools that one turn of the desk needs, locked without waiting for whoever holds one of them.

A turn answers many customers. It waits a moment for a lock at most, since another server's turn is over in
milliseconds; what needs a pool that somebody keeps longer is put off, and the others are answered (ADR 0032).
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

from keyseat_issuer.ledger.models import Pool
from keyseat_issuer.ledger.services import entitlement, lease_rows, pools
from keyseat_issuer.ledger.services.entitlement import Candidate
from keyseat_issuer.ledger.services.session_values import Acquire, Later, Release, ReleasePrevious, Request

_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Seconds between two looks at a pool that is held: together about as long as ten turns of another server."""

Candidates = Mapping[tuple[UUID, str], Sequence[Candidate]]


class Held(set[UUID]):
    """Pools that were held for longer than a moment when last wanted: looked at, but not waited for, until free."""


class Needs:
    """Which pools each request of a turn may take seats of, or give seats back to."""

    def __init__(self, requests: Sequence[Request], organizations: Mapping[int, UUID], now: datetime) -> None:
        """Find out; locks nothing."""
        wanted = {
            (organizations[index], request.product)
            for index, request in enumerate(requests)
            if isinstance(request, Acquire) and index in organizations
        }
        self.candidates: Candidates = entitlement.candidates(wanted, now)
        live = lease_rows.pools_of_live({request.session_id for request in requests if isinstance(request, Release)})
        self._of: dict[int, set[UUID]] = {}
        for index, request in enumerate(requests):
            if isinstance(request, Acquire) and index in organizations:
                listed = self.candidates.get((organizations[index], request.product), ())
                self._of[index] = {candidate.pool_id for candidate in listed}
            elif isinstance(request, Release) and request.session_id in live:
                self._of[index] = {live[request.session_id]}
            elif isinstance(request, ReleasePrevious):
                self._of[index] = lease_rows.pools_of_machine(request.holder.name, request.product, request.machine_id)

    def lock(self, held: Held) -> dict[UUID, Pool]:
        """Lock the pools that can be had, and keep in ``held`` which of the others somebody has for longer."""
        wanted = set().union(*self._of.values())
        locked: dict[UUID, Pool] = {}
        for pause in (0.0, *_PAUSES):
            missing = wanted - locked.keys()
            if pause:
                missing -= held
                if not missing:
                    break
                time.sleep(pause)
            locked |= {pool.pk: pool for pool in pools.lock_free(missing)}
            if connection.vendor != "postgresql":
                break
        # By methods: `-=` with the keys of a dictionary would make another set.
        held.difference_update(locked)
        held.update(wanted - locked.keys())
        return locked

    def put_off(self, locked: Mapping[UUID, Pool]) -> dict[int, Later]:
        """Return which requests need a pool that was not to be had, with those pools."""
        return {
            index: Later(frozenset(missing))
            for index, needed in self._of.items()
            if (missing := needed - locked.keys())
        }
