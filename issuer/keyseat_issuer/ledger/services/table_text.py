"""The text of tables that people upload: UTF-8 as spreadsheets write it, and what stands between the cells."""

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


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
    """Return what stands between the cells, by the first line that is not empty: ``;`` or ``,``."""
    header = text.lstrip("\r\n").partition("\n")[0]
    return ";" if header.count(";") > header.count(",") else ","
