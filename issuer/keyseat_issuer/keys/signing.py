"""Signing envelopes: which keys sign licences and leases at an instant, and the signatures themselves."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from keyseat_issuer.causes import Cause
from keyseat_issuer.keys.passphrase import Passphrase, ask
from keyseat_issuer.keys.store import KeyStore, SigningKey
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope, Signature, pae
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import CLOCK_TOLERANCE, format_instant
from keyseat_shared.trust import ACTIVE, LEASE, LICENSE, TrustBundle, TrustedKey


class EnvelopeSigner:
    """Signs payloads with one or more keys. Opened once a run: unlocking costs 0.4 s a key, signing 40 µs.

    Local keys sign directly: securesystemslib takes longer to import than a hundred signatures to make. Keys
    elsewhere go through its ``Signer`` (``keyseat_issuer.keys.remote``). Threads may share one.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        """Take the keys that all sign every payload, in the order in which their signatures are listed."""
        if not keys:
            msg = "an envelope needs at least one signing key"
            raise ValueError(msg)
        self._keys = tuple(keys)

    @property
    def keyids(self) -> tuple[str, ...]:
        """The ids of the keys that sign."""
        return tuple([key.public.keyid for key in self._keys])

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signed envelope of ``payload`` as file content."""
        message = pae(payload_type, payload)
        signatures = tuple([Signature(key.public.keyid, key.sign(message)) for key in self._keys])
        return Envelope(payload_type, payload, signatures).to_bytes()


def open_license_signer(home: Path, trust: TrustBundle, passphrase: Passphrase, now: datetime) -> EnvelopeSigner:
    """Open the keys that sign licences at ``now``: one for each algorithm the bundle requires.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE`` with what is missing.
    """
    return _open(LICENSE, home, trust, passphrase, now)


def open_lease_signer(home: Path, trust: TrustBundle, passphrase: Passphrase, now: datetime) -> EnvelopeSigner:
    """Open the keys that sign leases at ``now``: the only ones an online server needs.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE`` with what is missing.
    """
    return _open(LEASE, home, trust, passphrase, now)


def choose_key(trust: TrustBundle, purpose: str, algorithm: str, now: datetime, store: KeyStore) -> TrustedKey:
    """Return the newest active key for the purpose that is valid at ``now`` and whose private half is here.

    A key is left alone in the last 5 minutes of its window: the ledger's time may be as far ahead of ``now``.

    Raises:
        KeyseatError: ``KEY_UNAVAILABLE`` that says whether no key is valid, or not yet, or no file is here
            (``details["lacks"]`` then has the ids).
    """
    valid = [
        key
        for key in trust.keys
        if _signs(key, purpose, algorithm) and key.valid_from <= now < key.valid_until - CLOCK_TOLERANCE
    ]
    here = [key for key in valid if store.find(key.key.keyid) is not None]
    if here:
        return max(here, key=lambda key: key.valid_from)
    if valid:
        lacks = [key.key.keyid for key in sorted(valid, key=lambda key: key.valid_from, reverse=True)]
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"the private {algorithm} {purpose} key is not on this host",
            details={"lacks": lacks},
            next_step=f"Copy keys/{purpose}-{lacks[0]}.pem to the home on this host, from a backup or another host.",
        )
    later = [key.valid_from for key in trust.keys if _signs(key, purpose, algorithm) and now < key.valid_from]
    if later:
        raise KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"the trust bundle's {algorithm} {purpose} keys are valid from {format_instant(min(later))} on, and this"
            f" machine's clock says {format_instant(now)}",
            next_step="Set the clock of this machine to the right time. If it is right, wait until then.",
        )
    raise KeyseatError(
        ReasonCode.KEY_UNAVAILABLE,
        f"the trust bundle has no active {algorithm} {purpose} key valid at {format_instant(now)}",
        details={"purpose": purpose, "algorithm": algorithm},
        cause=Cause.KEY_NEEDED,
    )


def _signs(key: TrustedKey, purpose: str, algorithm: str) -> bool:
    return (key.purpose, key.key.algorithm, key.status) == (purpose, algorithm, ACTIVE)


def _open(purpose: str, home: Path, trust: TrustBundle, passphrase: Passphrase, now: datetime) -> EnvelopeSigner:
    store = KeyStore(home)
    chosen = [choose_key(trust, purpose, algorithm, now, store) for algorithm in trust.signatures_required]
    asked = once(passphrase)
    return EnvelopeSigner([store.open(key.key, asked) for key in chosen])


def once(passphrase: Passphrase) -> Passphrase:
    """Return a question that is put to the person once, however many files need the answer."""
    if isinstance(passphrase, str):
        return passphrase
    answers: list[str] = []

    def answer() -> str:
        if not answers:
            answers.append(ask(passphrase))
        return answers[0]

    return answer
