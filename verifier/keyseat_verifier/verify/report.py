"""Words for verification: what each step found, for `explain` and the command line."""

from collections.abc import Callable

from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.envelope import LICENSE_TYPE
from keyseat_shared.errors import VerificationError
from keyseat_shared.instants import format_instant
from keyseat_verifier.verify.verified import Check, Report, VerifiedLicense, VerifiedTestLicense

TYPE_CHECKING = False
if TYPE_CHECKING:  # the verifier has us put its steps into words; a protocol of all that they find would say it twice
    from keyseat_verifier.verify.verifier import Run, Step


def report(
    steps: "tuple[tuple[str, Step], ...]", run: "Run", result: Callable[[], VerifiedLicense | VerifiedTestLicense]
) -> Report:
    """Run the steps and say what each found; steps after the first failure are "not reached"."""
    checks: list[Check] = []
    failure: VerificationError | None = None
    for name, step in steps:
        if failure is not None:
            checks.append(Check(name, None, None, "not reached"))
            continue
        try:
            step(run)
        except VerificationError as error:
            error.step = name
            failure = error
            checks.append(Check(name, False, error.code, error.message))
        else:
            checks.append(Check(name, True, ReasonCode.OK, _FOUND[name](run)))
    if failure is not None:
        return Report(False, failure.code, tuple(checks), None, failure.next_step)
    return Report(True, ReasonCode.OK, tuple(checks), result(), NEXT_STEPS[ReasonCode.OK])


def _envelope(run: "Run") -> str:
    count = len(run.envelope.signatures)
    return f"{len(run.data):,} bytes, {count} signature{'s' if count != 1 else ''}"


def _signature(run: "Run") -> str:
    return "signed by " + ", ".join([f"{trusted.key.algorithm} key {trusted.key.keyid}" for trusted in run.signers])


def _format(run: "Run") -> str:
    return "a licence" if run.envelope.payload_type == LICENSE_TYPE else "a test licence, which entitles to nothing"


def _key(run: "Run") -> str:
    ends = [trusted.valid_until for trusted in run.signers]
    return f"a licence key of the vendor, valid until {format_instant(min(ends))}"


def _product(run: "Run") -> str:
    return f"{run.facts.product}, {run.verifier.trust.policy.products[run.facts.product].name}"


def _annual(run: "Run") -> str:
    return (
        f"{run.license.term} subscription, {format_instant(run.license.starts_at)}"
        f" to {format_instant(run.license.ends_at)}"
    )


def _sunset(run: "Run") -> str:
    sunset = run.verifier.trust.policy.sunset
    issued = f"issued {format_instant(run.license.issued_at)}"
    return issued + (", and the policy has no sunset" if sunset is None else f", before {format_instant(sunset)}")


def _expiry(run: "Run") -> str:
    days = (run.facts.expires_at - run.now).days
    left = f"{days} day{'s' if days != 1 else ''} left" if days else "less than a day left"
    return f"valid until {format_instant(run.facts.expires_at)} ({left})"


def _machine(run: "Run") -> str:
    text, _ = run.verifier.known_machine(run.machine)
    exact = run.facts.machine_id == text
    return "this machine and user account" + ("" if exact else " (enough of the hardware is the same)")


def _clock(run: "Run") -> str:
    if run.verifier.clock is None:
        return f"{format_instant(run.now)} is not before any signed time"
    return f"{format_instant(run.now)} is not before any signed or recorded time"


_FOUND: "dict[str, Callable[[Run], str]]" = {
    "envelope": _envelope,
    "signature": _signature,
    "format": _format,
    "key": _key,
    "product": _product,
    "annual": _annual,
    "sunset": _sunset,
    "expiry": _expiry,
    "machine": _machine,
    "clock": _clock,
}
