"""Public keys and the algorithms they are pinned to. The algorithm comes from the key, never from the file."""

from typing import TYPE_CHECKING

from keyseat_shared.codes import ReasonCode
from keyseat_shared.curve import is_prime_order_point, is_small_order_or_not_canonical
from keyseat_shared.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ED25519 = "ed25519"
ML_DSA_65 = "ml-dsa-65"

SIGNATURE_SIZE: "Mapping[str, int]" = {ED25519: 64, ML_DSA_65: 3309}
"""Bytes of a signature (RFC 8032; FIPS 204, table 2)."""

PUBLIC_KEY_SIZE: "Mapping[str, int]" = {ED25519: 32, ML_DSA_65: 1952}
"""Bytes of a public key (RFC 8032; FIPS 204, table 2)."""

ML_DSA_CONTEXT = b"keyseat/dsse/v1"
"""The FIPS 204 context string under which ML-DSA-65 signs the DSSE pre-authentication encoding."""


def key_id(algorithm: str, raw: bytes) -> str:
    """Return the key id this project gives a public key: 32 hex digits of SHA-256(algorithm, NUL, raw key).

    An id is a name to look a key up by. Nothing trusts it: signatures and thresholds count public keys.
    """
    import hashlib  # late: the verifier never derives IDs, and hashlib is costly

    return hashlib.sha256(algorithm.encode() + b"\0" + raw).hexdigest()[:32]


class PublicKey:
    """A public key bound to one algorithm; ``raw`` is its 32 (Ed25519) or 1,952 (ML-DSA-65) bytes."""

    __slots__ = ("_checked", "_holds", "algorithm", "keyid", "raw")

    def __init__(self, algorithm: str, raw: bytes, keyid: str) -> None:
        """Keep a key after the cheap checks: known algorithm, size, canonical and not of small order.

        Raises:
            TrustError: ``TRUST_INVALID``.
        """
        if PUBLIC_KEY_SIZE.get(algorithm) != len(raw):
            raise TrustError(ReasonCode.TRUST_INVALID, f"key {keyid}: unknown algorithm or wrong key size")
        if algorithm == ED25519 and is_small_order_or_not_canonical(raw):
            raise TrustError(
                ReasonCode.TRUST_INVALID, f"key {keyid} is not a usable Ed25519 key (small order or not canonical)"
            )
        self.algorithm = algorithm
        self.raw = raw
        self.keyid = keyid
        self._holds: Callable[[bytes, bytes], bool] | None = None
        self._checked = False

    def check(self) -> None:
        """Make the whole check, once: an Ed25519 key is a point of prime order (about 1 ms).

        Raises:
            TrustError: ``TRUST_INVALID``.
        """
        if not self._checked:
            if self.algorithm == ED25519 and not is_prime_order_point(self.raw):
                raise TrustError(ReasonCode.TRUST_INVALID, f"key {self.keyid} is not a point of prime order")
            self._checked = True

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether ``signature`` by this key holds for ``message``.

        Raises:
            TrustError: ``TRUST_INVALID`` where the key itself cannot be used, ``ALGORITHM_UNAVAILABLE`` where the
                installed library does not know its algorithm.
        """
        if self._holds is None:
            self.check()
            self._holds = _load(self.algorithm, self.raw)
        return self._holds(signature, message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (self.algorithm, self.raw) == (other.algorithm, other.raw)

    def __hash__(self) -> int:
        return hash((self.algorithm, self.raw))

    def __repr__(self) -> str:
        return f"PublicKey({self.algorithm}, {self.keyid})"


def _load(algorithm: str, raw: bytes) -> "Callable[[bytes, bytes], bool]":
    """Return a function that tells whether a signature holds for a message; loads ``cryptography`` late."""
    verify, wrong = _library(algorithm, raw)
    size = SIGNATURE_SIZE[algorithm]

    def holds(signature: bytes, message: bytes) -> bool:
        if len(signature) != size:
            return False
        try:
            verify(signature, message)
        except wrong:
            return False
        return True

    return holds


def _library(algorithm: str, raw: bytes) -> "tuple[Callable[[bytes, bytes], None], type[Exception]]":
    """Return the library's check of signatures by a key, and the error by which it says no."""
    missing: tuple[type[Exception], ...] = (ImportError,)
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        missing = (ImportError, UnsupportedAlgorithm)
        if algorithm == ED25519:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            return Ed25519PublicKey.from_public_bytes(raw).verify, InvalidSignature
        # Not in `cryptography` before version 48, nor where that is built with a library that lacks it.
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

        quantum = MLDSA65PublicKey.from_public_bytes(raw)
    except missing:
        raise TrustError(
            ReasonCode.ALGORITHM_UNAVAILABLE,
            f"{algorithm} signatures cannot be checked here: the installed cryptography package lacks them",
            details={"algorithm": algorithm},
        ) from None
    return lambda signature, message: quantum.verify(signature, message, ML_DSA_CONTEXT), InvalidSignature
