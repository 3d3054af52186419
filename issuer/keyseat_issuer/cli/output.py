"""How every command talks: results on stdout (as a table, or one JSON object), messages for people on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

import click

from keyseat_issuer.cli import plain_table
from keyseat_issuer.cli.steps import STEPS
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

T = TypeVar("T")

_MANY = 100
"""Rows of a table from which on its time counts."""
_UNBOUNDED = 100_000
"""Columns of a table that no terminal shows: a pipe must get every character."""


class Styled(NamedTuple):
    """A table cell in a rich style ("red", "bold"...); the style shows on terminals only."""

    text: str
    style: str


class Output:
    """The one way out of a command. ``json`` is set by ``--json``; get it with ``pass_output``.

    ``stopped_note`` is what a person is told after Ctrl-C. It starts as "Nothing was changed.", so a
    command that changes something lasting before it ends must set it to what then holds.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.stopped_note = "Nothing was changed."

    def emit(self, data: Mapping[str, object], human: Callable[[], None]) -> None:
        """Print the result: with ``--json`` one object ``{"ok": true, ...data}``, else by calling ``human``."""
        if self.json:
            self.emit_json({"ok": True, **data})
        else:
            human()

    def emit_json(self, data: Mapping[str, object]) -> None:
        """Print one JSON object on one line of stdout. Instants and paths are written as text."""
        click.echo(as_json(data))

    def print(self, text: str = "", style: str | None = None) -> None:
        """Print a line of the result for people, on stdout."""
        _write(sys.stdout, text, style)

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a message for people, on stderr."""
        _write(sys.stderr, text, style)

    def warn(self, text: str) -> None:
        """Print a warning, on stderr."""
        _write(sys.stderr, f"Warning: {text}", "yellow")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows as an aligned table on stdout; numbers stand right, ``Styled`` cells in their style."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        terminal = sys.stdout.isatty()
        listed = [list(row) for row in rows]
        right = [bool(listed) and all(isinstance(row[at], int) for row in listed) for at in range(len(columns))]
        if len(listed) > _MANY and not terminal:
            text = [[clean(c.text) if isinstance(c, Styled) else clean(_cell(c)) for c in row] for row in listed]
            plain = plain_table.lines(clean(title), columns, text, right)
            if plain is not None:
                click.echo("\n".join(plain))
                return
        table = Table(
            title=clean(title) or None, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False
        )
        for column, numbers in zip(columns, right, strict=True):
            table.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=not terminal)
        for row in listed:
            # Text, never markup: an organisation called "[red]" is a name, not a style.
            table.add_row(
                *[Text(clean(c.text), c.style) if isinstance(c, Styled) else Text(clean(_cell(c))) for c in row]
            )
        Console(
            file=sys.stdout, width=None if terminal else _UNBOUNDED, highlight=False, emoji=False, markup=False
        ).print(table)

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield ``items`` while a bar on stderr shows how far it is; no bar without a terminal or with ``--json``."""
        if self.json or not sys.stderr.isatty():
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=clean(label), total=total, console=Console(file=sys.stderr), transient=True)

    def confirm(self, prompt: str, word: str, *, yes: bool, consequence: str = "") -> None:
        """Ask a person to type ``word``; ``yes`` (``--yes``) answers for scripts. Ask before what cannot be undone.

        Raises:
            KeyseatError: ``NOT_CONFIRMED`` for another answer, or where there is nobody to ask.
        """
        if yes:
            return
        if consequence:
            self.say(consequence, "bold")
        if not sys.stdin.isatty():
            raise KeyseatError(
                ReasonCode.NOT_CONFIRMED,
                "there is no terminal to confirm at; nothing was changed",
                next_step="Run it in a terminal, or pass --yes once you have read what it does.",
            )
        answer = click.prompt(f"{prompt} Type {word!r} to go on", default="", show_default=False, err=True)
        if str(answer).strip() != word:
            raise KeyseatError(ReasonCode.NOT_CONFIRMED, "not confirmed; nothing was changed")

    def fail(self, error: KeyseatError) -> None:
        """Tell a refusal: with ``--json`` one object ``{"ok": false, ...}``, else three short parts on stderr."""
        if self.json:
            self.emit_json({"ok": False, **told(error)})
            return
        _write(sys.stderr, f"{error.code}: {error.message}", "red")
        for name, value in error.details.items():
            if shown := _detail(value):
                _write(sys.stderr, f"  {name.replace('_', ' ')}: {shown}", None)
        if step := STEPS.of(error):
            _write(sys.stderr, f"Next: {step}", None)


def told(error: KeyseatError) -> dict[str, object]:
    """Return a refusal as JSON-ready values, with the command line's next step."""
    return error.to_dict() | {"next": STEPS.of(error)}


pass_output = click.make_pass_decorator(Output, ensure=True)
"""Decorator that hands a command its ``Output`` as the first argument."""


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json``; read it from ``Output.json``."""

    def switch(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
        if value:
            context.ensure_object(Output).json = True

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=switch,
        help="Print one JSON object on stdout instead of text.",
    )(command)


def as_json(data: Mapping[str, object]) -> str:
    """Return one JSON object on one line. Instants and paths are written as text."""
    # ASCII only: JSON escapes C0 controls by itself, but not the C1 ones that terminals obey as well.
    return json.dumps(data, ensure_ascii=True, default=_plain)


def clean(text: str) -> str:
    """Return ``text`` with control characters shown as escapes: no name moves the cursor or rings the bell."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _write(stream: TextIO, text: str, style: str | None) -> None:
    shown = clean(text)
    # https://no-color.org: set and not empty turns colours off.
    if style and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        shown = click.style(shown, fg=None if style == "bold" else style, bold=style == "bold" or None)
    click.echo(shown, file=stream)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, Path):
        return str(value)
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return format_instant(value) if isinstance(value, datetime) else str(value)


def _detail(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(entry) for entry in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return _cell(value)
