"""Signing a proposal where the root key is: which keys, and whether its starting point is the bundle in force."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.home import write_private
from keyseat_issuer.keys.roots import RootKeys
from keyseat_issuer.keys.store import KeyStore, SigningKey, parse_private_key, read_bounded
from keyseat_issuer.trust.proposals import Proposal
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.trust import TrustBundle, unverified_bundle

SEEN_FILE = "trust-seen.json"
SIGNED_FILE = "trust-signed.json"


class Seen(NamedTuple):
    """What is known in a folder of keys: the newest bundle whose successor was signed there, and that successor.

    ``signed`` is the payload of the newest version signed; nobody but this key need have signed it. Both are ``None``
    where there was none yet.
    """

    folder: Path
    trust: TrustBundle | None
    signed: bytes | None = None

    @classmethod
    def beside(cls, key: Path) -> "Seen":
        """Read what is kept beside a key file, or in a folder of keys.

        Raises:
            KeyseatError: ``UNREADABLE`` where the note is damaged: it must not count as none.
        """
        folder = key if key.is_dir() else key.absolute().parent
        path = folder / SEEN_FILE
        try:
            trust = TrustBundle.load(path) if path.exists() else None
            path = folder / SIGNED_FILE
            signed = read_bounded(path) if path.exists() else None
            if signed is not None:
                unverified_bundle(signed)
        except KeyseatError as error:
            raise KeyseatError(
                ReasonCode.UNREADABLE,
                f"{str(path)!r}, which says what this key signed last, is damaged: {error.message}",
                cause=Cause.SIGNED_NOTE_DAMAGED,
            ) from None
        return cls(folder, trust, signed)

    @property
    def last(self) -> TrustBundle | None:
        """The version that was signed here last. It may lack other signatures."""
        return None if self.signed is None else unverified_bundle(self.signed)

    def remember(self, proposal: Proposal) -> str | None:
        """Keep what was signed for the next time; return what to tell where that fails, as on a read-only medium."""
        try:
            if self.trust is None or self.trust.version <= proposal.present.version:
                write_private(self.folder / SEEN_FILE, proposal.present.data)
            write_private(self.folder / SIGNED_FILE, proposal.payload)
        except KeyseatError as error:
            return f"{error.message}. An older proposal will not be noticed with this key."
        return None


class Other(NamedTuple):
    """Another version that was signed here, which the proposal would replace: its number, digest and payload."""

    version: int
    digest: str
    trust: TrustBundle


def signed_instead(proposal: Proposal, seen: Sequence[Seen]) -> Other | None:
    """Return what a key here has signed of the proposal's version or a later one, if that is something else.

    Two bundles of one version undo each other: an attacker who has both can hand clients the one in which a revoked
    key is active. A proposal that was dropped is a good reason to sign another; its holder must say so.
    """
    for entry in seen:
        last = entry.last
        if last is not None and entry.signed != proposal.payload and last.version >= proposal.offered.version:
            return Other(last.version, "sha256:" + hashlib.sha256(entry.signed or b"").hexdigest(), last)
    return None


def require_instead(other: Other | None, digest: str | None) -> None:
    """Require that a holder names the version that the proposal replaces.

    Raises:
        TrustError: ``TRUST_INVALID``.
    """
    if other is None or digest == other.digest:
        return
    raise TrustError(
        ReasonCode.TRUST_INVALID,
        f"this key has signed another version {other.version} before ({other.digest}); nothing was signed",
        details={"version": other.version, "digest": other.digest},
        cause=Cause.SIGNED_ANOTHER,
    )


def check_present(proposal: Proposal, seen: Sequence[Seen], named: Path | None) -> bool:
    """Require that a proposal changes the bundle in force, as far as it is known here; ``False`` where nothing is.

    Whoever has the issuer's computer, but no root key, could else show changes against an old bundle (a key revoked
    since would come back unmentioned) or against one of their own making.

    Raises:
        TrustError: ``TRUST_ROLLBACK`` for an older bundle, ``TRUST_INVALID`` for one that does not follow.
    """
    base = proposal.present
    if named is not None:
        if TrustBundle.load(named).data != base.data:
            raise TrustError(
                ReasonCode.TRUST_INVALID,
                f"the proposal changes another trust bundle than {str(named)!r}; nothing was signed",
                next_step="Do not sign it. Find out who made it, and from what.",
            )
        return True
    known = [(entry, entry.trust) for entry in seen if entry.trust is not None]
    for entry, trust in known:
        if base.version < trust.version:
            raise TrustError(
                ReasonCode.TRUST_ROLLBACK,
                f"the proposal changes version {base.version}, and version {trust.version} was seen here before;"
                " nothing was signed",
                next_step="Ask for a proposal made from the version in force.",
            )
        try:
            if base.version > trust.version and not _follows_what_was_signed(base, entry):
                trust.update(base.data)
        except TrustError as error:
            raise TrustError(
                error.code,
                f"version {base.version} does not follow from version {trust.version}, which was seen here before:"
                f" {error.message}",
                cause=Cause.BUNDLE_NOT_THE_ONE_SEEN,
            ) from None
        if base.version == trust.version and base.data != trust.data:
            raise TrustError(
                ReasonCode.TRUST_INVALID,
                f"the proposal changes another version {base.version} than was seen here before; nothing was signed",
                next_step="Do not sign it. There are two bundles of one version: find out who made the other.",
            )
    return bool(known)


def _follows_what_was_signed(base: TrustBundle, entry: Seen) -> bool:
    """Tell whether a bundle is the version signed here last, or follows from it: the holder vouched for its root."""
    last = entry.last
    if last is None or last.version > base.version:
        return False
    if last.version == base.version:
        return Envelope.from_bytes(base.data).payload == entry.signed
    try:
        last.update(base.data)
    except TrustError:
        return False
    return True


def open_keys(proposal: Proposal, paths: Sequence[Path], asked: Callable[[], str]) -> list[SigningKey]:
    """Open the keys that paths name: each file, and of a folder every root key that can sign and has not.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE``.
    """
    found: list[SigningKey] = []
    for path in paths:
        if path.is_dir():
            found += _of_folder(proposal, path, asked)
        elif path.suffix == ".uri":
            found += _of_uri(proposal, path, asked)
        else:
            found.append(parse_private_key(read_bounded(path), asked(), str(path), wrong=_WRONG))
    return found


_WRONG = "Try again with the passphrase of this root key."


def _of_folder(proposal: Proposal, folder: Path, asked: Callable[[], str]) -> list[SigningKey]:
    roots = RootKeys(KeyStore(folder, [folder]), lambda _key: iter([asked()]))
    signed = proposal.signed
    here = [key for key in roots.are_here(proposal.roots) if key not in signed]
    if not here:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"{str(folder)!r} holds no root key that this proposal still lacks",
            details={"root_keys": [key.keyid for key in proposal.roots]},
            cause=Cause.NO_ROOT_KEY_TO_SIGN,
        )
    return [roots.open(key) for key in here]


def _of_uri(proposal: Proposal, path: Path, asked: Callable[[], str]) -> list[SigningKey]:
    keyid = path.stem.partition("-")[2]
    public = next((key for key in proposal.roots if key.keyid == keyid), None)
    if public is None:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"{str(path)!r} is not named after a root key of this proposal (root-KEYID.uri)",
            details={"root_keys": [key.keyid for key in proposal.roots]},
        )
    # Late: few keys are remote, and nobody else should pay for importing securesystemslib.
    from keyseat_issuer.keys.remote import open_remote_key  # noqa: PLC0415

    return [open_remote_key(read_bounded(path).decode("utf-8", "replace").strip(), public, asked)]
