from datetime import timedelta

import pytest

import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import AuditEvent, Organization, Pool
from keyseat_issuer.ledger.seats import renewals
from keyseat_issuer.ledger.seats.rules import Line
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
NEXT_END = shop.END.replace(year=2025)
LATER = shop.END + timedelta(hours=1)


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    """An organisation whose subscription has ended with three seats assigned."""
    made = shop.organization("Example Organisation", ADA, BOB, EVE)
    shop.subscribe(made, {"KSE": 3})
    shop.assign(made, "KSE", ADA, BOB, EVE)
    return made


def renew(customer: Organization, quota: int) -> Pool:
    """Add the following year's subscription."""
    return shop.subscribe(customer, {"KSE": quota}, starts_at=shop.END, ends_at=NEXT_END)["KSE"]


def carry(customer: Organization) -> list[Line]:
    """Carry seats over an hour after the renewal."""
    return renewals.carry_over(customer, "KSE", policy=shop.POLICY, actor=shop.ACTOR, now=LATER)


def test_every_assigned_seat_goes_on_in_the_new_subscription(customer: Organization) -> None:
    pool = renew(customer, 3)

    lines = carry(customer)

    assert [(email, "carried over") for email in (ADA, BOB, EVE)] == [(line.email, line.status) for line in lines]
    assert (3, [0]) == (
        Pool.objects.get(pk=pool.pk).used,
        list(Pool.objects.exclude(pk=pool.pk).values_list("used", flat=True)),
    )
    assert 3 == AuditEvent.objects.filter(action="seat.carried").count()
    assert () == verify().findings


def test_one_assigned_anew_already_holds_one_seat_afterwards(customer: Organization) -> None:
    pool = renew(customer, 3)
    shop.assign(customer, "KSE", ADA, now=LATER)

    assert ["already assigned", "carried over", "carried over"] == [line.status for line in carry(customer)]
    assert 3 == Pool.objects.get(pk=pool.pk).used


def test_a_smaller_subscription_takes_none_of_them(customer: Organization) -> None:
    pool = renew(customer, 2)

    with pytest.raises(KeyseatError) as refused:
        carry(customer)

    assert ReasonCode.QUOTA_EXCEEDED is refused.value.code
    assert 0 == Pool.objects.get(pk=pool.pk).used


def test_without_a_running_subscription_nothing_is_carried(customer: Organization) -> None:
    with pytest.raises(KeyseatError) as refused:
        carry(customer)

    assert ReasonCode.SUBSCRIPTION_ENDED is refused.value.code


def test_a_second_time_there_is_nothing_left(customer: Organization) -> None:
    renew(customer, 3)
    carry(customer)

    assert [] == carry(customer)
