"""The DSSE envelope (github.com/secure-systems-lab/dsse, v1): strict reading, and what gets signed.

There is no canonicalisation: the bytes that were verified are the bytes that are parsed afterwards.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import NamedTuple

from keyseat_shared.errors import MalformedError
from keyseat_shared.keys import PublicKey
from keyseat_shared.strictjson import dumps_compact, loads_object, malformed, require_keys

MAX_SIZE = 64 * 1024
"""Largest file read, in bytes."""
MAX_SIGNATURES = 8

_TYPE_PREFIX = "application/vnd.keyseat."
LICENSE_TYPE = _TYPE_PREFIX + "license+json"
TEST_LICENSE_TYPE = _TYPE_PREFIX + "test-license+json"
LEASE_TYPE = _TYPE_PREFIX + "lease+json"
TRUST_TYPE = _TYPE_PREFIX + "trust+json"

TYPE_NAMES = {
    LICENSE_TYPE: "a licence",
    TEST_LICENSE_TYPE: "a test licence",
    LEASE_TYPE: "a lease",
    TRUST_TYPE: "a trust bundle",
}
"""What people call a file of each type."""

_ENVELOPE_KEYS = frozenset({"payloadType", "payload", "signatures"})
_SIGNATURE_KEYS = frozenset({"keyid", "sig"})
_MAX_NAME = 256

# What is written for a file with one signature, and what that is around its four texts, cut at the quotation marks.
# Such a file has no white space, no escapes and no second place for anything, so the strict reader would see the same
# in it; recognised, it costs half. Property tests compare both readers and both writers.
_FORM = '{"payloadType":"%s","payload":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}\n'
_USUAL = _FORM.replace("%s", "").strip().encode("ascii").split(b'"')
_KNOWN_TYPES = {name.encode("ascii"): name for name in TYPE_NAMES}


class Signature(NamedTuple):
    """One signature: ``keyid`` is a hint and is not signed itself, ``sig`` is the raw bytes."""

    keyid: str
    sig: bytes


class Envelope(NamedTuple):
    """A parsed envelope. Its payload is *not* verified: see ``signers``."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> "Envelope":
        """Parse a file of at most 64 KiB.

        Raises:
            MalformedError: ``MALFORMED``.
        """
        if len(data) > MAX_SIZE:
            malformed(f"the file is larger than {MAX_SIZE // 1024} KiB")
        if not data:
            malformed("the file is empty")
        return _from_usual(data) or cls._from_any_json(data)

    @classmethod
    def _from_any_json(cls, data: bytes) -> "Envelope":
        outer = loads_object(data)
        require_keys(outer, "the envelope", _ENVELOPE_KEYS)
        payload_type, payload, listed = outer["payloadType"], outer["payload"], outer["signatures"]
        if type(payload_type) is not str or not 0 < len(payload_type) <= _MAX_NAME:
            malformed("payloadType is not a short text")
        if type(listed) is not list or not 0 < len(listed) <= MAX_SIGNATURES:
            malformed(f"signatures is not a list of 1 to {MAX_SIGNATURES}")
        return cls(payload_type, decode_base64(payload, "payload"), tuple([_signature(entry) for entry in listed]))

    def to_bytes(self) -> bytes:
        """Write the envelope as compact JSON with a final newline."""
        if len(self.signatures) == 1 and self.payload_type in TYPE_NAMES:
            keyid, sig = self.signatures[0]
            if keyid.isalnum() and keyid.isascii():  # nothing to escape
                written = _FORM % (self.payload_type, encode_base64(self.payload), keyid, encode_base64(sig))
                return written.encode("ascii")
        return self._to_any_json()

    def _to_any_json(self) -> bytes:
        return (
            dumps_compact(
                {
                    "payloadType": self.payload_type,
                    "payload": encode_base64(self.payload),
                    "signatures": [{"keyid": s.keyid, "sig": encode_base64(s.sig)} for s in self.signatures],
                }
            )
            + b"\n"
        )

    def signers(self, keys: Iterable[PublicKey]) -> list[PublicKey]:
        """Return the distinct public keys among ``keys`` whose signature over this envelope holds.

        A signature is tried only against the keys that carry its key id. One public key counts once,
        however many ids or signatures name it (a threshold that counts ids can be met by one key).
        """
        message = pae(self.payload_type, self.payload)
        found: list[PublicKey] = []
        for key in keys:
            if key in found:
                continue
            for signature in self.signatures:
                if signature.keyid == key.keyid and key.verifies(signature.sig, message):
                    found.append(key)
                    break
        return found


def _from_usual(data: bytes) -> Envelope | None:
    """Read the usual spelling of a file with one signature; ``None`` where it is another, right or wrong."""
    parts = data.rstrip(b"\n").split(b'"')
    if len(parts) != len(_USUAL):
        return None
    kind, payload, keyid, sig = parts[3], parts[7], parts[13], parts[17]
    parts[3] = parts[7] = parts[13] = parts[17] = b""
    payload_type = _KNOWN_TYPES.get(kind)
    # The base64 texts are checked whole as they are decoded; a key id of letters and digits needs no look at its parts.
    if parts != _USUAL or payload_type is None or not payload or not sig or not keyid.isalnum():
        return None
    if len(keyid) > _MAX_NAME:
        return None
    try:
        signature = Signature(str(keyid, "ascii"), _canonical_base64(sig, "sig"))
        return Envelope(payload_type, _canonical_base64(payload, "payload"), (signature,))
    except MalformedError:
        return None  # the strict reader says what is wrong, in its order


def _signature(entry: object) -> Signature:
    if type(entry) is not dict:
        malformed("a signature is not an object")
    require_keys(entry, "a signature", _SIGNATURE_KEYS)
    keyid = entry["keyid"]
    if type(keyid) is not str or len(keyid) > _MAX_NAME:
        malformed("keyid is not a short text")
    return Signature(keyid, decode_base64(entry["sig"], "sig"))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: what every signature is made over (DSSE v1, protocol.md)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def encode_base64(data: bytes) -> str:
    """Encode as standard base64 with padding (RFC 4648, section 4)."""
    return b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: object, what: str) -> bytes:
    """Decode standard base64 that re-encodes to itself: ``QR==`` is not another way to write ``QQ==``.

    Raises:
        MalformedError: ``MALFORMED`` that names ``what``.
    """
    if type(text) is not str or not text:
        malformed(f"{what} is not base64 text")
    try:
        return _canonical_base64(text.encode("ascii"), what)
    except UnicodeEncodeError:
        malformed(f"{what} is not base64")


def _canonical_base64(text: bytes, what: str) -> bytes:
    try:
        data = a2b_base64(text)
    except Base64Error:
        malformed(f"{what} is not base64")
    if b2a_base64(data, newline=False) != text:
        malformed(f"{what} is not canonical base64")
    return data
