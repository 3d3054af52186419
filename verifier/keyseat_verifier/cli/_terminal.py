"""The terminal rules, once: where text goes, which characters reach a terminal, when there are colours and marks."""

import os
import sys

from keyseat_verifier.cli._streams import tell

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from typing import TextIO

    from keyseat_shared.errors import KeyseatError

GREEN, RED, YELLOW, BOLD, DIM = "32", "31", "33", "1", "2"

_MARKS = {True: ("✓", "ok", GREEN), False: ("✗", "NO", RED), None: ("·", "--", DIM)}


def clean(text: str) -> str:
    """Return text that cannot steer a terminal: whatever is not printable is written as an escape (line breaks stay).

    File names and unverified files may hold escape sequences, or characters that turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        [char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text],
    )


def out(text: str = "", style: str = "") -> None:
    """Print a line of the result on stdout."""
    sys.stdout.write(_written(sys.stdout, text, style))


def say(text: str = "", style: str = "") -> None:
    """Print a message for people on stderr."""
    tell(_written(sys.stderr, text, style))


def _written(stream: "TextIO", text: str, style: str) -> str:
    text = clean(text)
    encoding = stream.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # a terminal of another century: better escapes than a traceback
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    if style and has_colour(stream):
        text = f"\x1b[{style}m{text}\x1b[0m"
    return text + "\n"


def has_colour(stream: "TextIO") -> bool:
    """Colours only for people: on a terminal, without ``NO_COLOR`` (no-color.org), not on a dumb one."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def mark(ok: "bool | None") -> "tuple[str, str]":
    """Return the mark of a check and its style: never colour alone, and words where the encoding has no marks."""
    symbol, word, style = _MARKS[ok]
    try:
        symbol.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return word, style
    return symbol, style


def out_json(value: object) -> None:
    """Print one JSON object, and nothing else, on stdout; ASCII, so that no terminal or locale can spoil it."""
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")


def complain(error: "KeyseatError") -> None:
    """Print an error and its next step on stderr."""
    say(str(error), RED)
    say(error.next_step)
