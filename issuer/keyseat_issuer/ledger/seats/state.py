"""The state of the ledger for monitoring: whether it can be written, and how many seats are held now."""

from datetime import datetime
from typing import NamedTuple

from django.db.models import F, Q, Sum

from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Lease, Pool, Probe


class Seats(NamedTuple):
    """Seats of a product over the subscriptions that run: sold, and held by somebody at this instant."""

    product: str
    sold: int
    held: int


def require_writable(now: datetime) -> None:
    """Write to the ledger, and commit: a read-only database and a full disk are told by nothing less.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    with ledger_errors():
        if not Probe.objects.filter(pk=1).update(at=now, count=F("count") + 1):
            Probe.objects.bulk_create([Probe(pk=1, at=now)], ignore_conflicts=True)


def seats(now: datetime) -> list[Seats]:
    """Return the seats by product. What has expired is not held, although the pools take it back only when needed."""
    running = Q(subscription__starts_at__lte=now, subscription__ends_at__gt=now)
    pools = Pool.objects.filter(running).values_list("product").annotate(sold=Sum("quota"), used=Sum("used"))
    of_running = Q(pool__subscription__starts_at__lte=now, pool__subscription__ends_at__gt=now, expires_at__lte=now)
    over = (
        Lease.objects.filter(of_running, ended_at__isnull=True),
        Allocation.objects.filter(of_running, released_at__isnull=True).exclude(kind=AllocationKind.NAMED),
    )
    gone: dict[str, int] = {}
    for rows, count in zip(over, (Sum("seats"), Sum("count")), strict=True):
        for product, number in rows.values_list("pool__product").annotate(number=count):
            gone[product] = gone.get(product, 0) + (number or 0)
    return [Seats(product, sold, used - gone.get(product, 0)) for product, sold, used in pools.order_by("product")]
