"""The vendor's rules, once: pure functions of (licence facts, policy, instant), used by issuer and verifier alike.

Each returns ``None`` where the rule holds and raises ``RuleError`` with the reason code where it does not.
"""

from datetime import datetime, timedelta

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, CouldNotVerifyError, RuleError
from keyseat_shared.instants import CLOCK_TOLERANCE, exceeds_years, format_instant, whole_years
from keyseat_shared.policy import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from keyseat_shared.trust import TrustBundle


def check_annual(term: str, starts_at: datetime, ends_at: datetime, policy: Policy) -> None:
    """Only an eligible term converts, an annual period is a whole number of years, and none is too long (rule 1).

    Raises:
        RuleError: ``NOT_ANNUAL``.
    """
    if term not in policy.eligible_terms:
        raise RuleError(
            ReasonCode.NOT_ANNUAL,
            f"a {term} subscription cannot be converted to an offline licence"
            f" (eligible: {', '.join(policy.eligible_terms) or 'none'})",
            details={"term": term, "eligible_terms": list(policy.eligible_terms)},
        )
    if term == "annual" and not whole_years(starts_at, ends_at):
        raise RuleError(
            ReasonCode.NOT_ANNUAL,
            f"the period {format_instant(starts_at)} to {format_instant(ends_at)} is not a whole number of years",
            details={"starts_at": format_instant(starts_at), "ends_at": format_instant(ends_at)},
        )
    check_length(starts_at, ends_at, policy)


def check_length(starts_at: datetime, ends_at: datetime, policy: Policy) -> None:
    """Require that a subscription, of any term, is no longer than the policy allows (rule 1).

    Raises:
        RuleError: ``NOT_ANNUAL``.
    """
    if exceeds_years(starts_at, ends_at, policy.max_years):
        raise RuleError(
            ReasonCode.NOT_ANNUAL,
            f"the subscription, {format_instant(starts_at)} to {format_instant(ends_at)}, is longer than"
            f" {policy.max_years} year{'s' * (policy.max_years > 1)}, the most that the policy allows",
            details={
                "starts_at": format_instant(starts_at),
                "ends_at": format_instant(ends_at),
                "max_years": policy.max_years,
            },
            next_step="Ask Customer Success for a licence of a shorter subscription, or activate online.",
        )


def check_sunset(issued_at: datetime, policy: Policy) -> None:
    """Nothing is generated at or after the sunset (rule 2).

    Raises:
        RuleError: ``ISSUED_AFTER_SUNSET``.
    """
    if policy.sunset is not None and issued_at >= policy.sunset:
        raise RuleError(
            ReasonCode.ISSUED_AFTER_SUNSET,
            f"offline licence generation ended at {format_instant(policy.sunset)}",
            details={"sunset": format_instant(policy.sunset), "issued_at": format_instant(issued_at)},
        )


def check_expiry_bounds(expires_at: datetime, issued_at: datetime, ends_at: datetime) -> None:
    """A licence never outlives its subscription and is never born expired (rule 3).

    Raises:
        RuleError: ``SUBSCRIPTION_ENDED``, ``EXPIRY_AFTER_SUBSCRIPTION`` or ``EXPIRY_IN_PAST``.
    """
    if issued_at >= ends_at:
        raise RuleError(
            ReasonCode.SUBSCRIPTION_ENDED,
            f"the subscription ended at {format_instant(ends_at)}",
            details={"ends_at": format_instant(ends_at)},
        )
    if expires_at > ends_at:
        raise RuleError(
            ReasonCode.EXPIRY_AFTER_SUBSCRIPTION,
            f"the expiry {format_instant(expires_at)} is after the end of the subscription, {format_instant(ends_at)}",
            details={"expires_at": format_instant(expires_at), "ends_at": format_instant(ends_at)},
        )
    if expires_at <= issued_at:
        raise RuleError(
            ReasonCode.EXPIRY_IN_PAST,
            f"the expiry {format_instant(expires_at)} is not after the time of issue, {format_instant(issued_at)}",
            details={"expires_at": format_instant(expires_at), "issued_at": format_instant(issued_at)},
        )


