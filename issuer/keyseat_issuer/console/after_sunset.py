"""After the sunset: whose offline licences end soon, and whether the person has a seat to go on with."""

from collections.abc import Sequence

from keyseat_issuer.console.visits import Visit
from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.seats import seats

AHEAD_DAYS = 60
"""How far ahead of their end licences are listed."""


def affected(visit: Visit, product: str) -> Sequence[OfflineLicense]:
    """Return the product's licences that end within ``AHEAD_DAYS``, the first to end first.

    Of a named product only those whose user has no assigned seat: once the licence has ended, they cannot activate.
    """
    rows = licenses.list_licenses(now=visit.now, organization=visit.organization, expiring_days=AHEAD_DAYS)
    ending = [row for row in rows if row.product == product]
    if visit.policy.products[product].seats == "named":
        seated = seats.assigned_since(visit.organization, product)
        ending = [row for row in ending if row.user not in seated]
    return ending
