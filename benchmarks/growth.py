"""The growth row: what a seat operation costs in a pool of a million live sessions, against one of a thousand."""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import ledgers
from sample import machine
from timing import Row, compare

_NONCE = "n" * 22


def growth_rows(
    rounds: int, calls: int, small: int, large: int, *, sqlite_only: bool = False
) -> tuple[list[Row], list[str]]:
    """Measure every operation on each database that is here; return the rows and notes."""
    rows: list[Row] = []
    notes: list[str] = []
    with _databases(notes, sqlite_only=sqlite_only) as databases:
        for name, (small_url, large_url) in databases.items():
            for url, count in ((small_url, small), (large_url, large)):
                ledgers.point_at(url)
                ledgers.sell(large + 1000 if large < 999_000 else 1_000_000)
                ledgers.fill(count)
            times = _measure(small_url, large_url, rounds, calls)
            for operation, (at_small, at_large) in times.items():
                rows.append(
                    compare(
                        f"{operation}, {large:,} live sessions in the pool, {name}",
                        {"base": at_small, "keyseat": at_large},
                        baseline="base",
                        ours="keyseat",
                        limit=1.5,
                        aim=1.0,
                    )._replace(baseline=f"the same with {small:,}")
                )
    return rows, notes


@contextlib.contextmanager
def _databases(notes: list[str], *, sqlite_only: bool) -> Iterator[dict[str, tuple[str, str]]]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ["KEYSEAT_ISSUER_HOME"] = folder
        found = {"SQLite": (f"sqlite:///{Path(folder) / 'small'}", f"sqlite:///{Path(folder) / 'large'}")}
        binaries = ledgers.find_postgres()
        if sqlite_only:
            notes.append("a quick run leaves PostgreSQL out")
        elif binaries is None:
            notes.append("PostgreSQL is not installed here, so its rows are missing")
        else:
            cluster = stack.enter_context(ledgers.postgres(binaries))
            found["PostgreSQL"] = (
                ledgers.make_database(cluster, "small"),
                ledgers.make_database(cluster, "large"),
            )
        yield found


def _measure(small: str, large: str, rounds: int, calls: int) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(rounds):
        for place, url in enumerate((small, large)):
            ledgers.go_to(url)
            for operation, call in _operations().items():
                call()  # warm: connection, page cache
                found.setdefault(operation, ([], []))[place].append(
                    statistics.median(_timed(call) for _ in range(calls))
                )
    return found


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _operations() -> dict[str, Callable[[], object]]:
    from django.db import transaction  # noqa: PLC0415 - after set-up

    from keyseat_issuer.ledger.models import ApiKey, Pool  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.pools import pools  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.sessions import turn as leases  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.sessions.values import Acquire, Grant, Holder, Release, ReleasePrevious, Renew, Request  # noqa: PLC0415 - as above
    from keyseat_shared.instants import now_utc  # noqa: PLC0415 - as above
    from keyseat_shared.policy import default_policy  # noqa: PLC0415 - as above

    key, policy, here = ApiKey.objects.get(), default_policy(), str(machine(1))
    holder = Holder(f"key:{key.prefix}", key_id=key.pk, organization_id=key.organization_id)

    def turn(request: Request) -> object:
        with transaction.atomic(durable=True):
            [outcome] = leases.process([request], policy, now_utc())
        return outcome

    def acquire(*, release_previous: bool = False) -> UUID:
        asked = Acquire(holder, "KRE", here, _NONCE, os.urandom(32).hex(), "0" * 64, release_previous=release_previous)
        outcome = turn(asked)
        if not isinstance(outcome, Grant):
            raise TypeError(outcome)
        return outcome.session_id

    held = acquire()
    stock: list[UUID] = []

    def release() -> None:
        turn(Release(holder, stock.pop()))

    def available() -> object:
        return pools.availability(Pool.objects.get(), now_utc())

    def take() -> None:
        stock.append(acquire())

    return {
        "acquire": take,
        "renew": lambda: turn(Renew(holder, held, here, _NONCE)),
        "release": release,
        "acquire, releasing the previous": lambda: acquire(release_previous=True),
        "release the previous": lambda: turn(ReleasePrevious(holder, "KRE", here)),
        "read what is available": available,
    }
