"""A throwaway vendor for tests: fixed keys, a trust bundle, and files of every kind, right or wrong on purpose."""

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from keyseat_shared.envelope import LEASE_TYPE, LICENSE_TYPE, TEST_LICENSE_TYPE, TRUST_TYPE, Envelope, Signature, pae
from keyseat_shared.keys import ED25519, ML_DSA_65, ML_DSA_CONTEXT, PublicKey, key_id
from keyseat_shared.machine_id import MachineID
from keyseat_shared.policy import Policy, default_policy
from keyseat_shared.trust import ACTIVE, LEASE, LICENSE, TrustBundle, TrustedKey, bundle_payload

ISSUED = datetime(2023, 6, 1, tzinfo=UTC)
EXPIRES = datetime(2024, 6, 1, tzinfo=UTC)
NOW = datetime(2023, 12, 1, 12, tzinfo=UTC)
"""An instant at which an untouched licence of this vendor is valid."""

_UUID = "0189{:04x}-0000-7000-8000-{:012x}"

LAPTOP_VALUES = {
    "firmware-uuid": ["4c4c4544-0042-3510-8052-b4c04f4e3132"],
    "firmware-serial": ["B5RN132"],
    "nic": ["a4bb6d0c1122"],
    "disk": ["S5H2NS0T123456"],
    "os": ["0d7d2f3a9b3c4e0f8a1b2c3d4e5f6071"],
    "user-id": ["1000"],
    "user-name": ["ada"],
}


def machine(**changes: list[str]) -> MachineID:
    """Return the ID of a laptop; ``changes`` replace values by kind, written with underscores (``user_id=["1"]``)."""
    values = LAPTOP_VALUES | {kind.replace("_", "-"): found for kind, found in changes.items()}
    return MachineID.from_values({kind: found for kind, found in values.items() if found})


MACHINE = machine()
OTHER_MACHINE = machine(
    firmware_uuid=["11111111-2222-4333-8444-555555555555"],
    firmware_serial=["CZC1234XYZ"],
    nic=["3c5282aabbcc"],
    disk=["WD-WX11A1234567"],
    os=["ffeeddccbbaa99887766554433221101"],
)
OTHER_USER = machine(user_id=["1001"], user_name=["bob"])


class Key:
    """A private key with its public half; the same ``name`` always gives the same key."""

    def __init__(self, name: str, algorithm: str = ED25519, keyid: str | None = None) -> None:
        """Derive the key from its name."""
        seed = name.encode().ljust(32, b".")[:32]
        if algorithm == ED25519:
            self.private: Ed25519PrivateKey | MLDSA65PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        else:
            self.private = MLDSA65PrivateKey.from_seed_bytes(seed)
        raw = self.private.public_key().public_bytes_raw()
        self.public = PublicKey(algorithm, raw, keyid or key_id(algorithm, raw))

    def sign(self, payload_type: str, payload: bytes) -> Signature:
        """Sign the pre-authentication encoding."""
        message = pae(payload_type, payload)
        if isinstance(self.private, Ed25519PrivateKey):
            return Signature(self.public.keyid, self.private.sign(message))
        return Signature(self.public.keyid, self.private.sign(message, ML_DSA_CONTEXT))


