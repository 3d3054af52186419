"""Limits on attempts (passwords, codes, mails), shared by all server processes through the database.

A count ends with its window and cannot be flushed earlier. Counts cannot fill the disk either: each limit has a fixed
number of rows, found by a keyed hash of the caller, and a new row deletes old ones. Two callers in one row share a
limit; without the key nobody can arrange that.
"""

import hashlib
import hmac
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from keyseat_issuer.web.models import RateWindow

_ROWS = 1 << 17
"""Rows that one limit can have, of some 100 bytes each."""

_SWEEP = 10
"""Ended rows that each new one deletes: more than one, so that they get fewer when an attack is over."""


class Limit(NamedTuple):
    """At most ``attempts`` within ``window`` for one key."""

    name: str
    attempts: int
    window: timedelta


class Spent(NamedTuple):
    """The answer to an attempt; ``retry_after`` is in seconds and 0 where the attempt is allowed."""

    allowed: bool
    retry_after: int


def spend(limit: Limit, subject: str, now: datetime) -> Spent:
    """Count one attempt of ``subject`` (an account, a network address), and say whether it is within the limit.

    Counting comes before checking the secret, so that parallel guesses cannot slip through together;
    ``give_back`` takes an attempt that turned out to be right off the count.
    """
    return spend_each(limit, [subject], now)


def spend_each(limit: Limit, subjects: Sequence[str], now: datetime) -> Spent:
    """Count one attempt of each of these, or of none where one of them is over the limit."""
    wanted: dict[str, int] = {}
    for subject in subjects:
        key = _key(limit, subject)
        wanted[key] = wanted.get(key, 0) + 1
    # Before the transaction, which on SQLite takes the ledger's write lock: a caller over the limit may go on asking.
    full = RateWindow.objects.filter(key__in=wanted, ends_at__gt=now, attempts__gte=limit.attempts).first()
    if full is not None:
        return _refused(full, now)
    with transaction.atomic():
        rows = _locked_rows(limit, sorted(wanted), now)
        for row in rows:
            if row.ends_at <= now:
                row.ends_at, row.attempts = now + limit.window, 0
            if row.attempts + wanted[row.key] > limit.attempts:
                transaction.set_rollback(True)
                return _refused(row, now)
            row.attempts += wanted[row.key]
        RateWindow.objects.bulk_update(rows, ("ends_at", "attempts"))
    return Spent(allowed=True, retry_after=0)


def spend_all(counts: Sequence[tuple[Limit, str]], now: datetime) -> Spent:
    """Count one attempt against each of several limits, or against none of them.

    All are looked at first: a caller over one of them writes nothing, however often they ask.
    """
    keys = {_key(limit, subject): limit.attempts for limit, subject in counts}
    running = RateWindow.objects.filter(key__in=keys, ends_at__gt=now)
    full = max((row for row in running if row.attempts >= keys[row.key]), key=lambda row: row.ends_at, default=None)
    if full is not None:
        return _refused(full, now)
    for done, (limit, subject) in enumerate(counts):
        spent = spend(limit, subject, now)
        if not spent.allowed:  # somebody else was quicker
            for earlier in counts[:done]:
                give_back(*earlier)
            return spent
    return Spent(allowed=True, retry_after=0)


def give_back(limit: Limit, subject: str) -> None:
    """Take one attempt off the count: it was no guess."""
    with transaction.atomic():
        row = RateWindow.objects.select_for_update().filter(key=_key(limit, subject)).first()
        if row is None:
            return
        if row.attempts <= 1:
            row.delete()
            return
        row.attempts -= 1
        row.save(update_fields=("attempts",))


def _locked_rows(limit: Limit, keys: Sequence[str], now: datetime) -> list[RateWindow]:
    """Return the rows of these keys, locked in one order, making those that are missing."""
    found = _lock(keys)
    while len(found) < len(keys):
        _sweep(now)
        there = {row.key for row in found}
        fresh = [RateWindow(key=key, ends_at=now + limit.window) for key in keys if key not in there]
        RateWindow.objects.bulk_create(fresh, ignore_conflicts=True)
        found = _lock(keys)  # somebody may have made one at the same moment, or swept one away
    return found


def _lock(keys: Sequence[str]) -> list[RateWindow]:
    return list(RateWindow.objects.select_for_update().filter(key__in=keys).order_by("key"))


def _sweep(now: datetime) -> None:
    # Rows that others hold are left to them: waiting for them, in no order, could wait for ever.
    ended = RateWindow.objects.select_for_update(skip_locked=True).filter(ends_at__lte=now).order_by("ends_at")
    keys = [row.key for row in ended[:_SWEEP]]
    if keys:
        RateWindow.objects.filter(key__in=keys).delete()


def _refused(row: RateWindow, now: datetime) -> Spent:
    return Spent(allowed=False, retry_after=max(1, math.ceil((row.ends_at - now).total_seconds())))


def _key(limit: Limit, subject: str) -> str:
    message = f"{limit.name}\0{subject}".encode("utf-8", "replace")
    found = hmac.new(settings.SECRET_KEY.encode(), b"keyseat/limit\0" + message, hashlib.sha256).digest()
    return f"{limit.name}:{int.from_bytes(found[:8]) % _ROWS:05x}"
