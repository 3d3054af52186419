"""Verifying leases: what the server signs for one online session, and what the client then relies on with it down.

Envelope, signatures, product and machine are checked by the very functions that check licences. What differs: the type
and the purpose of the key (a lease is never a licence, a licence key never makes one), nonce and session (a recorded
answer is no answer), and the times.
"""

import hmac
from collections.abc import Callable
from datetime import datetime

from keyseat_shared import rules
from keyseat_shared.boundary import guarded
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import LEASE_TYPE
from keyseat_shared.errors import (
    MalformedError,
    RuleError,
    UntrustedError,
    VerificationError,
    as_verification_error,
)
from keyseat_shared.instants import format_instant
from keyseat_shared.payloads import LeasePayload
from keyseat_shared.policy import NAMED, ONLINE
from keyseat_shared.trust import LEASE
from keyseat_verifier.verify.verified import VerifiedLease, verified_lease
from keyseat_verifier.verify.verifier import (
    Machine,
    Run,
    Verifier,
    check_signatures,
    keep_signers,
    match_machine,
    open_envelope,
    other_type,
    require_product,
)

SEAT_UNTIL = "seat_until"
"""The detail of ``EXPIRED`` that tells how long the server keeps the seat of a lease that our policy has ended."""


class LeaseRun(Run):
    """The verification of one lease: what an answer must repeat, and the payload once it is read."""

    __slots__ = ("as_signed", "lease", "nonce", "session_id")
    as_signed: bool
    lease: LeasePayload
    nonce: str | None
    session_id: str | None


@guarded(as_verification_error)
def verify_lease(
    verifier: Verifier,
    data: bytes,
    *,
    machine: Machine,
    now: datetime,
    nonce: str | None = None,
    session_id: str | None = None,
    as_signed: bool = False,
) -> VerifiedLease:
    """Return the lease in ``data`` if it is good for this machine and user at ``now``.

    Args:
        verifier: the bundle and product to check against, and the clock guard.
        data: the bytes of the envelope, at most 64 KiB.
        machine: the machine ID to check against, its text, or a probe of this machine.
        now: an aware instant.
        nonce: for a fresh answer, the nonce just sent; ``None`` for a lease that was kept.
        session_id: the session that must be meant, where it is known.
        as_signed: leave the times as the server signed them: for so long it keeps the seat, also where the policy has
            ended the lease before. Such a lease entitles to nothing.

    Raises:
        InvalidLicenseError: the lease does not count here.
        CouldNotVerifyError: the check could not be made.
    """
    run = LeaseRun(verifier, data, machine, now)
    run.nonce = nonce
    run.session_id = session_id
    run.as_signed = as_signed
    name = ""
    try:
        for name, step in STEPS:  # noqa: B007 - the handler reads it
            step(run)
    except VerificationError as error:
        error.step = name
        raise
    return verified_lease(run.lease, tuple(run.signers))


def _format(run: LeaseRun) -> None:
    kind = run.envelope.payload_type
    if kind != LEASE_TYPE:
        raise other_type(kind, "a lease")
    run.facts = run.lease = LeasePayload.from_bytes(run.envelope.payload)


def _key(run: LeaseRun) -> None:
    keep_signers(run, LEASE)


def _product(run: LeaseRun) -> None:
    require_product(run)
    code = run.lease.product
    if run.verifier.trust.policy.products[code].seats == NAMED and run.lease.user is None:
        raise MalformedError(ReasonCode.MALFORMED, f"a {code} lease is for one named user, and this one is not")


def _answer(run: LeaseRun) -> None:
    # Replay: an answer that was recorded, or meant for another request, repeats another nonce.
    if run.nonce is not None and not hmac.compare_digest(run.nonce.encode(), run.lease.nonce.encode()):
        raise UntrustedError(
            ReasonCode.BAD_SIGNATURE,
            "the lease repeats another nonce than the one sent: it answers another request",
            next_step="Try again; if it stays, something between this machine and the server replays old answers.",
        )
    if run.session_id is not None and run.lease.session_id != run.session_id:
        raise UntrustedError(
            ReasonCode.BAD_SIGNATURE,
            "the lease is for another session than the one asked for",
            next_step="Try again; if it stays, tell the operator of the licence server.",
        )


def _times(run: LeaseRun) -> None:
    signed = run.lease
    if not run.as_signed:
        # Bounded, not refused: the server's policy may be newer than ours or older, and its longer lease is honest.
        renew_after, expires_at = rules.lease_bounds(
            signed.issued_at, signed.renew_after, signed.expires_at, run.verifier.trust.policy
        )
        if (renew_after, expires_at) != (signed.renew_after, signed.expires_at):
            run.facts = run.lease = signed._replace(renew_after=renew_after, expires_at=expires_at)
    if run.now >= run.lease.expires_at:
        details = {"expires_at": format_instant(run.lease.expires_at), "now": format_instant(run.now)}
        if run.now < signed.expires_at:
            details[SEAT_UNTIL] = format_instant(signed.expires_at)
        raise RuleError(
            ReasonCode.EXPIRED,
            f"the lease ended at {details['expires_at']}; it is {details['now']} now",
            details=details,
            next_step="Activate again.",
        )


def _machine(run: LeaseRun) -> None:
    match_machine(run)


def _clock(run: LeaseRun) -> None:
    rules.check_not_before_floor(run.now, run.verifier.trust.issued_at, "the trust bundle")
    rules.check_not_before_floor(run.now, run.lease.issued_at, "the lease")
    if run.verifier.clock is not None:
        # The server's time is signed: from now on the clock may not be set back before the last lease. A lease that
        # repeats our nonce was issued just now, so that it also ends what the clock said while it was ahead.
        run.verifier.clock.check(
            run.now,
            run.lease.machine_id,
            signed=max(run.verifier.trust.issued_at, run.lease.issued_at),
            expires_at=run.lease.expires_at,
            fresh=None if run.nonce is None else run.lease.issued_at,
        )
    if run.verifier.trust.fresh_until is not None and not run.as_signed:
        rules.check_fresh(run.verifier.trust, ONLINE, run.now)


STEPS: tuple[tuple[str, Callable[[LeaseRun], None]], ...] = (
    ("envelope", open_envelope),
    ("signature", check_signatures),
    ("format", _format),
    ("key", _key),
    ("product", _product),
    ("answer", _answer),
    ("expiry", _times),
    ("machine", _machine),
    ("clock", _clock),
)
"""The steps of ``verify_lease``, in order; nothing of the payload is read before its signature holds."""
