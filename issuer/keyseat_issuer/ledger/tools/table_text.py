"""The text of tables: UTF-8 as spreadsheets write it, the delimiter, and cells that no spreadsheet runs."""

import re

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"; CWE-1236), at the beginning of a cell
# or behind what begins one: where the list separator is a semicolon, quotes in the middle of a line keep none together.
_FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))\s*(?=[=+\-@])|^(?=[\t\r])")


def decoded(data: bytes, what: str, most: int) -> str:
    """Return the text of a table of at most ``most`` bytes, without a byte order mark; ``what`` names it in refusals.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    if len(data) > most:
        shown = f"{most // 2**20} MiB" if most >= 2**20 else f"{most // 2**10} KiB"
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{what} is larger than {shown}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{what} is not UTF-8 text (byte {error.start + 1})",
            next_step="Save the table as CSV in UTF-8.",
        ) from None
    if "\0" in text:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{what} holds NUL characters: it is no CSV file")
    return text


def delimiter(text: str) -> str:
    """Return the delimiter, ``;`` or ``,``, by the first line that is not empty."""
    header = text.lstrip("\r\n").partition("\n")[0]
    return ";" if header.count(";") > header.count(",") else ","


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe goes before what would begin one."""
    return _FORMULA.sub(lambda found: f"'{found[0]}", text)
