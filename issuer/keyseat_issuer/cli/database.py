"""`keyseat-issuer migrate`: make the ledger's tables, or bring them up to date."""

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output


@click.command()
@json_option
@pass_output
def migrate(output: Output) -> None:
    """Make the ledger's tables, or bring them up to date.

    The ledger is the database in DATABASE_URL, or else ledger.sqlite3 in KEYSEAT_ISSUER_HOME. Running it again changes
    nothing. Make a backup before you run it after an update.
    """
    from keyseat_issuer import database

    applied = database.migrate()

    def human() -> None:
        output.print(f"The ledger is up to date ({len(applied)} steps applied)." if applied else "Nothing to do.")

    output.emit({"applied": applied}, human)
