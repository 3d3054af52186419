"""Private keys: making, keeping and opening them. One file each, `<purpose>-<keyid>.pem`, encrypted, owner only.

A key that lives in an HSM or a cloud KMS has a `<purpose>-<keyid>.uri` file instead, which names it.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from keyseat_issuer.causes import Cause
from keyseat_issuer.home import KEYS_FOLDER, make_private_folder, write_private
from keyseat_issuer.keys.passphrase import Passphrase, ask
from keyseat_issuer.keys.pkcs8 import decrypt_private_key, encrypt_private_key
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import ED25519, ML_DSA_65, ML_DSA_CONTEXT, PublicKey, key_id

ROOT = "root"

_MAX_FILE = 64 * 1024
_KEY_FILES = (".pem", ".uri")


class SigningKey(Protocol):
    """What signs: a key in memory, in an HSM or in a KMS."""

    @property
    def public(self) -> PublicKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature over ``message``."""


class PrivateKey:
    """A private key in memory. It never shows its secret: not in ``repr``, not in an error."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: Ed25519PrivateKey | MLDSA65PrivateKey) -> None:
        """Take a key of the ``cryptography`` package and derive its public half and key id."""
        self._secret = secret
        algorithm = ED25519 if isinstance(secret, Ed25519PrivateKey) else ML_DSA_65
        raw = secret.public_key().public_bytes_raw()
        self.public = PublicKey(algorithm, raw, key_id(algorithm, raw))

    @classmethod
    def generate(cls, algorithm: str) -> "PrivateKey":
        """Make a new key of the algorithm (``ed25519`` or ``ml-dsa-65``).

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE`` where the installed OpenSSL has no ML-DSA.
        """
        try:
            return cls(Ed25519PrivateKey.generate() if algorithm == ED25519 else MLDSA65PrivateKey.generate())
        except UnsupportedAlgorithm:
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                f"the installed cryptography library has no {algorithm}",
                next_step="Install the wheel of cryptography 48 or later from your package index.",
            ) from None

    @classmethod
    def from_seed(cls, algorithm: str, seed: bytes) -> "PrivateKey":
        """Make the key of a 32-byte seed (RFC 8032 5.1.5; FIPS 204, algorithm 6)."""
        if algorithm == ED25519:
            return cls(Ed25519PrivateKey.from_private_bytes(seed))
        return cls(MLDSA65PrivateKey.from_seed_bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature; ML-DSA-65 signs under the context string of this project's envelopes."""
        if isinstance(self._secret, Ed25519PrivateKey):
            return self._secret.sign(message)
        return self._secret.sign(message, ML_DSA_CONTEXT)

    def to_pem(self, passphrase: str, *, salt: bytes | None = None, iv: bytes | None = None) -> bytes:
        """Return the encrypted file content (about 0.4 s of scrypt)."""
        return encrypt_private_key(self._secret, passphrase, salt=salt, iv=iv)

    def public_pem(self) -> bytes:
        """Return the public half as a PEM file: what others list it by."""
        return self._secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.algorithm}, {self.public.keyid})"


class StoredKey(NamedTuple):
    """A key file: ``kind`` is ``pem`` or ``uri``."""

    purpose: str
    keyid: str
    kind: str
    path: Path


