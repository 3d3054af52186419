"""`audit verify` checks every licence's signature with the vendor's own trust bundle."""

from datetime import UTC, datetime

import pytest

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_shared.trust import COMPROMISED, LEASE, RETIRED, TrustBundle
from offline_shop import VENDOR
from vendor import Key, Vendor


def found(trust: TrustBundle) -> list[str]:
    """Return what the check finds with this bundle."""
    return [finding.what for finding in verify(trust=trust).findings]


@pytest.fixture
def issued(ledger: Ledger) -> None:
    """A licence of the vendor's."""
    offline_shop.customer()
    offline_shop.issue()


def test_a_licence_of_the_vendor_agrees(issued: None) -> None:
    assert [] == found(VENDOR.bundle)


def test_a_licence_that_somebody_else_signed_is_found_although_all_rows_agree(ledger: Ledger) -> None:
    offline_shop.customer()
    offline_shop.issue(vendor=Vendor(name="forger"))

    assert [] == [finding.what for finding in verify().findings]
    assert ["no key of the trust bundle signed it: forged"] == found(VENDOR.bundle)


def test_a_signature_under_the_right_key_id_that_does_not_fit_is_found(ledger: Ledger) -> None:
    posing = Vendor()
    posing.key = Key("forger", keyid=VENDOR.key.public.keyid)
    offline_shop.customer()
    offline_shop.issue(vendor=posing)

    [what] = found(VENDOR.bundle)
    assert what == f"the signature by key {VENDOR.key.public.keyid} does not fit its content: forged"


@pytest.mark.parametrize("status", [RETIRED, COMPROMISED])
def test_what_a_retired_or_revoked_key_has_signed_is_still_the_vendors(issued: None, status: str) -> None:
    assert [] == found(VENDOR.bundle_with(VENDOR.trusted(VENDOR.key, status=status)))


@pytest.mark.parametrize(
    ("purpose", "valid_from"),
    [(LEASE, datetime(2023, 1, 1, tzinfo=UTC)), ("license", shop.NOW.replace(day=2))],
)
def test_a_key_of_another_purpose_or_time_is_found(issued: None, purpose: str, valid_from: datetime) -> None:
    trust = VENDOR.bundle_with(VENDOR.trusted(VENDOR.key, purpose, valid_from=valid_from))

    assert ["its key was not a licence key at its time of issue: forged"] == found(trust)
