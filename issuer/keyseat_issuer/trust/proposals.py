"""Proposals: a next version of the trust bundle as a file, carried to the root keys that must sign it, and back.

A proposal says what it changes (the bundle in force stands in it), what is to be signed, and who has signed so
far. It is no trust bundle and holds no secret: nothing takes it for one before enough root keys have signed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.home import make_private_folder, write_private
from keyseat_issuer.keys.roots import choose, fitting, missing
from keyseat_issuer.keys.store import SigningKey
from keyseat_issuer.ledger.audit.bundles import KEY_ADDED, KEY_RETIRED, KEY_REVOKED, POLICY_SET, RENEWED, ROOT_ROTATED
from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import TRUST_TYPE, Envelope, Signature, decode_base64, encode_base64, pae
from keyseat_shared.errors import KeyseatError, MalformedError, TrustError
from keyseat_shared.instants import format_instant
from keyseat_shared.keys import PublicKey, key_id
from keyseat_shared.strictjson import dumps_compact, loads_object, malformed, require_keys
from keyseat_shared.trust import COMPROMISED, Quorum, TrustBundle, unverified_bundle

FOLDER = "proposals"
FORMAT = 1
MAX_FILE = 512 * 1024
_MAX_SIGNATURES = 32
_KIND = "keyseat trust proposal"
_MEMBERS = frozenset({"kind", "format", "present", "payload", "signatures"})
_SIGNATURE_MEMBERS = frozenset({"keyid", "sig"})


class Proposal(NamedTuple):
    """The bundle in force as the proposal was made, the payload of the next version, and the signatures so far."""

    present: TrustBundle
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Proposal":
        """Read a proposal. Its present bundle is verified against itself; whether it is in force, a reader must know.

        Raises:
            KeyseatError: ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
        """
        try:
            value = loads_object(data)
            require_keys(value, "the proposal", _MEMBERS)
            if value["kind"] != _KIND or value["format"] != FORMAT or type(value["format"]) is not int:
                malformed("it is no proposal of a trust bundle, or of another format")
            listed = fields.sequence(value["signatures"], "signatures", _MAX_SIGNATURES)
            proposal = cls(
                TrustBundle.from_bytes(decode_base64(value["present"], "present")),
                decode_base64(value["payload"], "payload"),
                tuple([_signature(entry) for entry in listed]),
            )
        except MalformedError as error:
            raise KeyseatError(
                ReasonCode.TRUST_INVALID,
                f"the file is not a usable proposal: {error.message}",
                next_step="Get it again from whoever made it.",
            ) from None
        proposal._check()
        return proposal

    def _check(self) -> None:
        offered = self.offered
        offered.check_keys()
        offered.refuse_example_keys()
        # A jump would leave no room for versions after it.
        if offered.version != self.present.version + 1:
            raise TrustError(
                ReasonCode.TRUST_INVALID,
                f"the proposal goes from version {self.present.version} to {offered.version}, not to the next",
            )
        self._require_own_ids()
        known = {signature.keyid for signature in self.signatures}
        if len(self.signed) != len(self.signatures) or len(known) != len(self.signatures):
            raise TrustError(
                ReasonCode.TRUST_INVALID,
                "a signature of the proposal does not hold, or is of none of its root keys",
                next_step="Somebody changed the file. Get it again from whoever made it, and tell them.",
            )

    def _require_own_ids(self) -> None:
        """Require that each key has the id derived from it, or the one that the present bundle knows it by.

        A file names its key by the id. Under another one nothing that a key has signed would count any more; and an
        id of free text could say on a holder's screen that the key is something else.
        """
        for key in _keys(self.offered).difference(_keys(self.present)):
            algorithm, raw, keyid = key
            if keyid != key_id(algorithm, raw):
                raise TrustError(
                    ReasonCode.TRUST_INVALID,
                    f"the proposal calls a key {keyid!a}, which is not the id that it has",
                    next_step="Do not sign it. Find out who made it.",
                )

    def to_bytes(self) -> bytes:
        """Write the proposal as compact JSON with a final newline."""
        value = {
            "kind": _KIND,
            "format": FORMAT,
            "present": encode_base64(self.present.data),
            "payload": encode_base64(self.payload),
            "signatures": [{"keyid": entry.keyid, "sig": encode_base64(entry.sig)} for entry in self.signatures],
        }
        return dumps_compact(value) + b"\n"

    @property
    def offered(self) -> TrustBundle:
        """The next version, not verified yet."""
        return unverified_bundle(self.payload)

    @property
    def roots(self) -> tuple[PublicKey, ...]:
        """The root keys of both versions, each once."""
        return tuple(dict.fromkeys([*self.present.root, *self.offered.root]))

    @property
    def signed(self) -> list[PublicKey]:
        """The root keys that have signed."""
        return Envelope(TRUST_TYPE, self.payload, self.signatures).signers(self.roots)

    @property
    def wanted(self) -> tuple[Quorum, ...]:
        """All that must be met: by the present root and the next one."""
        return (*self.present.quorums(), *self.offered.quorums())

    @property
    def digest(self) -> str:
        """``sha256:`` and the hex digest of what is signed: the same for all copies, with any signatures."""
        return "sha256:" + hashlib.sha256(self.payload).hexdigest()

    def missing(self) -> list[Quorum]:
        """Return who must sign yet; empty where it can be adopted."""
        return missing(self.wanted, self.signed)

    def sign(self, keys: Iterable[SigningKey]) -> "Proposal":
        """Return the proposal with signatures of these root keys added.

        Raises:
            KeyseatError: ``INVALID_INPUT`` for a key that is no root key of either version, ``ALREADY_EXISTS`` for one
                that has signed.
        """
        signed, added = self.signed, list(self.signatures)
        for key in keys:
            if key.public not in self.roots:
                raise KeyseatError(
                    ReasonCode.INVALID_INPUT,
                    f"{key.public.keyid} is a root key of neither version",
                    details={"root_keys": [root.keyid for root in self.roots]},
                )
            # As the bundles name it: signatures are looked up by that.
            listed = next(root for root in self.roots if root == key.public)
            if listed in signed:
                message = f"the root key {listed.keyid} has signed already"
                raise KeyseatError(ReasonCode.ALREADY_EXISTS, message, next_step="")
            added.append(Signature(listed.keyid, key.sign(pae(TRUST_TYPE, self.payload))))
            signed.append(listed)
        return self._replace(signatures=tuple(added))

    def to_bundle(self) -> bytes:
        """Return the bundle file: the signatures that it needs, then others as far as they fit.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE`` where signatures are missing.
        """
        if left := self.missing():
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                "the proposal lacks signatures",
                details={"missing": in_words(left)},
                cause=Cause.PROPOSAL_UNSIGNED,
            )
        by_key = {key: entry for key in self.signed for entry in self.signatures if entry.keyid == key.keyid}
        first = choose(by_key, self.wanted)
        taken = [*first, *fitting(by_key, self.payload, first)]
        return Envelope(TRUST_TYPE, self.payload, tuple([by_key[key] for key in taken])).to_bytes()

    def act(self) -> tuple[str, str]:
        """Return what the audit log says of it: the action, the gravest where it is several, and its subject.

        It is read from the versions themselves: a label would not be signed.
        """
        old, new = self.present, self.offered
        before = {entry.key: entry.status for entry in old.keys}
        after = {entry.key: entry.status for entry in new.keys}
        revoked = [key for key in after if after[key] == COMPROMISED != before.get(key)]
        if revoked:
            return KEY_REVOKED, revoked[0].keyid
        if (old.root, old.threshold) != (new.root, new.threshold):
            gone = [key.keyid for key in old.root if key not in new.root]
            return ROOT_ROTATED, gone[0] if gone else next(key.keyid for key in new.root)
        if (old.policy, old.signatures_required) == (new.policy, new.signatures_required):
            added = [key for key in after if key not in before]
            changed = [key for key in before if after.get(key) != before[key]]
            if added or changed:
                return (KEY_ADDED, added[0].keyid) if added else (KEY_RETIRED, changed[0].keyid)
            return RENEWED, fresh_subject(new.fresh_until)
        return POLICY_SET, new.policy.digest()


def _keys(trust: TrustBundle) -> set[tuple[str, bytes, str]]:
    """Return all keys of a bundle with their ids; two ``PublicKey`` are equal whatever their ids are."""
    listed = (*trust.root, *[entry.key for entry in trust.keys])
    return {(key.algorithm, key.raw, key.keyid) for key in listed}


def fresh_subject(until: datetime | None) -> str:
    """Return what the audit log says of a renewed version."""
    return f"fresh until {'no end' if until is None else format_instant(until)}"


def _signature(entry: object) -> Signature:
    value = fields.mapping(entry, "a signature")
    require_keys(value, "a signature", _SIGNATURE_MEMBERS)
    return Signature(fields.text(value["keyid"], "keyid"), decode_base64(value["sig"], "sig"))


def in_words(left: Sequence[Quorum]) -> list[str]:
    """Say who must sign, one sentence part for each: "2 of the ed25519 root keys ab…, cd…, ef…"."""
    said: list[str] = []
    for quorum in left:
        kind = f"{quorum.algorithm} root key" if quorum.algorithm else "root key"
        names = ", ".join([key.keyid for key in quorum.keys])
        all_of = quorum.needed == len(quorum.keys)
        if all_of:
            words = f"the {kind}{'s' if quorum.needed > 1 else ''} {names}"
        else:
            words = f"{quorum.needed} of the {kind}s {names}"
        if words not in said:
            said.append(words)
    return said


def read_proposal(path: Path) -> Proposal:
    """Read the proposal in a file.

    Raises:
        KeyseatError: ``UNREADABLE``, ``TRUST_INVALID`` or ``EXAMPLE_KEY``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"cannot read the proposal {str(path)!r}: {reason}",
            next_step="Name the file that the change wrote (proposals/ in the issuer's home).",
        ) from None
    if len(data) > MAX_FILE:
        raise KeyseatError(ReasonCode.TRUST_INVALID, f"{str(path)!r} is too large for a proposal")
    return Proposal.from_bytes(data)


def merged(proposals: Sequence[Proposal]) -> Proposal:
    """Return one proposal with the signatures of several copies, which different people signed at the same time.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where they are not copies of one.
    """
    first = proposals[0]
    found = {entry.keyid: entry for entry in first.signatures}
    for other in proposals[1:]:
        if (other.payload, other.present.data) != (first.payload, first.present.data):
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                "these files are different proposals, not copies of one",
                cause=Cause.PROPOSALS_DIFFER,
            )
        found |= {entry.keyid: entry for entry in other.signatures if entry.keyid not in found}
    return first._replace(signatures=tuple(found.values()))


def default_path(home: Path, proposal: Proposal) -> Path:
    """Return where a proposal is written by default."""
    make_private_folder(home / FOLDER)
    number = proposal.digest.partition(":")[2][:8]
    return home / FOLDER / f"trust-{proposal.present.version + 1}-{number}.json"


def write_proposal(path: Path, proposal: Proposal) -> None:
    """Write a proposal whole or not at all, for its owner only.

    Raises:
        KeyseatError: ``UNREADABLE``.
    """
    write_private(path, proposal.to_bytes())
