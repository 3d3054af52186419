"""The next version of the trust bundle as a draft: its content, and the rules it must meet before it is signed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.keys.signing import EnvelopeSigner
from keyseat_issuer.keys.store import SigningKey
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import MAX_SIGNATURES, TRUST_TYPE
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import PublicKey
from keyseat_shared.policy import Policy
from keyseat_shared.trust import ACTIVE, LEASE, LICENSE, Quorum, TrustBundle, TrustedKey, bundle_payload, quorums

MAX_ROOT_KEYS = 16
"""Root keys that a bundle lists at most (docs/spec/trust-bundle.md, section 1)."""

LIFETIME_DAYS: Mapping[str, int] = {LICENSE: 5 * 365 + 1, LEASE: 365}
"""Days a new key signs by default: long for licences (an offline client rarely gets a new bundle), short for
leases, whose key lives on a server."""


class Draft(NamedTuple):
    """What a bundle says, before it is signed."""

    version: int
    issued_at: datetime
    vendor: str
    root: tuple[PublicKey, ...]
    threshold: int
    keys: tuple[TrustedKey, ...]
    policy: Policy
    signatures_required: tuple[str, ...]
    fresh_until: datetime | None = None

    @classmethod
    def after(cls, trust: TrustBundle, now: datetime) -> "Draft":
        """Start the next version from ``trust``, unchanged but for its number and date, and fresh for as long again."""
        issued_at = max(now, trust.issued_at)
        span = None if trust.fresh_until is None else trust.fresh_until - trust.issued_at
        return cls(
            trust.version + 1,
            issued_at,
            trust.vendor,
            trust.root,
            trust.threshold,
            trust.keys,
            trust.policy,
            trust.signatures_required,
            None if span is None else issued_at + span,
        )

    def fresh_for(self, days: int) -> "Draft":
        """Return the draft, fresh for ``days`` days.

        Raises:
            KeyseatError: ``INVALID_INPUT``.
        """
        try:
            return self._replace(fresh_until=self.issued_at + timedelta(days=days))
        except OverflowError:
            raise KeyseatError(ReasonCode.INVALID_INPUT, f"{days} days reach beyond the year 9999") from None

    def payload(self) -> bytes:
        """Return what is signed."""
        return bundle_payload(**self._asdict())

    def quorums(self) -> tuple[Quorum, ...]:
        """Return all that must be met for the root of this version to have signed."""
        return quorums(self.root, self.threshold, self.signatures_required)

    def sign(self, signers: Sequence[SigningKey]) -> bytes:
        """Return the bundle file signed by these root keys."""
        return EnvelopeSigner(signers).sign(TRUST_TYPE, self.payload())


def new_trusted_key(key: PublicKey, purpose: str, now: datetime, days: int | None) -> TrustedKey:
    """Return the bundle's entry for a key that signs from ``now`` on, for ``days`` (default by purpose)."""
    lifetime = LIFETIME_DAYS[purpose] if days is None else days
    return TrustedKey(key, purpose, now, now + timedelta(days=lifetime), ACTIVE)


def find_key(trust: TrustBundle, keyid: str) -> TrustedKey:
    """Return the key whose id starts with ``keyid``.

    Raises:
        KeyseatError: ``NOT_FOUND``, or ``INVALID_INPUT`` where several start so or it is a root key.
    """
    found = [key for key in trust.keys if key.key.keyid.startswith(keyid.lower())]
    if len(found) == 1 and keyid:
        return found[0]
    if found:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{len(found)} keys start with {keyid!r}; write more of the id")
    if any(key.keyid.startswith(keyid.lower()) for key in trust.root):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{keyid!r} is a root key",
            cause=Cause.KEY_IS_ROOT,
        )
    raise KeyseatError(
        ReasonCode.NOT_FOUND,
        f"the trust bundle has no key {keyid[:40]!r}",
        cause=Cause.KEY_UNKNOWN,
    )


