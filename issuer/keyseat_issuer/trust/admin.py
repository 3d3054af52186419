"""Changing the trust bundle: every change is a new version, root-signed, checked as a client would, and audited.

Order of a change: the new version goes into the history folder, then with its whole text into the ledger
in one transaction, then becomes ``trust.json``. After a crash in between, ``history.current_trust``
finishes what the ledger says, and forgets what it does not know.

Where not enough root keys are at hand, the change becomes a proposal instead (``proposals``), and nothing is in force
before it is adopted.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.home import TRUST_FILE, exclusive, write_private
from keyseat_issuer.keys.passphrase import Passphrase, ask
from keyseat_issuer.keys.roots import RootKeys, RootPassphrases, fitting, missing, require_room
from keyseat_issuer.keys.signing import once
from keyseat_issuer.keys.store import ROOT, KeyStore, PrivateKey, SigningKey
from keyseat_issuer.ledger.audit.bundles import (
    KEY_ADDED,
    KEY_RETIRED,
    KEY_REVOKED,
    POLICY_SET,
    PROPOSED,
    RENEWED,
    ROOT_ROTATED,
    bundle_digest,
    history,
    record,
)
from keyseat_issuer.ledger.database import ledger_errors, require_ready
from keyseat_issuer.trust.draft import Draft, find_key, new_trusted_key, refuse_known, require_keys_for
from keyseat_issuer.trust.history import reconciled, write_history
from keyseat_issuer.trust.proposals import Proposal, default_path, fresh_subject, in_words, merged, write_proposal
from keyseat_issuer.trust.root_rotation import Plan, Rotation, plan, with_root
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.keys import ED25519, PublicKey
from keyseat_shared.policy import Policy
from keyseat_shared.trust import COMPROMISED, RETIRED, Quorum, TrustBundle, TrustedKey


class Pending(NamedTuple):
    """A change that waits for signatures: where its proposal was written, and the version it would be."""

    path: Path
    proposal: Proposal
    version: int


class Rotated(NamedTuple):
    """Root keys that went and came."""

    old: tuple[PublicKey, ...]
    new: tuple[PublicKey, ...]


class TrustAdmin:
    """Makes new versions of the trust bundle in ``home``. The passphrase is asked for only when a key is needed.

    ``root_folders`` are where root keys are, if they are kept away from the home (they should be); root keys can have
    passphrases of their own (``root_passphrases``). ``proposal`` is where a change that lacks root keys is written;
    without it such a change is refused where one root key would do, and goes into the home where it takes several.
    ``pending`` tells after a change whether it came to that.
    """

    def __init__(
        self,
        home: Path,
        passphrase: Passphrase,
        *,
        actor: str,
        now: datetime,
        root_folders: Sequence[Path] = (),
        root_passphrases: RootPassphrases | None = None,
        proposal: Path | None = None,
    ) -> None:
        """Keep who acts, when, and where the keys are."""
        self._home = home
        self._store = KeyStore(home, root_folders)
        self._passphrase = once(passphrase)
        self._roots = RootKeys(self._store, root_passphrases or (lambda _key: iter([self._asked()])))
        self._actor = actor
        self._now = now
        self._proposal = proposal
        self.pending: Pending | None = None

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
        self._proven(uri, public)
        with self._changing() as (trust, now):
            refuse_known(trust, public)
            path = self._store.save_uri(purpose, public, uri)
            entry = new_trusted_key(public, purpose, now, days)
            draft = _with_key(Draft.after(trust, now), entry)
            self._publish(trust, draft, KEY_ADDED, public.keyid, key_files=[path])
        return entry

    def _add(self, purpose: str, key: PrivateKey, days: int | None) -> TrustedKey:
        with self._changing() as (trust, now):
            refuse_known(trust, key.public)
            entry = new_trusted_key(key.public, purpose, now, days)
            draft = _with_key(Draft.after(trust, now), entry)
            signers = self._signers(trust, draft)
            path = self._store.save(purpose, key, self._asked())
            self._publish(trust, draft, KEY_ADDED, key.public.keyid, signers=signers, key_files=[path])
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

    def rotate_root(self, asked: Rotation = Rotation(), *, uri: str | None = None) -> Rotated:  # noqa: B008 - a value
        """Put other root keys in place of the present ones, or beside them, or change how many must sign.

        Without more, the only root key (or the only pair) is replaced. Signed by the present and the new root keys, so
        that clients that pinned the present ones go along. ``uri`` says where the one key of ``asked.given`` lives.

        Raises:
            KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``, ``KEY_UNAVAILABLE`` and others of a change.
        """
        with self._changing() as (trust, now):
            planned = plan(trust, asked)
            made = [PrivateKey.generate(algorithm) for algorithm in planned.make]
            draft = with_root(Draft.after(trust, now), _root_with(planned, made), planned.threshold)
            remote = [] if uri is None else [self._proven(uri, asked.given[0])]
            signers = self._signers(trust, draft, [*made, *remote])
            files = [self._store.save_uri(ROOT, asked.given[0], uri)] if uri is not None else []
            files += [self._store.save(ROOT, key, self._asked()) for key in made]
            subject = planned.gone[0].keyid if planned.gone else draft.root[-1].keyid
            self._publish(trust, draft, ROOT_ROTATED, subject, signers=signers, key_files=files)
        return Rotated(planned.gone, tuple([key for key in draft.root if key not in trust.root]))

    def set_policy(self, policy: Policy, signatures_required: tuple[str, ...] | None = None) -> TrustBundle:
        """Put other rules into force.

        Raises:
            KeyseatError: ``INVALID_INPUT`` where nothing changes, or no key could make a signature required.
        """
        with self._changing() as (trust, now):
            required = trust.signatures_required if signatures_required is None else signatures_required
            if (policy, required) == (trust.policy, trust.signatures_required):
                raise KeyseatError(ReasonCode.INVALID_INPUT, "the policy says all that already")
            require_keys_for(trust, required)
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
                draft = draft.fresh_for(days)
            if trust.fresh_until is None and draft.fresh_until is None:
                raise KeyseatError(
                    ReasonCode.INVALID_INPUT,
                    "the trust bundle never gets stale, so there is nothing to renew",
                    cause=Cause.BUNDLE_NEVER_STALE,
                )
            return self._publish(trust, draft, RENEWED, fresh_subject(draft.fresh_until))

    def adopt(self, proposals: Sequence[Proposal]) -> TrustBundle:
        """Put a proposal into force that enough root keys have signed, on one copy or over several.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE`` where signatures are missing, ``TRUST_ROLLBACK`` where another version was
                adopted since it was made, ``ALREADY_EXISTS``, ``INVALID_INPUT``, ``TRUST_INVALID``.
        """
        proposal = merged(proposals)
        with self._changing() as (trust, now):
            _refuse_stale(trust, proposal)
            action, subject = proposal.act()
            return self._put_into_force(trust, proposal.to_bundle(), action, subject, now)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[TrustBundle, datetime]]:
        """Hold the home, and start from the bundle in force at the ledger's time."""
        require_ready()
        from keyseat_issuer.ledger.audit.ledger_time import ledger_now  # noqa: PLC0415 - Django is set up by now

        with exclusive(self._home):
            with ledger_errors():
                now = ledger_now(self._now)
            yield reconciled(self._home), now

    def _proven(self, uri: str, public: PublicKey) -> SigningKey:
        """Open a key in an HSM or KMS, once it has shown that it signs."""
        from keyseat_issuer.keys.remote import open_remote_key  # noqa: PLC0415 - few keys are remote

        key = open_remote_key(uri, public, self._passphrase)
        key.sign(b"keyseat: does this key sign?")
        return key

    def _asked(self) -> str:
        return ask(self._passphrase)

    def _signers(self, trust: TrustBundle, draft: Draft, made: Sequence[SigningKey] = ()) -> list[SigningKey]:
        """Open the root keys that must sign, as far as they are at hand, then former ones that are still here.

        A client that pinned a former root key can then go straight to the newest version; without that
        signature it has to take every version in between.
        """
        wanted = (*trust.quorums(), *draft.quorums())
        require_room(draft.payload(), wanted)
        signers, refused = self._roots.sign_for(wanted, {key.public: key for key in made})
        have = [key.public for key in signers]
        left = missing(wanted, have)
        may_wait = self._proposal is not None or max(trust.threshold, draft.threshold) > 1
        # A wrong passphrase is told, not taken for a holder who signs elsewhere: that is said with --proposal.
        is_wrong = refused is not None and (self._proposal is None or not have)
        if left and (not may_wait or is_wrong):
            if refused is not None and refused.cause == Cause.PASSPHRASE_WRONG and may_wait:
                refused.cause = Cause.ROOT_PASSPHRASE_WRONG
            raise refused or self._lacking(trust, left)
        if left:
            return signers
        former = [key for key in self._former_roots(trust) if key.algorithm in trust.signatures_required]
        room = fitting(former, draft.payload(), have)
        return [*signers, *self._roots.open_quietly(room)]

    def _lacking(self, trust: TrustBundle, left: Sequence[Quorum]) -> KeyseatError:
        here = len(self._roots.are_here(trust.root))
        return KeyseatError(
            ReasonCode.KEY_UNAVAILABLE,
            f"changing the trust bundle takes {trust.threshold} root key(s); {here} are here",
            details={"missing": in_words(left)},
            cause=Cause.ROOT_KEYS_ELSEWHERE,
        )

    def _former_roots(self, trust: TrustBundle) -> list[PublicKey]:
        found: list[PublicKey] = []
        for row in reversed(history()):
            # A damaged row only costs the short cut as well; `audit verify` tells of it.
            with contextlib.suppress(KeyseatError):
                past = () if row.entry is None else TrustBundle.from_bytes(row.entry.bundle.encode()).root
                found += [key for key in past if key not in trust.root and key not in found]
        return self._roots.are_here(found)

    def _publish(
        self,
        trust: TrustBundle,
        draft: Draft,
        action: str,
        subject: str,
        *,
        signers: Sequence[SigningKey] | None = None,
        key_files: Sequence[Path] = (),
    ) -> TrustBundle:
        """Put a version into force, or write it as a proposal where signatures are missing."""
        data = b""
        try:
            signing = self._signers(trust, draft) if signers is None else signers
            if missing((*trust.quorums(), *draft.quorums()), [key.public for key in signing]):
                self._propose(trust, draft, action, subject, signing)
                return trust
            data = draft.sign(signing)
            return self._put_into_force(trust, data, action, subject, draft.issued_at)
        except BaseException as error:
            # The bundle that was to list the new key did not come about.
            if key_files and self.pending is None and _is_forgotten(data, error):
                for path in key_files:
                    with contextlib.suppress(OSError):
                        path.unlink()
            raise

    def _put_into_force(self, trust: TrustBundle, data: bytes, action: str, subject: str, now: datetime) -> TrustBundle:
        # Exactly what a client that has the present version will do.
        newer = trust.update(data)
        write_history(self._home, data, newer.version)
        record(newer, action, subject, actor=self._actor, now=now)
        write_private(self._home / TRUST_FILE, data)
        return newer

    def _propose(
        self, trust: TrustBundle, draft: Draft, action: str, subject: str, signers: Sequence[SigningKey]
    ) -> None:
        from django.db import transaction  # noqa: PLC0415 - Django is set up by now

        from keyseat_issuer.ledger.audit.log import append  # noqa: PLC0415 - as above

        proposal = Proposal(trust, draft.payload()).sign(signers)
        path = self._proposal or default_path(self._home, proposal)
        write_proposal(path, proposal)
        try:
            details = {"action": action, "version": draft.version, "digest": proposal.digest}
            with ledger_errors(), transaction.atomic():
                append(
                    actor=self._actor,
                    action=PROPOSED,
                    organization=None,
                    subject=subject,
                    details=details,
                    now=draft.issued_at,
                )
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self.pending = Pending(path, proposal, draft.version)


def _refuse_stale(trust: TrustBundle, proposal: Proposal) -> None:
    if proposal.payload == Envelope.from_bytes(trust.data).payload:
        message = f"that is version {trust.version} of the trust bundle, which is in force already"
        raise KeyseatError(ReasonCode.ALREADY_EXISTS, message, next_step="")
    if proposal.present.data != trust.data:
        raise TrustError(
            ReasonCode.TRUST_ROLLBACK,
            f"the proposal changes version {proposal.present.version} of the trust bundle, and version {trust.version}"
            " is in force; nothing was changed",
            details={"proposed_from": bundle_digest(proposal.present.data), "in_force": bundle_digest(trust.data)},
            next_step="Make the change again: it starts from the version in force then. Throw this file away.",
        )


def _root_with(planned: Plan, made: Sequence[PrivateKey]) -> tuple[PublicKey, ...]:
    left = iter(made)
    return tuple([next(left).public if key is None else key for key in planned.root])


def _with_key(draft: Draft, entry: TrustedKey) -> Draft:
    return draft._replace(keys=(*draft.keys, entry))


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
