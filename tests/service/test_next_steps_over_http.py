"""What a refused client is told to do: never the vendor's command line, whatever the reason."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import httpx
import pytest

import shop
from activation import Person, Site, make_key, serve_here
from databases import Ledger
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Organization, Role
from vendor import OTHER_MACHINE

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.org"
PEOPLE = {"ada-token": Person(ADA), "bob-token": Person(BOB), "eve-token": Person(EVE)}
LATER = "Try again in some minutes. If it stays so, tell whoever runs this server: only they can help."
COMMAND = re.compile(r"keyseat-issuer|(?<![\w-])--[a-z]|`keyseat ")
"""The vendor's command line, any option, or a command of the client's, which is for the client itself to name."""


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation", ADA, BOB)
    shop.subscribe(made, {"KRE": 1, "KSE": 1})
    return made


@pytest.fixture
def site(customer: Organization) -> Iterator[Site]:
    with serve_here(people=PEOPLE) as running:
        running.key = make_key(customer)
        yield running


def _another(site: Site) -> str:
    """Return the key of an organisation that has bought nothing."""
    return make_key(shop.organization("Empty Organisation", "owner@empty.example"), now=site.clock.now)


def _later(site: Site, **parts: int) -> None:
    site.clock.now += timedelta(**parts)


def nothing_bought(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KRE", key=_another(site))


def another_product(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("XYZ")


def subscription_over(site: Site, customer: Organization) -> httpx.Response:
    _later(site, days=366)
    return site.acquire("KRE")


def subscription_to_come(site: Site, customer: Organization) -> httpx.Response:
    other = shop.organization("Early Organisation", "owner@early.example")
    key = make_key(other)
    starts_at = shop.NOW.replace(year=shop.NOW.year + 1)
    shop.subscribe(other, {"KRE": 1}, starts_at=starts_at, ends_at=starts_at.replace(year=starts_at.year + 1))
    return site.acquire("KRE", key=key)


def all_in_use(site: Site, customer: Organization) -> httpx.Response:
    assert 201 == site.acquire("KRE").status_code
    return site.acquire("KRE", machine=OTHER_MACHINE)


def named_for_a_key(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KSE")


def nobody_assigned(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KSE", key="bob-token")


def nobodys_member(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KSE", key="eve-token")


def member_elsewhere(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KSE", key="eve-token", organization=str(customer.pk))


def several_organizations(site: Site, customer: Organization) -> httpx.Response:
    other = shop.organization("Second Organisation", "owner@second.example")
    members.add_members(other, [ADA], Role.MEMBER, actor="test", now=shop.NOW)
    return site.acquire("KSE", key="ada-token")


def key_of_others(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KRE", key=_another(site), organization=str(customer.pk))


def no_token(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KRE", key="")


def unknown_token(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KRE", key="nobody")


def unknown_key(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KRE", key="ksk_" + "0" * 40)


def no_machine_id(site: Site, customer: Organization) -> httpx.Response:
    return site.acquire("KRE", machine="mid1nonsense")


def clock_set_back(site: Site, customer: Organization) -> httpx.Response:
    assert 201 == site.acquire("KRE").status_code
    _later(site, hours=-2)
    return site.acquire("KRE", machine=OTHER_MACHINE)


def database_old(site: Site, customer: Organization) -> httpx.Response:
    from django.db import connection  # noqa: PLC0415 - Django is set up by a fixture

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("ledger_pool", "ledger_gone")
    try:
        return site.acquire("KRE")
    finally:
        rename("ledger_gone", "ledger_pool")


REASONS = {
    nothing_bought: "NOT_FOUND",
    another_product: "NOT_FOUND",
    subscription_over: "SUBSCRIPTION_ENDED",
    subscription_to_come: "NOT_YET_VALID",
    all_in_use: "QUOTA_EXCEEDED",
    named_for_a_key: "NOT_ALLOWED",
    nobody_assigned: "NOT_ASSIGNED",
    nobodys_member: "NOT_A_MEMBER",
    member_elsewhere: "NOT_A_MEMBER",
    several_organizations: "INVALID_INPUT",
    key_of_others: "NOT_ALLOWED",
    no_token: "NOT_ALLOWED",
    unknown_token: "NOT_ALLOWED",
    unknown_key: "NOT_ALLOWED",
    no_machine_id: "INVALID_INPUT",
    clock_set_back: "CLOCK_ROLLED_BACK",
    database_old: "LEDGER_UNAVAILABLE",
}


WORDS = {
    nothing_bought: "Check the product's code, or ask your vendor for a subscription to it.",
    named_for_a_key: "Sign in as the user: an access token of theirs activates it.",
    several_organizations: "Send the id of one of them as `organization`.",
    no_token: "Sign in again, or send an API key.",
    clock_set_back: LATER,
    database_old: LATER,
}


@pytest.mark.parametrize("refused", REASONS, ids=lambda case: case.__name__)
def test_a_refused_session_never_names_a_command(
    site: Site, customer: Organization, refused: Callable[[Site, Organization], httpx.Response]
) -> None:
    answer = refused(site, customer).json()

    assert REASONS[refused] == answer["code"]
    assert WORDS.get(refused, answer["next"]) == answer["next"] != ""
    assert not COMMAND.search(answer["next"]), answer["next"]
    assert not COMMAND.search(answer["detail"]), answer["detail"]