def find_root_key(trust: TrustBundle, keyid: str) -> PublicKey:
    """Return the root key whose id starts with ``keyid``.

    Raises:
        KeyseatError: ``NOT_FOUND``, or ``INVALID_INPUT`` where several start so.
    """
    found = [key for key in trust.root if key.keyid.startswith(keyid.lower())]
    if len(found) == 1 and keyid:
        return found[0]
    if found:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{len(found)} root keys start with {keyid!r}; write more of the id",
            details={"root_keys": [key.keyid for key in found]},
        )
    raise KeyseatError(
        ReasonCode.NOT_FOUND,
        f"there is no root key {keyid[:40]!r}",
        cause=Cause.ROOT_KEY_UNKNOWN,
    )


def refuse_known(trust: TrustBundle, public: PublicKey) -> None:
    """Refuse to list a key a second time.

    Raises:
        KeyseatError: ``ALREADY_EXISTS``.
    """
    if public in (*trust.root, *[key.key for key in trust.keys]):
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS, f"the key {public.keyid} is in the trust bundle already", next_step=""
        )


def require_keys_for(trust: TrustBundle, required: tuple[str, ...]) -> None:
    """Refuse to require signatures that no key of the bundle could make, or whose root could be replaced without them.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    for purpose in (LICENSE, LEASE):
        have = {key.key.algorithm for key in trust.keys if (key.purpose, key.status) == (purpose, ACTIVE)}
        for algorithm in required:
            if algorithm not in have:
                raise KeyseatError(
                    ReasonCode.INVALID_INPUT,
                    f"no active {purpose} key could make the {algorithm} signature",
                    details={"purpose": purpose, "algorithm": algorithm},
                    cause=Cause.KEY_NEEDED,
                )
    for algorithm in required:
        if algorithm in trust.signatures_required:
            continue  # as it was; of a hybrid bundle without such a root `trust show` warns
        count = len([key for key in trust.root if key.algorithm == algorithm])
        if count < trust.threshold:
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"{trust.threshold} {algorithm} root key(s) must sign then, and there are {count}",
                cause=Cause.HYBRID_ROOT_NEEDED,
            )
    if required != trust.signatures_required and not trust.algorithms_without_root():
        require_sound_root(trust.root, trust.threshold, required)
    gone = [name for name in trust.algorithms_without_root() if name not in required]
    if gone:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"clients would refuse it: there is no {gone[0]} root key that could agree to drop {gone[0]}",
            cause=Cause.HYBRID_ROOT_NEEDED,
        )


def require_sound_root(root: tuple[PublicKey, ...], threshold: int, algorithms: tuple[str, ...]) -> None:
    """Refuse root keys whose threshold could not be met, or of which none could be replaced any more.

    ``algorithms`` are those of which the threshold must sign. A file holds 8 signatures; where every key must sign,
    replacing one takes one signature more.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    if len(root) > MAX_ROOT_KEYS:
        message = f"a trust bundle lists at most {MAX_ROOT_KEYS} root keys; these are {len(root)}"
        raise KeyseatError(ReasonCode.INVALID_INPUT, message)
    counts = {name: len([key for key in root if key.algorithm == name]) for name in algorithms}
    require_sound_counts(counts, threshold)


def require_sound_counts(counts: Mapping[str, int], threshold: int) -> None:
    """As above, for a number of root keys of each algorithm.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    for name, count in counts.items():
        if count < threshold:
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"a threshold of {threshold} needs as many {name} root keys; there would be {count}",
                next_step="Choose a lower threshold, or more root keys.",
            )
    if threshold * len(counts) + (threshold in counts.values()) > MAX_SIGNATURES:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"a trust bundle holds at most {MAX_SIGNATURES} signatures: with a threshold of {threshold} no root key"
            " could be replaced any more",
            next_step="Choose a lower threshold.",
        )
