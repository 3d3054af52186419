"""Strict JSON (RFC 8259 narrowed): UTF-8, one object, no duplicate keys, no NaN, bounded numbers and depth.

Python's own reader keeps the last of duplicate keys, accepts NaN and recurses on deep nesting; two readers of one
signed file could then see two contents. Everything doubtful is ``MALFORMED`` here. The reader and the writer are our
own, so that no verdict depends on the version of the interpreter or on what else a process has loaded (ADR 0009).
"""

from typing import TYPE_CHECKING, NoReturn

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 16
"""Deepest nesting of objects and arrays; our formats use at most 5."""
MAX_NUMBER = 2**53
"""Largest amount of a whole number: the largest that every reader of JSON takes exactly (RFC 8259, section 6)."""

_MAX_DIGITS = len(str(MAX_NUMBER))
_DIGITS = "0123456789"
_HEX = frozenset("0123456789abcdefABCDEF")
_WHITE_SPACE = " \t\n\r"
_WORDS: "tuple[tuple[str, object], ...]" = (("null", None), ("true", True), ("false", False))
_ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_END = "\0"  # stands after the text, so that no look at the next character has to ask whether there is one
_HIGH, _LOW, _AFTER = 0xD800, 0xDC00, 0xE000  # where the two halves of surrogate pairs begin and end


def malformed(message: str) -> NoReturn:
    """Raise ``MALFORMED`` with a message for people."""
    raise MalformedError(ReasonCode.MALFORMED, message)


def loads_object(data: bytes) -> dict[str, object]:
    """Parse ``data`` as one JSON object.

    Raises:
        MalformedError: ``MALFORMED`` for anything that is not strict JSON with an object at the top.
    """
    try:
        text = data.decode("utf-8") + _END
    except UnicodeDecodeError:
        malformed("the file is not UTF-8 text")
    value, at = _value(text, _skip(text, 0), 1)
    if _skip(text, at) != len(text) - 1:
        _not_json()
    if type(value) is not dict:
        malformed("the JSON is not an object")
    return value


def _not_json() -> NoReturn:
    malformed("the file is not JSON")


def _skip(text: str, at: int) -> int:
    """Return the place of the next character that is not white space."""
    while text[at] in _WHITE_SPACE:
        at += 1
    return at


def _value(text: str, at: int, depth: int) -> tuple[object, int]:
    """Read the value that begins at ``at``; return it, and the place behind it."""
    char = text[at]
    if char == '"':
        return _string(text, at + 1)
    if char in "{[":
        if depth > MAX_DEPTH:
            malformed("the JSON is nested too deeply")
        return _object(text, at + 1, depth) if char == "{" else _array(text, at + 1, depth)
    if char == "-" or char in _DIGITS:
        return _number(text, at)
    for word, value in _WORDS:
        if text.startswith(word, at):
            return value, at + len(word)
    if text.startswith(("NaN", "Infinity"), at):
        _not_whole()
    _not_json()


def _object(text: str, at: int, depth: int) -> tuple[dict[str, object], int]:
    found: dict[str, object] = {}
    at = _skip(text, at)
    if text[at] == "}":
        return found, at + 1
    while True:
        if text[at] != '"':
            _not_json()
        key, at = _string(text, at + 1)
        if text[at] != ":":
            at = _skip(text, at)
            if text[at] != ":":
                _not_json()
        at += 1
        # Texts are most of what there is: straight to their reader.
        value, at = _string(text, at + 1) if text[at] == '"' else _value(text, _skip(text, at), depth + 1)
        if key in found:
            malformed("the JSON has a duplicate key")
        found[key] = value
        at = _skip(text, at)
        if text[at] == "}":
            return found, at + 1
        if text[at] != ",":
            _not_json()
        at += 1
        if text[at] != '"':
            at = _skip(text, at)


def _array(text: str, at: int, depth: int) -> tuple[list[object], int]:
    found: list[object] = []
    at = _skip(text, at)
    if text[at] == "]":
        return found, at + 1
    while True:
        value, at = _value(text, at, depth + 1)
        found.append(value)
        at = _skip(text, at)
        if text[at] == "]":
            return found, at + 1
        if text[at] != ",":
            _not_json()
        at = _skip(text, at + 1)


def _number(text: str, at: int) -> tuple[int, int]:
    start = at + 1 if text[at] == "-" else at
    seen = text[start : start + _MAX_DIGITS + 1]
    digits = seen[: len(seen) - len(seen.lstrip(_DIGITS))]
    end = start + len(digits)
    if text[end] in ".eE" or text[start] == "I":
        _not_whole()
    if not digits or (digits[0] == "0" and len(digits) > 1):
        _not_json()
    # By a rule of ours: Python's own limit (4,300 digits) is one that a process can move.
    if len(digits) > _MAX_DIGITS or int(digits) > MAX_NUMBER:
        malformed("the JSON has a number beyond 2^53")
    return int(text[at:end]), end


