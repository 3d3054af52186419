"""Limits on attempts (user codes, new device requests), shared by all server processes through the database."""

import hashlib
import hmac
import math
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from keyseat_issuer.web.models import RateWindow


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
    key = _key(limit, subject)
    # Before the transaction, which on SQLite takes the ledger's write lock: whoever is over the limit may go on asking.
    full = RateWindow.objects.filter(key=key, ends_at__gt=now, attempts__gte=limit.attempts).first()
    if full is not None:
        return _refused(full, now)
    with transaction.atomic():
        RateWindow.objects.bulk_create([RateWindow(key=key, ends_at=now + limit.window)], ignore_conflicts=True)
        row = RateWindow.objects.select_for_update().get(key=key)
        if row.ends_at <= now:
            row.ends_at, row.attempts = now + limit.window, 0
        if row.attempts >= limit.attempts:
            return _refused(row, now)
        row.attempts += 1
        row.save(update_fields=("ends_at", "attempts"))
    return Spent(allowed=True, retry_after=0)


def give_back(limit: Limit, subject: str) -> None:
    """Take one attempt off the count: it was no guess."""
    with transaction.atomic():
        row = RateWindow.objects.select_for_update().filter(key=_key(limit, subject)).first()
        if row is not None and row.attempts > 0:
            row.attempts -= 1
            row.save(update_fields=("attempts",))


def _refused(row: RateWindow, now: datetime) -> Spent:
    return Spent(allowed=False, retry_after=max(1, math.ceil((row.ends_at - now).total_seconds())))


def _key(limit: Limit, subject: str) -> str:
    message = f"{limit.name}\0{subject}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), b"keyseat/limit\0" + message, hashlib.sha256).hexdigest()
