"""`demo --serve`: a month of builds on floating seats, so that the console has something to show."""

from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from django.db import transaction

from keyseat_issuer.ledger.models import ApiKey
from keyseat_issuer.ledger.sessions import turn
from keyseat_issuer.ledger.sessions.values import Acquire, Grant, Holder, Release, Request
from keyseat_shared.machine_id import MachineID
from keyseat_shared.policy import Policy

_MACHINES = 4
_SATURDAY = 5


def play(key: ApiKey, policy: Policy, now: datetime, days: int) -> None:
    """Let build machines take and give back seats on the ``days`` before today; some builds find all of them taken.

    Every step goes through the ledger's own rules, one after the other in time, as the service takes them.
    """
    holder = Holder(f"key:{key.prefix}", key_id=key.pk, organization_id=key.organization_id)
    running: dict[int, UUID] = {}
    for at, number, begins in _builds(now, days):
        request: Request
        if begins:
            machine = str(MachineID.from_values({"os": [f"{number % _MACHINES:032x}"], "user-id": ["1000"]}))
            name = f"demo-build-{number}"
            request = Acquire(holder, "KRE", machine, "n" * 22, name, name, key.organization_id)
        elif number in running:
            request = Release(holder, running.pop(number))
        else:
            continue
        with transaction.atomic(durable=True):
            [outcome] = turn.process([request], policy, at)
        if isinstance(outcome, Grant):
            running[number] = outcome.session_id
        # Where all seats were taken, that build waits for another day.


def _builds(now: datetime, days: int) -> list[tuple[datetime, int, bool]]:
    """Return begins and ends of builds in the order of time: more on workdays, some at once, none today."""
    draw = Random("keyseat")  # noqa: S311 - the same story every time
    first = now.replace(hour=0, minute=0, second=0) - timedelta(days=days - 1)
    steps = []
    number = 0
    for day in range(days - 1):
        midnight = first + timedelta(days=day)
        weekend = midnight.weekday() >= _SATURDAY
        for _ in range(draw.randint(0, 2) if weekend else draw.randint(2, 7)):
            begin = midnight + timedelta(hours=draw.choice((2, 9, 10, 14, 16)), minutes=draw.randint(0, 40))
            number += 1
            steps += [(begin, number, True), (begin + timedelta(minutes=draw.randint(15, 55)), number, False)]
    return sorted(steps)
