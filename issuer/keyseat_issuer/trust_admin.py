"""Changing the trust bundle: every change is a new version, root-signed, checked as a client would, and audited.

Order of a change: the new version goes into the history folder, then with its whole text into the ledger
in one transaction, then becomes ``trust.json``. After a crash in between, ``trust_history.current_trust``
finishes what the ledger says, and forgets what it does not know.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from keyseat_issuer.database import ledger_errors, require_ready
from keyseat_issuer.home import TRUST_FILE, exclusive, write_private
from keyseat_issuer.keystore import ROOT, KeyStore, Passphrase, PrivateKey, SigningKey
from keyseat_issuer.signing import EnvelopeSigner, once
from keyseat_issuer.trust_history import (
    BUNDLE_ACTIONS,
    KEY_ADDED,
    KEY_RETIRED,
    KEY_REVOKED,
    POLICY_SET,
    RENEWED,
    ROOT_ROTATED,
    audit_details,
    bundle_digest,
    damaged,
    history,
    read_details,
    reconciled,
    write_history,
)
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import MAX_SIGNATURES, TRUST_TYPE
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.instants import format_instant
from keyseat_shared.keys import ED25519, PublicKey
from keyseat_shared.policy import Policy
from keyseat_shared.trust import ACTIVE, COMPROMISED, LEASE, LICENSE, RETIRED, TrustBundle, TrustedKey, bundle_payload

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

    def sign(self, signers: Sequence[SigningKey]) -> bytes:
        """Return the bundle file signed by these root keys."""
        return EnvelopeSigner(signers).sign(TRUST_TYPE, bundle_payload(**self._asdict()))


def new_trusted_key(key: PublicKey, purpose: str, now: datetime, days: int | None) -> TrustedKey:
    """Return the bundle's entry for a key that signs from ``now`` on, for ``days`` (default by purpose)."""
    lifetime = LIFETIME_DAYS[purpose] if days is None else days
    return TrustedKey(key, purpose, now, now + timedelta(days=lifetime), ACTIVE)


