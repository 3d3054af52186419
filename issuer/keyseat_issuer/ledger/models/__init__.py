"""The ledger's tables."""

from keyseat_issuer.ledger.models.audit import AuditEvent, AuditHead
from keyseat_issuer.ledger.models.confirmations import Confirmation
from keyseat_issuer.ledger.models.leases import ApiKey, Lease, SessionEnding
from keyseat_issuer.ledger.models.organizations import Account, Invitation, Membership, Organization, Role
from keyseat_issuer.ledger.models.schema import AdditiveMigration, Probe
from keyseat_issuer.ledger.models.seats import (
    Allocation,
    AllocationKind,
    Ending,
    OfflineLicense,
    Pool,
    SeatKind,
    Subscription,
    Term,
)
from keyseat_issuer.ledger.models.usage import UsageDay

__all__ = [
    "Account",
    "AdditiveMigration",
    "Allocation",
    "AllocationKind",
    "ApiKey",
    "AuditEvent",
    "AuditHead",
    "Confirmation",
    "Ending",
    "Invitation",
    "Lease",
    "Membership",
    "OfflineLicense",
    "Organization",
    "Pool",
    "Probe",
    "Role",
    "SeatKind",
    "SessionEnding",
    "Subscription",
    "Term",
    "UsageDay",
]
