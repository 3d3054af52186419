"""`keyseat-issuer account`: see who can sign in, shut an account off, take a lost second factor away."""

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_shared.instants import format_instant, now_utc


@click.group()
def account() -> None:
    """See and shut off the accounts that sign in to your server.

    Accounts come from invitations. What one may do in an organisation is its role there: `keyseat-issuer member`.
    """


@account.command("list")
@json_option
@pass_output
def list_(output: Output) -> None:
    """List all accounts."""
    from keyseat_issuer.ledger import database
    from keyseat_issuer.server import django

    django.require_ready()
    from keyseat_issuer.ledger.customers import claims
    from keyseat_issuer.web import accounts

    with database.ledger_errors():
        found = accounts.list_accounts()
        protected = accounts.with_second_factor()
        claimed = claims.unproven()
    output.emit(
        {
            "accounts": [
                {
                    "email": user.email,
                    "name": user.name,
                    "active": user.is_active,
                    "staff": user.is_staff,
                    "address_proven": user.email not in claimed,
                    "second_factor": user.email in protected,
                    "last_sign_in": None if user.last_login is None else format_instant(user.last_login),
                }
                for user in found
            ]
        },
        lambda: output.table(
            "Accounts",
            ["E-mail", "Name", "Proven", "Active", "Staff", "Second factor", "Last sign-in"],
            [
                [
                    user.email,
                    user.name,
                    _yes(user.email not in claimed),
                    _yes(user.is_active),
                    _yes(user.is_staff),
                    _yes(user.email in protected),
                    user.last_login or "never",
                ]
                for user in found
            ],
        ),
    )


@account.command("deactivate")
@click.argument("email")
@json_option
@pass_output
def deactivate(output: Output, email: str) -> None:
    """Shut the account EMAIL off, everywhere and at once. Its seats stay: take them back with `seat unassign`."""
    from keyseat_issuer.server import django

    django.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.web import accounts

    user = accounts.deactivate(email, actor=log.cli_actor(), now=now_utc())
    output.emit({"email": user.email, "active": False}, lambda: output.print(f"{user.email} can no longer sign in."))


@account.command("activate")
@click.argument("email")
@json_option
@pass_output
def activate(output: Output, email: str) -> None:
    """Let EMAIL sign in again."""
    from keyseat_issuer.server import django

    django.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.web import accounts

    user = accounts.activate(email, actor=log.cli_actor(), now=now_utc())
    output.emit({"email": user.email, "active": True}, lambda: output.print(f"{user.email} can sign in again."))


@account.command("forget-second-factor")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask: you have made sure who asks for it.")
@json_option
@pass_output
def forget_second_factor(output: Output, email: str, *, yes: bool) -> None:
    """Remove the second factor of EMAIL, who has lost it and the recovery codes. Make sure that it is they who ask."""
    output.confirm(
        "Is it they?",
        email,
        yes=yes,
        consequence=f"The password alone will let somebody in as {email}. Make sure that it is they who ask.",
    )
    from keyseat_issuer.server import django

    django.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.web import accounts

    user = accounts.forget_second_factor(email, actor=log.cli_actor(), now=now_utc())
    output.emit(
        {"email": user.email, "second_factor": False},
        lambda: output.print(f"{user.email} signs in with the password alone, and was signed out everywhere."),
    )


@account.command("reset-password")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask: you have made sure who asks for it.")
@json_option
@pass_output
def reset_password(output: Output, email: str, *, yes: bool) -> None:
    """Print a link that lets EMAIL set a new password: for a server that sends no mail. Make sure that it is they.

    It works once. A second factor stays, unless the address was unproven (`account list`): then it may be another's.
    """
    output.confirm(
        "Is it they?",
        email,
        yes=yes,
        consequence=f"The link lets whoever opens it in as {email}. Make sure that it is they who ask.",
    )
    from keyseat_issuer.server import django
    from keyseat_issuer.web.secret import ensure_secret

    ensure_secret()
    django.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.web import accounts
    from keyseat_issuer.web.public_url import URL_VARIABLE, public_url

    link = accounts.reset_link(email, actor=log.cli_actor(), now=now_utc())
    output.emit({"email": email, "link": link}, lambda: output.print(link))
    output.say("Hand the link over on a way that only that person reads.")
    if public_url() is None:
        output.warn(f"the link works on this machine only; set {URL_VARIABLE} to where people reach your server")


@account.command("staff")
@click.argument("email")
@click.option("--off", is_flag=True, help="No longer.")
@click.option("--yes", is_flag=True, help="Also where nobody has proven the address: you know whose the account is.")
@json_option
@pass_output
def staff(output: Output, email: str, *, off: bool, yes: bool) -> None:
    """Let EMAIL into the pages of your own staff."""
    from keyseat_issuer.server import django

    django.require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.web import accounts

    user = accounts.set_staff(email, staff=not off, actor=log.cli_actor(), now=now_utc(), vouched=yes)
    output.emit(
        {"email": user.email, "staff": user.is_staff},
        lambda: output.print(f"{user.email} is {'no longer' if off else 'now'} one of your staff."),
    )


def _yes(value: object) -> str:
    return "yes" if value else "no"
