"""Fifty real processes race for the last seats, on both databases."""

from collections import Counter
from typing import Any

import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import Allocation, Pool
from keyseat_shared.instants import format_instant
from races import race


def outcomes(lines: list[dict[str, Any]]) -> Counter[str]:
    """Count results and refusals."""
    return Counter(line.get("result") or line["code"] for line in lines)


def test_fifty_processes_assigning_the_last_ten_seats_get_exactly_ten(ledger: Ledger) -> None:
    customer = shop.organization("Racers", *[f"user{number}@example.com" for number in range(50)])
    pool = shop.subscribe(customer, {"KSE": 10})["KSE"]

    lines = race(ledger, "race_tasks:assign_seat", 50, organization="Racers", product="KSE")

    assert Counter({"assigned": 10, "QUOTA_EXCEEDED": 40}) == Counter(
        line.get("result", line.get("code")) for line in lines
    )
    assert Pool.objects.get(pk=pool.pk).used == 10
    assert Allocation.objects.filter(pool=pool, released_at__isnull=True).count() == 10
    assert () == verify().findings


def test_fifty_processes_for_ten_seats_of_which_all_have_just_expired_get_exactly_ten(ledger: Ledger) -> None:
    customer = shop.organization("Racers")
    pool = shop.subscribe(customer, {"KRE": 10})["KRE"]
    before = {"pool": str(pool.pk), "count": 2, "now": format_instant(shop.NOW), "expires_at": "2023-07-01T00:00:00Z"}
    after = before | {"count": 1, "now": "2023-07-01T00:00:00Z", "expires_at": "2023-08-01T00:00:00Z"}

    first = race(ledger, "race_tasks:take_offline_seats", 8, **before)
    lines = race(ledger, "race_tasks:take_offline_seats", 50, **after)

    assert Counter({"taken": 5, "QUOTA_EXCEEDED": 3}) == outcomes(first)
    assert Counter({"taken": 10, "QUOTA_EXCEEDED": 40}) == Counter(
        line.get("result", line.get("code")) for line in lines
    )
    assert Pool.objects.get(pk=pool.pk).used == 10


def test_processes_that_move_seats_around_neither_deadlock_nor_lose_count(ledger: Ledger) -> None:
    customer = shop.organization("Racers", *[f"user{number}@example.com" for number in range(10)])
    shop.subscribe(customer, {"KSE": 3})
    shop.subscribe(customer, {"KSE": 2})

    lines = race(ledger, "race_tasks:move_seats", 10, organization="Racers", product="KSE")

    assert [{"result": "done"}] * 10 == lines
    assert () == verify().findings
