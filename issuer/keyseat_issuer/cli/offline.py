"""`keyseat-issuer offline`: issue offline licences and test licences."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyseat_issuer.cli.offline_batch import batch
from keyseat_issuer.cli.offline_common import (
    FOLDER_OF_LICENSES,
    days_left,
    destination_for,
    open_terms,
    out_option,
    show_machine,
    with_signer,
)
from keyseat_issuer.cli.offline_find import export, list_licenses, show_license
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.passphrase import passphrase_option
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, parse_typed
from keyseat_shared.payloads import MAX_SESSIONS

if TYPE_CHECKING:
    from datetime import datetime

    from keyseat_issuer.ledger.offline.licenses import Preview

_WORD = "issue"
"""What is typed to confirm. A word, not y: fingers answer a familiar y/n by themselves, and this cannot be undone."""


@click.group()
def offline() -> None:
    """Issue, test, find and export offline licences.

    An offline licence converts one annual seat and binds it to one machine and user account until it expires. It can
    be neither revoked nor moved, so everything is checked and shown before.
    """


for _command in (batch, list_licenses, show_license, export):
    offline.add_command(_command)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--machine-id`` and ``--request``, one of which is needed."""
    command = click.option(
        "--request",
        "request_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The request file that `keyseat machine-id --request` wrote on the machine.",
    )(command)
    return click.option("--machine-id", metavar="MID", help="What `keyseat machine-id` printed on the machine.")(
        command
    )


@offline.command()
@click.argument("organization", metavar="ORG")
@click.argument("product")
@machine_options
@click.option("--user", metavar="EMAIL", help="Whose seat is converted; named products (KSE) need it.")
@click.option("--expires", metavar="DATE", help="Through the end of this day, UTC. Default: the subscription's end.")
@click.option(
    "--sessions",
    type=click.IntRange(1, MAX_SESSIONS),
    default=1,
    metavar="N",
    help="Parallel sessions on the machine, each takes a seat; floating products (KRE) only.",
)
@click.option("--feature", "features", metavar="NAME", multiple=True, help="Put this feature into it. Repeatable.")
@click.option("--subscription", metavar="ID", help="Convert a seat of this subscription.")
@out_option
@click.option("--dry-run", is_flag=True, help="Check and show everything, issue nothing.")
@click.option("--accept-weak", is_flag=True, help="Bind it though the machine ID is weak.")
@click.option("--yes", is_flag=True, help="Do not ask. For scripts.")
@passphrase_option
@json_option
@pass_output
def issue(
    output: Output,
    *,
    organization: str,
    product: str,
    machine_id: str | None,
    request_file: Path | None,
    user: str | None,
    expires: str | None,
    sessions: int,
    features: tuple[str, ...],
    subscription: str | None,
    out: str | None,
    dry_run: bool,
    accept_weak: bool,
    yes: bool,
    passphrase_file: str | None,
) -> None:
    """Convert a seat of PRODUCT held by ORG into an offline licence, and write its file.

    The file is named PRODUCT_<first ten symbols of the machine ID>.lic unless --out names another.
    """
    mid = _machine_id(output, machine_id, request_file)
    expires_at = None if expires is None else parse_typed(expires, end_of_day=True)
    terms = open_terms()
    from keyseat_issuer.ledger.offline import licenses as service
    from keyseat_issuer.ledger.offline.files import SUFFIX, file_stem
    from keyseat_issuer.ledger.offline.rules import OfflineRequest

    request = OfflineRequest(
        organization,
        product,
        mid,
        user=user,
        expires_at=expires_at,
        sessions=sessions,
        features=_distinct(features),
        accept_weak=accept_weak,
        subscription=subscription,
    )
    found = service.preview(request, terms, dry_run=dry_run)
    if not output.json or not yes:
        _show_preview(output, found, terms.now)
    destination = destination_for(out)
    if dry_run:
        output.emit(
            {"issued": False, "dry_run": True, "preview": found.to_dict()},
            lambda: output.print("Nothing was issued: this was a dry run. Everything above holds at present."),
        )
        return
    output.confirm(
        "This cannot be undone.",
        _WORD,
        yes=yes,
        consequence=f"The seat is locked to this machine until {format_instant(found.decision.expires_at)}.",
    )
    terms = with_signer(output, terms, passphrase_file)
    output.stopped_note = "The licence may have been issued: `keyseat-issuer offline list` tells."
    made = service.issue(request, terms)
    ident = str(made.license_id)
    try:
        path = destination.write(file_stem(made.product, made.machine_id), made.file, ident=ident)
    except KeyseatError as error:
        raise KeyseatError(
            error.code,
            f"the licence {ident} is issued, but its file could not be written: {error.message}",
            details={"license_id": ident},
            next_step=f"Write it elsewhere: keyseat-issuer offline export {ident} --out FILE",
        ) from None

    def human() -> None:
        output.print(f"Issued the {made.product} licence {ident}: {path}")
        # The client looks at no other files.
        under = "" if path.endswith(SUFFIX) else f" under a name that ends in {SUFFIX}"
        output.say(f"Next: send the file to the machine; it goes into {FOLDER_OF_LICENSES} there{under}.")
        output.say("`keyseat status` on the machine tells whether it is accepted.")

    output.emit({"issued": True, "license": made.to_dict(), "file": path, "preview": found.to_dict()}, human)


