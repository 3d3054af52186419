"""Fixtures of the console's tests: an organisation with somebody in each role, before the sunset."""

from collections.abc import Iterator

import pytest
from freezegun import freeze_time

import shop
from administration import OWNER, found
from console_site import Desk
from databases import Ledger
from keyseat_issuer.ledger.models import Organization


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """The clock stands."""
    with freeze_time(shop.NOW):
        yield


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    """Somebody in each role, three KSE seats and two KRE ones."""
    return found()


@pytest.fixture
def desk(org: Organization) -> Desk:
    """Its owner, signed in."""
    return Desk(OWNER, org)
