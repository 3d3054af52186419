"""`keyseat-issuer member`: add, list and remove an organisation's members, and change their roles."""

from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.instants import format_instant, now_utc

if TYPE_CHECKING:
    from keyseat_issuer.ledger.models import Membership

ROLES = ("owner", "admin", "billing", "member")
_KNOWN = "Also where nobody has proven the account's address: you know whose the account is."


@click.group()
def member() -> None:
    """Add, list and remove an organisation's members.

    Owner: everything. Admin: users and licences, but not the roles of owners and admins. Billing: sees subscriptions.
    Member: sees their own seat.
    """


@member.command("add")
@click.argument("org")
@click.argument("emails", metavar="EMAIL...", nargs=-1, required=True)
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@click.option("--yes", is_flag=True, help=_KNOWN)
@json_option
@pass_output
def add(output: Output, org: str, emails: tuple[str, ...], role: str, *, yes: bool) -> None:
    """Add people to ORG: all of them, or none where one of them cannot be added."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import members, organizations
    from keyseat_issuer.ledger.models import Role

    with database.ledger_errors():
        organization = organizations.find(org)
    added = members.add_members(organization, emails, Role(role), actor=log.cli_actor(), now=now_utc(), vouched=yes)

    def human() -> None:
        for entry in added:
            output.print(f"Added {entry.email} to {organization.name!r} as {entry.role}.")

    output.emit({"organization": organization.name, "members": [_as_dict(entry) for entry in added]}, human)


@member.command("list")
@click.argument("org")
@json_option
@pass_output
def list_(output: Output, org: str) -> None:
    """List the members of ORG, owners first."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.customers import members, organizations

    with database.ledger_errors():
        organization = organizations.find(org)
        found = members.list_members(organization)
    output.emit(
        {"organization": organization.name, "members": [_as_dict(entry) for entry in found]},
        lambda: output.table(
            f"Members of {organization.name}",
            ["E-mail", "Role", "Added"],
            [[entry.email, entry.role, entry.created_at] for entry in found],
        ),
    )


@member.command("role")
@click.argument("org")
@click.argument("email")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--yes", is_flag=True, help=_KNOWN)
@json_option
@pass_output
def role(output: Output, org: str, email: str, role: str, *, yes: bool) -> None:
    """Change the role of EMAIL in ORG. To hand ownership over, make the new owner first."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import members, organizations
    from keyseat_issuer.ledger.models import Role

    with database.ledger_errors():
        organization = organizations.find(org)
    changed = members.set_role(organization, email, Role(role), actor=log.cli_actor(), now=now_utc(), vouched=yes)

    def human() -> None:
        output.print(f"{changed.member.email} is now {changed.member.role} of {organization.name!r}.")
        _warn_of_what_they_gave_out(output, email, changed.invitations, changed.api_keys)

    output.emit(
        {
            "organization": organization.name,
            "member": _as_dict(changed.member),
            "invitations": list(changed.invitations),
            "api_keys": list(changed.api_keys),
        },
        human,
    )


@member.command("remove")
@click.argument("org")
@click.argument("email")
@json_option
@pass_output
def remove(output: Output, org: str, email: str) -> None:
    """Remove EMAIL from ORG. Assigned seats become free; offline licences stay valid until they expire."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import members, organizations

    with database.ledger_errors():
        organization = organizations.find(org)
    removed = members.remove_member(organization, email, actor=log.cli_actor(), now=now_utc())

    def human() -> None:
        output.print(
            f"Removed {removed.email} from {organization.name!r}; assigned seats freed: {removed.seats_freed}."
        )
        for until in removed.offline_until:
            output.warn(f"an offline licence stays valid, and its seat taken, until {format_instant(until)}")
        _warn_of_what_they_gave_out(output, removed.email, removed.invitations, removed.api_keys)

    output.emit(
        {
            "organization": organization.name,
            "email": removed.email,
            "seats_freed": removed.seats_freed,
            "offline_until": [format_instant(until) for until in removed.offline_until],
            "invitations": list(removed.invitations),
            "api_keys": list(removed.api_keys),
        },
        human,
    )


def _warn_of_what_they_gave_out(
    output: Output, email: str, invitations: tuple[str, ...], api_keys: tuple[str, ...]
) -> None:
    if invitations:
        output.warn(f"invitations that {email} gave out work no more: {', '.join(invitations)}")
    if api_keys:
        output.warn(
            f"API keys that {email} made go on working: {', '.join(api_keys)}."
            " `keyseat-issuer api-key revoke KEY` ends one."
        )


def _as_dict(entry: "Membership") -> dict[str, object]:
    return {"email": entry.email, "role": entry.role, "created_at": format_instant(entry.created_at)}
