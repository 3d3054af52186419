"""The online side for ``LicenseClient.status``: what is configured, which leases count. Asks no server."""

from datetime import datetime

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.client.status import LeaseStatus, OnlineStatus
from keyseat_verifier.online.desk import OnlineDesk
from keyseat_verifier.online.leases import StoredLease


def online_status(desk: OnlineDesk, now: datetime) -> tuple[OnlineStatus, list[StoredLease]]:
    """Return the status, and the leases that count at ``now``, the one that ends last first."""
    problem = ""
    server: tuple[str, str] | None = None
    stored: list[StoredLease] = []
    try:
        stored, _ = desk.look(now)
        # Last: settings that cannot be read hide no lease, which `check` would use without them.
        server = desk.grants.describe_server()
    except KeyseatError as error:
        problem = str(error)
    leases = tuple(
        [
            LeaseStatus(
                kept.lease.session_id,
                kept.lease.expires_at,
                kept.lease.renew_after,
                kept.is_activated,
                desk.store.holder(kept.lease.session_id),
            )
            for kept in stored
        ]
    )
    address, credentials = ("", "none") if server is None else server
    return OnlineStatus(address or None, credentials, leases, problem), stored
