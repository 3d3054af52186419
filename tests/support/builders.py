"""Keys, envelopes and bundles from fixed seeds, built without the issuer: what the formats' tests are made of."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from keyseat_shared.envelope import TRUST_TYPE, Envelope, Signature, pae
from keyseat_shared.keys import ED25519, ML_DSA_65, ML_DSA_CONTEXT, PublicKey, key_id
from keyseat_shared.policy import Policy, default_policy
from keyseat_shared.trust import ACTIVE, LEASE, LICENSE, TrustedKey, bundle_payload

START = datetime(2023, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)


class SeededKey:
    """A key pair made from one small number: the same bytes on every run, and worth nothing."""

    def __init__(self, seed: int, algorithm: str = ED25519) -> None:
        """Derive the pair from ``seed`` (0 to 255), which fills the 32 bytes of the private seed."""
        raw_seed = bytes([seed]) * 32
        self.private: Any = (
            Ed25519PrivateKey.from_private_bytes(raw_seed)
            if algorithm == ED25519
            else MLDSA65PrivateKey.from_seed_bytes(raw_seed)
        )
        raw = self.private.public_key().public_bytes_raw()
        self.public = PublicKey(algorithm, raw, key_id(algorithm, raw))

    def sign(self, payload_type: str, payload: bytes, *, keyid: str | None = None) -> Signature:
        """Sign the pre-authentication encoding; ``keyid`` replaces the hint."""
        message = pae(payload_type, payload)
        sig = (
            self.private.sign(message, ML_DSA_CONTEXT)
            if self.public.algorithm == ML_DSA_65
            else self.private.sign(message)
        )
        return Signature(self.public.keyid if keyid is None else keyid, sig)


ROOT, SECOND_ROOT, THIRD_ROOT = SeededKey(1), SeededKey(2), SeededKey(3)
LICENSE_KEY, LEASE_KEY, HYBRID_KEY = SeededKey(10), SeededKey(11), SeededKey(12, ML_DSA_65)


def sealed(payload_type: str, payload: bytes, signers: Sequence[SeededKey]) -> bytes:
    """Return a whole file: the payload in an envelope, signed by each of ``signers``."""
    return Envelope(payload_type, payload, tuple(key.sign(payload_type, payload) for key in signers)).to_bytes()


def trusted(key: SeededKey, purpose: str = LICENSE, *, status: str = ACTIVE) -> TrustedKey:
    """List ``key`` in a bundle, valid from 2023 to 2027."""
    return TrustedKey(key.public, purpose, START, END, status)


def bundle(
    *,
    version: int = 1,
    root: Sequence[SeededKey] = (ROOT,),
    threshold: int = 1,
    signers: Sequence[SeededKey] | None = None,
    keys: Sequence[TrustedKey] | None = None,
    policy: Policy | None = None,
    signatures_required: tuple[str, ...] = (ED25519,),
    fresh_until: datetime | None = None,
    edit: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """Return a trust bundle file; ``edit`` changes the payload's bytes before they are signed."""
    payload = bundle_payload(
        version=version,
        issued_at=START,
        vendor="Example Vendor",
        root=tuple(key.public for key in root),
        threshold=threshold,
        keys=tuple(keys) if keys is not None else (trusted(LICENSE_KEY), trusted(LEASE_KEY, LEASE)),
        policy=policy or default_policy(),
        signatures_required=signatures_required,
        fresh_until=fresh_until,
    )
    return sealed(TRUST_TYPE, edit(payload), root if signers is None else signers)
