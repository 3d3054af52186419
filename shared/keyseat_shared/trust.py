"""The trust bundle: which keys count for what, until when, and the vendor's policy, all signed by the root keys."""

import os
from datetime import datetime
from typing import NamedTuple

from keyseat_shared import fields
from keyseat_shared.boundary import guarded
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import TRUST_TYPE, Envelope, decode_base64, encode_base64
from keyseat_shared.errors import (
    CouldNotVerifyError,
    MalformedError,
    MisuseError,
    TrustError,
    UntrustedError,
    as_trust_error,
)
from keyseat_shared.example_keys import EXAMPLE_PUBLIC_KEYS
from keyseat_shared.files import read_file
from keyseat_shared.instants import format_instant
from keyseat_shared.keys import ED25519, SIGNATURE_SIZE, PublicKey
from keyseat_shared.policy import Policy
from keyseat_shared.strictjson import dumps_compact, loads_object, malformed, require_keys

FORMAT = 1
LICENSE = "license"
LEASE = "lease"
ACTIVE = "active"
RETIRED = "retired"
COMPROMISED = "compromised"

_MAX_KEYS = 64
_MAX_ROOT_KEYS = 16
_BUNDLE_KEYS = frozenset({"format", "version", "issued_at", "vendor", "root", "keys", "policy", "signatures_required"})
_BUNDLE_OPTIONAL = frozenset({"fresh_until"})
_ROOT_KEYS = frozenset({"keys", "threshold"})
_ROOT_KEY_KEYS = frozenset({"keyid", "algorithm", "public_key"})
_KEY_KEYS = _ROOT_KEY_KEYS | {"purpose", "valid_from", "valid_until", "status"}


class TrustedKey(NamedTuple):
    """A key of the bundle: what it may sign (``license`` or ``lease``), and when. ``valid_until`` is exclusive."""

    key: PublicKey
    purpose: str
    valid_from: datetime
    valid_until: datetime
    status: str

    def check_may_sign(self, purpose: str, issued_at: datetime) -> None:
        """Require that this key may have signed a file for ``purpose`` at ``issued_at`` (the key window).

        Raises:
            UntrustedError: ``KEY_COMPROMISED`` or ``KEY_NOT_VALID``.
        """
        if self.status == COMPROMISED:
            raise UntrustedError(ReasonCode.KEY_COMPROMISED, f"the signing key {self.key.keyid} was revoked")
        if self.purpose != purpose:
            raise UntrustedError(
                ReasonCode.KEY_NOT_VALID,
                f"the signing key {self.key.keyid} is a {self.purpose} key, not a {purpose} key",
            )
        if not self.valid_from <= issued_at < self.valid_until:
            raise UntrustedError(
                ReasonCode.KEY_NOT_VALID,
                f"the signing key {self.key.keyid} was not valid at {format_instant(issued_at)}",
                details={
                    "valid_from": format_instant(self.valid_from),
                    "valid_until": format_instant(self.valid_until),
                },
            )


class Quorum:
    """So many of these root keys must have signed. ``algorithm`` is empty where keys of any algorithm count."""

    # No named tuple: making one costs every start of a client 0.15 ms.
    __slots__ = ("algorithm", "keys", "needed")

    def __init__(self, keys: tuple[PublicKey, ...], needed: int, algorithm: str = "") -> None:
        """Join the keys that count to how many of them must."""
        self.keys = keys
        self.needed = needed
        self.algorithm = algorithm


def quorums(root: tuple[PublicKey, ...], threshold: int, required: tuple[str, ...]) -> tuple[Quorum, ...]:
    """Return the quorums that signatures by these root keys must meet (docs/spec/trust-bundle.md, section 6).

    The threshold holds over all keys, and again for each algorithm that licences need: an attacker who breaks one
    algorithm has all its keys, and must not become the root by them alone. An algorithm without root keys asks for
    nothing here, so that bundles from before hybrid roots still load.
    """
    found = [Quorum(root, threshold)]
    for algorithm in required:
        keys = tuple([key for key in root if key.algorithm == algorithm])
        if keys:
            found.append(Quorum(keys, min(threshold, len(keys)), algorithm))
    return tuple(found)