class TrustAdmin:
    """Makes new versions of the trust bundle in ``home``. The passphrase is asked for only when a key is needed.

    ``root_folder`` is where the root key is, if it is kept away from the home (it should be).
    """

    def __init__(
        self, home: Path, passphrase: Passphrase, *, actor: str, now: datetime, root_folder: Path | None = None
    ) -> None:
        """Keep who acts, when, and where the keys are."""
        self._home = home
        self._store = KeyStore(home, root_folder)
        self._passphrase = once(passphrase)
        self._actor = actor
        self._now = now

    def add_key(self, purpose: str, algorithm: str = ED25519, *, days: int | None = None) -> TrustedKey:
        """Make a key, keep it encrypted, and list it in a new version.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE`` and others of a change.
        """
        return self._add(purpose, PrivateKey.generate(algorithm), days)

    def import_key(self, purpose: str, key: PrivateKey, *, days: int | None = None) -> TrustedKey:
        """List a key that was made elsewhere, and keep it encrypted under the issuer's passphrase.

        Raises:
            KeyseatError: ``ALREADY_EXISTS`` and others of a change.
        """
        return self._add(purpose, key, days)

    def add_remote_key(self, purpose: str, public: PublicKey, uri: str, *, days: int | None = None) -> TrustedKey:
        """List a key that lives in an HSM or KMS, once it has shown that it signs.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``, ``INVALID_INPUT`` and others of a change.
        """
        from keyseat_issuer.remote_key import open_remote_key  # noqa: PLC0415 - few keys are remote

        open_remote_key(uri, public, self._passphrase).sign(b"keyseat: does this key sign?")
        with self._changing() as (trust, now):
            _refuse_known(trust, public)
            path = self._store.save_uri(purpose, public, uri)
            entry = new_trusted_key(public, purpose, now, days)
            draft = _with_key(Draft.after(trust, now), entry)
            self._publish(trust, draft, KEY_ADDED, public.keyid, key_file=path)
        return entry

    def _add(self, purpose: str, key: PrivateKey, days: int | None) -> TrustedKey:
        with self._changing() as (trust, now):
            _refuse_known(trust, key.public)
            signers = self._root_signers(trust)
            path = self._store.save(purpose, key, self._asked())
            entry = new_trusted_key(key.public, purpose, now, days)
            draft = _with_key(Draft.after(trust, now), entry)
            self._publish(trust, draft, KEY_ADDED, key.public.keyid, signers=signers, key_file=path)
        return entry

    def retire_key(self, keyid: str) -> TrustedKey:
        """Stop signing with a key. What it signed stays valid.

        Raises:
            KeyseatError: ``NOT_FOUND``, or ``ALREADY_EXISTS`` where it is retired or revoked already.
        """
        return self._set_status(keyid, RETIRED, KEY_RETIRED)

    def revoke_key(self, keyid: str) -> TrustedKey:
        """Mark a key as compromised: everything it ever signed is refused by clients that have the new version.

        Raises:
            KeyseatError: ``NOT_FOUND``, or ``ALREADY_EXISTS`` where it is revoked already.
        """
        return self._set_status(keyid, COMPROMISED, KEY_REVOKED)

    def _set_status(self, keyid: str, status: str, action: str) -> TrustedKey:
        with self._changing() as (trust, now):
            old = find_key(trust, keyid)
            if old.status in {status, COMPROMISED}:
                raise KeyseatError(
                    ReasonCode.ALREADY_EXISTS, f"the key {old.key.keyid} is {old.status} already", next_step=""
                )
            entry = old._replace(status=status)
            keys = tuple([entry if key is old else key for key in trust.keys])
            self._publish(trust, Draft.after(trust, now)._replace(keys=keys), action, old.key.keyid)
        return entry

    def rotate_root(self, keyid: str | None = None) -> tuple[PublicKey, PublicKey]:
        """Replace a root key (``keyid`` says which, where there are several). Return the old and the new one.

        Signed by the old and the new root keys, so that clients that pinned the old one go along.

        Raises:
            KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``, ``KEY_UNAVAILABLE`` and others of a change.
        """
        with self._changing() as (trust, now):
            old = _root_key(trust, keyid)
            signers = self._root_signers(trust)
            new = PrivateKey.generate(ED25519)
            path = self._store.save(ROOT, new, self._asked())
            root = tuple([new.public if key is old else key for key in trust.root])
            draft = Draft.after(trust, now)._replace(root=root)
            self._publish(trust, draft, ROOT_ROTATED, old.keyid, signers=[new, *signers], key_file=path)
        return old, new.public

    def set_policy(self, policy: Policy, signatures_required: tuple[str, ...] | None = None) -> TrustBundle:
        """Put other rules into force.

        Raises:
            KeyseatError: ``INVALID_INPUT`` where nothing changes, or no key could make a signature required.
        """
        with self._changing() as (trust, now):
            required = trust.signatures_required if signatures_required is None else signatures_required
            if (policy, required) == (trust.policy, trust.signatures_required):
                raise KeyseatError(ReasonCode.INVALID_INPUT, "the policy says all that already")
            _require_keys_for(trust, required)
            draft = Draft.after(trust, now)._replace(policy=policy, signatures_required=required)
            return self._publish(trust, draft, POLICY_SET, policy.digest())

    def renew(self, days: int | None = None, *, never_stale: bool = False) -> TrustBundle:
        """Sign the same rules and keys anew, fresh for ``days`` (by default for as long as the present version).

        Raises:
            KeyseatError: ``INVALID_INPUT`` where the present version is never stale, and others of a change.
        """
        with self._changing() as (trust, now):
            draft = Draft.after(trust, now)
            if never_stale:
                draft = draft._replace(fresh_until=None)
            elif days is not None:
                draft = draft._replace(fresh_until=_days_after(draft.issued_at, days))
            if trust.fresh_until is None and draft.fresh_until is None:
                raise KeyseatError(
                    ReasonCode.INVALID_INPUT,
                    "the trust bundle never gets stale, so there is nothing to renew",
                    next_step="Say for how many days each version is to be fresh: --fresh-days N.",
                )
            until = "no end" if draft.fresh_until is None else format_instant(draft.fresh_until)
            return self._publish(trust, draft, RENEWED, f"fresh until {until}")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[TrustBundle, datetime]]:
        """Hold the home, and start from the bundle in force at the ledger's time."""
        require_ready()
        from keyseat_issuer.ledger.services.ledger_time import ledger_now  # noqa: PLC0415 - Django is set up by now

        with exclusive(self._home):
            with ledger_errors():
                now = ledger_now(self._now)
            yield reconciled(self._home), now

    def _asked(self) -> str:
        return self._passphrase if isinstance(self._passphrase, str) else self._passphrase()

    def _root_signers(self, trust: TrustBundle) -> list[SigningKey]:
        """Open root keys up to the threshold, then former ones that are still here.

        A client that pinned a former root key can then go straight to the newest version; without that
        signature it has to take every version in between.
        """
        here = [key for key in trust.root if self._store.find(key.keyid) is not None]
        if len(here) < trust.threshold:
            missing = ", ".join(key.keyid for key in trust.root if key not in here)
            raise KeyseatError(
                ReasonCode.KEY_UNAVAILABLE,
                f"changing the trust bundle takes {trust.threshold} root key(s); {len(here)} are here",
                details={"missing": missing},
                next_step="Bring the root key back from where you keep it: --root-keys FOLDER.",
            )
        signers = [self._store.open(key, self._passphrase) for key in here]
        for former in self._former_roots(trust)[: MAX_SIGNATURES - len(signers) - 1]:
            # One that no longer opens only costs the short cut.
            with contextlib.suppress(KeyseatError):
                signers.append(self._store.open(former, self._passphrase))
        return signers

    def _former_roots(self, trust: TrustBundle) -> list[PublicKey]:
        found: list[PublicKey] = []
        for row in reversed(history()):
            # A damaged row only costs the short cut as well; `audit verify` tells of it.
            with contextlib.suppress(KeyseatError):
                past = () if row.entry is None else TrustBundle.from_bytes(row.entry.bundle.encode()).root
                found += [key for key in past if key not in trust.root and key not in found]
        return [key for key in found if self._store.find(key.keyid) is not None]

    def _publish(
        self,
        trust: TrustBundle,
        draft: Draft,
        action: str,
        subject: str,
        *,
        signers: Sequence[SigningKey] | None = None,
        key_file: Path | None = None,
    ) -> TrustBundle:
        data = b""
        try:
            data = draft.sign(self._root_signers(trust) if signers is None else signers)
            # Exactly what a client that has the present version will do.
            newer = trust.update(data)
            write_history(self._home, data, newer.version)
            self._record(newer, action, subject)
        except BaseException as error:
            # The bundle that was to list the new key did not come about.
            if key_file is not None and _is_forgotten(data, error):
                with contextlib.suppress(OSError):
                    key_file.unlink()
            raise
        write_private(self._home / TRUST_FILE, data)
        return newer

    def _record(self, newer: TrustBundle, action: str, subject: str) -> None:
        from django.db import transaction  # noqa: PLC0415 - Django is set up by now

        from keyseat_issuer.ledger.models import AuditEvent  # noqa: PLC0415 - likewise
        from keyseat_issuer.ledger.services.audit import append  # noqa: PLC0415 - likewise

        with ledger_errors(), transaction.atomic():
            row = append(
                actor=self._actor,
                action=action,
                organization=None,
                subject=subject,
                details=audit_details(newer.data, newer.version),
                now=newer.issued_at,
            )
            # Another host with a copy of this home may have been faster; the audit head's lock orders us.
            before = AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS, seq__lt=row.seq).order_by("-seq").first()
            known = None if before is None else read_details(before.details)
            if before is not None and known is None:
                raise damaged(before.seq)
            if known is not None and known.version != newer.version - 1:
                raise TrustError(
                    ReasonCode.TRUST_ROLLBACK,
                    "somebody else changed the trust bundle at the same time; nothing was changed here",
                    next_step="Look at it with `keyseat-issuer trust show`, then try again.",
                )