class KeyStore:
    """The folder of private keys. ``elsewhere`` are folders to look in as well: where root keys are kept offline."""

    def __init__(self, home: Path, elsewhere: Sequence[Path] = ()) -> None:
        """Use ``home``/keys; nothing is read yet."""
        self.folder = home / KEYS_FOLDER
        self._elsewhere = tuple(elsewhere)

    def find(self, keyid: str) -> StoredKey | None:
        """Return the file of a key, or ``None`` where it is not here."""
        return next((stored for stored in self.stored() if stored.keyid == keyid), None)

    def stored(self) -> Iterator[StoredKey]:
        """Go through the key files, those kept elsewhere last."""
        for folder in (self.folder, *self._elsewhere):
            if not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                purpose, dash, keyid = path.stem.partition("-")
                if dash and path.suffix in _KEY_FILES:
                    yield StoredKey(purpose, keyid, path.suffix[1:], path)

    def exposed(self) -> tuple[Path, ...]:
        """Return the files of private keys that others than their owner may read: a passphrase alone protects them."""
        if os.name != "posix":
            return ()
        return tuple(
            [stored.path for stored in self.stored() if stored.kind == "pem" and stored.path.stat().st_mode & 0o077]
        )

    def save(self, purpose: str, key: PrivateKey, passphrase: str) -> Path:
        """Write a key, encrypted. Root keys go to the first folder elsewhere, where there is one."""
        path = self._place(purpose) / f"{purpose}-{key.public.keyid}.pem"
        write_private(path, key.to_pem(passphrase))
        return path

    def save_uri(self, purpose: str, public: PublicKey, uri: str) -> Path:
        """Write where a key in an HSM or KMS is found (a ``securesystemslib`` private key URI, which is not secret)."""
        path = self._place(purpose) / f"{purpose}-{public.keyid}.uri"
        write_private(path, uri.strip().encode() + b"\n")
        return path

    def _place(self, purpose: str) -> Path:
        if purpose == ROOT and self._elsewhere:
            return self._elsewhere[0]
        make_private_folder(self.folder)
        return self.folder

    def open(self, public: PublicKey, passphrase: Passphrase) -> SigningKey:
        """Open the private half of ``public``.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``: not here, wrong passphrase, not a key file, or of another key.
        """
        stored = self.find(public.keyid)
        if stored is None:
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                f"the private key {public.keyid} is not in {str(self.folder)!r}",
                details={"keyid": public.keyid},
                cause=Cause.KEY_FILE_MISSING,
            )
        content = read_bounded(stored.path)
        if stored.kind == "uri":
            # Late: few keys are remote, and nobody else should pay for importing securesystemslib.
            from keyseat_issuer.keys.remote import open_remote_key  # noqa: PLC0415

            return open_remote_key(content.decode("utf-8", "replace").strip(), public, passphrase)
        key = parse_private_key(content, ask(passphrase), str(stored.path))
        if key.public != public:
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                f"{str(stored.path)!r} holds another key than its name says",
                next_step="Restore the file from your backup.",
            )
        return key


def read_bounded(path: Path) -> bytes:
    """Read a small file.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE`` that names the file and the reason.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"cannot read the key file {str(path)!r}: {error.strerror}",
            next_step="Check that it exists and that you may read it.",
        ) from None


def is_encrypted(pem: bytes) -> bool:
    """Tell whether a PEM file asks for a passphrase (RFC 7468, section 11; RFC 1421, 4.6.1.1)."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def parse_private_key(pem: bytes, passphrase: str, name: str, *, wrong: str | None = None) -> PrivateKey:
    """Read a PKCS#8 PEM of an Ed25519 or ML-DSA-65 key.

    Args:
        pem: the file's content.
        passphrase: of the file; empty where it is not encrypted.
        name: how the file is called in an error.
        wrong: what to do next about a wrong passphrase, where it is not the one chosen for the issuer's home.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE``: wrong passphrase, not such a file, or another algorithm.
    """
    if b"PRIVATE KEY-----" not in pem:
        raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, f"{name!r} is not a private key in PEM form")
    try:
        secret = decrypt_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        is_wrong = "password" in str(error).lower()
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"wrong passphrase for {name!r}" if is_wrong else f"{name!r} is not a readable private key",
            next_step=wrong if is_wrong else "Restore the file from your backup.",
            cause=Cause.PASSPHRASE_WRONG if is_wrong and wrong is None else "",
        ) from None
    if not isinstance(secret, (Ed25519PrivateKey, MLDSA65PrivateKey)):
        raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, f"{name!r} is neither an Ed25519 nor an ML-DSA-65 key")
    return PrivateKey(secret)


def parse_public_key(path: Path) -> PublicKey:
    """Read the public half of an Ed25519 or ML-DSA-65 key from a PEM file.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE``.
    """
    try:
        key = load_pem_public_key(read_bounded(path))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, f"{str(path)!r} is not a public key in PEM form") from None
    if not isinstance(key, (Ed25519PublicKey, MLDSA65PublicKey)):
        raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, f"{str(path)!r} is neither an Ed25519 nor an ML-DSA-65 key")
    raw = key.public_bytes_raw()
    algorithm = ED25519 if isinstance(key, Ed25519PublicKey) else ML_DSA_65
    public = PublicKey(algorithm, raw, key_id(algorithm, raw))
    public.check()
    return public
