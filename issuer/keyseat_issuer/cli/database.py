"""`keyseat-issuer migrate`: make the ledger's tables, or bring them up to date."""

from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output

if TYPE_CHECKING:
    from keyseat_issuer.ledger.schema import Pending


@click.command()
@click.option("--plan", is_flag=True, help="Show what would be applied, and whether running servers can go on.")
@json_option
@pass_output
def migrate(output: Output, *, plan: bool) -> None:
    """Make the ledger's tables, or bring them up to date.

    The ledger is the database in DATABASE_URL, or else ledger.sqlite3 in KEYSEAT_ISSUER_HOME. Running it again changes
    nothing. Make a backup before you run it after an update. Servers of the version before can go on where --plan says
    that all steps are additive.
    """
    from keyseat_issuer.server import tables

    if plan:
        _show_plan(output, tables.pending())
        return
    applied = tables.migrate()
    if applied:
        _count_usage(output)

    def human() -> None:
        output.print(f"The ledger is up to date ({len(applied)} steps applied)." if applied else "Nothing to do.")

    output.emit({"applied": applied}, human)


def _count_usage(output: Output) -> None:
    """Roll up what large customers used before there were roll-ups: the first look at a chart would wait for it."""
    from keyseat_issuer.ledger.database import ledger_errors
    from keyseat_issuer.ledger.seats import usage_days
    from keyseat_shared.instants import now_utc

    with ledger_errors():
        places = usage_days.large()
        for place in output.progress(places, "usage", total=len(places)):
            usage_days.fill(place, now_utc())


def _show_plan(output: Output, steps: "list[Pending]") -> None:
    rolling = all(step.additive for step in steps)

    def human() -> None:
        for step in steps:
            output.print(f"{step.name}  {'additive' if step.additive else 'changes what is there'}")
        if not steps:
            output.print("Nothing to do.")
        elif rolling:
            output.print("Running servers can go on: migrate, then restart them one by one.")
        else:
            output.print("Stop all servers before you migrate.")

    output.emit({"pending": [step._asdict() for step in steps], "rolling": rolling}, human)
