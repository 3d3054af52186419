"""Converting seats into offline licences: one transaction for one request or a thousand.

Decide without locks, sign, verify the result with the verifier's own code; then lock the pools, decide again, take
what was signed where it says the same, store file and audit row, commit (ADR 0032). Only what was committed is handed
out, so a crash at any point leaves no licence, or one that can be handed out again.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.audit.bundles import require_newest
from keyseat_issuer.ledger.audit.clock_correction import latest
from keyseat_issuer.ledger.audit.ledger_time import ledger_now
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Ending, OfflineLicense, Pool
from keyseat_issuer.ledger.offline.drafts import Drafts
from keyseat_issuer.ledger.offline.facts import LedgerFacts
from keyseat_issuer.ledger.offline.rules import Decision, Identity, OfflineRequest, decide, identify
from keyseat_issuer.ledger.offline.values import IssuedLicense, Outcome, Progress, Status, Terms, no_progress
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.pools.endings import end_converted
from keyseat_issuer.ledger.tools.bulk import insert_values
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_issuer.ledger.tools.plain_sql import still_here
from keyseat_shared import rules
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Grade
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import OFFLINE
from keyseat_shared.rules import check_sunset
from keyseat_shared.strictjson import dumps_compact
from keyseat_shared.trust import TrustBundle

ACTION = "offline.issue"
EXPORTED = "offline.exported"
"""A licence that was issued before is handed out again."""

_CHUNK = 500
_LOOK_UP = 500
"""Decisions between two statements: a transaction that stands still is ended by PostgreSQL (``settings.IDLE``)."""
_SIGNED_UNDER_LOCKS = 100
"""Licences signed under the locks, where seats have changed hands since others were signed ahead; beyond, all anew."""
_ALLOCATION_FIELDS = (
    *("id", "pool_id", "kind", "holder", "count", "created_at"),
    *("expires_at", "released_at", "ending"),
)
_LICENSE_FIELDS = (
    *("license_id", "pool_id", "allocation_id", "organization_id", "product", "user", "machine_id", "sessions"),
    *("issued_at", "expires_at", "file", "file_sha256", "idempotency_key"),
)


def convert(
    requests: Sequence[OfflineRequest],
    terms: Terms,
    *,
    dry_run: bool = False,
    keep_going: bool = False,
    repeatable: bool = False,
    keys: Sequence[str] | None = None,
    approve: Callable[[Decision], None] | None = None,
    progress: Progress = no_progress,
) -> list[Outcome]:
    """Decide all requests in their order, and issue the licences in one transaction.

    Args:
        requests: what is asked.
        terms: trust bundle, actor and instant; a signer is needed unless ``dry_run``.
        dry_run: decide only: nothing is signed, changed or recorded.
        keep_going: issue what may be issued; otherwise one refusal stops all.
        repeatable: requests that an active licence was issued for by an earlier such call get that licence again.
        keys: names of the requests (64 hex digits each): one that an active licence has already gets that licence.
        approve: called with each decision under the locks; what it raises refuses that request.
        progress: wraps the signing.

    Returns:
        An outcome for each request, in their order.

    Raises:
        KeyseatError: ``CLOCK_ROLLED_BACK``, ``TRUST_ROLLBACK`` where rules or keys were changed since the terms were
            read, or the code of a licence that does not verify after signing; nothing is issued then.
    """
    with ledger_errors():
        try:
            for last in (False, False, True):
                drafts = Drafts(terms)
                if not dry_run:
                    _draft(drafts, requests, keep_going=keep_going, repeatable=repeatable, keys=keys, progress=progress)
                try:
                    # Durable: a licence is handed out on return, so this must be the outermost transaction.
                    with transaction.atomic(durable=True):
                        run = _Run(requests, terms)
                        outcomes = run.decide(repeatable=repeatable, keys=keys, approve=approve)
                        stopped = not keep_going and any(outcome.error for outcome in outcomes)
                        if dry_run or stopped:
                            transaction.set_rollback(True)
                        else:
                            outcomes = run.issue(outcomes, drafts, few=not last)
                    break
                except _ChangedMeanwhileError:
                    continue
        except KeyseatError as error:
            if not dry_run:
                subject = requests[0].subject if len(requests) == 1 else f"{len(requests)} requests"
                log.refused(error, actor=terms.actor, action=ACTION, organization=None, subject=subject, now=terms.now)
            raise
        if stopped and not dry_run:
            with transaction.atomic(durable=True):
                log.append_many(run.refusals(outcomes), actor=terms.actor, now=run.at)
    return outcomes


class _ChangedMeanwhileError(Exception):
    """Too many decisions are others than those that were signed ahead: the seats changed hands meanwhile."""


def _draft(
    drafts: Drafts,
    requests: Sequence[OfflineRequest],
    *,
    keep_going: bool,
    repeatable: bool,
    keys: Sequence[str] | None,
    progress: Progress,
) -> None:
    """Decide without a lock, and sign what would be issued: no other act waits for the signatures."""
    run = _Run(requests, drafts.terms, lock=False)
    outcomes = run.decide(repeatable=repeatable, keys=keys, approve=None)
    if not keep_going and any(outcome.error for outcome in outcomes):
        return  # none is issued, unless the locks show another picture
    for place, outcome in enumerate(progress(outcomes, "Signing", len(outcomes))):
        if outcome.decision is not None:
            drafts.sign(place, outcome.decision, run.at)


class _Run:
    """One conversion inside its transaction."""

    def __init__(self, requests: Sequence[OfflineRequest], terms: Terms, *, lock: bool = True) -> None:
        self.requests = requests
        self.terms = terms
        # Refused early, before any lock; and read again under the locks, where time may have moved on.
        self.facts = LedgerFacts.load(requests, ledger_now(terms.now), lock=lock)
        self.at = ledger_now(terms.now).replace(microsecond=0)
        # Held to the sunset: a time that was corrected later has been seen all the same.
        self.latest = latest(self.at)
        self.keys = [""] * len(requests)

    def decide(
        self, *, repeatable: bool, keys: Sequence[str] | None, approve: Callable[[Decision], None] | None
    ) -> list[Outcome]:
        identities = [self._identity(request) for request in self.requests]
        there: dict[str, IssuedLicense] = {}
        if repeatable or keys is not None:
            self.keys = request_keys(self.requests, identities) if keys is None else list(keys)
            there = _still_active(self.keys, self.at)
        outcomes = []
        for place, (request, identity, key) in enumerate(zip(self.requests, identities, self.keys, strict=True)):
            if place % _LOOK_UP == 0:
                still_here()
            if key in there:
                outcomes.append(Outcome(Status.ALREADY_ISSUED, license=there[key]))
                continue
            try:
                check_sunset(self.latest, self.terms.trust.policy)
                _require_fresh(self.terms.trust, self.at)
                decision = decide(request, self.facts, self.terms.trust.policy, self.at, identity)
                if approve is not None:
                    approve(decision)
            except KeyseatError as error:
                outcomes.append(Outcome(Status.REFUSED, error=error))
            else:
                self.facts.apply(decision)
                outcomes.append(Outcome(Status.NOT_ISSUED, decision))
        return outcomes

    def _identity(self, request: OfflineRequest) -> Identity | None:
        try:
            return identify(request, self.facts)
        except KeyseatError:
            return None  # `decide` meets the same error, in its order

    def issue(self, outcomes: Sequence[Outcome], drafts: Drafts, *, few: bool) -> list[Outcome]:
        """Store what was decided and signed; return the outcomes with the licences.

        Raises:
            _ChangedMeanwhileError: more than a ``few`` would have to be signed under the locks.
        """
        signed = self._signed(outcomes, drafts, few=few)
        licenses: list[Sequence[object]] = []
        allocations: list[Sequence[object]] = []
        events: list[log.NewEvent] = []
        for outcome, key, license_ in zip(outcomes, self.keys, signed, strict=True):
            decision = outcome.decision
            if outcome.status is Status.ALREADY_ISSUED and outcome.license is not None:
                events.append(_exported_event(outcome.license))
            if decision is None or license_ is None:
                continue
            digest = hashlib.sha256(license_.file).hexdigest()
            allocation_id = new_id(self.at)
            allocations.append(_allocation_row(allocation_id, decision, license_))
            licenses.append(_license_row(allocation_id, decision, license_, digest, key))
            events.append(_issued_event(decision, license_, digest))
        decisions = [outcome.decision for outcome in outcomes if outcome.decision is not None]
        counted = {decision.source.pool.id: decision.source.pool for decision in decisions}
        self._convert_named_seats([seat for decision in decisions if (seat := decision.converts) is not None], counted)
        insert_values(Allocation, _ALLOCATION_FIELDS, allocations)
        insert_values(OfflineLicense, _LICENSE_FIELDS, licenses)
        for pool in counted.values():
            pools.save_counters(pool)
        events += self.refusals(outcomes)
        if events:
            log.append_many(events, actor=self.terms.actor, now=self.at)
        if licenses and not self.terms.allow_example_keys:
            # Behind the lock of the audit rows: rules that anybody set before this commits hold for it.
            require_newest(self.terms.trust)
        return [
            outcome if license_ is None else Outcome(Status.ISSUED, outcome.decision, license_)
            for outcome, license_ in zip(outcomes, signed, strict=True)
        ]

    def _signed(self, outcomes: Sequence[Outcome], drafts: Drafts, *, few: bool) -> list[IssuedLicense | None]:
        """Return the licence of each decision: the one that was signed ahead, where that says the same."""
        decided = [(place, o.decision) for place, o in enumerate(outcomes) if o.decision is not None]
        fitting = {place: license_ for place, made in decided if (license_ := drafts.fitting(place, made, self.at))}
        if few and len(decided) - len(fitting) > _SIGNED_UNDER_LOCKS:
            raise _ChangedMeanwhileError
        for place, decision in decided:
            if place not in fitting:
                fitting[place] = drafts.sign(place, decision, self.at)
                still_here()
        return [fitting.get(place) for place in range(len(outcomes))]

    def _convert_named_seats(self, seats: Sequence[UUID], counted: Mapping[UUID, Pool]) -> None:
        for start in range(0, len(seats), _CHUNK):
            # The named seat becomes the offline one: the pool's counter stays as it is.
            Allocation.objects.filter(pk__in=seats[start : start + _CHUNK]).update(
                released_at=self.at, ending=Ending.CONVERTED
            )
            for pool_id, number in end_converted(seats[start : start + _CHUNK], self.at).items():
                counted[pool_id].lingering += number

    def refusals(self, outcomes: Sequence[Outcome]) -> list[log.NewEvent]:
        """Return the audit events of the requests that were refused."""
        return [
            log.NewEvent(
                f"{ACTION}.refused",
                request.subject,
                {"code": str(outcome.error.code), "message": outcome.error.message},
                self._organization_id(request),
            )
            for request, outcome in zip(self.requests, outcomes, strict=True)
            if outcome.error is not None
        ]

    def _organization_id(self, request: OfflineRequest) -> UUID | None:
        try:
            return self.facts.organization(request.organization).pk
        except KeyseatError:
            return None


def request_keys(requests: Sequence[OfflineRequest], identities: Sequence[Identity | None]) -> list[str]:
    """Return the idempotency key of each request: a digest of what it asks for and how often that was asked before.

    The number among equal requests lets five equal rows mean five licences, and a second run of the file none.
    Requests that name nobody and nothing have no key.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    keys = []
    for request, identity in zip(requests, identities, strict=True):
        if identity is None:
            keys.append("")
            continue
        words = (
            str(identity.organization.id),
            request.product,
            identity.machine_id,
            identity.user or "",
            "" if request.expires_at is None else format_instant(request.expires_at),
            str(request.sessions),
        )
        seen[words] += 1
        keys.append(hashlib.sha256(dumps_compact(["keyseat/offline-request/v1", *words, seen[words]])).hexdigest())
    return keys


