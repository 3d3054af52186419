"""`keyseat-issuer backup`: copy a SQLite ledger while it is in use."""

from pathlib import Path

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@pass_output
def backup(output: Output, *, file: Path) -> None:
    """Copy the ledger as it is at this instant to the new FILE, while servers and commands go on.

    For SQLite; a PostgreSQL ledger is backed up with pg_dump. The copy holds customers' addresses: keep it as closed as
    the ledger. Back up keys and trust bundle too: they are the rest of KEYSEAT_ISSUER_HOME.
    """
    from keyseat_issuer.ledger.backup import back_up

    size = back_up(file.expanduser().absolute())
    output.emit(
        {"file": str(file), "size": size},
        lambda: output.print(f"Copied the ledger to {file} ({size:,} bytes)."),
    )