def check_evidence(instance_source: str, policy: Policy) -> None:
    """A machine ID may not rest on a kind of weaker evidence that the policy forbids (rule 6).

    Args:
        instance_source: where the ID's instance evidence came from (``MachineID.instance_source``).
        policy: the policy in force.

    Raises:
        RuleError: ``MACHINE_WEAK``.
    """
    if instance_source in policy.forbidden_evidence:
        raise RuleError(
            ReasonCode.MACHINE_WEAK,
            f"the policy forbids machine IDs that hold evidence of the kind {instance_source}",
            details={"evidence": instance_source, "forbidden_evidence": list(policy.forbidden_evidence)},
            next_step="Get a machine ID made without it (`keyseat machine-id` on the host), or activate online.",
        )


def check_current(starts_at: datetime, expires_at: datetime, now: datetime) -> None:
    """A licence counts from the start of its subscription while ``now < expires_at`` (rule 3).

    Raises:
        RuleError: ``NOT_YET_VALID`` or ``EXPIRED``.
    """
    if now < starts_at:
        raise RuleError(
            ReasonCode.NOT_YET_VALID,
            f"the licence counts from {format_instant(starts_at)}; it is {format_instant(now)} now",
            details={"starts_at": format_instant(starts_at), "now": format_instant(now)},
        )
    if now >= expires_at:
        raise RuleError(
            ReasonCode.EXPIRED,
            f"the licence expired at {format_instant(expires_at)}; it is {format_instant(now)} now",
            details={"expires_at": format_instant(expires_at), "now": format_instant(now)},
        )


def lease_bounds(
    issued_at: datetime, renew_after: datetime, expires_at: datetime, policy: Policy
) -> tuple[datetime, datetime]:
    """Return when a lease is to be renewed and when it ends, as far as the policy's lease lengths allow.

    The issuer signs no longer lease, and a client accepts none, even if it is signed.
    """
    # Differences are compared, not sums: those would reach beyond the year 9999.
    if expires_at - issued_at > (longest := timedelta(seconds=policy.lease_ttl)):
        expires_at = issued_at + longest
    if renew_after - issued_at > (latest := timedelta(seconds=policy.lease_renew_after)):
        renew_after = issued_at + latest
    return renew_after, expires_at


def check_not_before_floor(
    now: datetime, floor: datetime, evidence: str, tolerance: timedelta = CLOCK_TOLERANCE
) -> None:
    """Time does not run backwards: ``now`` may lag behind a signed or recorded instant by 5 minutes at most.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK`` that names the evidence.
    """
    if floor - now > tolerance:  # not `floor - CLOCK_TOLERANCE`: nothing is before the year 1
        raise ClockError(
            ReasonCode.CLOCK_ROLLED_BACK,
            f"the clock says {format_instant(now)}, but {evidence} is from {format_instant(floor)}",
            details={"now": format_instant(now), "evidence": evidence, "at": format_instant(floor)},
        )


def check_fresh(trust: "TrustBundle", use: str, now: datetime, more: str = "") -> None:
    """Require a fresh trust bundle, where the policy wants one for ``use``.

    Args:
        trust: the bundle in use.
        use: ``offline`` or ``lease``.
        now: an aware instant.
        more: what has been tried, for people.

    Raises:
        CouldNotVerifyError: ``TRUST_STALE``.
    """
    if trust.fresh_until is not None and trust.is_stale(use, now):
        raise CouldNotVerifyError(
            ReasonCode.TRUST_STALE,
            f"version {trust.version} of the trust bundle was to be replaced by {format_instant(trust.fresh_until)};"
            f" it is {format_instant(now)} now{more}",
            details={"version": trust.version, "fresh_until": format_instant(trust.fresh_until)},
        )