@offline.command()
@click.argument("organization", metavar="ORG")
@click.argument("product")
@machine_options
@out_option
@passphrase_option
@json_option
@pass_output
def test(
    output: Output,
    *,
    organization: str,
    product: str,
    machine_id: str | None,
    request_file: Path | None,
    out: str | None,
    passphrase_file: str | None,
) -> None:
    """Make a test licence: it tells the machine whether the ID is right, for 7 days. It takes no seat."""
    mid = _machine_id(output, machine_id, request_file)
    terms = open_terms()
    destination = destination_for(out)
    terms = with_signer(output, terms, passphrase_file)
    from keyseat_issuer.ledger.offline.files import file_stem
    from keyseat_issuer.ledger.offline.machine_test import make_test_license

    made = make_test_license(organization, product, mid, terms)
    stem = f"{file_stem(made.product, made.machine_id)}-test"
    path = destination.write(stem, made.file, ident=str(made.test_id))

    def human() -> None:
        output.print(f"Made a test licence, good until {format_instant(made.expires_at)}: {path}")
        output.say(f"The machine ID is {made.grade}: {' '.join(made.grade_reasons)}")
        output.say(
            "Next: on the machine, run `keyseat verify --test FILE --trust trust.json`. The file entitles to nothing."
        )

    output.emit(
        {
            "test_id": str(made.test_id),
            "organization": made.organization,
            "product": made.product,
            "machine_id": made.machine_id,
            "grade": str(made.grade),
            "grade_reasons": list(made.grade_reasons),
            "expires_at": format_instant(made.expires_at),
            "file": path,
        },
        human,
    )


def _machine_id(output: Output, machine_id: str | None, request_file: Path | None) -> str:
    """Return the machine ID that was given; a request file is shown first."""
    if (machine_id is None) == (request_file is None):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "give either --machine-id or --request",
            next_step="`keyseat machine-id` on the machine prints the ID; --request FILE writes a request file.",
        )
    if request_file is None:
        return machine_id or ""
    from keyseat_shared.request import MAX_REQUEST_SIZE, parse_request

    with request_file.open("rb") as file:
        request = parse_request(file.read(MAX_REQUEST_SIZE + 1))
    if not output.json:
        versions = ", ".join(f"{name} {version}" for name, version in request.versions.items())
        output.say(
            f"The request was made on {request.platform}, {request.environment}{f' ({versions})' if versions else ''}."
        )
        for note in request.components:
            if note.state in {"unreadable", "rejected"}:
                output.say(f"  {note.kind}: {note.state}{f', {note.reason}' if note.reason else ''}")
    return str(request.machine_id)


def _distinct(features: tuple[str, ...]) -> tuple[str, ...]:
    from keyseat_shared import fields
    from keyseat_shared.errors import MalformedError

    try:
        return fields.codes(list(dict.fromkeys(features)), "--feature")
    except MalformedError as error:
        raise KeyseatError(ReasonCode.INVALID_INPUT, error.message) from None


def _show_preview(output: Output, found: "Preview", now: "datetime") -> None:
    decision, source = found.decision, found.decision.source
    sessions = decision.request.sessions
    taken = f"{decision.used_before} of {source.pool.quota} taken now, {decision.used_after} afterwards"
    if decision.converts is not None:
        taken += " (the user's assigned seat is converted)"
    lines = [
        ("organisation", decision.organization.name),
        ("product", f"{decision.request.product}, {decision.product.name} ({decision.product.seats} seats)"),
        ("user", decision.user or "none: any user account of that ID on the machine"),
        (
            "subscription",
            f"{source.term}, {format_instant(source.starts_at)} to {format_instant(source.ends_at)}",
        ),
        ("locked until", f"{format_instant(decision.expires_at)}, {days_left(decision.expires_at, now)}"),
        ("seats", taken),
    ]
    if sessions > 1 or found.sessions_on_machine:
        lines.append(("sessions", f"{sessions}, and {found.sessions_on_machine} on this machine already"))
    output.say("This would be issued:", "bold")
    for name, value in lines:
        output.say(f"  {name:<13} {value}")
    show_machine(output, decision.machine)
    for warning in found.warnings:
        output.warn(warning)
