"""How long the trust bundle stays fresh, in words: for commands, the service's log and its readiness probe."""

from datetime import datetime

from keyseat_shared.instants import format_instant
from keyseat_shared.trust import TrustBundle

RENEW = "Renew it with the root key."
"""What to do about it, for readers who have no command line of the issuer."""


def warning(trust: TrustBundle, now: datetime) -> str:
    """Return a sentence about a bundle that is stale or in the last third of its time; otherwise an empty text."""
    if trust.fresh_until is None:
        return ""
    until = format_instant(trust.fresh_until)
    stops = " and ".join([_STOPS[use] for use in trust.policy.freshness_required if use in _STOPS])
    if now >= trust.fresh_until:
        so = f": {stops} are not accepted by clients until there is a newer one" if stops else ""
        return f"the trust bundle, version {trust.version}, has been stale since {until}{so}."
    if now < trust.fresh_until - (trust.fresh_until - trust.issued_at) / 3:
        return ""
    return f"the trust bundle, version {trust.version}, is fresh until {until} only."


_STOPS = {"lease": "leases", "offline": "offline licences"}
