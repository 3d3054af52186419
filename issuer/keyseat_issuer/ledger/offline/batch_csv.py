"""The table of a batch: reading it strictly, and naming each line's mistakes."""

import csv
import io
from datetime import datetime
from difflib import get_close_matches
from typing import NamedTuple

from keyseat_issuer.ledger.tools.table_text import decoded, delimiter
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import parse_typed

COLUMNS = ("organization", "product", "machine_id", "user", "expires", "sessions")
REQUIRED = ("organization", "product", "machine_id")
MAX_ROWS = 10_000
"""Most rows of one batch: its transaction holds the pools' locks while it signs, a third of a millisecond a row."""
MAX_SIZE = 16 * 1024 * 1024

_MAX_CELL = 2_000
_NAMES_SHOWN = 60


class BatchRow(NamedTuple):
    """One row as typed, with spaces at the ends taken off; ``line`` is its line in the file, counted from 1."""

    line: int
    organization: str
    product: str
    machine_id: str
    user: str | None
    expires_at: datetime | None
    sessions: int


class BadRow(NamedTuple):
    """A row that cannot be read, and why."""

    line: int
    error: KeyseatError


def read_rows(data: bytes) -> tuple[list[BatchRow], list[BadRow]]:
    """Read a batch file: UTF-8 with or without a byte order mark, ``,`` or ``;`` between cells, a header line first.

    Empty lines are skipped. Columns are ``organization``, ``product``, ``machine_id`` and, where wanted, ``user``,
    ``expires`` (a date means through its end) and ``sessions``, in any order and case.

    Returns:
        The rows that can be read and those that cannot, each in the order of the file.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where the file as a whole cannot be used.
    """
    text = decoded(data, "the batch", MAX_SIZE)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True)
    good: list[BatchRow] = []
    bad: list[BadRow] = []
    header: list[str] | None = None
    try:
        for cells in reader:
            if not "".join(cells).strip():
                continue
            if header is None:
                header = _header(cells)
                continue
            if len(good) + len(bad) >= MAX_ROWS:
                raise _unusable(f"the batch has more than {MAX_ROWS:,} rows", next_step="Split it into several files.")
            try:
                good.append(_row(header, cells, reader.line_num))
            except KeyseatError as error:
                bad.append(BadRow(reader.line_num, error))
    except csv.Error as error:
        raise _unusable(f"line {reader.line_num} of the batch is not CSV: {error}") from None
    if header is None:
        raise _unusable("the batch is empty", next_step=f"Begin with the header line: {','.join(COLUMNS)}")
    if not good and not bad:
        raise _unusable("the batch has a header line but no rows")
    return good, bad


def _header(cells: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    for name in header:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise _unusable(
                f"the batch has an unknown column {name[:_NAMES_SHOWN]!r}{hint}",
                next_step=f"The first line names the columns; known are {', '.join(COLUMNS)}.",
            )
    if len(set(header)) != len(header):
        raise _unusable("the batch names a column twice")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise _unusable(
            f"the batch lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            next_step=f"Begin with the header line: {','.join(COLUMNS)}",
        )
    return header


def _row(header: list[str], cells: list[str], line: int) -> BatchRow:
    if len(cells) != len(header):
        raise _invalid(f"the line has {len(cells)} cells, the header {len(header)}")
    if max(map(len, cells)) > _MAX_CELL:
        raise _invalid("a cell is too long")
    value = dict(zip(header, map(str.strip, cells), strict=True))
    for name in REQUIRED:
        if not value[name]:
            raise _invalid(f"{name} is empty")
    expires = value.get("expires", "")
    return BatchRow(
        line,
        value["organization"],
        value["product"],
        value["machine_id"],
        value.get("user") or None,
        parse_typed(expires, end_of_day=True) if expires else None,
        _sessions(value.get("sessions", "")),
    )


def _sessions(text: str) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdigit()) or len(text) > len("10000"):
        raise _invalid(f"sessions is not a whole number: {text[:_NAMES_SHOWN]!r}")
    return int(text)


def _invalid(message: str) -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, message)


def _unusable(message: str, *, next_step: str | None = None) -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, message, next_step=next_step)
