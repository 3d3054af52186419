"""`keyseat-issuer offline list|show|export`: find offline licences and hand them out again."""

from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.filters import hint_nobody
from keyseat_issuer.cli.listing import Columns, Part, part_options, show
from keyseat_issuer.cli.offline_common import (
    days_cell,
    days_left,
    destination_for,
    open_ledger,
    out_option,
    show_machine,
)
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID

if TYPE_CHECKING:
    from datetime import datetime

    from keyseat_issuer.ledger.models import OfflineLicense

_MAX_DAYS = 3_660


@click.command("list")
@click.argument("organization", metavar="[ORG]", required=False)
@click.option(
    "--expiring", type=click.IntRange(0, _MAX_DAYS), metavar="DAYS", help="Only those that end within so many days."
)
@click.option("--active/--all", default=True, help="Only those that have not ended (default), or all.")
@click.option("--machine-id", metavar="MID", help="Only those bound to this ID.")
@click.option("--user", metavar="EMAIL", help="Only this user's.")
@part_options
@json_option
@pass_output
def list_licenses(
    output: Output,
    *,
    organization: str | None,
    expiring: int | None,
    active: bool,
    machine_id: str | None,
    user: str | None,
    part: Part,
) -> None:
    """List offline licences of ORG or of all organisations, those that end first at the top: 1,000 at a time."""
    machine = None if machine_id is None else MachineID.parse(machine_id)
    _actor, now = open_ledger()
    from keyseat_issuer.ledger.customers import members, organizations
    from keyseat_issuer.ledger.database import ledger_errors
    from keyseat_issuer.ledger.offline import licenses
    from keyseat_issuer.ledger.tools import paging

    columns: Columns[OfflineLicense] = Columns(
        "licenses",
        "Offline licences",
        ("id", "organisation", "product", "user", "machine ID", "sessions", "expires", "left"),
        lambda row: [
            [
                row.license_id,
                row.organization.name,
                row.product,
                row.user or None,
                _short(row.machine_id),
                row.sessions,
                row.expires_at,
                days_cell(row.expires_at, now),
            ]
        ],
        lambda row: _row_dict(row, now),
    )
    with ledger_errors():
        found = None if organization is None else organizations.find(organization)
        email = None if user is None else members.normalize_email(user)
        source = licenses.selected(
            now=now,
            organization=found,
            machine_id=machine,
            user=email,
            expiring_days=expiring,
            everything=not active,
        )
        show(
            output,
            part,
            lambda limit, cursor: paging.read([source], limit, cursor),
            columns,
            empty="There are none.",
        )
        if email is not None and not source.rows.exists():
            hint_nobody(output, found, email)


@click.command("show")
@click.argument("license_id", metavar="ID")
@json_option
@pass_output
def show_license(output: Output, *, license_id: str) -> None:
    """Show one offline licence and its history. The beginning of its ID is enough."""
    _actor, now = open_ledger()
    from keyseat_issuer.ledger.offline import licenses

    row = licenses.find(license_id)
    history = licenses.history(row)
    subscription = row.pool.subscription
    period = f"{format_instant(subscription.starts_at)} to {format_instant(subscription.ends_at)}"

    def human() -> None:
        lines = [
            ("licence", str(row.license_id)),
            ("organisation", row.organization.name),
            ("product", row.product),
            ("user", row.user or "none"),
            ("sessions", str(row.sessions)),
            ("subscription", f"{subscription.term}, {period}"),
            ("issued", format_instant(row.issued_at)),
            ("expires", f"{format_instant(row.expires_at)}, {days_left(row.expires_at, now)}"),
            ("file", f"sha256 {row.file_sha256}"),
        ]
        for name, value in lines:
            output.print(f"  {name:<13} {value}")
        show_machine(output, MachineID.parse_canonical(row.machine_id))
        for event in history:
            output.print(f"  {format_instant(event.at)}  {event.action} by {event.actor}")

    output.emit(
        {
            "license": _row_dict(row, now)
            | {
                "subscription": {
                    "id": str(subscription.pk),
                    "term": subscription.term,
                    "starts_at": format_instant(subscription.starts_at),
                    "ends_at": format_instant(subscription.ends_at),
                },
                "file_sha256": row.file_sha256,
                "history": [
                    {"at": format_instant(event.at), "action": event.action, "actor": event.actor} for event in history
                ],
            }
        },
        human,
    )


@click.command()
@click.argument("license_id", metavar="ID")
@out_option
@json_option
@pass_output
def export(output: Output, *, license_id: str, out: str | None) -> None:
    """Write the file of an issued licence again, byte for byte. The beginning of its ID is enough."""
    actor, now = open_ledger()
    destination = destination_for(out, may_exist=True)
    from keyseat_issuer.ledger.offline import licenses
    from keyseat_issuer.ledger.offline.files import file_stem

    found = licenses.export(license_id, actor=actor, now=now)
    path = destination.write(file_stem(found.product, found.machine_id), found.file, ident=str(found.license_id))

    def human() -> None:
        output.print(f"Wrote the {found.product} licence {found.license_id}: {path}")
        if found.expires_at <= now:
            output.warn("this licence has ended; the machine activates online instead")

    output.emit({"license": found.to_dict(), "file": path}, human)


def _row_dict(row: "OfflineLicense", now: "datetime") -> dict[str, object]:
    return {
        "license_id": str(row.license_id),
        "organization": row.organization.name,
        "product": row.product,
        "user": row.user or None,
        "machine_id": row.machine_id,
        "sessions": row.sessions,
        "issued_at": format_instant(row.issued_at),
        "expires_at": format_instant(row.expires_at),
        "active": row.expires_at > now,
    }


def _short(machine_id: str) -> str:
    head = machine_id.index("1") + 1
    return machine_id[head : head + 10]
