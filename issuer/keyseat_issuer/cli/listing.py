"""Long lists on a command line: a page at a time, or all of it with `--no-limit`, and never all of it in memory."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import click

from keyseat_issuer.cli.output import Output, as_json

if TYPE_CHECKING:
    from keyseat_issuer.ledger.tools.paging import Page

R = TypeVar("R")
Read = Callable[[int, str | None], "Page[R]"]
"""Returns a page of so many entries from a cursor on; ``None``: from the beginning."""

LIMIT = 1000
_MOST = 100_000
_IN_MEMORY = 4 << 20


class Part(NamedTuple):
    """Which part of a list is wanted; ``limit`` is ``None`` for all of it."""

    limit: int | None
    after: str | None


class Columns(NamedTuple, Generic[R]):
    """How entries are shown: under ``name`` in JSON, as a table with a title to people."""

    name: str
    title: str
    heads: Sequence[str]
    cells: Callable[[R], Sequence[Sequence[object]]]
    """The lines of an entry: most have one."""
    to_dict: Callable[[R], Mapping[str, object]]


def part_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--limit`, `--after` and `--no-limit`; it gets them as ``part``."""

    def called(*arguments: Any, limit: int, after: str | None, everything: bool, **options: Any) -> Any:  # noqa: ANN401 - click's
        return command(*arguments, part=Part(None if everything else limit, after), **options)

    # Click reads name, help and the options that were given before from these.
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("--no-limit", "everything", is_flag=True, help="The whole list, however long it is."),
        click.option("--after", metavar="CURSOR", help="Go on after a page: what it printed as its `next`."),
        click.option(
            "--limit", type=click.IntRange(1, _MOST), default=LIMIT, show_default=True, help="So many entries at most."
        ),
    ):
        called = option(called)
    return called


def show(
    output: Output,
    part: Part,
    read: "Read[R]",
    columns: Columns[R],
    *,
    head: Mapping[str, object] | None = None,
    before: Callable[[], object] = lambda: None,
    empty: str = "",
) -> None:
    """Print a part of a list: with ``--json`` one object, with ``head`` in front of the entries and ``next`` behind.

    ``before`` prints what people see above the table; ``empty`` is what they are told in its stead. With ``--json``
    nothing is printed before all has been read.
    """
    pages = _pages(part, read)
    following = (
        _as_json(columns, head or {}, pages) if output.json else _as_tables(output, columns, before, empty, pages)
    )
    if following is not None:
        output.warn(f"there are more. Go on with --after {following}, or ask for --no-limit.")


def _pages(part: Part, read: "Read[R]") -> "Iterator[Page[R]]":
    cursor = part.after
    while True:
        page = read(part.limit or LIMIT, cursor)
        yield page
        cursor = page.next
        if cursor is None or part.limit is not None:
            return


def _as_tables(
    output: Output, columns: Columns[R], before: Callable[[], object], empty: str, pages: "Iterator[Page[R]]"
) -> str | None:
    following = None
    for number, page in enumerate(pages):
        if number == 0:
            before()
            if empty and not page.rows:
                output.say(empty)
                return None
        output.table(
            "" if number else columns.title, columns.heads, [line for row in page.rows for line in columns.cells(row)]
        )
        following = page.next
    return following


def _as_json(columns: Columns[R], head: Mapping[str, object], pages: "Iterator[Page[R]]") -> str | None:
    following = None
    # In a file, once it is long: what fails at the end must not leave half of an object on stdout.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="ascii") as out:
        out.write(as_json({"ok": True, **head})[:-1] + f", {json.dumps(columns.name)}: [")
        separator = ""
        for page in pages:
            for row in page.rows:
                out.write(separator + as_json(columns.to_dict(row)))
                separator = ", "
            following = page.next
        out.write(f'], "next": {json.dumps(following)}}}\n')
        out.seek(0)
        shutil.copyfileobj(out, sys.stdout)
        sys.stdout.flush()
    return following
