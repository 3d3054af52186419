"""The script of the demo: its acts in order, why each ends as it does, and with which reason code it must."""

from collections.abc import Callable
from typing import NamedTuple

from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.demo import acts, online
from keyseat_issuer.demo.acts import Played
from keyseat_issuer.demo.stage import ADA, BOB, ORGANIZATION, Stage
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


class Act(NamedTuple):
    """One act. ``play`` returns how it ended, or raises the refusal it ends in. ``command`` is what one would type."""

    title: str
    command: str
    why: str
    expected: ReasonCode
    play: Callable[[Stage], Played]


ACTS: tuple[Act, ...] = (
    Act(
        "This computer's machine ID",
        "keyseat machine-id",
        "A licence is bound to hardware and user account. Serials never leave the machine: the ID holds short hashes.",
        ReasonCode.OK,
        acts.machine,
    ),
    Act(
        "A vendor starts",
        "keyseat-issuer init",
        "The rules are data in the signed trust bundle: annual subscriptions only, and no new offline licences from"
        " 2024-01-17 on.",
        ReasonCode.OK,
        acts.vendor,
    ),
    Act(
        "Two customers subscribe",
        "keyseat-issuer org add · member add · subscription add",
        "KSE is a named seat for a person, KRE a floating session for machines.",
        ReasonCode.OK,
        acts.customer,
    ),
    Act(
        "A test licence checks the machine ID first",
        f'keyseat-issuer offline test "{ORGANIZATION}" KSE --machine-id mid1…',
        "Issuing cannot be undone, so a wrong ID should be found before.",
        ReasonCode.OK,
        acts.test_license,
    ),
    Act(
        "Ada's seat becomes an offline licence",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KSE --machine-id mid1… --user {ADA}',
        "An annual subscription, a free seat, a date before the sunset: one signed file, checked with the client's own"
        " code before it left the ledger.",
        ReasonCode.OK,
        acts.convert,
    ),
    Act(
        "The customer's computer accepts it",
        "keyseat verify KSE_….lic --trust trust.json",
        "A process of its own, without network, ledger or secret, probes this computer and checks the file.",
        ReasonCode.OK,
        acts.verify,
    ),
    Act(
        "A changed file: ten more years",
        "keyseat verify changed.lic --trust trust.json",
        "The signature covers every byte that counts.",
        ReasonCode.BAD_SIGNATURE,
        acts.tampered,
    ),
    Act(
        "The same file on another computer",
        "keyseat verify KSE_….lic --trust trust.json --machine-id (another computer's)",
        "None of the hardware evidence is the same.",
        ReasonCode.MACHINE_MISMATCH,
        acts.other_machine,
    ),
    Act(
        "The same file, another user of this computer",
        "keyseat verify KSE_….lic --trust trust.json --machine-id (this computer, another account)",
        "The user account is a part of the binding that cannot be left out.",
        ReasonCode.USER_MISMATCH,
        acts.other_user,
    ),
    Act(
        "The same file for another product",
        "keyseat verify KSE_….lic --trust trust.json --product KRE",
        "A licence counts for one product.",
        ReasonCode.WRONG_PRODUCT,
        acts.wrong_product,
    ),
    Act(
        "A monthly subscription",
        'keyseat-issuer offline issue "Difference Engines Ltd" KSE …',
        "Only annual subscriptions can be converted.",
        ReasonCode.NOT_ANNUAL,
        acts.monthly,
    ),
    Act(
        "An expiry after the end of the subscription",
        "keyseat-issuer offline issue … --expires 2024-06-01",
        "A licence ends with the subscription (2024-05-31, through the end of the day), or earlier.",
        ReasonCode.EXPIRY_AFTER_SUBSCRIPTION,
        acts.beyond,
    ),
    Act(
        "An expiry in the past",
        "keyseat-issuer offline issue … --expires 2023-05-31",
        "Nothing is born expired.",
        ReasonCode.EXPIRY_IN_PAST,
        acts.past,
    ),
    Act(
        "The same user and computer once more",
        "keyseat-issuer offline issue … (as before)",
        "A second seat would be lost for nothing; the first file can be exported again at any time.",
        ReasonCode.ALREADY_BOUND,
        acts.twice,
    ),
    Act(
        "More sessions than were bought",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KRE … --sessions 2',
        "One KRE session was bought. The count holds under any number of simultaneous requests.",
        ReasonCode.QUOTA_EXCEEDED,
        acts.quota,
    ),
    Act(
        "2024-01-16T23:59:59Z: the last second",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KSE … --user {BOB}',
        "The sunset is an instant, and this is the second before.",
        ReasonCode.OK,
        acts.last_second,
    ),
    Act(
        "2024-01-17T00:00:00Z: the sunset",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KRE …',
        "From this instant on nothing is generated, though a session is free and the subscription runs on.",
        ReasonCode.ISSUED_AFTER_SUNSET,
        acts.sunset,
    ),
    Act(
        "The issuer's clock set back by an hour",
        f'keyseat-issuer offline issue "{ORGANIZATION}" KRE …',
        "The ledger's time only moves forward; the refused attempt is on record.",
        ReasonCode.CLOCK_ROLLED_BACK,
        acts.backdated,
    ),
    Act(
        "2024-03-01: the licence from before still works",
        "(the customer's program starts)",
        "Active offline licences keep working until they expire.",
        ReasonCode.OK,
        acts.after_sunset,
    ),
    Act(
        "2024-05-31T23:59:59Z: the last valid second",
        "(the customer's program starts)",
        "Through the end of the last day means through the end of the last day.",
        ReasonCode.OK,
        acts.last_valid,
    ),
    Act(
        "2024-06-01T00:00:00Z: expired",
        "(the customer's program starts)",
        "The seat is free again by itself, and the program is told to activate online.",
        ReasonCode.EXPIRED,
        acts.expired,
    ),
    Act(
        "The customer's clock set back to 2023",
        "(the customer's program starts)",
        "The client has seen the end of this licence on this computer. No time server is needed for that.",
        ReasonCode.CLOCK_ROLLED_BACK,
        acts.set_back,
    ),
    Act(
        "Today: the customer renews, and the vendor runs the service",
        "keyseat-issuer keys add --purpose lease · subscription add · api-key create · serve",
        "Online sessions need no machine that is known beforehand, and a seat that is not used is free for others.",
        ReasonCode.OK,
        online.today,
    ),
    Act(
        "The customer's CI has no offline licence for KRE",
        "(the customer's program starts)",
        "Offline files first, then a lease kept from before, then the service: one call, and nobody has to help.",
        ReasonCode.OK,
        online.fallback,
    ),
    Act(
        "The build computer activates for the programs of the day",
        "keyseat activate --product KRE",
        "The session of the program before ended with it, so the one that was bought is free again.",
        ReasonCode.OK,
        online.activate,
    ),
    Act(
        "The service is down",
        "(the customer's program starts)",
        "A lease is a signed file as well: it works without the service until it ends.",
        ReasonCode.OK,
        online.outage,
    ),
    Act(
        "The audit log",
        "keyseat-issuer audit verify",
        "A changed, removed or reordered row would be found and named.",
        ReasonCode.OK,
        acts.audit,
    ),
)


def play(act: Act, stage: Stage) -> Played:
    """Play one act; a refusal that it raises is how it ended."""
    try:
        end = act.play(stage)
    except KeyseatError as error:
        end = Played(error.code, error.message, STEPS.of(error))
    # Folders of a story that is deleted at the end need no names.
    return Played(end.code, *[text.replace(str(stage.folder), "…") for text in end[1:]])
