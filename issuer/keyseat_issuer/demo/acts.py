"""What is done in each act of the demo. An act returns how it ended, or raises the refusal that it ends in."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from keyseat_issuer.demo.stage import ACTOR, ADA, BOB, ORGANIZATION, Stage
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import DEFAULT_SUNSET, default_policy

_SECOND = timedelta(seconds=1)
_END = datetime(2024, 6, 1, tzinfo=UTC)
_PERIOD_START = datetime(2023, 6, 1, tzinfo=UTC)


class Played(NamedTuple):
    """How an act ended: the reason ``code``, what happened in a sentence, and what somebody would do next."""

    code: ReasonCode
    what: str
    next: str = ""


def answer_of(answer: Mapping[str, Any]) -> Played:
    """Turn the answer of a client process into the end of an act."""
    code = ReasonCode(answer["code"])
    failed = next((check for check in answer.get("checks", ()) if check["ok"] is False), None)
    if failed is not None:
        return Played(code, f"the check {failed['name']!r} says: {failed['detail']}", answer["next"])
    todo = "" if code is ReasonCode.OK else answer["next"]
    return Played(code, answer.get("message", "every check passed"), todo)


# --- The machine and the vendor ---------------------------------------------------------------------------------


def machine(stage: Stage) -> Played:
    """Ask this computer for its ID; where it has no evidence, with an instance id, as its user would be told to."""
    answer = stage.keyseat("machine-id")
    how = "from this computer's own hardware and your user account"
    if answer["machine_id"] is None:
        # Honest about what such a computer gets: no ID by itself, and a weaker one on request.
        answer = stage.keyseat("machine-id", "--instance", stage.customer / "instance-id")
        how = (
            f"from an instance id, since this computer ({answer['environment']}) shows no hardware that tells it from"
            " others: without --instance the command prints no ID and says so"
        )
    if answer["machine_id"] is None:
        return Played(ReasonCode(answer["code"]), answer["message"], answer["next"])
    from keyseat_shared.machine_id import MachineID

    stage.machine = MachineID.parse(answer["machine_id"])
    return Played(ReasonCode.OK, f"{answer['machine_id']}, grade {answer['grade']}, {how}")


def vendor(stage: Stage) -> Played:
    """Make an issuer, and unlock its licence key once for all acts."""
    from keyseat_issuer.home import write_private
    from keyseat_issuer.keys.signing import open_license_signer
    from keyseat_issuer.server.creation import create_issuer  # late: loads Django

    passphrase = "nobody needs this one for long"  # noqa: S105 - of keys that live for seconds
    made = create_issuer(
        stage.vendor,
        vendor="Demo Vendor",
        policy=default_policy(),
        passphrase=passphrase,
        actor=ACTOR,
        now=stage.now,
    )
    stage.trust = made.trust
    stage.passphrase = passphrase
    stage.signer = open_license_signer(stage.vendor, made.trust, passphrase, stage.now)
    write_private(stage.trust_file, made.trust.data)
    return Played(
        ReasonCode.OK,
        f"root, licence and lease key (encrypted), trust bundle version {made.trust.version}, and an empty ledger;"
        f" it is {format_instant(stage.now)} in this story",
        "The trust bundle is what a client builds in; it holds no secrets.",
    )


def customer(stage: Stage) -> Played:
    """Add an organisation that pays by the year, and one that pays by the month."""
    from keyseat_issuer.ledger.customers.members import add_members
    from keyseat_issuer.ledger.customers.organizations import add_organization
    from keyseat_issuer.ledger.customers.subscriptions import add_months, add_subscription
    from keyseat_issuer.ledger.models import Role, Term

    at: dict[str, Any] = {"actor": ACTOR, "now": stage.later(minutes=10)}
    policy = stage.trust.policy
    annual = add_organization(ORGANIZATION, **at)
    add_members(annual, [ADA, BOB], Role.MEMBER, **at)
    year: dict[str, Any] = {"term": Term.ANNUAL, "starts_at": _PERIOD_START, "ends_at": _END}
    add_subscription(annual, products={"KSE": 2, "KRE": 1}, policy=policy, **year, **at)
    monthly = add_organization("Difference Engines Ltd", **at)
    add_members(monthly, ["carl@example.com"], Role.MEMBER, **at)
    month: dict[str, Any] = {"term": Term.MONTHLY, "starts_at": _PERIOD_START, "ends_at": add_months(_PERIOD_START, 1)}
    add_subscription(monthly, products={"KSE": 5}, policy=policy, **month, **at)
    return Played(
        ReasonCode.OK,
        f"{ORGANIZATION} has 2 KSE seats and 1 KRE session for a year; Difference Engines Ltd pays by the month",
    )


# --- Issuing and verifying --------------------------------------------------------------------------------------


def _issue(stage: Stage, product: str = "KSE", user: str | None = ADA, **asked: Any) -> Any:  # noqa: ANN401 - an IssuedLicense, loaded late
    from keyseat_issuer.ledger.offline.licenses import issue
    from keyseat_issuer.ledger.offline.rules import OfflineRequest

    organization = asked.pop("organization", ORGANIZATION)
    now = asked.pop("now", stage.now)
    machine = asked.pop("machine", stage.machine)
    # The preview of `offline issue` has warned about a weak ID by now, and somebody has said --accept-weak.
    request = OfflineRequest(organization, product, str(machine), user=user, accept_weak=True, **asked)
    return issue(request, stage.terms(now))


def _refused(made: Any) -> Played:  # noqa: ANN401 - an IssuedLicense, loaded late
    """Return the end of an act that should have raised a refusal and did not."""
    return Played(ReasonCode.OK, f"licence {made.license_id} was issued")


def test_license(stage: Stage) -> Played:
    """Make a test licence and check it on this computer."""
    from keyseat_issuer.ledger.offline.machine_test import make_test_license

    stage.later(minutes=5)
    made = make_test_license(ORGANIZATION, "KSE", str(stage.machine), stage.terms())
    path = stage.desk / "KSE.test.lic"
    path.write_bytes(made.file)
    answer = stage.keyseat(
        "verify", path, "--trust", stage.trust_file, "--test", "--at", format_instant(stage.now), *_instance(stage)
    )
    return answer_of(answer)._replace(what="the machine ID is right; nothing was consumed")


def convert(stage: Stage) -> Played:
    """Issue the licence of the story and put it where the client looks."""
    stage.later(minutes=5)
    made = _issue(stage)
    folder = stage.customer / "license"
    folder.mkdir()
    stage.license_file = folder / f"KSE_{stage.machine.short}.lic"
    stage.license_file.write_bytes(made.file)
    return Played(
        ReasonCode.OK,
        f"{stage.license_file.name}, {len(made.file)} bytes, for {ADA} until {format_instant(made.expires_at)};"
        " the seat is locked until then",
        "Hand the file to the customer: on a stick will do, it needs no secrecy.",
    )


def _instance(stage: Stage) -> tuple[str, ...]:
    path = stage.customer / "instance-id"
    return ("--instance", str(path)) if path.exists() else ()


def verify(stage: Stage, *options: str, data: bytes | None = None, at: datetime | None = None) -> Played:
    """Check a file (the licence, or ``data``) with the client's command at the story's time, or ``at``."""
    path = stage.license_file
    if data is not None:
        path = stage.desk / "given.lic"
        path.write_bytes(data)
    machine = () if "--machine-id" in options else _instance(stage)
    when = format_instant(at or stage.now)
    return answer_of(stage.keyseat("verify", path, "--trust", stage.trust_file, "--at", when, *machine, *options))


def tampered(stage: Stage) -> Played:
    """Give the licence ten more years."""
    envelope = Envelope.from_bytes(stage.license_file.read_bytes())
    payload = json.loads(envelope.payload)
    payload["expires_at"] = payload["subscription"]["ends_at"] = "2034-06-01T00:00:00Z"
    changed = envelope._replace(payload=json.dumps(payload, separators=(",", ":")).encode())
    return verify(stage, data=changed.to_bytes())


def other_machine(stage: Stage) -> Played:
    """Check the licence on another computer."""
    return verify(stage, "--machine-id", str(stage.other_machine()))


def other_user(stage: Stage) -> Played:
    """Check the licence as another user of this computer."""
    return verify(stage, "--machine-id", str(stage.other_user()))


def wrong_product(stage: Stage) -> Played:
    """Check the licence for another product."""
    return verify(stage, "--product", "KRE")


# --- What the issuer refuses ------------------------------------------------------------------------------------


def monthly(stage: Stage) -> Played:
    """Ask for a licence under the monthly subscription."""
    stage.later(minutes=5)
    return _refused(_issue(stage, organization="Difference Engines Ltd", user="carl@example.com"))


def beyond(stage: Stage) -> Played:
    """Ask for an expiry one day after the subscription."""
    return _refused(_issue(stage, user=BOB, machine=stage.other_user(), expires_at=_END + timedelta(days=1)))


def past(stage: Stage) -> Played:
    """Ask for an expiry that has passed."""
    return _refused(_issue(stage, user=BOB, machine=stage.other_user(), expires_at=_PERIOD_START))


def twice(stage: Stage) -> Played:
    """Ask for the same licence once more."""
    return _refused(_issue(stage))


def quota(stage: Stage) -> Played:
    """Ask for more sessions than there are."""
    return _refused(_issue(stage, "KRE", None, sessions=2))


# --- The sunset -------------------------------------------------------------------------------------------------


def last_second(stage: Stage) -> Played:
    """Issue in the last second before the sunset."""
    stage.now = DEFAULT_SUNSET - _SECOND
    made = _issue(stage, user=BOB, machine=stage.other_user())
    return Played(ReasonCode.OK, f"the KSE licence for {BOB} was issued at {format_instant(made.issued_at)}")


def sunset(stage: Stage) -> Played:
    """Ask for a licence at the sunset."""
    stage.now = DEFAULT_SUNSET
    return _refused(_issue(stage, "KRE", None))


def backdated(stage: Stage) -> Played:
    """Ask for a licence with the issuer's clock set back."""
    # A session is free, so that nothing but the clock stands in the way.
    return _refused(_issue(stage, "KRE", None, now=DEFAULT_SUNSET - timedelta(hours=1)))


# --- The customer's program -------------------------------------------------------------------------------------


def after_sunset(stage: Stage) -> Played:
    """Start the customer's program after the sunset."""
    return answer_of(stage.program("KSE", datetime(2024, 3, 1, tzinfo=UTC)))


def last_valid(stage: Stage) -> Played:
    """Start it in the last second before the expiry."""
    return answer_of(stage.program("KSE", _END - _SECOND))


def expired(stage: Stage) -> Played:
    """Start it at the expiry."""
    return answer_of(stage.program("KSE", _END))


def set_back(stage: Stage) -> Played:
    """Start it with its clock set back."""
    return answer_of(stage.program("KSE", datetime(2023, 12, 1, tzinfo=UTC)))


def audit(_stage: Stage) -> Played:
    """Verify the audit log of the whole story."""
    from keyseat_issuer.checks.check import verify

    report = verify()
    if report.findings:
        return Played(ReasonCode.AUDIT_BROKEN, f"{len(report.findings)} findings")
    return Played(ReasonCode.OK, f"{report.events} rows, one for each change and each refusal above, in one chain")
