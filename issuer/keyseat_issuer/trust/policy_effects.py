"""What a policy would do to licences that exist: clients apply the rules of their bundle to every file, old or new."""

from datetime import datetime
from typing import TYPE_CHECKING

from keyseat_issuer.ledger.database import ledger_errors
from keyseat_shared import rules
from keyseat_shared.errors import RuleError
from keyseat_shared.machine_id import MachineID
from keyseat_shared.policy import Policy

if TYPE_CHECKING:
    from keyseat_issuer.ledger.models import OfflineLicense


def count_ended(old: Policy, new: Policy, now: datetime) -> int:
    """Return how many active offline licences hold under ``old`` and would be refused under ``new``.

    The ledger must be ready.
    """
    from keyseat_issuer.ledger.models import OfflineLicense  # noqa: PLC0415 - Django is set up by now

    rows = OfflineLicense.objects.filter(expires_at__gt=now).select_related("pool__subscription").defer("file")
    with ledger_errors():
        return sum(_holds(row, old) and not _holds(row, new) for row in rows.iterator())


def _holds(row: "OfflineLicense", policy: Policy) -> bool:
    subscription = row.pool.subscription
    try:
        rules.check_annual(subscription.term, subscription.starts_at, subscription.ends_at, policy)
        rules.check_sunset(row.issued_at, policy)
        rules.check_evidence(MachineID.parse_canonical(row.machine_id).instance_source, policy)
    except RuleError:
        return False
    return True


def count_active(now: datetime) -> int:
    """Return how many offline licences are active. The ledger must be ready."""
    from keyseat_issuer.ledger.models import OfflineLicense  # noqa: PLC0415 - Django is set up by now

    with ledger_errors():
        return OfflineLicense.objects.filter(expires_at__gt=now).count()
