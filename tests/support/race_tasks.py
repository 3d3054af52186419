"""What contenders do in races for seats (see ``races``); each task gets its number first."""

from datetime import datetime

from django.db import transaction

import shop
from keyseat_issuer.ledger.customers import organizations
from keyseat_issuer.ledger.models import AllocationKind
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats import seats
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import parse_instant


def assign_seat(number: int, organization: str, product: str) -> str:
    """Assign a seat to the member of this number."""
    line = shop.assign(organizations.find(organization), product, f"user{number}@example.com")[0]
    return line.status


def take_offline_seats(number: int, pool: str, count: int, now: str, expires_at: str) -> str:
    """Take seats as an offline licence does: lock, take back what has expired, take."""
    at: datetime = parse_instant(now)
    with transaction.atomic():
        locked = pools.lock_pool(pool)
        pools.reclaim_expired(locked, at)
        pools.take(
            locked,
            AllocationKind.OFFLINE,
            f"licence {number}",
            expires_at=parse_instant(expires_at),
            now=at,
            count=count,
        )
    return "taken"


def move_seats(number: int, organization: str, product: str) -> str:
    """Assign, transfer and take back in circles with few seats, so that every contender waits for every other."""
    customer = organizations.find(organization)
    mine, other = f"user{number}@example.com", f"user{(number + 1) % 10}@example.com"
    for act in (
        lambda: shop.assign(customer, product, mine),
        lambda: seats.transfer(customer, product, mine, other, actor=shop.ACTOR, now=shop.NOW),
        lambda: seats.unassign(customer, product, [other], actor=shop.ACTOR, now=shop.NOW),
    ):
        try:
            act()
        except KeyseatError as error:
            if error.code.value in {"LEDGER_UNAVAILABLE", "CLOCK_ROLLED_BACK"}:
                raise
    return "done"


def add_organization(number: int) -> str:
    """Add an organisation."""
    return organizations.add_organization(f"Organisation {number}", actor=shop.ACTOR, now=shop.NOW).name
