"""`keyseat-issuer api-key`: make, list and revoke the keys that programs of an organisation sign in with."""

import click

from keyseat_issuer.cli.output import Output, Styled, json_option, pass_output


@click.group(name="api-key")
def api_key() -> None:
    """Make, list and revoke API keys."""


@api_key.command()
@click.argument("organization", metavar="ORG")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="What it may do; repeat it. Default: sessions.")
@click.option("--name", default="", metavar="TEXT", help="What it is for, to tell keys apart.")
@click.option("--expires", metavar="DATE", help="Last day (UTC) on which it works; default: until it is revoked.")
@json_option
@pass_output
def create(output: Output, organization: str, scopes: tuple[str, ...], name: str, expires: str | None) -> None:
    """Make an API key for ORG. It is shown once: store it where your CI keeps its secrets."""
    from keyseat_issuer.ledger.database import require_ready
    from keyseat_shared.instants import now_utc, parse_typed

    until = None if expires is None else parse_typed(expires, end_of_day=True)
    require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import api_keys, organizations

    made = api_keys.create_key(
        organizations.find(organization),
        scopes or ("sessions",),
        name=name or "API key",
        expires_at=until,
        actor=log.cli_actor(),
        now=now_utc(),
    )

    def human() -> None:
        output.print(made.text)
        output.say("Shown this once. It may: " + ", ".join(made.row.scopes.split()) + ".")
        output.say(f"Revoke it with: keyseat-issuer api-key revoke {made.row.prefix}")

    output.emit(
        {"api_key": made.text, "prefix": made.row.prefix, "scopes": made.row.scopes.split(), "expires_at": until}, human
    )


@api_key.command("list")
@click.argument("organization", metavar="[ORG]", required=False)
@json_option
@pass_output
def list_(output: Output, organization: str | None) -> None:
    """List the API keys of ORG, or of all organisations; never the keys themselves."""
    from keyseat_issuer.ledger.database import ledger_errors, require_ready
    from keyseat_shared.instants import now_utc

    require_ready()
    from keyseat_issuer.ledger.customers import api_keys, organizations

    now = now_utc()
    with ledger_errors():
        rows = api_keys.list_keys(None if organization is None else organizations.find(organization))
        described = [
            {
                "prefix": row.prefix,
                "organization": row.organization.name,
                "name": row.name,
                "scopes": row.scopes.split(),
                "state": api_keys.state(row, now),
                "created_at": row.created_at,
                "created_by": row.created_by,
                "expires_at": row.expires_at,
                "last_used_at": row.last_used_at,
            }
            for row in rows
        ]

    def human() -> None:
        output.table(
            "API keys",
            ["Key", "Organisation", "Name", "May", "Made by", "State", "Expires", "Last used"],
            [
                [
                    f"ksk_{entry['prefix']}_…",
                    entry["organization"],
                    entry["name"],
                    row.scopes,
                    entry["created_by"],
                    str(entry["state"]) if entry["state"] == "active" else Styled(str(entry["state"]), "red"),
                    entry["expires_at"],
                    entry["last_used_at"],
                ]
                for row, entry in zip(rows, described, strict=True)
            ],
        )

    output.emit({"api_keys": described}, human)


@api_key.command()
@click.argument("prefix", metavar="PREFIX")
@json_option
@pass_output
def revoke(output: Output, prefix: str) -> None:
    """Revoke the API key that begins with PREFIX. Sessions it holds run until their leases end."""
    from keyseat_issuer.ledger.database import require_ready
    from keyseat_shared.instants import now_utc

    require_ready()
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import api_keys

    row = api_keys.revoke_key(None, prefix, actor=log.cli_actor(), now=now_utc())
    output.emit(
        {"prefix": row.prefix, "revoked_at": row.revoked_at},
        lambda: output.print(f"Revoked the API key {row.prefix} of {row.organization.name}."),
    )
