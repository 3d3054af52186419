"""E-mail addresses that people paste or upload, each with the line it stands in."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.ledger.customers.naming import shorten
from keyseat_issuer.ledger.tools.table_text import decoded, delimiter
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

MAX_SIZE = 64 * 1024
"""Most bytes of text and file together."""
MOST_ADDRESSES = 1000
"""Most addresses of one act: it holds the locks of the organisation's seats meanwhile."""
COLUMN_NAMES = frozenset({"email", "e-mail", "email address", "e-mail address"})
"""What the column of the addresses may be headed, in any case."""

_LONGEST = 320
_BETWEEN = re.compile(r"[,;]")
_BRACKETED = re.compile(r"<([^<>]*)>")
# The display name of RFC 5322, section 3.4: a quoted text is no address, even if it looks like one.
_QUOTED_NAME = re.compile(r'"[^"]*"\s*(?=<)')
# Marks without width that pages and mail programs leave around a copied address.
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad"


class Entry(NamedTuple):
    """One address. ``email``: as the ledger keeps it, empty where ``typed`` is none; ``line`` counts from 1.

    ``typed`` is shortened to 60 characters, and empty for a row of the file that has none.
    """

    line: int
    typed: str
    email: str
    from_file: bool = False


def read(text: str, file: bytes = b"") -> list[Entry]:
    """Return the addresses of a pasted text, then those of a CSV file, each once, and in between what is none.

    The text holds addresses between commas, semicolons, blanks and line ends, bare or as ``Name <address>``: a name
    reaches back to the semicolon, address or line's beginning before it, so it may hold a comma. The file is UTF-8
    with ``,`` or ``;`` between cells; the addresses are in the column headed "e-mail" or "email", else in the first.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where there are too many or none, or the file is no CSV.
    """
    # Before it is measured: a browser sends a line end as two characters.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text.encode("utf-8", "replace")) + len(file) > MAX_SIZE:
        raise _invalid(f"the text and the file are larger than {MAX_SIZE // 1024} KiB together", "Send it in parts.")
    found: list[Entry] = []
    seen: set[str] = set()
    for count, entry in enumerate(_entries(text, file), 1):
        if count > MOST_ADDRESSES:
            raise _invalid(f"the list has more than {MOST_ADDRESSES:,} entries", "Send it in parts.")
        if not entry.email or entry.email not in seen:
            found.append(entry)
        seen.add(entry.email)
    if not found:
        raise _invalid("the list holds no e-mail address", "Write at least one, or choose a file that holds some.")
    return found


def _entries(text: str, file: bytes) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), 1):
        for typed in _parts(line):
            yield Entry(number, shorten(typed), _email(typed))
    if file:
        yield from _rows(decoded(file, "the file", MAX_SIZE))


def _parts(line: str) -> Iterator[str]:
    """Yield what a line holds: addresses, and words that are neither one nor a name before ``<address>``."""
    line = _QUOTED_NAME.sub(" ", line)
    start = 0
    for bracketed in _BRACKETED.finditer(line):
        *before, name = line[start : bracketed.start()].split(";")
        yield from _words(before)
        yield from (word for word in _words([name]) if "@" in word)
        yield _bare(bracketed[1]) or "<>"
        start = bracketed.end()
    yield from _words([line[start:]])


def _words(texts: Iterable[str]) -> Iterator[str]:
    """Yield the words that may be addresses, and each text between them as one."""
    for text in texts:
        for part in _BETWEEN.split(text):
            words = filter(None, map(_bare, part.split()))
            for possible, run in itertools.groupby(words, lambda word: "@" in word):
                if possible:
                    yield from run
                else:
                    yield " ".join(run)


def _bare(word: str) -> str:
    """Return an address without what mail programs put around it."""
    word = word.strip().strip(_INVISIBLE)
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        word = word[1:-1]
    return word[len("mailto:") :] if word.lower().startswith("mailto:") else word


def _email(typed: str) -> str:
    # The length first: making a domain ASCII takes long for what is far too long to be one.
    if len(typed) > _LONGEST:
        return ""
    try:
        return normalize_email(typed)
    except KeyseatError:
        return ""


def _rows(text: str) -> Iterator[Entry]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True)
    column: int | None = None
    try:
        for cells in reader:
            if not "".join(cells).strip():
                continue
            if column is None:
                headed = [index for index, cell in enumerate(cells) if cell.strip().lower() in COLUMN_NAMES]
                column = headed[0] if headed else 0
                if headed:
                    continue
            parts = list(_parts(cells[column])) if column < len(cells) else []
            for typed in parts or [""]:
                yield Entry(reader.line_num, shorten(typed), _email(typed), from_file=True)
    except csv.Error as error:
        raise _invalid(f"line {reader.line_num} of the file is not CSV: {error}", "Save the table as CSV.") from None


def _invalid(message: str, next_step: str) -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, message, next_step=next_step)