def _not_whole() -> NoReturn:
    # Also catches 1e999, which other readers turn into an infinity. Our formats hold whole numbers only.
    malformed("the JSON has a number that is not whole")


def _string(text: str, at: int) -> tuple[str, int]:
    """Read the text that begins at ``at``, behind its quotation mark; return it, and the place behind its end."""
    end = text.find('"', at)
    if end < 0:
        _not_json()
    raw = text[at:end]
    if "\\" in raw:
        return _escaped_string(text, at, end)
    if not raw.isprintable():
        _refuse_controls(raw)
    return raw, end + 1


def _escaped_string(text: str, at: int, end: int) -> tuple[str, int]:
    """Read a text with escapes; ``end`` is the place of the first quotation mark, escaped or not."""
    parts = []
    while True:
        slash = text.find("\\", at, end)
        raw = text[at : end if slash < 0 else slash]
        _refuse_controls(raw)
        parts.append(raw)
        if slash < 0:
            return "".join(parts), end + 1
        char, at = _escape(text, slash + 1)
        parts.append(char)
        if at > end:  # it was an escaped quotation mark
            end = text.find('"', at)
            if end < 0:
                _not_json()


def _escape(text: str, at: int) -> tuple[str, int]:
    """Read an escape behind its backslash."""
    char = _ESCAPED.get(text[at])
    if char is not None:
        return char, at + 1
    if text[at] != "u":
        _not_json()
    unit = _code_unit(text, at + 1)
    if not _HIGH <= unit < _AFTER:
        return chr(unit), at + 5
    # Halves of a pair cannot be written as UTF-8, printed or logged.
    low = _code_unit(text, at + 7) if unit < _LOW and text.startswith("\\u", at + 5) else 0
    if not _LOW <= low < _AFTER:
        malformed("the JSON has half of a surrogate pair")
    return chr(0x10000 + (unit - _HIGH << 10 | low - _LOW)), at + 11


def _code_unit(text: str, at: int) -> int:
    digits = text[at : at + 4]
    if len(digits) != 4 or not _HEX.issuperset(digits):  # noqa: PLR2004 - \uXXXX
        _not_json()
    return int(digits, 16)


def _refuse_controls(raw: str) -> None:
    # Where `isprintable` stands before a call of this, it only saves the look: what it does not know of is looked at.
    if raw and min(raw) < " ":
        _not_json()


def require_keys(
    value: dict[str, object], what: str, keys: frozenset[str], optional: frozenset[str] = frozenset()
) -> None:
    """Require exactly ``keys`` (and any of ``optional``) in ``value``.

    Raises:
        MalformedError: ``MALFORMED`` that names the keys missing or unknown.
    """
    if value.keys() == keys:
        return
    missing = keys - value.keys()
    if missing:
        malformed(f"{what} lacks {', '.join(sorted(missing))}")
    unknown = value.keys() - keys - optional
    if unknown:
        malformed(f"{what} has unknown keys: {', '.join(sorted(map(ascii, unknown)))[:120]}")


_TO_ESCAPE = {code: f"\\u{code:04x}" for code in range(0x20)} | {
    ord(char): "\\" + name for name, char in _ESCAPED.items() if name != "/"
}


def dumps_text(value: object) -> str:
    """Write JSON as ``dumps_compact`` does, as text.

    Raises:
        TypeError: for what JSON does not have.
        ValueError: for infinities and NaN.
    """
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts)


def dumps_compact(value: object) -> bytes:
    """Write JSON the one way this project writes it to be signed: compact, UTF-8, keys in the order given."""
    return dumps_text(value).encode("utf-8")


def _write(value: object, put: "Callable[[str], object]") -> None:
    if isinstance(value, str):
        put(_quoted(value))
    elif isinstance(value, dict):
        mark = "{"
        for key, entry in value.items():
            put(mark + _quoted(key if isinstance(key, str) else _plain(key)) + ":")
            _write(entry, put)
            mark = ","
        put("}" if mark == "," else "{}")
    elif isinstance(value, (list, tuple)):
        mark = "["
        for entry in value:
            put(mark)
            _write(entry, put)
            mark = ","
        put("]" if mark == "," else "[]")
    else:
        put(_plain(value))


def _quoted(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:  # nothing to escape
        return '"' + text + '"'  # not an f-string: that would show some enums by their name
    return '"' + text.translate(_TO_ESCAPE) + '"'


def _plain(value: object) -> str:
    """Write a number, ``true``, ``false`` or ``null``."""
    for word, known in _WORDS:
        if value is known:
            return word
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value - value != 0:
            msg = "infinities and NaN are not JSON compliant"
            raise ValueError(msg)
        return float.__repr__(value)
    msg = f"a {type(value).__name__} cannot be written as JSON"
    raise TypeError(msg)