class TrustBundle(NamedTuple):
    """A verified trust bundle. It exists only through ``load``, ``from_bytes`` and ``update``.

    From ``fresh_until`` on, if there is one, it is stale: a newer one may know of keys revoked since.
    """

    version: int
    issued_at: datetime
    vendor: str
    root: tuple[PublicKey, ...]
    threshold: int
    keys: tuple[TrustedKey, ...]
    policy: Policy
    signatures_required: tuple[str, ...]
    data: bytes
    fresh_until: datetime | None = None

    def __repr__(self) -> str:
        return f"<TrustBundle version {self.version} of {self.vendor!a}, {len(self.keys)} keys>"

    @classmethod
    @guarded(as_trust_error)
    def load(cls, path: str | os.PathLike[str], *, allow_example_keys: bool = False) -> "TrustBundle":
        """Read and verify a bundle that the caller pins (ships with the program).

        Raises:
            TrustError: ``UNREADABLE``, ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
            MisuseError: ``path`` is no path.
        """
        try:
            name = os.fspath(path)
        except TypeError:
            msg = f"path must name the file of a trust bundle, not {type(path).__name__}"
            raise MisuseError(msg) from None
        try:
            data = read_file(path, pipes=True)
        except CouldNotVerifyError as error:
            raise TrustError(
                ReasonCode.UNREADABLE,
                f"cannot read the trust bundle {name!a}: {error.details['reason']}",
                next_step="Name the trust bundle (trust.json) that your vendor gave you.",
            ) from None
        return cls.from_bytes(data, allow_example_keys=allow_example_keys)

    @classmethod
    @guarded(as_trust_error)
    def from_bytes(cls, data: bytes, *, allow_example_keys: bool = False) -> "TrustBundle":
        """Verify a bundle against its own root keys and threshold.

        Raises:
            TrustError: ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
        """
        envelope, bundle = _parse(data)
        _require_threshold(bundle, envelope, "its own")
        if not allow_example_keys:
            bundle.refuse_example_keys()
        return bundle

    @guarded(as_trust_error)
    def update(self, data: bytes, *, allow_example_keys: bool = False) -> "TrustBundle":
        """Return the newer bundle in ``data``, which both the present and the new root keys must have signed.

        Each by the algorithms that its own bundle requires, so that one broken algorithm replaces no bundle.
        Identical bytes return the present bundle. (The update rule of the TUF specification, 5.3.)

        Raises:
            TrustError: ``TRUST_ROLLBACK`` where its version is not higher, ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
        """
        if data == self.data:
            return self
        envelope, newer = _parse(data)
        _require_threshold(self, envelope, "the present")
        _require_threshold(newer, envelope, "its own")
        self._refuse_silent_drop(newer)
        if not allow_example_keys:
            newer.refuse_example_keys()
        # After the signatures: only the vendor can tell us that a version is old.
        if newer.version <= self.version:
            raise TrustError(
                ReasonCode.TRUST_ROLLBACK,
                f"version {newer.version} is not newer than version {self.version} in use",
                details={"offered": newer.version, "present": self.version},
            )
        newer.check_keys()
        return newer

    def quorums(self) -> tuple[Quorum, ...]:
        """Return the quorums that signatures must meet to count as the root's."""
        return quorums(self.root, self.threshold, self.signatures_required)

    def algorithms_without_root(self) -> tuple[str, ...]:
        """Return the algorithms that licences need and no root key has, as in hybrid bundles from before hybrid roots.

        An attacker who breaks the other algorithms can replace such a bundle.
        """
        have = {key.algorithm for key in self.root}
        return tuple([algorithm for algorithm in self.signatures_required if algorithm not in have])

    def _refuse_silent_drop(self, newer: "TrustBundle") -> None:
        # Where the algorithm has root keys, they have agreed: their quorum was asked.
        for algorithm in self.algorithms_without_root():
            if algorithm not in newer.signatures_required:
                raise TrustError(
                    ReasonCode.TRUST_INVALID,
                    f"the trust bundle would no longer require {algorithm} signatures, and there is no {algorithm}"
                    " root key that could agree to that",
                )

    @guarded(as_trust_error)
    def check_keys(self) -> None:
        """Check every key fully, used or not. Called before an update is adopted and before a bundle is signed.

        Raises:
            TrustError: ``TRUST_INVALID``.
        """
        for key in (*self.root, *[trusted.key for trusted in self.keys]):
            key.check()

    def refuse_example_keys(self) -> None:
        """Refuse a bundle that holds a key of ``keys.example``, which anybody can sign with.

        Raises:
            TrustError: ``EXAMPLE_KEY``.
        """
        for key in (*self.root, *[trusted.key for trusted in self.keys]):
            if key.raw in EXAMPLE_PUBLIC_KEYS:
                raise TrustError(
                    ReasonCode.EXAMPLE_KEY, f"the trust bundle holds the example key {key.keyid}, which is public"
                )

    def is_stale(self, use: str, now: datetime) -> bool:
        """Tell whether the policy wants a fresh bundle for ``use`` (``offline`` or ``lease``) and this one is stale."""
        return self.fresh_until is not None and now >= self.fresh_until and use in self.policy.freshness_required

    def find(self, keyid: str) -> TrustedKey | None:
        """Return the key with this id, or ``None``."""
        for trusted in self.keys:
            if trusted.key.keyid == keyid:
                return trusted
        return None


def bundle_payload(
    *,
    version: int,
    issued_at: datetime,
    vendor: str,
    root: tuple[PublicKey, ...],
    threshold: int,
    keys: tuple[TrustedKey, ...],
    policy: Policy,
    signatures_required: tuple[str, ...] = (ED25519,),
    fresh_until: datetime | None = None,
) -> bytes:
    """Write the payload of a trust bundle as it is signed."""
    freshness = {} if fresh_until is None else {"fresh_until": format_instant(fresh_until)}
    return dumps_compact(
        {
            "format": FORMAT,
            "version": version,
            "issued_at": format_instant(issued_at),
            **freshness,
            "vendor": vendor,
            "root": {"keys": [_key_dict(key) for key in root], "threshold": threshold},
            "keys": [
                _key_dict(trusted.key)
                | {
                    "purpose": trusted.purpose,
                    "valid_from": format_instant(trusted.valid_from),
                    "valid_until": format_instant(trusted.valid_until),
                    "status": trusted.status,
                }
                for trusted in keys
            ],
            "policy": policy.to_dict(),
            "signatures_required": list(signatures_required),
        }
    )


