"""`keyseat-issuer seat`: assign, take back, transfer and list seats."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.filters import check_product, hint_nobody
from keyseat_issuer.cli.listing import Columns, Part, part_options, show
from keyseat_issuer.cli.output import Output, Styled, json_option, pass_output
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc

if TYPE_CHECKING:
    from datetime import datetime

    from keyseat_issuer.ledger.customers.subscriptions import SubscriptionView
    from keyseat_issuer.ledger.models import Organization
    from keyseat_issuer.ledger.seats.rules import Line
    from keyseat_issuer.ledger.seats.seats import Seat

_STDIN = "-"
_MAX_NAMED = 10
_LINES = "lines"


@click.group()
def seat() -> None:
    """Assign, take back, transfer and list seats."""


@seat.command("assign")
@click.argument("org")
@click.argument("product")
@click.argument("emails", metavar="EMAIL...", nargs=-1, required=True)
@json_option
@pass_output
def assign(output: Output, org: str, product: str, emails: tuple[str, ...]) -> None:
    """Assign a PRODUCT seat to each EMAIL, or to none of them. `-` reads addresses from standard input."""
    wanted = _addresses(emails)
    from keyseat_issuer.home import issuer_home
    from keyseat_issuer.ledger import database
    from keyseat_issuer.trust.history import current_trust

    policy = current_trust(issuer_home()).policy
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.seats import seats

    now = now_utc()
    with database.ledger_errors():
        organization = organizations.find(org)
    try:
        lines = seats.assign(organization, product, wanted, policy=policy, actor=log.cli_actor(), now=now)
    except KeyseatError as error:
        _report_refused(output, error)
        raise
    with database.ledger_errors():
        mixed = seats.unlicensed_members(organization, now)

    def human() -> None:
        _report(output, product, lines)
        _warn_mixed(output, organization, mixed)

    output.emit(
        {
            "organization": organization.name,
            "product": product,
            "lines": [line._asdict() for line in lines],
            "unlicensed_members": mixed,
        },
        human,
    )


@seat.command("unassign")
@click.argument("org")
@click.argument("product")
@click.argument("emails", metavar="EMAIL...", nargs=-1, required=True)
@json_option
@pass_output
def unassign(output: Output, org: str, product: str, emails: tuple[str, ...]) -> None:
    """Take back the PRODUCT seat of each EMAIL, or of none of them. Seats bound offline stay until they expire."""
    wanted = _addresses(emails)
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.seats import seats

    with database.ledger_errors():
        organization = organizations.find(org)
    lines = seats.unassign(organization, product, wanted, actor=log.cli_actor(), now=now_utc())
    output.emit(
        {"organization": organization.name, "product": product, "lines": [line._asdict() for line in lines]},
        lambda: _report(output, product, lines),
    )


@seat.command("transfer")
@click.argument("org")
@click.argument("product")
@click.argument("from_email", metavar="FROM")
@click.argument("to_email", metavar="TO")
@json_option
@pass_output
def transfer(output: Output, org: str, product: str, from_email: str, to_email: str) -> None:
    """Move a PRODUCT seat from one member to another."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.seats import seats

    with database.ledger_errors():
        organization = organizations.find(org)
    taken = seats.transfer(organization, product, from_email, to_email, actor=log.cli_actor(), now=now_utc())
    output.emit(
        {"organization": organization.name, "product": product, "holder": taken.holder},
        lambda: output.print(f"The {product} seat is now assigned to {taken.holder}."),
    )


@seat.command("carry")
@click.argument("org")
@click.argument("product")
@json_option
@pass_output
def carry(output: Output, org: str, product: str) -> None:
    """After a renewal: move seats still assigned in ORG's ended PRODUCT subscription to the running one."""
    from keyseat_issuer.home import issuer_home
    from keyseat_issuer.ledger import database
    from keyseat_issuer.trust.history import current_trust

    policy = current_trust(issuer_home()).policy
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.seats import renewals

    with database.ledger_errors():
        organization = organizations.find(org)
    lines = renewals.carry_over(organization, product, policy=policy, actor=log.cli_actor(), now=now_utc())

    def human() -> None:
        _report(output, product, lines)
        if not lines:
            output.print(f"No {product} seat is assigned in an ended subscription: nothing to carry over.")

    output.emit(
        {"organization": organization.name, "product": product, "lines": [line._asdict() for line in lines]}, human
    )


