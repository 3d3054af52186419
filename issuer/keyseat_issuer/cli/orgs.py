"""`keyseat-issuer org`: add and list organisations."""

from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.listing import Columns, Part, part_options, show
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.instants import now_utc

if TYPE_CHECKING:
    from keyseat_issuer.ledger.models import Organization


@click.group()
def org() -> None:
    """Add and list organisations.

    An organisation belongs to an account (the customer). Commands that take ORG accept its name, ACCOUNT/NAME, or id.
    """


@org.command("add")
@click.argument("name")
@click.option("--account", metavar="NAME", help="The customer it belongs to; default: one of the same name.")
@json_option
@pass_output
def add(output: Output, name: str, account: str | None) -> None:
    """Add the organisation NAME."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations

    added = organizations.add_organization(name, account=account, actor=log.cli_actor(), now=now_utc())

    def human() -> None:
        output.print(f"Added {added.name!r} (account {added.account.name!r}), id {added.pk}.")
        output.say(f"Next: keyseat-issuer member add {_quoted(added.name)} EMAIL --role owner")

    output.emit({"organization": {"id": str(added.pk), "name": added.name, "account": added.account.name}}, human)


@org.command("list")
@click.option("--find", metavar="TEXT", default="", help="Only those with this in their name, or in their account's.")
@part_options
@json_option
@pass_output
def list_(output: Output, find: str, part: Part) -> None:
    """List organisations, by account and name: 1,000 at a time, or all of them."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.customers import organizations
    from keyseat_issuer.ledger.tools import paging

    columns: Columns[Organization] = Columns(
        "organizations",
        "Organisations",
        ["Account", "Organisation", "Added", "Id"],
        lambda entry: [[entry.account.name, entry.name, entry.created_at, entry.pk]],
        lambda entry: {
            "id": str(entry.pk),
            "name": entry.name,
            "account": entry.account.name,
            "created_at": entry.created_at,
        },
    )
    with database.ledger_errors():
        show(output, part, lambda limit, cursor: paging.read([organizations.listed(find)], limit, cursor), columns)


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
