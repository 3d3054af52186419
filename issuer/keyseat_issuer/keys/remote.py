"""Keys in an HSM, a cloud KMS or a vault, through securesystemslib's `Signer` and its private key URIs."""

from importlib.metadata import entry_points

from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import (  # type: ignore[attr-defined]  # its public names, but it has no __all__
    SIGNER_FOR_URI_SCHEME,
    Signer,
    SSlibKey,
)

from keyseat_issuer.keys.passphrase import Passphrase, ask
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import ED25519, SIGNATURE_SIZE, PublicKey

ENTRY_POINTS = "keyseat.signers"
"""Entry point group in which an installed package offers a ``Signer`` class under the name of its URI scheme."""

_NEXT = "Check the URI, that the device or service is reachable, and its credentials."


class RemoteKey:
    """A signing key behind a ``Signer``. Ed25519 only: Signers prepare ML-DSA messages in another way than we do."""

    def __init__(self, public: PublicKey, signer: Signer) -> None:
        """Join the public key of the trust bundle to the signer that holds its private half."""
        self.public = public
        self._signer = signer

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE`` where the device fails, or signs with another key.
        """
        try:
            signature = bytes.fromhex(self._signer.sign(message).signature)
        except (SecureSystemsError, OSError, ValueError, RuntimeError) as error:
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                f"the key {self.public.keyid} did not sign ({type(error).__name__})",
                next_step=_NEXT,
            ) from None
        # A device that answers with another key would else be noticed only in the customer's hands.
        if len(signature) != SIGNATURE_SIZE[ED25519] or not self.public.verifies(signature, message):
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                f"what signed for {self.public.keyid} is not the key of the trust bundle",
                next_step=_NEXT,
            )
        return signature


def open_remote_key(uri: str, public: PublicKey, passphrase: Passphrase) -> RemoteKey:
    """Open the key a URI names (``hv:`` of securesystemslib, or the scheme of an installed package).

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE``, or ``INVALID_INPUT`` for an unknown scheme or a key that is not Ed25519.
    """
    scheme = uri.partition(":")[0]
    if public.algorithm != ED25519:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "a key outside this machine must be an Ed25519 key")
    try:
        signer = _signer_class(scheme).from_priv_key_uri(uri, as_sslib_key(public), lambda _name: ask(passphrase))
    except (SecureSystemsError, OSError, ValueError, RuntimeError, ImportError) as error:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"cannot open the key {public.keyid} through its {scheme!r} URI ({type(error).__name__})",
            next_step=_NEXT,
        ) from None
    return RemoteKey(public, signer)


def _signer_class(scheme: str) -> type[Signer]:
    """Return the class for a URI scheme: securesystemslib's, or one that an installed package offers."""
    found: type[Signer] | None = SIGNER_FOR_URI_SCHEME.get(scheme)
    if found is not None:
        return found
    offered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if scheme not in offered:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"there is no signer for {scheme!r} URIs",
            details={"known": sorted({*SIGNER_FOR_URI_SCHEME, *offered})},
            next_step=f"Install the package that brings it (entry point group {ENTRY_POINTS!r}).",
        )
    loaded: type[Signer] = offered[scheme].load()
    return loaded


def as_sslib_key(public: PublicKey) -> SSlibKey:
    """Return an Ed25519 public key as securesystemslib has it, under our key id."""
    return SSlibKey(public.keyid, "ed25519", "ed25519", {"public": public.raw.hex()})
