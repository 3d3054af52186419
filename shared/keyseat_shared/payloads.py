"""The payloads of licence, test licence and lease files: what is signed, field by field."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import MalformedError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import LONGEST_LEASE
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

# How a licence for one session and no features is written, and what stands around its texts then. Nearly every licence
# is such a one, and recognised so it is read and written in half the time; property tests compare both ways to do so.
_OF_A_USER = (
    '{"format":1,"license_id":"%s","product":"%s","organization":{"id":"%s","name":"%s"},"user":"%s",'
    '"subscription":{"id":"%s","term":"%s","starts_at":"%s","ends_at":"%s"},"machine_id":"%s","sessions":1,'
    '"features":[],"issued_at":"%s","expires_at":"%s","policy":"%s"}'
)
_OF_NOBODY = _OF_A_USER.replace('"user":"%s"', '"user":null')


class _Usual:
    """A usual spelling, cut at its quotation marks: what picks the fixed parts and the texts, and where the user is."""

    __slots__ = ("expected", "fixed", "texts", "user")

    def __init__(self, form: str) -> None:
        parts = form.replace("%s", "").split('"')
        self.user = parts.index("user") + 2 if '"user":"%s"' in form else None
        texts = [place for place, part in enumerate(parts) if place % 2 and not part]
        self.fixed = itemgetter(*[place for place in range(len(parts)) if place not in texts])
        self.expected = self.fixed(parts)
        self.texts = itemgetter(*[place for place in texts if place != self.user])


_USUAL = {form.count('"') + 1: _Usual(form) for form in (_OF_A_USER, _OF_NOBODY)}


class LicensePayload(NamedTuple):
    """An offline licence (docs/spec/license-file.md, section 7).

    ``user`` is ``None`` for floating products; ends are exclusive.
    """

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
        usual = _usual_texts(data)
        return cls._from_any_json(data) if usual is None else cls._checked(*usual, 1, ())

    @classmethod
    def _from_any_json(cls, data: bytes) -> "LicensePayload":
        value = _load(data, "the licence", _LICENSE_KEYS)
        organization = fields.mapping(value["organization"], "organization")
        require_keys(organization, "organization", _ORGANIZATION_KEYS)
        subscription = fields.mapping(value["subscription"], "subscription")
        require_keys(subscription, "subscription", _SUBSCRIPTION_KEYS)
        texts = (
            *(value["license_id"], value["product"], organization["id"], organization["name"]),
            *(subscription["id"], subscription["term"], subscription["starts_at"], subscription["ends_at"]),
            *(value["machine_id"], value["issued_at"], value["expires_at"], value["policy"]),
        )
        sessions = fields.whole(value["sessions"], "sessions", 1, MAX_SESSIONS)
        return cls._checked(texts, value["user"], sessions, fields.codes(value["features"], "features"))

    @classmethod
    def _checked(
        cls, texts: Sequence[object], user: object, sessions: int, features: tuple[str, ...]
    ) -> "LicensePayload":
        """Check the user and the other texts, which stand in the order of the file."""
        license_id, product, organization_id, organization_name, subscription_id, term, starts_at, *rest = texts
        ends_at, machine_id, issued_at, expires_at, policy = rest
        end = fields.instant(ends_at, "ends_at")
        return cls(
            fields.uuid(license_id, "license_id"),
            fields.code(product, "product"),
            fields.uuid(organization_id, "organization id"),
            fields.text(organization_name, "organization name"),
            None if user is None else fields.text(user, "user"),
            fields.uuid(subscription_id, "subscription id"),
            fields.code(term, "term"),
            fields.instant(starts_at, "starts_at"),
            end,
            fields.text(machine_id, "machine_id"),
            sessions,
            features,
            fields.instant(issued_at, "issued_at"),
            # Most licences end with their subscription.
            end if expires_at == ends_at else fields.instant(expires_at, "expires_at"),
            fields.digest(policy, "policy"),
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
        texts = (
            *(self.license_id, self.product, self.organization_id, self.organization_name),
            *(() if self.user is None else (self.user,)),
            *(self.subscription_id, self.term, format_instant(self.starts_at), format_instant(self.ends_at)),
            *(self.machine_id, format_instant(self.issued_at), format_instant(self.expires_at), self.policy),
        )
        joined = "".join(texts)
        if self.sessions == 1 and not self.features and _has_no_escapes(joined):
            return ((_OF_NOBODY if self.user is None else _OF_A_USER) % texts).encode("utf-8")
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
        lease.check_times()
        return lease

    def check_times(self) -> None:
        """Require that the instants are in order and not too far apart, when a lease is read and before it is signed.

        Raises:
            MalformedError: ``MALFORMED``.
        """
        if not self.issued_at <= self.renew_after <= self.expires_at:
            malformed("the lease's instants are out of order")
        # Under any policy: no server signs a longer lease, so this one was signed with a stolen key.
        if (self.expires_at - self.issued_at).total_seconds() > LONGEST_LEASE:
            malformed("the lease lasts longer than any policy allows (90 days)")

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


def _has_no_escapes(text: str) -> bool:
    return text.isprintable() and '"' not in text and "\\" not in text


def _usual_texts(data: bytes) -> tuple[Sequence[object], str | None] | None:
    """Return the texts of a usual spelling, unchecked, and its user; ``None`` for any other spelling."""
    # Without escapes every quotation mark begins or ends a text, and every text is what it stands for.
    if b"\\" in data:
        return None
    try:
        parts = data.decode("utf-8").split('"')
    except UnicodeDecodeError:
        return None
    usual = _USUAL.get(len(parts))
    if usual is None or usual.fixed(parts) != usual.expected:
        return None
    return usual.texts(parts), None if usual.user is None else parts[usual.user]


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
