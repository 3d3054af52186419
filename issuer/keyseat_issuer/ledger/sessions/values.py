"""What is asked of the session desk, and what it answers: plain values that cross from the event loop to its thread."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from keyseat_shared.errors import KeyseatError


class Holder(NamedTuple):
    """Who asks: an API key (``key_id`` and ``organization_id`` set) or a signed-in user (``email``).

    ``name`` is what the ledger records: the e-mail address, or ``key:`` and the key's prefix.
    """

    name: str
    email: str = ""
    key_id: UUID | None = None
    organization_id: UUID | None = None


class Acquire(NamedTuple):
    """Ask for a session. ``idempotency`` names the request; ``fingerprint`` is a digest of what it asks."""

    holder: Holder
    product: str
    machine_id: str
    nonce: str
    idempotency: str
    fingerprint: str
    organization_id: UUID | None = None
    release_previous: bool = False


class Renew(NamedTuple):
    """Ask for a new lease for a session."""

    holder: Holder
    session_id: UUID
    machine_id: str
    nonce: str


class Release(NamedTuple):
    """End one session."""

    holder: Holder
    session_id: UUID


class ReleasePrevious(NamedTuple):
    """End all sessions of this holder on this machine."""

    holder: Holder
    product: str
    machine_id: str


Request = Acquire | Renew | Release | ReleasePrevious


class Grant(NamedTuple):
    """A session as it now stands; a lease is signed from it. ``created``: it did not exist before this request."""

    session_id: UUID
    product: str
    organization_id: UUID
    organization_name: str
    user: str | None
    machine_id: str
    nonce: str
    issued_at: datetime
    renew_after: datetime
    expires_at: datetime
    created: bool


class Ended(NamedTuple):
    """How many sessions a release ended."""

    sessions: int


class Later(NamedTuple):
    """Rows that a request needs are held by another act: it is to be asked again. ``of``: the pools, or the session."""

    of: frozenset[UUID]


Outcome = Grant | Ended | KeyseatError | Later
