"""Makes the files that ``damage.py`` damages: one good file of every kind that the client reads."""

from datetime import datetime
from pathlib import Path

import damage
from keyseat_shared.envelope import LICENSE_TYPE, TEST_LICENSE_TYPE, Envelope
from keyseat_shared.request import ComponentNote, MachineRequest
from keyseat_shared.strictjson import dumps_compact
from keyseat_verifier import LicenseClient
from keyseat_verifier.client import mark
from vendor import MACHINE, Vendor


def make(folder: Path) -> None:
    """Write the files into an empty folder."""
    vendor = Vendor()
    home = folder / "home"
    for name in ("license", "trust", "state", "sessions", "leases/activated"):
        (home / name).mkdir(parents=True)
    good = vendor.license(1)
    ends = "2024-05-01T00:00:00Z"  # before the good one, which is the one to use
    request = MachineRequest(MACHINE, "linux", "vm", {"kernel": "6.1"}, (ComponentNote("disk", "vda", "read", ""),))
    files = {
        "pinned.json": vendor.bundle_bytes(),
        "newer.json": vendor.bundle_bytes(version=2),
        "home/license/good.lic": good,
        "other.lic": vendor.license(2, expires_at=ends),
        "hybrid.lic": Vendor(hybrid=True).license(3, expires_at=ends),
        "sessions.lic": vendor.license(4, product="KRE", sessions=3, features=["a", "b"]),
        "test.lic": vendor.test_license(),
        "payload": Envelope.from_bytes(good).payload,
        "signing": f"{LICENSE_TYPE},{TEST_LICENSE_TYPE}\n{vendor.key.public.keyid}\n{_seed(vendor)}".encode(),
        "good.id": vendor.payload(1)["license_id"].encode(),
        "machine.txt": str(MACHINE).encode(),
        "request.json": dumps_compact(request.to_dict()),
        "good.lease": vendor.lease(),
        "home/leases/activated/KRE_good.lease": vendor.lease(),
        "server.json": dumps_compact({"url": "http://127.0.0.1:9", "api_key_file": "/nonexistent"}),
        "credentials.json": dumps_compact(_credentials()),
        "leases-machine": b"0123456789abcdef0123456789abcdef\n",
        "instance-id": b"0123456789abcdef0123456789abcdef\n",
        "slot": b"4711\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (home / "sessions" / files["good.id"].decode()).mkdir()
    client = LicenseClient("KSE", vendor.bundle, home=home, machine=MACHINE, environ={})
    client.check(datetime.fromisoformat(damage.NOW))
    (folder / "clock.json").write_bytes(Path(client._guard.files(str(MACHINE))[0]).read_bytes())
    old: dict[str, object] = {"format": 1, "at": "2023-12-01T11:00:00Z", "boot": "", "uptime": 0}
    (folder / "old-clock.json").write_bytes(dumps_compact(old | {"mac": mark._mac(str(MACHINE), old)}))


def _seed(vendor: Vendor) -> str:
    return vendor.key.private.private_bytes_raw().hex()


def _credentials() -> dict[str, object]:
    tokens = {"access_token": "kst_access", "refresh_token": "kst_refresh", "expires_at": "2023-12-01T13:00:00Z"}
    return {"format": 1, "server": "http://127.0.0.1:9", **tokens}
