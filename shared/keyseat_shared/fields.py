"""Typed reading of parsed JSON: each reader returns the value or says which field is wrong (``MALFORMED``)."""

from datetime import datetime

from keyseat_shared.instants import parse_instant
from keyseat_shared.strictjson import malformed

MAX_TEXT = 320
"""Longest text field, in characters (an e-mail address of RFC 5321 has at most 320)."""

# No regular expressions here: they are hardly faster, and compiled anew at every start of a client.
_NAME = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-"
_MAX_CODE = 32
_UUID_SIZE = len("00000000-0000-0000-0000-000000000000")
_ALGORITHM = "sha256:"
_DIGEST_SIZE = len(_ALGORITHM) + 64


def text(value: object, what: str) -> str:
    """Read a text of 1 to 320 printable characters: no control characters reach a terminal from here."""
    if type(value) is not str or not 0 < len(value) <= MAX_TEXT or not is_plain(value):
        malformed(f"{what} is not a printable text of 1 to {MAX_TEXT} characters")
    return value


def is_plain(text: str) -> bool:
    """Tell whether a text holds only characters that a text field may hold, whatever Unicode the interpreter knows."""
    if text.isascii():
        return text.isprintable()
    from keyseat_shared.characters import are_allowed  # late: most texts are ASCII

    return are_allowed(text)


def whole(value: object, what: str, low: int, high: int) -> int:
    """Read a whole number from ``low`` to ``high``; JSON's true is not 1."""
    if type(value) is not int or not low <= value <= high:
        malformed(f"{what} is not a whole number from {low} to {high}")
    return value


def instant(value: object, what: str) -> datetime:
    """Read an RFC 3339 UTC timestamp in seconds."""
    try:
        return parse_instant(value if type(value) is str else "")
    except ValueError:
        malformed(f"{what} is not a UTC timestamp (YYYY-MM-DDTHH:MM:SSZ)")


def uuid(value: object, what: str) -> str:
    """Read a UUID in lower-case canonical form (RFC 9562, section 4)."""
    if (
        type(value) is not str
        or len(value) != _UUID_SIZE
        or value[8:24:5] != "----"  # characters 8, 13, 18 and 23, and no others: the rest is hex
        or not _is_hex(value.replace("-", "", 4))
    ):
        malformed(f"{what} is not a UUID in lower case")
    return value


def code(value: object, what: str) -> str:
    """Read a short name of ASCII letters, digits, ``_ . -``: product codes, features, terms."""
    # Nothing is left of a name once its symbols are stripped off.
    if type(value) is not str or not 0 < len(value) <= _MAX_CODE or value[0] in "_.-" or value.strip(_NAME):
        malformed(f"{what} is not a short name")
    return value


def codes(value: object, what: str, most: int = 64) -> tuple[str, ...]:
    """Read a list of at most ``most`` distinct short names."""
    if type(value) is not list or len(value) > most:
        malformed(f"{what} is not a list of at most {most}")
    names = tuple([code(entry, what) for entry in value])
    if len(set(names)) != len(names):
        malformed(f"{what} names something twice")
    return names


def digest(value: object, what: str) -> str:
    """Read ``sha256:`` and 64 hex digits."""
    if (
        type(value) is not str
        or len(value) != _DIGEST_SIZE
        or not value.startswith(_ALGORITHM)
        or not _is_hex(value[len(_ALGORITHM) :])
    ):
        malformed(f"{what} is not a sha256 digest")
    return value


def mapping(value: object, what: str) -> dict[str, object]:
    """Read an object."""
    if type(value) is not dict:
        malformed(f"{what} is not an object")
    return value


def sequence(value: object, what: str, most: int) -> list[object]:
    """Read a list of at most ``most`` entries."""
    if type(value) is not list or len(value) > most:
        malformed(f"{what} is not a list of at most {most}")
    return value


def _is_hex(digits: str) -> bool:
    """Tell whether ``digits`` is hexadecimal in lower case and nothing else (the reader skips spaces)."""
    try:
        return bytes.fromhex(digits).hex() == digits
    except ValueError:
        return False
