"""Compares keyseat with bare baselines and with peers, in one run, and prints a table of ratios.

Figures of one machine say little about another; ratios to the same work left bare do. A tick means that the median is
within the limit of the design (section 12); it is no test, and nothing fails on it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable

import batch
import growth
import in_process
import launches
import leases
from rich.console import Console
from rich.table import Table
from timing import Row

_NAME_WIDTH, _FIGURE_WIDTH = 30, 7
PARTS = ("verify", "check", "launch", "machine-id", "batch", "leases", "growth")


def main() -> int:
    """Run the rows asked for and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--only", action="append", choices=PARTS, help="this row only; may be given several times")
    given = parser.parse_args()
    wanted = given.only or list(PARTS)
    rows, notes = _measure(wanted, Progress(quiet=given.json), quick=given.quick)
    if given.json:
        sys.stdout.write(json.dumps({"rows": [row.to_dict() for row in rows], "notes": notes}, indent=1) + "\n")
    else:
        _show(rows, notes)
    return 0


class Progress:
    """Tells on stderr what is being measured."""

    def __init__(self, *, quiet: bool) -> None:
        """Say nothing where ``quiet``."""
        self._quiet = quiet

    def __call__(self, what: str) -> None:
        """Tell what comes next."""
        if not self._quiet:
            sys.stderr.write(f"measuring: {what}\n")


def _measure(wanted: list[str], progress: Progress, *, quick: bool) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    notes: list[str] = []
    inside: dict[str, Callable[[], Row]] = {
        "verify": lambda: in_process.verify_row(*((3, 5) if quick else (60, 100))),
        "check": lambda: in_process.check_row(*((3, 5) if quick else (60, 500))),
    }
    for name, measure in inside.items():
        if name in wanted:
            progress(name)
            rows.append(measure())
    if not {"launch", "machine-id"}.isdisjoint(wanted):
        progress("the client's wheel is installed into a fresh environment")
        with launches.installed() as place:
            notes += [place.note] if place.note else []
            for name, launch in {"launch": launches.verify_row, "machine-id": launches.machine_id_row}.items():
                if name in wanted:
                    progress(name)
                    rows.append(launch(place, 3 if quick else 40))
    if "batch" in wanted:
        progress("batch")
        row, told = batch.batch_row(*((1, 20) if quick else (7, 1000)))
        rows.append(row)
        notes += told
    servers: dict[str, Callable[[], tuple[list[Row], list[str]]]] = {
        "leases": lambda: leases.lease_rows(*((1, 0.2) if quick else (10, 2.0)), sqlite_only=quick),
        "growth": lambda: growth.growth_rows(
            *((1, 2, 10, 100) if quick else (20, 10, 1000, 990_000)), sqlite_only=quick
        ),
    }
    for name, measured in servers.items():
        if name in wanted:
            progress(name)
            found, told = measured()
            rows += found
            notes += told
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > (os.cpu_count() or 1):
        notes.append(f"this machine was busy with other things (load {busy:.1f}), so the rounds differ much")
    return rows, notes


def _show(rows: list[Row], notes: list[str]) -> None:
    console = Console(highlight=False)
    console.print("keyseat, its baselines and its peers, measured in one run\n")
    for row in rows:
        scale = f"in {row.unit}" if row.unit else f"in multiples of {row.baseline} ({_duration(row.seconds)})"
        console.print(f"[bold]{row.what}[/], {scale}")
        table = Table(box=None, padding=(0, 1))
        table.add_column("", width=_NAME_WIDTH)
        for heading in ("median", "lowest", "highest", "limit", "aim"):
            table.add_column(heading, width=_FIGURE_WIDTH, justify="right")
        table.add_column("", width=1)
        mark = "[green]✓[/]" if row.passes else "[red]✗[/]"
        table.add_row("keyseat", *row.ours.texts(), f"{row.limit:g}", f"{row.aim:g}", mark)
        for name, ratio in row.peers.items():
            table.add_row(f"[dim]{name}[/]", *ratio.texts())
        console.print(table)
        console.print()
    for note in notes:
        console.print(f"note: {note}")


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
