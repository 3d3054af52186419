"""Fixtures of a customer's machine beside a running service; tests of other kinds of customers bring their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import shop
from activation import Person, Site, make_key, serve_here
from customers import Desktop
from databases import Ledger
from keyseat_issuer.ledger.models import Organization

ADA = "ada@example.com"


@pytest.fixture
def customer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """An organisation with Ada and two seats of each product; programs of this process have its API key."""
    made = shop.organization("Example Organisation", ADA)
    shop.subscribe(made, {"KRE": 2, "KSE": 2})
    monkeypatch.setenv("KEYSEAT_API_KEY", make_key(made))
    return made


@pytest.fixture
def people() -> dict[str, Person]:
    """Who the service knows by which token."""
    return {"ada-token": Person(ADA)}


@pytest.fixture
def site(customer: Organization, people: dict[str, Person]) -> Iterator[Site]:
    """A service in this process that knows the customer, and people by their tokens."""
    with serve_here(people=people) as running:
        yield running


@pytest.fixture
def desktop(site: Site, tmp_path: Path) -> Desktop:
    """A machine of the customer's."""
    return Desktop(tmp_path / "home", site)