def envelope(payload_type: str, payload: bytes | Mapping[str, object], keys: Sequence[Key]) -> bytes:
    """Return the signed file; a mapping is written as compact JSON."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    return Envelope(payload_type, data, tuple(key.sign(payload_type, data) for key in keys)).to_bytes()


def changed(payload: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """Return a deep copy with ``changes`` by dotted path: ``{"subscription.term": "monthly"}``."""
    copied = copy.deepcopy(dict(payload))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = copied
        for parent in parents:
            place = place[parent]
        place[last] = value
    return copied


class Vendor:
    """A vendor with a root key, one licence key and one lease key (and an ML-DSA licence key where ``hybrid``)."""

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        hybrid: bool = False,
        version: int = 1,
        issued_at: datetime = datetime(2023, 1, 1, tzinfo=UTC),
        name: str = "vendor",
    ) -> None:
        """Make the keys and the bundle."""
        self.name = name
        self.policy = policy or default_policy()
        self.root = Key(f"{name} root")
        self.key = Key(f"{name} license")
        self.lease_key = Key(f"{name} lease")
        self.pq_key = Key(f"{name} license", ML_DSA_65) if hybrid else None
        self.required = (ED25519, ML_DSA_65) if hybrid else (ED25519,)
        self.version = version
        self.issued_at = issued_at
        self.fresh_until: datetime | None = None
        self.history: dict[int, bytes] = {}
        """Older versions of the bundle, as the service hands them out."""

    def trusted(
        self,
        key: Key,
        purpose: str = LICENSE,
        *,
        status: str = ACTIVE,
        valid_from: datetime = datetime(2023, 1, 1, tzinfo=UTC),
        valid_until: datetime = datetime(2028, 1, 1, tzinfo=UTC),
    ) -> TrustedKey:
        """Return the bundle's entry for a key."""
        return TrustedKey(key.public, purpose, valid_from, valid_until, status)

    @property
    def signing_keys(self) -> list[Key]:
        """The keys that sign a licence."""
        return [self.key] if self.pq_key is None else [self.key, self.pq_key]

    def bundle_bytes(
        self, *, keys: Sequence[TrustedKey] | None = None, version: int | None = None, signers: Sequence[Key] = ()
    ) -> bytes:
        """Return trust.json, signed by the root key (or ``signers``)."""
        listed = keys
        if listed is None:
            listed = [*[self.trusted(key) for key in self.signing_keys], self.trusted(self.lease_key, LEASE)]
        payload = bundle_payload(
            version=self.version if version is None else version,
            issued_at=self.issued_at,
            vendor=f"Example {self.name}",
            root=(self.root.public,),
            threshold=1,
            keys=tuple(listed),
            policy=self.policy,
            signatures_required=self.required,
            fresh_until=self.fresh_until,
        )
        return envelope(TRUST_TYPE, payload, signers or [self.root])

    @property
    def bundle(self) -> TrustBundle:
        """The verified bundle."""
        return TrustBundle.from_bytes(self.bundle_bytes())

    def bundle_with(self, *keys: TrustedKey) -> TrustBundle:
        """Return a verified bundle with these keys instead of the vendor's own."""
        return TrustBundle.from_bytes(self.bundle_bytes(keys=keys))

    def payload(self, number: int = 1, **changes: object) -> dict[str, Any]:
        """Return the payload of a valid KSE licence for ``MACHINE``; in ``changes`` two underscores go one level down.

        ``product="KRE"`` also clears the user. ``number`` tells several licences apart.
        """
        base: dict[str, Any] = {
            "format": 1,
            "license_id": _UUID.format(1, number),
            "product": "KSE",
            "organization": {"id": _UUID.format(2, 1), "name": "Example Organisation"},
            "user": "ada@example.com",
            "subscription": {
                "id": _UUID.format(3, 1),
                "term": "annual",
                "starts_at": "2023-06-01T00:00:00Z",
                "ends_at": "2024-06-01T00:00:00Z",
            },
            "machine_id": str(MACHINE),
            "sessions": 1,
            "features": [],
            "issued_at": "2023-06-01T00:00:00Z",
            "expires_at": "2024-06-01T00:00:00Z",
            "policy": self.policy.digest(),
        }
        if changes.get("product") == "KRE":
            base["user"] = None
        return changed(base, {path.replace("__", "."): value for path, value in changes.items()})

    def license(self, number: int = 1, **changes: object) -> bytes:
        """Return a licence file signed with the right keys; see ``payload`` for ``changes``."""
        return envelope(LICENSE_TYPE, self.payload(number, **changes), self.signing_keys)

    def signed(self, payload: bytes | Mapping[str, object], *keys: Key, payload_type: str = LICENSE_TYPE) -> bytes:
        """Return any payload signed by these keys (default: the licence keys)."""
        return envelope(payload_type, payload, keys or self.signing_keys)

    def test_license(self, *keys: Key, **changes: object) -> bytes:
        """Return a test licence for ``MACHINE``."""
        payload = {
            "format": 1,
            "test_id": _UUID.format(4, 1),
            "product": "KSE",
            "organization": {"id": _UUID.format(2, 1), "name": "Example Organisation"},
            "machine_id": str(MACHINE),
            "issued_at": "2023-06-01T00:00:00Z",
            "expires_at": "2024-06-01T00:00:00Z",
        }
        return envelope(TEST_LICENSE_TYPE, changed(payload, changes), keys or self.signing_keys)

    def lease(self, *keys: Key, **changes: object) -> bytes:
        """Return a lease for ``MACHINE``, signed by the lease key."""
        payload = {
            "format": 1,
            "lease_id": _UUID.format(5, 1),
            "session_id": _UUID.format(6, 1),
            "product": "KRE",
            "organization": {"id": _UUID.format(2, 1), "name": "Example Organisation"},
            "user": None,
            "machine_id": str(MACHINE),
            "nonce": "n0nce",
            "issued_at": "2023-12-01T12:00:00Z",
            "renew_after": "2023-12-01T12:20:00Z",
            "expires_at": "2023-12-01T13:00:00Z",
        }
        return envelope(LEASE_TYPE, changed(payload, changes), keys or [self.lease_key])
