"""`keyseat-issuer org`: add and list organisations."""

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.instants import now_utc


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
    from keyseat_issuer import database

    database.require_ready()
    from keyseat_issuer.ledger.services import audit, organizations

    added = organizations.add_organization(name, account=account, actor=audit.cli_actor(), now=now_utc())

    def human() -> None:
        output.print(f"Added {added.name!r} (account {added.account.name!r}), id {added.pk}.")
        output.say(f"Next: keyseat-issuer member add {_quoted(added.name)} EMAIL --role owner")

    output.emit({"organization": {"id": str(added.pk), "name": added.name, "account": added.account.name}}, human)


@org.command("list")
@json_option
@pass_output
def list_(output: Output) -> None:
    """List all organisations."""
    from keyseat_issuer import database

    database.require_ready()
    from keyseat_issuer.ledger.services import organizations

    with database.ledger_errors():
        found = organizations.list_organizations()
    output.emit(
        {
            "organizations": [
                {"id": str(entry.pk), "name": entry.name, "account": entry.account.name, "created_at": entry.created_at}
                for entry in found
            ]
        },
        lambda: output.table(
            "Organisations",
            ["Account", "Organisation", "Added", "Id"],
            [[entry.account.name, entry.name, entry.created_at, entry.pk] for entry in found],
        ),
    )


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