@seat.command("list")
@click.argument("org")
@click.option("--product", metavar="CODE", help="Only this product.")
@click.option("--user", metavar="EMAIL", help="Only what this user holds.")
@part_options
@json_option
@pass_output
def list_(output: Output, org: str, product: str | None, user: str | None, part: Part) -> None:
    """Show the quota and use of ORG's seats, and who holds them: 1,000 holders at a time, or all of them.

    By product: assigned seats, offline licences, then online sessions, the one that started last first.
    """
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.customers import organizations, subscriptions
    from keyseat_issuer.ledger.customers.members import normalize_email
    from keyseat_issuer.ledger.seats import renewals, seats
    from keyseat_issuer.ledger.tools import paging

    now = now_utc()
    email = None if user is None else normalize_email(user)
    with database.ledger_errors():
        organization = organizations.find(org)
        check_product(organization, product)
        active = [v for v in subscriptions.list_subscriptions(organization, now) if v.state == "active"]
        mixed = seats.unlicensed_members(organization, now)
        codes = {entry.pool.product for view in active for entry in view.pools}
        left = {code: renewals.count_left_behind(organization, code, now) for code in codes}

        def read(limit: int, cursor: str | None) -> "paging.Page[Seat]":
            if email is None:
                return paging.read(seats.listed(organization, now, product), limit, cursor)
            held = seats.held_by(organization, now, [email])
            if not held:
                hint_nobody(output, organization, email)
            return paging.Page([seat for seat in held if product in {None, seat.product}], None)

        show(
            output,
            part,
            read,
            _holder_columns(now),
            head={
                "organization": organization.name,
                "pools": _pools(active, product),
                "unlicensed_members": mixed,
                "left_in_ended_subscriptions": {code: number for code, number in left.items() if number},
            },
            before=lambda: _quota_table(output, active, product),
        )
    if not output.json:
        _hint_carry(output, organization, left)
        _warn_mixed(output, organization, mixed)


def _addresses(emails: Sequence[str]) -> list[str]:
    """Return the addresses typed; ``-`` stands for those on standard input, separated by spaces, commas or lines."""
    found: list[str] = []
    for typed in emails:
        if typed == _STDIN:
            found += sys.stdin.read().replace(",", " ").replace(";", " ").split()
        else:
            found.append(typed)
    if not found:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "there is no e-mail address on standard input")
    return found


def _report(output: Output, product: str, lines: "Sequence[Line]") -> None:
    for line in lines:
        output.print(f"{line.email}: {product} {line.status}" + (f" ({line.note})" if line.note else ""))


def _report_refused(output: Output, error: KeyseatError) -> None:
    """Tell people line by line what stood in the way; with ``--json`` the lines stay in the details."""
    if output.json:
        return
    lines = error.details.pop(_LINES, None)
    for line in lines if isinstance(lines, list) else []:
        output.say(f"{line['email']}: {line['status']}")


def _warn_mixed(output: Output, organization: "Organization", mixed: Sequence[str]) -> None:
    if mixed:
        more = "" if len(mixed) <= _MAX_NAMED else f" and {len(mixed) - _MAX_NAMED} more"
        output.warn(
            f"mixed licences: {len(mixed)} of the members of {organization.name!r} hold no paid seat:"
            f" {', '.join(mixed[:_MAX_NAMED])}{more}. The Terms of Use ask for a paid licence for every user."
        )


def _hint_carry(output: Output, organization: "Organization", left: Mapping[str, int]) -> None:
    for product, number in sorted(left.items()):
        if number:
            output.warn(
                f"{number} {product} seats are still assigned in an ended subscription."
                f" Carry them over: keyseat-issuer seat carry {shlex.quote(organization.name)} {product}"
            )


def _pools(active: "Sequence[SubscriptionView]", product: str | None) -> list[dict[str, object]]:
    return [
        {
            "product": entry.pool.product,
            "subscription": str(view.subscription.pk),
            "ends_at": view.subscription.ends_at,
            "quota": entry.figures.quota,
            "used": entry.figures.used,
            "offline": entry.figures.offline,
            "available": entry.figures.available,
            "assigned": entry.figures.assigned,
            "next_offline_expiry": entry.figures.next_expiry,
            "lingering": entry.figures.lingering,
        }
        for view in active
        for entry in view.pools
        if product is None or entry.pool.product == product
    ]


def _quota_table(output: Output, active: "Sequence[SubscriptionView]", product: str | None) -> None:
    from keyseat_issuer.ledger.customers.subscriptions import last_day

    output.table(
        "Quota",
        ["Product", "Term", "Through", "Quota", "Used", "Offline", "Free", "Running on", "Next offline seat back"],
        [
            [
                entry.pool.product,
                view.subscription.term,
                last_day(view.subscription.ends_at),
                entry.figures.quota,
                entry.figures.used,
                entry.figures.offline,
                entry.figures.available,
                entry.figures.lingering,
                entry.figures.next_expiry,
            ]
            for view in active
            for entry in view.pools
            if product is None or entry.pool.product == product
        ],
    )


def _holder_columns(now: "datetime") -> "Columns[Seat]":
    def cells(entry: "Seat") -> list[list[object]]:
        return [
            [
                entry.product,
                entry.holder,
                Styled(entry.kind, "yellow" if entry.kind == "offline" else ""),
                entry.seats,
                entry.since,
                entry.until,
                None if entry.until is None else (entry.until - now).days,
                _short(entry.machine_id),
            ]
        ]

    heads = ["Product", "Holder", "Kind", "Seats", "Since", "Until", "Days left", "Machine"]
    return Columns("seats", "Held by", heads, cells, _as_dict)


def _short(machine_id: str) -> str:
    return f"{machine_id[:14]}…" if machine_id else "-"


def _as_dict(entry: "Seat") -> dict[str, object]:
    return {
        "product": entry.product,
        "holder": entry.holder,
        "kind": entry.kind,
        "seats": entry.seats,
        "since": format_instant(entry.since),
        "until": None if entry.until is None else format_instant(entry.until),
        "license_id": None if entry.license_id is None else str(entry.license_id),
        "machine_id": entry.machine_id or None,
    }
