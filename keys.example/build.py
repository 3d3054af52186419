"""Rebuild this folder and the list of its public keys: the same bytes on every run (`python keys.example/build.py`)."""
# ruff: noqa: INP001 - a script, no package

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from keyseat_issuer.keys.signing import EnvelopeSigner
from keyseat_issuer.keys.store import PrivateKey
from keyseat_issuer.trust.draft import Draft
from keyseat_shared.envelope import LICENSE_TYPE, TEST_LICENSE_TYPE
from keyseat_shared.keys import ED25519
from keyseat_shared.machine_id import MachineID
from keyseat_shared.payloads import LicensePayload, MachineTestPayload
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import ACTIVE, LEASE, LICENSE, TrustedKey

HERE = Path(__file__).resolve().parent
LIST = HERE.parent / "shared" / "keyseat_shared" / "example_keys.py"
PASSPHRASE = "example"  # noqa: S105 - public on purpose, as the README says
START = datetime(2023, 1, 1, tzinfo=UTC)
ISSUED = datetime(2023, 6, 1, tzinfo=UTC)
END = datetime(2033, 6, 1, tzinfo=UTC)
"""Ten whole years from ISSUED: issued before the sunset of 2024-01-17, and valid for whoever looks at it today."""

PURPOSES = ("root", LICENSE, LEASE)
MACHINE = MachineID.from_values(
    {
        "firmware-uuid": ["4c4c4544-0042-3510-8052-b4c04f4e3132"],
        "firmware-serial": ["EXAMPLE1"],
        "nic": ["a4bb6d0c1122"],
        "disk": ["EXAMPLE-DISK-0001"],
        "os": ["0d7d2f3a9b3c4e0f8a1b2c3d4e5f6071"],
        "user-id": ["1000"],
        "user-name": ["ada"],
    }
)
"""A laptop that does not exist, used by an Ada with user id 1000."""


def seed(purpose: str) -> bytes:
    """Return 32 bytes that anybody can work out."""
    return hashlib.sha256(f"keyseat example {purpose}".encode()).digest()


def key(purpose: str) -> PrivateKey:
    """Return the key of a purpose."""
    return PrivateKey.from_seed(ED25519, seed(purpose))


def make() -> dict[str, bytes]:
    """Return the files of this folder by name."""
    keys = {purpose: key(purpose) for purpose in PURPOSES}
    policy = default_policy()
    draft = Draft(
        version=1,
        issued_at=START,
        vendor="Example Vendor (public keys, trust nothing)",
        root=(keys["root"].public,),
        threshold=1,
        keys=tuple([TrustedKey(keys[name].public, name, START, END, ACTIVE) for name in (LICENSE, LEASE)]),
        policy=policy,
        signatures_required=(ED25519,),
    )
    payload = LicensePayload(
        license_id="01887c5e-0000-7000-8000-000000000001",
        product="KSE",
        organization_id="01887c5e-0000-7000-8000-000000000002",
        organization_name="Example Organisation",
        user="ada@example.com",
        subscription_id="01887c5e-0000-7000-8000-000000000003",
        term="annual",
        starts_at=ISSUED,
        ends_at=END,
        machine_id=str(MACHINE),
        sessions=1,
        features=(),
        issued_at=ISSUED,
        expires_at=END,
        policy=policy.digest(),
    )
    test = MachineTestPayload(
        test_id="01887c5e-0000-7000-8000-000000000004",
        product="KSE",
        organization_id=payload.organization_id,
        organization_name=payload.organization_name,
        machine_id=payload.machine_id,
        issued_at=ISSUED,
        expires_at=END,
    )
    signer = EnvelopeSigner([keys[LICENSE]])
    files = {
        f"keys/{purpose}-{made.public.keyid}.pem": made.to_pem(
            PASSPHRASE, salt=seed(f"{purpose} salt")[:16], iv=seed(f"{purpose} iv")[:16]
        )
        for purpose, made in keys.items()
    }
    return files | {
        "trust.json": draft.sign([keys["root"]]),
        "machine-id.txt": f"{MACHINE}\n".encode(),
        f"KSE_{MACHINE.short}.lic": signer.sign(LICENSE_TYPE, payload.to_bytes()),
        f"KSE_{MACHINE.short}.test.lic": signer.sign(TEST_LICENSE_TYPE, test.to_bytes()),
    }


def make_list() -> bytes:
    """Return the module that lists the public keys of this folder."""
    listed = "".join([f'        bytes.fromhex("{key(purpose).public.raw.hex()}"),\n' for purpose in PURPOSES])
    return (
        '"""The public keys of ``keys.example``: anybody can sign with them, so nothing trusts them unless told to.\n\n'
        "Written by keys.example/build.py.\n"
        '"""\n\n'
        "EXAMPLE_PUBLIC_KEYS: frozenset[bytes] = frozenset(\n    {\n" + listed + "    }\n)\n"
    ).encode()


def main(folder: Path = HERE, module: Path = LIST) -> None:
    """Write everything."""
    for name, content in make().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    module.write_bytes(make_list())


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:]])
