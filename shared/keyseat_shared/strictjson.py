"""Strict JSON (RFC 8259 narrowed): UTF-8, one object, no duplicate keys, no NaN, bounded depth.

Python's own reader keeps the last of duplicate keys, accepts NaN and recurses on deep nesting; two
readers of one signed file could then see two contents. Everything doubtful is ``MALFORMED`` here.
"""

from typing import TYPE_CHECKING, NoReturn

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_DEPTH = 16
"""Deepest nesting of objects and arrays; our formats use at most 5."""


def malformed(message: str) -> NoReturn:
    """Raise ``MALFORMED`` with a message for people."""
    raise MalformedError(ReasonCode.MALFORMED, message)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        malformed("the JSON has a duplicate key")
    return found


def _number(_text: str) -> NoReturn:
    # Also catches 1e999, which the standard reader turns into an infinity. Our formats hold whole numbers only.
    malformed("the JSON has a number that is not whole")


class _Rules:
    """How the standard library's reader of one value is to read: the attributes of ``json.JSONDecoder`` it looks at."""

    strict = True  # no control characters within strings
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_float = staticmethod(_number)
    parse_int = int
    parse_constant = staticmethod(_number)


def _make_scanner() -> "Callable[[str, int], tuple[object, int]]":
    # The reader below `JSONDecoder.decode`, whose two regular expressions cost as much as reading a licence; and not
    # through `json`, which compiles ten of them as it is loaded.
    try:
        from _json import make_scanner  # noqa: PLC0415 - CPython's own
    except ImportError:  # an interpreter without it
        import json  # noqa: PLC0415 - as said above
        from json.scanner import make_scanner  # noqa: PLC0415 - likewise

        decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_number, parse_float=_number)
        return make_scanner(decoder)  # type: ignore[arg-type] # typeshed knows the C class only by its own type
    return make_scanner(_Rules)  # type: ignore[arg-type] # likewise


_QUOTE, _BACKSLASH = b'"\\'
_scan = _make_scanner()
_WHITE_SPACE = " \t\n\r"


def loads_object(data: bytes) -> dict[str, object]:
    """Parse ``data`` as one JSON object.

    Raises:
        MalformedError: ``MALFORMED`` for anything that is not strict JSON with an object at the top.
    """
    # Counting openers bounds the nesting before the recursive reader sees it; strings may hold a few.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _refuse_deep_nesting(data)
    try:
        text = data.decode("utf-8").strip(_WHITE_SPACE)
        value, end = _scan(text, 0)
    except UnicodeDecodeError:
        malformed("the file is not UTF-8 text")
    except (ValueError, RecursionError, StopIteration):
        malformed("the file is not JSON")
    if end != len(text):
        malformed("the file is not JSON")
    if type(value) is not dict:
        malformed("the JSON is not an object")
    if b"\\u" in data:
        _refuse_lone_surrogates(value)
    return value


def _refuse_lone_surrogates(value: object) -> None:
    r"""Refuse escapes such as ``\ud800``: text that cannot be written as UTF-8, printed or logged."""
    try:
        dumps_compact(value)
    except UnicodeEncodeError:
        malformed("the JSON has half of a surrogate pair")


def _refuse_deep_nesting(data: bytes) -> None:
    depth = 0
    inside = escaped = False
    for byte in data:
        if inside:
            if escaped:
                escaped = False
            elif byte == _BACKSLASH:
                escaped = True
            elif byte == _QUOTE:
                inside = False
        elif byte == _QUOTE:
            inside = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                malformed("the JSON is nested too deeply")
        elif byte in b"]}":
            depth -= 1


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
        malformed(f"{what} has unknown keys: {', '.join(sorted(map(repr, unknown)))[:120]}")


def _make_writer() -> "Callable[[object, int], Iterable[str]]":
    # What `JSONEncoder.encode` builds anew for every value; a batch writes several for each licence.
    try:
        from _json import encode_basestring, make_encoder  # noqa: PLC0415 - CPython's own
    except ImportError:  # an interpreter without it
        import json  # noqa: PLC0415 - as for the scanner

        encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return lambda value, _level: encoder.iterencode(value)
    # No circular values, no indentation, keys neither sorted nor skipped, no NaN.
    return make_encoder(None, _not_json, encode_basestring, None, ":", ",", False, False, False)  # noqa: FBT003 - takes no names


def _not_json(value: object) -> NoReturn:
    msg = f"a {type(value).__name__} cannot be written as JSON"
    raise TypeError(msg)


_write = _make_writer()


def dumps_text(value: object) -> str:
    """Write JSON as ``dumps_compact`` does, as text."""
    return "".join(_write(value, 0))


def dumps_compact(value: object) -> bytes:
    """Write JSON the one way this project writes it to be signed: compact, UTF-8, keys in the order given."""
    return dumps_text(value).encode("utf-8")
