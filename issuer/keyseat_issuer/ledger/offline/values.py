"""The values of conversion: under what it happens, what became of each request, the licence that was issued."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.offline.rules import Decision
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.trust import TrustBundle


class PayloadSigner(Protocol):
    """Signs payloads: ``keyseat_issuer.keys.signing.EnvelopeSigner`` is one."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signed envelope as file content."""


class Progress(Protocol):
    """Shows how far a loop is, or nothing: ``Output.progress`` of the command line is one."""

    def __call__(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """Yield the items."""


class Status(StrEnum):
    """What became of a request."""

    ISSUED = "issued"
    ALREADY_ISSUED = "already issued"
    REFUSED = "refused"
    NOT_ISSUED = "not issued"
    """It would have been granted, but this was a dry run, or another row was refused."""


class IssuedLicense(NamedTuple):
    """An offline licence as the ledger holds it: ``file`` is its exact bytes; floating products have no ``user``."""

    license_id: UUID
    organization_id: UUID
    organization: str
    product: str
    user: str | None
    machine_id: str
    sessions: int
    issued_at: datetime
    expires_at: datetime
    file: bytes

    @classmethod
    def from_row(cls, row: OfflineLicense, organization: str) -> "IssuedLicense":
        """Return the value of a stored row."""
        return cls(
            row.license_id,
            row.organization_id,
            organization,
            row.product,
            row.user or None,
            row.machine_id,
            row.sessions,
            row.issued_at,
            row.expires_at,
            bytes(row.file),
        )

    def to_dict(self) -> dict[str, object]:
        """Return what it is, JSON-ready, without the file."""
        return {
            "license_id": str(self.license_id),
            "organization": self.organization,
            "product": self.product,
            "user": self.user,
            "machine_id": self.machine_id,
            "sessions": self.sessions,
            "issued_at": format_instant(self.issued_at),
            "expires_at": format_instant(self.expires_at),
        }


class Outcome(NamedTuple):
    """What became of one request: the ``decision`` that was made, the ``license`` that there is, or the ``error``."""

    status: Status
    decision: Decision | None = None
    license: IssuedLicense | None = None
    error: KeyseatError | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Under what requests are converted: the trust bundle with its policy, the signer, who acts, and when.

    ``now`` is the clock of this computer; the ledger's time, which never runs back, is made of it.
    """

    trust: TrustBundle
    actor: str
    now: datetime
    signer: PayloadSigner | None = None
    allow_example_keys: bool = False


def no_progress(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:  # noqa: ARG001 - `Progress`
    """Show nothing."""
    yield from items
