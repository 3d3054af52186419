"""A throwaway vendor whose files are measured: one licence key, a policy without sunset, a licence good for a year."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyseat_shared.envelope import LICENSE_TYPE, TRUST_TYPE, Envelope, Signature, pae
from keyseat_shared.identifiers import uuid7
from keyseat_shared.instants import add_years, now_utc
from keyseat_shared.keys import ED25519, PublicKey, key_id
from keyseat_shared.machine_id import MachineID
from keyseat_shared.payloads import LicensePayload
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import ACTIVE, LICENSE, TrustBundle, TrustedKey, bundle_payload

PRODUCT = "KSE"
POLICY = default_policy(sunset=None)


def machine(number: int) -> MachineID:
    """Return the ID of a laptop with firmware, adapter, disk and system evidence; each number has its own."""
    return MachineID.from_values(
        {
            "firmware-uuid": [f"4c4c4544-0042-3510-8052-{number:012x}"],
            "firmware-serial": [f"B5R{number:07d}"],
            "nic": [f"a4bb{number:08x}"],
            "disk": [f"S5H2NS{number:08d}"],
            "os": [f"{number:032x}"],
            "user-id": ["1000"],
            "user-name": ["ada"],
        }
    )


class Sample:
    """Keys, trust bundle and licences, valid now."""

    def __init__(self) -> None:
        """Make the keys and the bundle."""
        self.now = now_utc()
        self.start = self.now.replace(hour=0, minute=0, second=0) - timedelta(days=30)
        self.private = Ed25519PrivateKey.generate()
        root = Ed25519PrivateKey.generate()
        self.key, root_key = _public(self.private), _public(root)
        window = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
        payload = bundle_payload(
            version=1,
            issued_at=self.start,
            vendor="Benchmark Vendor",
            root=(root_key,),
            threshold=1,
            keys=(TrustedKey(self.key, LICENSE, *window, ACTIVE),),
            policy=POLICY,
        )
        signature = Signature(root_key.keyid, root.sign(pae(TRUST_TYPE, payload)))
        self.trust_file = Envelope(TRUST_TYPE, payload, (signature,)).to_bytes()
        self.trust = TrustBundle.from_bytes(self.trust_file)

    def payload(self, machine_id: str) -> LicensePayload:
        """Return the payload of a licence for this machine, from a month ago to eleven months ahead."""
        end = add_years(self.start, 1)
        return LicensePayload(
            license_id=uuid7(self.start),
            product=PRODUCT,
            organization_id=uuid7(self.start),
            organization_name="Benchmark Organisation",
            user="ada@example.com",
            subscription_id=uuid7(self.start),
            term="annual",
            starts_at=self.start,
            ends_at=end,
            machine_id=machine_id,
            sessions=1,
            features=(),
            issued_at=self.start,
            expires_at=end,
            policy=POLICY.digest(),
        )

    def license_file(self, machine_id: str) -> bytes:
        """Return a licence file for this machine."""
        payload = self.payload(machine_id).to_bytes()
        signature = Signature(self.key.keyid, self.private.sign(pae(LICENSE_TYPE, payload)))
        return Envelope(LICENSE_TYPE, payload, (signature,)).to_bytes()

    def write(self, folder: Path, machine_id: str) -> tuple[Path, Path]:
        """Write trust bundle and licence into a folder and return their paths."""
        trust, license_file = folder / "trust.json", folder / "sample.lic"
        trust.write_bytes(self.trust_file)
        license_file.write_bytes(self.license_file(machine_id))
        return trust, license_file


def _public(private: Ed25519PrivateKey) -> PublicKey:
    raw = private.public_key().public_bytes_raw()
    return PublicKey(ED25519, raw, key_id(ED25519, raw))
