"""Fifty real processes issue offline licences for the last seats, on both databases."""

from collections import Counter

import pytest

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import OfflineLicense, Pool
from races import race


@pytest.mark.parametrize(("product", "task"), [("KSE", "issue_named"), ("KRE", "issue_floating")])
def test_fifty_processes_issuing_for_the_last_ten_seats_get_exactly_ten_licences(
    ledger: Ledger, product: str, task: str
) -> None:
    customer = shop.organization(offline_shop.NAME, *[f"user{number}@example.com" for number in range(50)])
    pool = shop.subscribe(customer, {product: 10})[product]

    lines = race(ledger, f"offline_tasks:{task}", 50)

    assert Counter({"issued": 10, "QUOTA_EXCEEDED": 40}) == Counter(
        line.get("result", line.get("code")) for line in lines
    )
    assert 10 == OfflineLicense.objects.count()
    assert 10 == Pool.objects.get(pk=pool.pk).used
    assert () == verify().findings


def test_of_twenty_processes_that_bind_one_user_to_one_machine_one_succeeds(ledger: Ledger) -> None:
    offline_shop.customer(kse=20)

    lines = race(ledger, "offline_tasks:issue_same", 20)

    assert Counter({"issued": 1, "ALREADY_BOUND": 19}) == Counter(
        line.get("result", line.get("code")) for line in lines
    )
    assert 1 == OfflineLicense.objects.count()