def _still_active(keys: Iterable[str], now: datetime) -> dict[str, IssuedLicense]:
    wanted = sorted({key for key in keys if key})
    found: dict[str, IssuedLicense] = {}
    for start in range(0, len(wanted), _CHUNK):
        rows = OfflineLicense.objects.filter(idempotency_key__in=wanted[start : start + _CHUNK], expires_at__gt=now)
        for row in rows.select_related("organization"):
            found[row.idempotency_key] = IssuedLicense.from_row(row, row.organization.name)
    return found


def _require_fresh(trust: TrustBundle, at: datetime) -> None:
    """Refuse to issue what clients could not check: they have no newer bundle than we have."""
    try:
        rules.check_fresh(trust, OFFLINE, at)
    except KeyseatError as error:
        error.cause = Cause.BUNDLE_STALE
        raise


def _allocation_row(allocation_id: UUID, decision: Decision, license_: IssuedLicense) -> Sequence[object]:
    return (
        allocation_id,
        decision.source.pool.id,
        AllocationKind.OFFLINE.value,
        decision.user or str(license_.license_id),
        license_.sessions,
        license_.issued_at,
        license_.expires_at,
        None,
        "",
    )


def _license_row(
    allocation_id: UUID, decision: Decision, license_: IssuedLicense, digest: str, key: str
) -> Sequence[object]:
    return (
        license_.license_id,
        decision.source.pool.id,
        allocation_id,
        license_.organization_id,
        license_.product,
        license_.user or "",
        license_.machine_id,
        license_.sessions,
        license_.issued_at,
        license_.expires_at,
        license_.file,
        digest,
        key,
    )


def _issued_event(decision: Decision, license_: IssuedLicense, digest: str) -> log.NewEvent:
    details: dict[str, object] = {
        log.FILE_DIGEST: digest,
        "product": license_.product,
        "user": license_.user,
        "machine_id": license_.machine_id,
        "grade": str(decision.grade),
        "sessions": license_.sessions,
        "expires_at": format_instant(license_.expires_at),
        "subscription": str(decision.source.subscription_id),
        "converted_seat": decision.converts is not None,
    }
    if decision.grade is Grade.WEAK:
        details["accepted_weak"] = True
    return log.NewEvent(log.OFFLINE_ISSUED, str(license_.license_id), details, decision.organization.id)


def _exported_event(license_: IssuedLicense) -> log.NewEvent:
    return log.NewEvent(
        EXPORTED,
        str(license_.license_id),
        {log.FILE_DIGEST: hashlib.sha256(license_.file).hexdigest()},
        license_.organization_id,
    )
