"""The acts of the demo: what is done in each, why it ends as it does, and with which reason code it must."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from keyseat_issuer.demo.stage import ACTOR, ADA, BOB, ORGANIZATION, START, Stage
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError
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


class Act(NamedTuple):
    """One act. ``play`` returns how it ended, or raises the refusal it ends in. ``command`` is what one would type."""

    title: str
    command: str
    why: str
    expected: ReasonCode
    play: Callable[[Stage], Played]


def _answer(answer: Mapping[str, Any]) -> Played:
    """Turn the answer of a client process into the end of an act."""
    code = ReasonCode(answer["code"])
    failed = next((check for check in answer.get("checks", ()) if check["ok"] is False), None)
    if failed is not None:
        return Played(code, f"the check {failed['name']!r} says: {failed['detail']}", answer["next"])
    return Played(code, answer.get("message", "every check passed"), answer["next"])


# --- The machine and the vendor ---------------------------------------------------------------------------------


def _machine(stage: Stage) -> Played:
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
    from keyseat_shared.machine_id import MachineID  # noqa: PLC0415 - acts load what they use

    stage.machine = MachineID.parse(answer["machine_id"])
    return Played(ReasonCode.OK, f"{answer['machine_id']}, grade {answer['grade']}, {how}")


def _vendor(stage: Stage) -> Played:
    from keyseat_issuer.creation import create_issuer  # noqa: PLC0415 - loads Django
    from keyseat_issuer.home import write_private  # noqa: PLC0415 - likewise
    from keyseat_issuer.signing import open_license_signer  # noqa: PLC0415 - likewise

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
    stage.signer = open_license_signer(stage.vendor, made.trust, passphrase, stage.now)
    write_private(stage.trust_file, made.trust.data)
    return Played(
        ReasonCode.OK,
        f"root, licence and lease key (encrypted), trust bundle version {made.trust.version}, and an empty ledger;"
        f" it is {format_instant(stage.now)} in this story",
        "The trust bundle is what a client builds in; it holds no secrets.",
    )


def _customer(stage: Stage) -> Played:
    from keyseat_issuer.ledger.models import Role, Term  # noqa: PLC0415 - Django is set up by now
    from keyseat_issuer.ledger.services.members import add_members  # noqa: PLC0415 - likewise
    from keyseat_issuer.ledger.services.organizations import add_organization  # noqa: PLC0415 - likewise
    from keyseat_issuer.ledger.services.subscriptions import add_months, add_subscription  # noqa: PLC0415 - likewise

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
    from keyseat_issuer.ledger.services.offline import issue  # noqa: PLC0415 - Django is set up by now
    from keyseat_issuer.ledger.services.offline_rules import OfflineRequest  # noqa: PLC0415 - likewise

    organization = asked.pop("organization", ORGANIZATION)
    now = asked.pop("now", stage.now)
    machine = asked.pop("machine", stage.machine)
    # The preview of `offline issue` has warned about a weak ID by now, and somebody has said --accept-weak.
    request = OfflineRequest(organization, product, str(machine), user=user, accept_weak=True, **asked)
    return issue(request, stage.terms(now))


def _refused(made: Any) -> Played:  # noqa: ANN401 - an IssuedLicense, loaded late
    """Return the end of an act that should have raised a refusal and did not."""
    return Played(ReasonCode.OK, f"licence {made.license_id} was issued")


def _test_license(stage: Stage) -> Played:
    from keyseat_issuer.ledger.services.test_license import make_test_license  # noqa: PLC0415 - Django is set up by now

    stage.later(minutes=5)
    made = make_test_license(ORGANIZATION, "KSE", str(stage.machine), stage.terms())
    path = stage.desk / "KSE.test.lic"
    path.write_bytes(made.file)
    answer = stage.keyseat(
        "verify", path, "--trust", stage.trust_file, "--test", "--at", format_instant(stage.now), *_instance(stage)
    )
    return _answer(answer)._replace(what="the machine ID is right; nothing was consumed")


def _convert(stage: Stage) -> Played:
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


def _verify(stage: Stage, *options: str, data: bytes | None = None, at: datetime | None = None) -> Played:
    path = stage.license_file
    if data is not None:
        path = stage.desk / "given.lic"
        path.write_bytes(data)
    machine = () if "--machine-id" in options else _instance(stage)
    when = format_instant(at or stage.now)
    return _answer(stage.keyseat("verify", path, "--trust", stage.trust_file, "--at", when, *machine, *options))


def _tampered(stage: Stage) -> Played:
    envelope = Envelope.from_bytes(stage.license_file.read_bytes())
    payload = json.loads(envelope.payload)
    payload["expires_at"] = payload["subscription"]["ends_at"] = "2034-06-01T00:00:00Z"
    changed = envelope._replace(payload=json.dumps(payload, separators=(",", ":")).encode())
    return _verify(stage, data=changed.to_bytes())


def _other_machine(stage: Stage) -> Played:
    return _verify(stage, "--machine-id", str(stage.other_machine()))


def _other_user(stage: Stage) -> Played:
    return _verify(stage, "--machine-id", str(stage.other_user()))


def _wrong_product(stage: Stage) -> Played:
    return _verify(stage, "--product", "KRE")


# --- What the issuer refuses ------------------------------------------------------------------------------------


def _monthly(stage: Stage) -> Played:
    stage.later(minutes=5)
    return _refused(_issue(stage, organization="Difference Engines Ltd", user="carl@example.com"))


def _beyond(stage: Stage) -> Played:
    return _refused(_issue(stage, user=BOB, machine=stage.other_user(), expires_at=_END + timedelta(days=1)))


def _past(stage: Stage) -> Played:
    return _refused(_issue(stage, user=BOB, machine=stage.other_user(), expires_at=START - timedelta(hours=1)))


def _twice(stage: Stage) -> Played:
    return _refused(_issue(stage))


def _quota(stage: Stage) -> Played:
    return _refused(_issue(stage, "KRE", None, sessions=2))


# --- The sunset -------------------------------------------------------------------------------------------------


def _last_second(stage: Stage) -> Played:
    stage.now = DEFAULT_SUNSET - _SECOND
    made = _issue(stage, user=BOB, machine=stage.other_user())
    return Played(ReasonCode.OK, f"the KSE licence for {BOB} was issued at {format_instant(made.issued_at)}")


def _sunset(stage: Stage) -> Played:
    stage.now = DEFAULT_SUNSET
    return _refused(_issue(stage, "KRE", None))


def _backdated(stage: Stage) -> Played:
    # A session is free, so that nothing but the clock stands in the way.
    return _refused(_issue(stage, "KRE", None, now=DEFAULT_SUNSET - timedelta(hours=1)))


# --- The customer's program -------------------------------------------------------------------------------------


def _after_sunset(stage: Stage) -> Played:
    return _answer(stage.program("KSE", datetime(2024, 3, 1, tzinfo=UTC)))


def _set_back(stage: Stage) -> Played:
    return _answer(stage.program("KSE", datetime(2023, 12, 1, tzinfo=UTC)))


def _last_valid(stage: Stage) -> Played:
    return _answer(stage.program("KSE", _END - _SECOND))


def _expired(stage: Stage) -> Played:
    return _answer(stage.program("KSE", _END))


def _audit(_stage: Stage) -> Played:
    from keyseat_issuer.ledger.services.audit_check import verify  # noqa: PLC0415 - Django is set up by now

    report = verify()
    if report.findings:
        return Played(ReasonCode.AUDIT_BROKEN, f"{len(report.findings)} findings")
    return Played(ReasonCode.OK, f"{report.events} rows, one for every act and every refusal above, in one chain")


ACTS: tuple[Act, ...] = (
    Act(
        "This computer's machine ID",
        "keyseat machine-id",
        "A licence is bound to hardware and user account. Serials never leave the machine: the ID holds short hashes.",
        ReasonCode.OK,
        _machine,
    ),
    Act(
        "A vendor starts",
        "keyseat-issuer init",
        "The rules are data in the signed trust bundle: annual subscriptions only, and no new offline licences from"
        " 2024-01-17 on.",
        ReasonCode.OK,
        _vendor,
    ),
    Act(
        "Two customers subscribe",
        "keyseat-issuer org add · member add · subscription add",
        "KSE is a named seat for a person, KRE a floating session for machines.",
        ReasonCode.OK,
        _customer,
    ),
    Act(
        "A test licence checks the machine ID first",
        f'keyseat-issuer offline test "{ORGANIZATION}" KSE --machine-id mid1…',
        "Issuing cannot be undone, so a wrong ID should be found before.",
        ReasonCode.OK,
        _test_license,
    ),
    Act(
        "Ada's seat becomes an offline licence",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KSE --machine-id mid1… --user {ADA}',
        "An annual subscription, a free seat, a date before the sunset: one signed file, checked with the client's own"
        " code before it left the ledger.",
        ReasonCode.OK,
        _convert,
    ),
    Act(
        "The customer's computer accepts it",
        "keyseat verify KSE_….lic --trust trust.json",
        "A process of its own, without network, ledger or secret, probes this computer and checks the file.",
        ReasonCode.OK,
        _verify,
    ),
    Act(
        "A changed file: ten more years",
        "keyseat verify changed.lic --trust trust.json",
        "The signature covers every byte that counts.",
        ReasonCode.BAD_SIGNATURE,
        _tampered,
    ),
    Act(
        "The same file on another computer",
        "keyseat verify KSE_….lic --trust trust.json --machine-id (another computer's)",
        "None of the hardware evidence is the same.",
        ReasonCode.MACHINE_MISMATCH,
        _other_machine,
    ),
    Act(
        "The same file, another user of this computer",
        "keyseat verify KSE_….lic --trust trust.json --machine-id (this computer, another account)",
        "The user account is a part of the binding that cannot be left out.",
        ReasonCode.USER_MISMATCH,
        _other_user,
    ),
    Act(
        "The same file for another product",
        "keyseat verify KSE_….lic --trust trust.json --product KRE",
        "A licence counts for one product.",
        ReasonCode.WRONG_PRODUCT,
        _wrong_product,
    ),
    Act(
        "A monthly subscription",
        'keyseat-issuer offline issue "Difference Engines Ltd" KSE …',
        "Only annual subscriptions can be converted.",
        ReasonCode.NOT_ANNUAL,
        _monthly,
    ),
    Act(
        "An expiry after the end of the subscription",
        "keyseat-issuer offline issue … --expires 2024-06-01",
        "A licence ends with the subscription (2024-05-31, through the end of the day), or earlier.",
        ReasonCode.EXPIRY_AFTER_SUBSCRIPTION,
        _beyond,
    ),
    Act(
        "An expiry in the past",
        "keyseat-issuer offline issue … --expires 2023-05-31",
        "Nothing is born expired.",
        ReasonCode.EXPIRY_IN_PAST,
        _past,
    ),
    Act(
        "The same user and computer once more",
        "keyseat-issuer offline issue … (as before)",
        "A second seat would be lost for nothing; the first file can be exported again at any time.",
        ReasonCode.ALREADY_BOUND,
        _twice,
    ),
    Act(
        "More sessions than were bought",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KRE … --sessions 2',
        "One KRE session was bought. The count holds under any number of simultaneous requests.",
        ReasonCode.QUOTA_EXCEEDED,
        _quota,
    ),
    Act(
        "2024-01-16T23:59:59Z: the last second",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KSE … --user {BOB}',
        "The sunset is an instant, and this is the second before.",
        ReasonCode.OK,
        _last_second,
    ),
    Act(
        "2024-01-17T00:00:00Z: the sunset",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KRE …',
        "From this instant on nothing is generated, though a session is free and the subscription runs on.",
        ReasonCode.ISSUED_AFTER_SUNSET,
        _sunset,
    ),
    Act(
        "The issuer's clock set back by an hour",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KRE …',
        "The ledger's time only moves forward; the refused attempt is on record.",
        ReasonCode.CLOCK_ROLLED_BACK,
        _backdated,
    ),
    Act(
        "2024-03-01: the licence from before still works",
        "(the customer's program starts)",
        "Active offline licences keep working until they expire.",
        ReasonCode.OK,
        _after_sunset,
    ),
    Act(
        "The customer's clock set back to 2023",
        "(the customer's program starts)",
        "The client has seen a later time on this computer. No time server is needed for that.",
        ReasonCode.CLOCK_ROLLED_BACK,
        _set_back,
    ),
    Act(
        "2024-05-31T23:59:59Z: the last valid second",
        "(the customer's program starts)",
        "Through the end of the last day means through the end of the last day.",
        ReasonCode.OK,
        _last_valid,
    ),
    Act(
        "2024-06-01T00:00:00Z: expired",
        "(the customer's program starts)",
        "The seat is free again by itself, and the program is told to activate online.",
        ReasonCode.EXPIRED,
        _expired,
    ),
    Act(
        "The audit trail",
        "keyseat-issuer audit verify",
        "A changed, removed or reordered row would be found and named.",
        ReasonCode.OK,
        _audit,
    ),
)


def play(act: Act, stage: Stage) -> Played:
    """Play one act; a refusal that it raises is how it ended."""
    try:
        return act.play(stage)
    except KeyseatError as error:
        return Played(error.code, error.message, error.next_step)
