"""Offline licences in a test's ledger: a vendor that signs, a customer with seats, and requests for its machines."""

from datetime import UTC, datetime
from typing import Any

import shop
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_issuer.ledger.offline.values import IssuedLicense, Terms
from keyseat_shared.policy import default_policy
from vendor import MACHINE, Vendor, machine

NAME = "Example Organisation"
ADA = "ada@example.com"
BOB = "bob@example.com"
LAST_SECOND = datetime(2024, 1, 16, 23, 59, 59, tzinfo=UTC)
SUNSET = datetime(2024, 1, 17, tzinfo=UTC)


class VendorSigner:
    """Signs with a test vendor's licence key."""

    def __init__(self, vendor: Vendor) -> None:
        """Keep the vendor."""
        self.vendor = vendor

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signed envelope."""
        return self.vendor.signed(payload, payload_type=payload_type)


VENDOR = Vendor()
ENDLESS = Vendor(policy=default_policy(sunset=None))
"""A vendor whose policy has no sunset."""


def terms(now: datetime = shop.NOW, vendor: Vendor = VENDOR) -> Terms:
    """Return terms under which licences can be issued."""
    return Terms(vendor.bundle, shop.ACTOR, now, VendorSigner(vendor))


def customer(*, kse: int = 3, kre: int = 3, name: str = NAME) -> Organization:
    """Add an organisation with Ada and Bob and an annual subscription."""
    made = shop.organization(name, ADA, BOB)
    shop.subscribe(made, {"KSE": kse, "KRE": kre})
    return made


def request(product: str = "KSE", **changes: Any) -> OfflineRequest:  # noqa: ANN401 - any field of the request
    """Return a request for Ada's laptop (or for a KRE session on it)."""
    given: dict[str, Any] = {"machine_id": str(MACHINE), "user": ADA if product == "KSE" else None} | changes
    return OfflineRequest(given.pop("organization", NAME), product, **given)


def issue(
    product: str = "KSE",
    now: datetime = shop.NOW,
    vendor: Vendor = VENDOR,
    **changes: Any,  # noqa: ANN401 - any field of the request
) -> IssuedLicense:
    """Issue a licence."""
    return licenses.issue(request(product, **changes), terms(now, vendor))


def numbered_machine(number: int) -> str:
    """Return the ID of one of many machines."""
    return str(
        machine(
            firmware_uuid=[f"uuid {number}"],
            firmware_serial=[f"serial {number}"],
            nic=[f"nic {number}"],
            disk=[f"disk {number}"],
            os=[f"os {number}"],
        )
    )
