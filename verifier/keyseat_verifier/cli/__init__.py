"""The ``keyseat`` command: each subcommand is imported only when it is the one asked for."""

import sys


def main(argv: "list[str] | None" = None) -> int:
    """Run a subcommand; returns the exit code of the contract (design, section 10)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["machine-id"]:
        from keyseat_verifier.cli.machine_id import run

        return run(arguments[1:])
    sys.stderr.write("usage: keyseat machine-id [options]\n")
    return 2