def _is_forgotten(data: bytes, error: BaseException) -> bool:
    """Tell whether the ledger certainly has no record of a bundle whose publication failed.

    Ctrl-C is often told just after the commit that it interrupted, and a connection can break with the commit's answer.
    The bundle is in force then, and nothing could make the key that it lists again.
    """
    if isinstance(error, KeyseatError) and error.code is ReasonCode.LEDGER_UNAVAILABLE:
        return False
    try:
        rows = history()
    except KeyseatError:
        return False
    return all(row.entry is not None and row.entry.digest != bundle_digest(data) for row in rows)


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
            next_step="Replace it with `keyseat-issuer trust rotate`.",
        )
    raise KeyseatError(
        ReasonCode.NOT_FOUND,
        f"the trust bundle has no key {keyid[:40]!r}",
        next_step="`keyseat-issuer keys list` shows the key ids.",
    )


def _days_after(issued_at: datetime, days: int) -> datetime:
    try:
        return issued_at + timedelta(days=days)
    except OverflowError:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{days} days reach beyond the year 9999") from None


def _root_key(trust: TrustBundle, keyid: str | None) -> PublicKey:
    found = [key for key in trust.root if keyid is None or key.keyid.startswith(keyid.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"there are {len(found)} root keys; say which one to replace (--key KEYID)",
            details={"root keys": [key.keyid for key in found]},
        )
    raise KeyseatError(ReasonCode.NOT_FOUND, f"there is no root key {keyid!r}")


def _with_key(draft: Draft, entry: TrustedKey) -> Draft:
    return draft._replace(keys=(*draft.keys, entry))


def _refuse_known(trust: TrustBundle, public: PublicKey) -> None:
    if public in (*trust.root, *[key.key for key in trust.keys]):
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS, f"the key {public.keyid} is in the trust bundle already", next_step=""
        )


def _require_keys_for(trust: TrustBundle, required: tuple[str, ...]) -> None:
    for purpose in (LICENSE, LEASE):
        have = {key.key.algorithm for key in trust.keys if (key.purpose, key.status) == (purpose, ACTIVE)}
        for algorithm in required:
            if algorithm not in have:
                raise KeyseatError(
                    ReasonCode.INVALID_INPUT,
                    f"no active {purpose} key could make the {algorithm} signature",
                    next_step=f"First: keyseat-issuer keys add --purpose {purpose} --algorithm {algorithm}",
                )
