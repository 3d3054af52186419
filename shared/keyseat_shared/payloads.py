"""The payloads of licence, test licence and lease files: what is signed, field by field."""

from datetime import datetime
from typing import NamedTuple

from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import MalformedError
from keyseat_shared.instants import format_instant
from keyseat_shared.strictjson import dumps_compact, loads_object, malformed, require_keys

FORMAT = 1
MAX_SESSIONS = 10_000

_LICENSE_KEYS = frozenset(
    {
        "format",
        "license_id",
        "product",
        "organization",
        "user",
        "subscription",
        "machine_id",
        "sessions",
        "features",
        "issued_at",
        "expires_at",
        "policy",
    }
)
_TEST_KEYS = frozenset({"format", "test_id", "product", "organization", "machine_id", "issued_at", "expires_at"})
_LEASE_KEYS = frozenset(
    {
        "format",
        "lease_id",
        "session_id",
        "product",
        "organization",
        "user",
        "machine_id",
        "nonce",
        "issued_at",
        "renew_after",
        "expires_at",
    }
)
_ORGANIZATION_KEYS = frozenset({"id", "name"})
_SUBSCRIPTION_KEYS = frozenset({"id", "term", "starts_at", "ends_at"})


class LicensePayload(NamedTuple):
    """An offline licence (design, section 4). ``user`` is ``None`` for floating products; ends are exclusive."""

    license_id: str
    product: str
    organization_id: str
    organization_name: str
    user: str | None
    subscription_id: str
    term: str
    starts_at: datetime
    ends_at: datetime
    machine_id: str
    sessions: int
    features: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    policy: str

    @classmethod
    def from_bytes(cls, data: bytes) -> "LicensePayload":
        """Read a payload whose signature has been verified.

        Raises:
            MalformedError: ``MALFORMED`` or ``UNSUPPORTED_FORMAT``.
        """
        value = _load(data, "the licence", _LICENSE_KEYS)
        organization = _organization(value)
        subscription = fields.mapping(value["subscription"], "subscription")
        require_keys(subscription, "subscription", _SUBSCRIPTION_KEYS)
        user = value["user"]
        return cls(
            fields.uuid(value["license_id"], "license_id"),
            fields.code(value["product"], "product"),
            organization[0],
            organization[1],
            None if user is None else fields.text(user, "user"),
            fields.uuid(subscription["id"], "subscription id"),
            fields.code(subscription["term"], "term"),
            fields.instant(subscription["starts_at"], "starts_at"),
            fields.instant(subscription["ends_at"], "ends_at"),
            fields.text(value["machine_id"], "machine_id"),
            fields.whole(value["sessions"], "sessions", 1, MAX_SESSIONS),
            fields.codes(value["features"], "features"),
            fields.instant(value["issued_at"], "issued_at"),
            fields.instant(value["expires_at"], "expires_at"),
            fields.digest(value["policy"], "policy"),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the payload object, keys in the order of the specification."""
        return {
            "format": FORMAT,
            "license_id": self.license_id,
            "product": self.product,
            "organization": {"id": self.organization_id, "name": self.organization_name},
            "user": self.user,
            "subscription": {
                "id": self.subscription_id,
                "term": self.term,
                "starts_at": format_instant(self.starts_at),
                "ends_at": format_instant(self.ends_at),
            },
            "machine_id": self.machine_id,
            "sessions": self.sessions,
            "features": list(self.features),
            "issued_at": format_instant(self.issued_at),
            "expires_at": format_instant(self.expires_at),
            "policy": self.policy,
        }

    def to_bytes(self) -> bytes:
        """Write the payload as it is signed."""
        return dumps_compact(self.to_dict())


class MachineTestPayload(NamedTuple):
    """A test licence: it checks a machine ID before anything irreversible, and entitles to nothing."""

    test_id: str
    product: str
    organization_id: str
    organization_name: str
    machine_id: str
    issued_at: datetime
    expires_at: datetime

    @classmethod
    def from_bytes(cls, data: bytes) -> "MachineTestPayload":
        """Read a payload whose signature has been verified.

        Raises:
            MalformedError: ``MALFORMED`` or ``UNSUPPORTED_FORMAT``.
        """
        value = _load(data, "the test licence", _TEST_KEYS)
        organization = _organization(value)
        return cls(
            fields.uuid(value["test_id"], "test_id"),
            fields.code(value["product"], "product"),
            organization[0],
            organization[1],
            fields.text(value["machine_id"], "machine_id"),
            fields.instant(value["issued_at"], "issued_at"),
            fields.instant(value["expires_at"], "expires_at"),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the payload object, keys in the order of the specification."""
        return {
            "format": FORMAT,
            "test_id": self.test_id,
            "product": self.product,
            "organization": {"id": self.organization_id, "name": self.organization_name},
            "machine_id": self.machine_id,
            "issued_at": format_instant(self.issued_at),
            "expires_at": format_instant(self.expires_at),
        }

    def to_bytes(self) -> bytes:
        """Write the payload as it is signed."""
        return dumps_compact(self.to_dict())


class LeasePayload(NamedTuple):
    """A lease: one online session on one machine, good with the server down until ``expires_at``."""

    lease_id: str
    session_id: str
    product: str
    organization_id: str
    organization_name: str
    user: str | None
    machine_id: str
    nonce: str
    issued_at: datetime
    renew_after: datetime
    expires_at: datetime

    @classmethod
    def from_bytes(cls, data: bytes) -> "LeasePayload":
        """Read a payload whose signature has been verified.

        Raises:
            MalformedError: ``MALFORMED`` or ``UNSUPPORTED_FORMAT``.
        """
        value = _load(data, "the lease", _LEASE_KEYS)
        organization = _organization(value)
        user = value["user"]
        lease = cls(
            fields.uuid(value["lease_id"], "lease_id"),
            fields.uuid(value["session_id"], "session_id"),
            fields.code(value["product"], "product"),
            organization[0],
            organization[1],
            None if user is None else fields.text(user, "user"),
            fields.text(value["machine_id"], "machine_id"),
            fields.text(value["nonce"], "nonce"),
            fields.instant(value["issued_at"], "issued_at"),
            fields.instant(value["renew_after"], "renew_after"),
            fields.instant(value["expires_at"], "expires_at"),
        )
        if not lease.issued_at <= lease.renew_after <= lease.expires_at:
            malformed("the lease's instants are out of order")
        return lease

    def to_bytes(self) -> bytes:
        """Write the payload as it is signed."""
        return dumps_compact(
            {
                "format": FORMAT,
                "lease_id": self.lease_id,
                "session_id": self.session_id,
                "product": self.product,
                "organization": {"id": self.organization_id, "name": self.organization_name},
                "user": self.user,
                "machine_id": self.machine_id,
                "nonce": self.nonce,
                "issued_at": format_instant(self.issued_at),
                "renew_after": format_instant(self.renew_after),
                "expires_at": format_instant(self.expires_at),
            }
        )


def _load(data: bytes, what: str, keys: frozenset[str]) -> dict[str, object]:
    value = loads_object(data)
    version = value.get("format")
    # Before the key set: a later format has other keys, and "update" is then the better advice.
    if type(version) is int and version != FORMAT:
        raise MalformedError(
            ReasonCode.UNSUPPORTED_FORMAT, f"{what} has format {version}; this software reads {FORMAT}"
        )
    require_keys(value, what, keys)
    fields.whole(version, "format", FORMAT, FORMAT)
    return value


def _organization(value: dict[str, object]) -> tuple[str, str]:
    organization = fields.mapping(value["organization"], "organization")
    require_keys(organization, "organization", _ORGANIZATION_KEYS)
    return fields.uuid(organization["id"], "organization id"), fields.text(organization["name"], "organization name")
