"""A batch in a process that kills itself at a given point, as ``kill -9`` or a power cut would.

Arguments: the table, the folder for the files, and the point: ``LABEL:N`` (before the N-th item of a loop),
``commit:before``, ``commit:after``, ``link:before:N`` or ``link:after:N`` (around the N-th new file's getting its
name), or ``never``. With ``stop:`` before it, the process suspends itself there, as Ctrl+Z or a frozen machine would.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import stories
from keyseat_issuer.bootstrap import setup
from keyseat_shared.codes import exit_code
from keyseat_shared.errors import KeyseatError


class Killer:
    """Ends this process, without any clean-up, or suspends it, at its point."""

    def __init__(self, point: str) -> None:
        """Keep the point."""
        self.signal = signal.SIGSTOP if point.startswith("stop:") else signal.SIGKILL
        self.point = point.removeprefix("stop:")
        self.links = 0

    def at(self, point: str) -> None:
        """Be at a point."""
        if point == self.point:
            os.kill(os.getpid(), self.signal)

    def progress(self, items: Iterable[Any], label: str, _total: int | None = None) -> Iterator[Any]:
        """Pass every item of a loop as a point."""
        for count, item in enumerate(items):
            self.at(f"{label}:{count}")
            yield item

    def watch_commits(self) -> None:
        """Pass the commits of Django's transactions as points."""
        from django.db.backends.base.base import BaseDatabaseWrapper  # noqa: PLC0415 - after setup

        commit = BaseDatabaseWrapper.commit

        def watched(connection: BaseDatabaseWrapper) -> None:
            self.at("commit:before")
            commit(connection)
            self.at("commit:after")

        BaseDatabaseWrapper.commit = watched  # type: ignore[method-assign]

    def watch_links(self) -> None:
        """Pass new files' getting their names as points."""
        link = os.link

        def watched(source: str, target: str) -> None:
            self.links += not Path(target).exists()
            self.at(f"link:before:{self.links}")
            link(source, target)
            self.at(f"link:after:{self.links}")

        os.link = watched  # type: ignore[assignment]


def main(table: str, out: str, point: str) -> None:
    """Run the batch and print how many rows ended in each status."""
    setup()
    stories.begin()
    import offline_shop  # noqa: PLC0415 - after setup
    from keyseat_issuer.ledger.offline.batch import run_batch  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.offline.batch_csv import read_rows  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.offline.files import check_destination  # noqa: PLC0415 - as above

    rows, bad = read_rows(Path(table).read_bytes())
    destination = check_destination(Path(out), must_be_folder=True)
    killer = Killer(point)
    killer.watch_commits()
    killer.watch_links()
    try:
        result = run_batch(rows, bad, offline_shop.terms(), destination, progress=killer.progress)
    except KeyseatError as error:
        sys.stderr.write(f"{error}\n{error.next_step}\n")
        sys.exit(exit_code(error.code))
    for status in {row.status for row in result.rows}:
        sys.stdout.write(f"{status}={result.count(status)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
