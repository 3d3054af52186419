"""How much mail an organisation may have sent in its name: invitations go to people who did not ask for them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.web import limits
from keyseat_issuer.web.limits import Limit
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

TO_ONE = Limit("invitation-to", 5, timedelta(hours=1))
"""Links for one address, of one organisation: another one cannot use them up."""
OF_ONE = Limit("invitations-of", 2000, timedelta(hours=1))
"""Links of one organisation: four lists of the greatest length."""


def require(organization: Organization, emails: Sequence[str], now: datetime) -> None:
    """Count these addresses, or refuse all of them.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` with ``details["retry_after"]``, in seconds.
    """
    mine = str(organization.pk)
    for limit, subjects in ((OF_ONE, [mine] * len(emails)), (TO_ONE, [f"{mine}:{email.lower()}" for email in emails])):
        spent = limits.spend_each(limit, subjects, now)
        if not spent.allowed:
            what = "to one of these addresses" if limit is TO_ONE else "of this organisation"
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"too many invitations {what} within an hour",
                details={"reason": "rate", "retry_after": spent.retry_after},
                next_step=f"Wait {spent.retry_after} seconds and try again.",
            )
