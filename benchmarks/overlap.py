"""What builds feel of the bound on leases that run on: a day of short jobs, played through the ledger's own services.

Time is simulated; every acquire, renewal and release is a real turn of the desk on a ledger of its own. Prints the
table of docs/activation-service.md. Usage: overlap.py [HOURS]
"""

import heapq
import os
import random
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import ledgers
from sample import machine

_JOBS_AN_HOUR = 200
_MINUTES = (1.0, 3.0)
_ASK_AGAIN = 5.0
"""Seconds after which a job that found no free seat asks again."""
_NONCE = "n" * 22


class Setting(NamedTuple):
    """A pool and its builds: on so many machines, one job each at a time, or (0) each on a machine of its own."""

    quota: int
    overlap: int
    machines: int


class Felt(NamedTuple):
    """What the jobs felt: how many waited for a lease to end, for how long (s), and the most leases in the world."""

    jobs: int
    waited: list[float]
    for_seats: int
    world: int


SETTINGS = [
    *[Setting(quota, overlap, quota) for quota in (10, 20) for overlap in (100, 0)],
    *[Setting(quota, 100, 0) for quota in (10, 15, 20)],
    Setting(20, 0, 0),
]


def main() -> None:
    """Play every setting and print the table."""
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    print("| seats | overlap | build machines | jobs | waited for a lease | mean wait | p95 | most leases at once |")
    print("|---|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["KEYSEAT_ISSUER_HOME"] = folder
            ledgers.point_at(f"sqlite:///{Path(folder) / 'ledger.sqlite3'}")
            from keyseat_issuer.ledger.audit.ledger_time import story_time  # noqa: PLC0415 - after set-up

            with story_time():
                felt = _Play(setting, hours).run()
        where = f"{setting.machines}, used again" if setting.machines else "thrown away"
        share = sum(wait > 0 for wait in felt.waited) / felt.jobs
        mean, late = sum(felt.waited) / felt.jobs, sorted(felt.waited)[int(0.95 * felt.jobs)]
        print(
            f"| {setting.quota} | {setting.overlap} % | {where} | {felt.jobs:,}"
            f" | {share:.1%} | {mean:.0f} s | {late:.0f} s | {felt.world} |",
            flush=True,
        )


class _Play:
    def __init__(self, setting: Setting, hours: float) -> None:
        from django.db import connection  # noqa: PLC0415 - after set-up

        from keyseat_issuer.ledger.models import ApiKey, Pool  # noqa: PLC0415 - as above
        from keyseat_issuer.ledger.sessions.values import Holder  # noqa: PLC0415 - as above
        from keyseat_shared.instants import now_utc  # noqa: PLC0415 - as above
        from keyseat_shared.policy import default_policy  # noqa: PLC0415 - as above

        ledgers.sell(setting.quota)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
        key = ApiKey.objects.get()
        self._holder = Holder(f"key:{key.prefix}", key_id=key.pk, organization_id=key.organization_id)
        self._policy = default_policy()._replace(lease_overlap=setting.overlap)
        self._pool, self._setting = Pool.objects.get().pk, setting
        self._zero = now_utc()
        self._random = random.Random(1)  # noqa: S311 - a simulation, the same each time
        self._events: list[tuple[float, int, str]] = []
        at = 0.0
        while (at := at + self._random.expovariate(_JOBS_AN_HOUR / 3600)) < hours * 3600:
            heapq.heappush(self._events, (at, len(self._events), "begin"))
        self._jobs = len(self._events)
        self._since: dict[int, float] = {}
        self._waited = [0.0] * self._jobs
        self._for_seats: set[int] = set()
        self._places: dict[int, str] = {}
        self._free = [str(machine(number)) for number in range(setting.machines)]
        self._held: dict[int, tuple[UUID, datetime]] = {}
        self._world = 0

    def run(self) -> Felt:
        """Let every job begin, renew and end."""
        while self._events:
            at, job, what = heapq.heappop(self._events)
            getattr(self, f"_{what}")(at, job)
        return Felt(self._jobs, self._waited, len(self._for_seats), self._world)

    def _begin(self, at: float, job: int) -> None:
        from keyseat_issuer.ledger.models import Lease  # noqa: PLC0415 - after set-up
        from keyseat_issuer.ledger.sessions.values import Acquire, Grant  # noqa: PLC0415 - as above
        from keyseat_shared.instants import parse_instant  # noqa: PLC0415 - as above

        if not self._settle(job):
            self._for_seats.add(job)
            heapq.heappush(self._events, (at + _ASK_AGAIN, job, "begin"))
            return
        name = os.urandom(32).hex()
        outcome = self._turn(at, Acquire(self._holder, "KRE", self._places[job], _NONCE, name, name))
        if isinstance(outcome, Grant):
            self._waited[job] = at - self._since.get(job, at)
            self._held[job] = outcome.session_id, outcome.expires_at
            now = self._zero + timedelta(seconds=at)
            self._world = max(self._world, Lease.objects.filter(lingers_until=None, ended_at=None).count() + _left(now))
            heapq.heappush(self._events, (at + 60 * self._random.uniform(*_MINUTES), job, "end"))
            heapq.heappush(self._events, ((outcome.renew_after - self._zero).total_seconds(), job, "renew"))
        elif outcome.details.get("free_at"):
            self._since.setdefault(job, at)
            free_at = (parse_instant(outcome.details["free_at"]) - self._zero).total_seconds()
            heapq.heappush(self._events, (max(at + 1, free_at), job, "begin"))
        else:  # all seats are in use: that is what the quota is for, and no business of the bound
            self._for_seats.add(job)
            self._since.pop(job, None)
            heapq.heappush(self._events, (at + _ASK_AGAIN, job, "begin"))

    def _settle(self, job: int) -> bool:
        """Give a job a machine where it has none; tell whether there is one."""
        if job not in self._places:
            if not self._setting.machines:
                self._places[job] = str(machine(1000 + job))
            elif self._free:
                self._places[job] = self._free.pop(self._random.randrange(len(self._free)))
        return job in self._places

    def _renew(self, at: float, job: int) -> None:
        from keyseat_issuer.ledger.sessions.values import Grant, Renew  # noqa: PLC0415 - after set-up

        if job not in self._held:
            return
        outcome = self._turn(at, Renew(self._holder, self._held[job][0], self._places[job], _NONCE))
        if not isinstance(outcome, Grant):
            raise TypeError(outcome)
        heapq.heappush(self._events, ((outcome.renew_after - self._zero).total_seconds(), job, "renew"))

    def _end(self, at: float, job: int) -> None:
        from keyseat_issuer.ledger.sessions.values import Release  # noqa: PLC0415 - after set-up

        self._turn(at, Release(self._holder, self._held.pop(job)[0]))
        if self._setting.machines:
            self._free.append(self._places[job])

    def _turn(self, at: float, request: Any) -> Any:  # noqa: ANN401 - a request of the desk and its answer
        from django.db import transaction  # noqa: PLC0415 - after set-up

        from keyseat_issuer.ledger.sessions import turn  # noqa: PLC0415 - as above

        now = (self._zero + timedelta(seconds=at)).replace(microsecond=0)
        with transaction.atomic(durable=True):
            [outcome] = turn.process([request], self._policy, now)
        return outcome


def _left(now: datetime) -> int:
    from keyseat_issuer.ledger.models import Lease  # noqa: PLC0415 - after set-up

    return Lease.objects.filter(lingering=True, expires_at__gt=now).count()


if __name__ == "__main__":
    main()
