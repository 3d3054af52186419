"""`keyseat-issuer session`: who runs what right now, and ending a session that is stuck."""

from typing import TYPE_CHECKING
from uuid import UUID

import click

from keyseat_issuer.cli.filters import check_product
from keyseat_issuer.cli.listing import Columns, Part, part_options, show
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc

if TYPE_CHECKING:
    from keyseat_issuer.ledger.models import Lease


@click.group()
def session() -> None:
    """List online sessions, and end some by force."""


@session.command("list")
@click.argument("org")
@click.option("--product", metavar="PRODUCT", help="Only sessions of this product.")
@part_options
@json_option
@pass_output
def list_(output: Output, org: str, product: str | None, part: Part) -> None:
    """List the live online sessions of ORG, the one that started last first: 1,000 at a time, or all of them."""
    from keyseat_issuer.ledger.database import ledger_errors, require_ready

    require_ready()
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.sessions import admin
    from keyseat_issuer.ledger.tools import paging

    columns: Columns[Lease] = Columns(
        "sessions",
        f"Online sessions of {org}",
        ["Session", "Product", "Holder", "Machine", "Started", "Lease ends"],
        lambda row: [[row.pk, row.product, row.holder, row.machine_id[4:14], row.started_at, row.expires_at]],
        lambda row: {
            "session_id": str(row.pk),
            "product": row.product,
            "holder": row.holder,
            "machine_id": row.machine_id,
            "started_at": row.started_at,
            "renewed_at": row.renewed_at,
            "expires_at": row.expires_at,
        },
    )
    with ledger_errors():
        organization = organizations.find(org)
        check_product(organization, product)
        source = admin.listed(organization, now_utc(), product)
        show(output, part, lambda limit, cursor: paging.read([source], limit, cursor), columns)


@session.command()
@click.argument("org")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@json_option
@pass_output
def end(output: Output, org: str, session_ids: tuple[str, ...]) -> None:
    """End each SESSION of ORG at once, or none of them. Seats are free then; clients learn it at their next renewal."""
    from keyseat_issuer.ledger.database import ledger_errors, require_ready

    wanted = [_parse(text) for text in session_ids]
    require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.sessions import admin

    with ledger_errors():
        organization = organizations.find(org)
    ended = admin.force_release(organization, wanted, actor=log.cli_actor(), now=now_utc())
    output.emit(
        {"ended": [str(row.pk) for row in ended]},
        lambda: (
            output.print(f"Ended {len(ended)} of {len(wanted)}; the others were over already.")
            if len(ended) < len(wanted)
            else output.print(f"Ended {len(ended)}.")
        ),
    )


def _parse(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{text[:40]!r} is not the id of a session",
            next_step="`keyseat-issuer session list` shows the ids.",
        ) from None
