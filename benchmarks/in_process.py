"""Rows measured inside one process, in processor time: verifying a licence, and asking the client again."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from sample import PRODUCT, Sample, machine
from timing import Row, compare, take_turns

from keyseat_shared.envelope import Envelope, pae
from keyseat_verifier import LicenseClient, Verifier

_AN_HOUR = 3600
_A_TICK = 0.2


def _bare(sample: Sample, data: bytes) -> Callable[[], object]:
    """Return the one thing nobody can leave out: an Ed25519 verification of the same message, key already loaded."""
    envelope = Envelope.from_bytes(data)
    message, signature = pae(envelope.payload_type, envelope.payload), envelope.signatures[0].sig
    public = sample.private.public_key()
    return lambda: public.verify(signature, message)


def _pyjwt(sample: Sample, machine_id: str) -> Callable[[], object]:
    """Return PyJWT's way to check the same facts: signature and expiry, from a loaded key."""
    claims: dict[str, Any] = sample.payload(machine_id).to_dict()
    claims |= {"exp": int(sample.now.timestamp()) + _AN_HOUR, "aud": PRODUCT}
    token = jwt.encode(claims, sample.private, algorithm="EdDSA")
    public = sample.private.public_key()
    return lambda: jwt.decode(token, public, algorithms=["EdDSA"], audience=PRODUCT)


def verify_row(rounds: int, calls: int) -> Row:
    """Verify a licence for a given machine ID: every check, from the bytes of the file to the value."""
    sample, machine_id = Sample(), str(machine(1))
    data = sample.license_file(machine_id)
    verifier = Verifier(sample.trust, product=PRODUCT)
    times = take_turns(
        {
            "bare Ed25519 verify": _bare(sample, data),
            "keyseat": lambda: verifier.verify(data, machine=machine_id, now=sample.now),
            "PyJWT decode": _pyjwt(sample, machine_id),
        },
        rounds,
        calls,
        time.process_time,
    )
    return compare("verify in process", times, baseline="bare Ed25519 verify", ours="keyseat", limit=1.25, aim=1.15)


def check_row(rounds: int, calls: int) -> Row:
    """Ask the client again while no file has changed."""
    sample, machine_id = Sample(), machine(1)
    data = sample.license_file(str(machine_id))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "license"
        store.mkdir()
        (store / "sample.lic").write_bytes(data)
        # An answer is kept only where the files are older than a tick of the file system's clock.
        time.sleep(_A_TICK)
        client = LicenseClient(PRODUCT, sample.trust, home=folder, machine=machine_id)
        candidates = {"bare Ed25519 verify": _bare(sample, data), "keyseat": client.check}
        times = take_turns(candidates, rounds, calls, time.process_time)
    return compare(
        "repeated client.check()", times, baseline="bare Ed25519 verify", ours="keyseat", limit=0.10, aim=0.10
    )
