"""`keyseat-issuer invite`: invite people to an organisation by links that work once, for 24 hours."""

import click

from keyseat_issuer.cli.members import ROLES
from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.instants import format_instant, now_utc

_SEND = "send"


class _SendByDefault(click.Group):
    """`invite ORG EMAIL` means `invite send ORG EMAIL`: what is not a subcommand is an organisation."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the subcommand in where it was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_SEND, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_SendByDefault)
def invite() -> None:
    """Invite people to an organisation by mail: `invite ORG EMAIL... --role R`.

    The link in the mail works once, for 24 hours. EMAIL_URL names the mail server; without it the links are printed for
    you to hand over. KEYSEAT_PUBLIC_URL is where people reach your server.
    """


@invite.command(_SEND)
@click.argument("org")
@click.argument("emails", metavar="EMAIL...", nargs=-1, required=True)
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@click.option("--no-mail", is_flag=True, help="Print the links only.")
@json_option
@pass_output
def send(output: Output, org: str, emails: tuple[str, ...], role: str, *, no_mail: bool) -> None:
    """Invite people to ORG: all of them, or none where one address cannot be invited.

    Somebody invited before gets a new link; the old one stops working. Members who were added with `member add` get a
    link to make their account, and keep their role.
    """
    from keyseat_issuer.ledger import database
    from keyseat_issuer.server import django

    django.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import claims, invitations, organizations
    from keyseat_issuer.ledger.models import Role
    from keyseat_issuer.web import accounts, invitation_mail
    from keyseat_issuer.web.mail import sends_for_real
    from keyseat_issuer.web.public_url import URL_VARIABLE, public_url

    with database.ledger_errors():
        organization = organizations.find(org)
    made = invitations.invite(
        organization,
        emails,
        Role(role),
        with_account=accounts.with_account,
        actor=log.cli_actor(),
        now=now_utc(),
    )
    output.stopped_note = "The invitations were made; `keyseat-issuer invite list` shows them."
    mailing = sends_for_real() and not no_mail
    failed = invitation_mail.send(organization, made) if mailing else []
    entries = [
        {
            "email": entry.email,
            "role": entry.role,
            "expires_at": format_instant(entry.expires_at),
            "link": invitation_mail.link(entry),
            "mailed": mailing and entry.email not in failed,
        }
        for entry in made
    ]

    def human() -> None:
        for entry in entries:
            output.print(f"{entry['email']} ({entry['role']}, until {entry['expires_at']})")
            output.print(f"  {entry['link']}")

    output.emit({"organization": organization.name, "invitations": entries}, human)
    if failed:
        output.warn(f"{len(failed)} mails could not be sent; hand these links over yourself: {', '.join(failed)}")
    elif not mailing:
        output.say("No mail was sent: hand each link over on a way that only that person reads.")
    if claimed := sorted(claims.unproven([entry.email for entry in made])):
        output.warn(
            f"nobody has proven the address of these accounts: {', '.join(claimed)}. Who cannot sign in needs"
            " `keyseat-issuer account reset-password EMAIL` first."
        )
    if public_url() is None:
        output.warn(f"the links work on this machine only; set {URL_VARIABLE} to where people reach your server")


@invite.command("list")
@click.argument("org")
@json_option
@pass_output
def list_(output: Output, org: str) -> None:
    """List the invitations to ORG that wait to be accepted."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.customers import invitations, organizations

    with database.ledger_errors():
        organization = organizations.find(org)
        found = invitations.waiting(organization, now_utc())
    output.emit(
        {
            "organization": organization.name,
            "invitations": [
                {"email": entry.email, "role": entry.role, "expires_at": format_instant(entry.expires_at)}
                for entry in found
            ],
        },
        lambda: output.table(
            f"Invitations to {organization.name}",
            ["E-mail", "Role", "Until"],
            [[entry.email, entry.role, entry.expires_at] for entry in found],
        ),
    )


@invite.command("revoke")
@click.argument("org")
@click.argument("email")
@json_option
@pass_output
def revoke(output: Output, org: str, email: str) -> None:
    """Take the invitation of EMAIL to ORG back: its link stops working at once."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import invitations, organizations

    with database.ledger_errors():
        organization = organizations.find(org)
    gone = invitations.withdraw(organization, email, actor=log.cli_actor(), now=now_utc())
    output.emit(
        {"organization": organization.name, "email": gone},
        lambda: output.print(f"The invitation of {gone} to {organization.name!r} was taken back."),
    )
