"""`keyseat-issuer audit`: list and verify the audit log."""

import json
from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.output import Output, Styled, json_option, pass_output
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

if TYPE_CHECKING:
    from keyseat_issuer.ledger.models import AuditEvent
    from keyseat_shared.trust import TrustBundle

_SHOWN = 70


@click.group()
def audit() -> None:
    """List and verify the audit log: every act and every refusal is one row, chained by digests."""


@audit.command("list")
@click.argument("org", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest N rows.")
@json_option
@pass_output
def list_(output: Output, org: str | None, limit: int) -> None:
    """List the newest rows, of ORG or of everything, oldest first."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log as audit_log
    from keyseat_issuer.ledger.customers import organizations

    with database.ledger_errors():
        organization = None if org is None else organizations.find(org)
        try:
            rows = list(audit_log.recent(limit, organization))
            events = [_as_dict(row) for row in rows]
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise KeyseatError(
                ReasonCode.AUDIT_BROKEN,
                "an audit row cannot be read: it holds what this software never writes there",
                next_step="`keyseat-issuer audit verify` names the place. Keep the database as it is.",
            ) from None
    output.emit(
        {"events": events},
        lambda: output.table(
            "Audit",
            ["Row", "At", "Who", "Act", "Organisation", "Subject", "Details"],
            [
                [
                    row.seq,
                    row.at,
                    row.actor,
                    Styled(row.action, "red" if row.action.endswith(".refused") else ""),
                    None if row.organization is None else row.organization.name,
                    row.subject,
                    row.details if len(row.details) <= _SHOWN else row.details[:_SHOWN] + "…",
                ]
                for row in rows
            ],
        ),
    )


@audit.command("verify")
@click.option(
    "--anchor", metavar="SEQ:DIGEST", help="What an earlier verify printed: shows a chain rewritten as a whole."
)
@click.option(
    "--from", "since", metavar="SEQ:DIGEST", help="Check only what has happened since this anchor; faster, and less."
)
@click.option(
    "--trust",
    "trust_file",
    type=click.Path(dir_okay=False),
    help="The vendor's trust bundle, where this is not the issuer's home.",
)
@json_option
@pass_output
def verify(output: Output, anchor: str | None, since: str | None, trust_file: str | None) -> None:
    """Check the chain, what its rows tell of, licences and their signatures, and the counters against the seats held.

    Members, roles, assigned seats, invitations, API keys and subscriptions must be what the rows say; a change by SQL
    is in no row.

    Note the anchor it prints somewhere outside of the database, and give it to a later check: with --anchor the whole
    is checked again, with --from what came after it, and what was not checked is told.
    """
    if anchor is not None and since is not None:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "--from takes the place of --anchor: the row that it names must be there as well",
            next_step="Give one of them.",
        )
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.checks import check
    from keyseat_issuer.checks import since as audit_since
    from keyseat_issuer.cli.passphrase import warn_of_exposed_files
    from keyseat_issuer.home import issuer_home

    warn_of_exposed_files(output, issuer_home())
    trust, unknown = _trust(trust_file)
    whole = since is None
    report = check.verify(anchor, trust=trust) if since is None else audit_since.verify_from(since, trust=trust)
    if not report.ok:
        if not output.json:
            for finding in report.findings:
                output.say(f"{finding.place}: {finding.what}")
        raise KeyseatError(
            ReasonCode.AUDIT_BROKEN,
            f"the ledger does not agree with itself, first at {report.findings[0].place}: {report.findings[0].what}",
            details={"findings": [finding._asdict() for finding in report.findings]} if output.json else {},
        )

    if unknown is not None:
        # What was not checked is listed too: it may be right, and all that was checked agrees.
        unknown.message += "; so no licence's signature was checked (everything else agrees)"
        raise unknown

    def human() -> None:
        pools = f", {report.pools} pools" if whole else " since that anchor"
        output.print(f"{report.events} audit rows, {report.licenses} licences{pools}: all agree.")
        for what in report.unchecked:
            output.print(f"Not checked: {what}.")
        output.print(f"Anchor: {report.anchor}")

    output.emit(
        {
            "events": report.events,
            "licenses": report.licenses,
            "pools": report.pools,
            "anchor": report.anchor,
            "findings": [],
            "not_checked": list(report.unchecked),
        },
        human,
    )


@audit.command("clock")
@click.option("--accept", is_flag=True, help="This machine's clock is right now: let the ledger's time go on from it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_output
def clock(output: Output, accept: bool, yes: bool) -> None:  # noqa: FBT001 - click's way
    """Compare the clocks, and go on after one was wrong.

    Acts are refused while this machine's clock disagrees with the ledger's time. Once the clock is right, and the
    ledger's time is not, `--accept` lets that follow. It is on record, never goes back before a licence that was
    issued, and brings back nothing that a sunset has ended.
    """
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import clock_correction
    from keyseat_issuer.ledger.audit.log import cli_actor
    from keyseat_shared.instants import now_utc

    found = clock_correction.look(now_utc())
    if accept and found.trouble is not None:
        output.confirm(
            f"The ledger's time is {format_instant(found.ledger)}, and this machine's clock says"
            f" {format_instant(found.now)}.",
            "right",
            yes=yes,
            consequence="Look at another clock first: every act from now on is dated from this one.",
        )
    if accept:
        found = clock_correction.accept(now_utc(), actor=cli_actor())
    trouble = None if accept else found.trouble

    def human() -> None:
        for label, at in (("this machine", found.now), ("the ledger", found.ledger), ("the database", found.database)):
            if at is not None:
                output.print(f"{label:<14}{format_instant(at)}")
        if accept:
            output.print(f"The ledger's time goes on from {format_instant(found.now)}.", "green")
        elif trouble is None:
            output.print("They agree.")

    if trouble is not None:
        if not output.json:
            human()
        raise trouble
    times = {"now": found.now, "ledger": found.ledger, "database": found.database}
    output.emit(
        {key: None if at is None else format_instant(at) for key, at in times.items()} | {"accepted": accept}, human
    )


def _trust(file: str | None) -> "tuple[TrustBundle | None, KeyseatError | None]":
    """Return the bundle to check signatures with, or why there is none."""
    from keyseat_issuer.home import load_trust
    from keyseat_shared.trust import TrustBundle

    try:
        return (load_trust() if file is None else TrustBundle.load(file)), None
    except KeyseatError as error:
        return None, error


def _as_dict(row: "AuditEvent") -> dict[str, object]:
    return {
        "seq": row.seq,
        "at": format_instant(row.at),
        "actor": row.actor,
        "action": row.action,
        "organization": None if row.organization is None else row.organization.name,
        "subject": row.subject,
        "details": json.loads(row.details),
        "digest": row.digest,
    }