def unverified_bundle(payload: bytes) -> TrustBundle:
    """Read a bundle that is not signed yet, for those who will sign it. Trust nothing in it.

    Raises:
        TrustError: ``TRUST_INVALID``.
    """
    try:
        return _read(loads_object(payload), b"")
    except MalformedError as error:
        raise TrustError(ReasonCode.TRUST_INVALID, f"the trust bundle is not usable: {error.message}") from None


def _require_threshold(bundle: TrustBundle, envelope: Envelope, whose: str) -> None:
    signers = envelope.signers(bundle.root)
    for quorum in bundle.quorums():
        signed = len([key for key in signers if quorum.algorithm in {"", key.algorithm}])
        if signed < quorum.needed:
            kind = f"{quorum.algorithm} root keys" if quorum.algorithm else "root keys"
            raise TrustError(
                ReasonCode.TRUST_INVALID,
                f"the trust bundle is signed by {signed} of {whose} {kind}; {quorum.needed} must sign",
            )


def _key_dict(key: PublicKey) -> dict[str, object]:
    return {"keyid": key.keyid, "algorithm": key.algorithm, "public_key": encode_base64(key.raw)}


def _parse(data: bytes) -> tuple[Envelope, TrustBundle]:
    try:
        envelope = Envelope.from_bytes(data)
        if envelope.payload_type != TRUST_TYPE:
            malformed("the file is not a trust bundle")
        # Unlike a licence, a bundle names the keys that verify it, so it is read before it is verified;
        # the caller verifies it before it hands anything out.
        return envelope, _read(loads_object(envelope.payload), data)
    except MalformedError as error:
        raise TrustError(ReasonCode.TRUST_INVALID, f"the trust bundle is not usable: {error.message}") from None


def _read(value: dict[str, object], data: bytes) -> TrustBundle:
    if value.get("format") != FORMAT or type(value["format"]) is not int:
        malformed(f"its format is not {FORMAT}")
    require_keys(value, "the bundle", _BUNDLE_KEYS, _BUNDLE_OPTIONAL)
    root = fields.mapping(value["root"], "root")
    require_keys(root, "root", _ROOT_KEYS)
    root_keys = tuple(
        [_public_key(entry, _ROOT_KEY_KEYS) for entry in fields.sequence(root["keys"], "root keys", _MAX_ROOT_KEYS)]
    )
    keys = tuple([_trusted_key(entry) for entry in fields.sequence(value["keys"], "keys", _MAX_KEYS)])
    every = (*root_keys, *[trusted.key for trusted in keys])
    # One key under two ids would count twice against a threshold, or be root and licence key at once.
    if len({key.raw for key in every}) != len(every) or len({key.keyid for key in every}) != len(every):
        malformed("it lists a key or a key id twice")
    required = fields.codes(value["signatures_required"], "signatures_required")
    if ED25519 not in required or not SIGNATURE_SIZE.keys() >= set(required):
        malformed("signatures_required must hold ed25519 and only known algorithms")
    issued_at = fields.instant(value["issued_at"], "issued_at")
    fresh_until = fields.instant(value["fresh_until"], "fresh_until") if "fresh_until" in value else None
    if fresh_until is not None and fresh_until <= issued_at:
        malformed("its fresh_until is not after its issued_at")
    return TrustBundle(
        fields.whole(value["version"], "version", 1, 2**53),
        issued_at,
        fields.text(value["vendor"], "vendor"),
        root_keys,
        fields.whole(root["threshold"], "threshold", 1, len(root_keys)),
        keys,
        Policy.from_dict(fields.mapping(value["policy"], "policy")),
        required,
        data,
        fresh_until,
    )


def _public_key(value: object, keys: frozenset[str]) -> PublicKey:
    entry = fields.mapping(value, "a key")
    require_keys(entry, "a key", keys)
    return PublicKey(
        fields.code(entry["algorithm"], "algorithm"),
        decode_base64(entry["public_key"], "public_key"),
        fields.text(entry["keyid"], "keyid"),
    )


def _trusted_key(value: object) -> TrustedKey:
    key = _public_key(value, _KEY_KEYS)
    entry = fields.mapping(value, "a key")
    trusted = TrustedKey(
        key,
        fields.code(entry["purpose"], "purpose"),
        fields.instant(entry["valid_from"], "valid_from"),
        fields.instant(entry["valid_until"], "valid_until"),
        fields.code(entry["status"], "status"),
    )
    if trusted.purpose not in {LICENSE, LEASE} or trusted.status not in {ACTIVE, RETIRED, COMPROMISED}:
        malformed("a key has an unknown purpose or status")
    return trusted
