"""Strict JSON: what one reader would take this way and another that way is refused."""

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import MalformedError
from keyseat_shared.strictjson import MAX_DEPTH, dumps_compact, loads_object, require_keys


def nested(depth: int, opener: bytes = b"[", closer: bytes = b"]") -> bytes:
    return b'{"a":' + opener * (depth - 1) + closer * (depth - 1) + b"}"


class TestReading:
    def test_an_object_is_read_with_its_values(self) -> None:
        assert {"a": [1, "ü", None, True], "b": {}} == loads_object('{"a": [1, "ü", null, true], "b": {}}'.encode())

    def test_an_escaped_pair_of_surrogates_is_one_character(self) -> None:
        assert {"a": "\U0001f511"} == loads_object(rb'{"a": "\ud83d\udd11"}')

    def test_numbers_to_the_limit_are_read(self) -> None:
        numbers = {"a": [2**53, -(2**53), 0, -1]}
        assert numbers == loads_object(dumps_compact(numbers))
        assert {"a": 0} == loads_object(b'{"a": -0}')

    def test_every_escape_is_read(self) -> None:
        read = loads_object(rb'{"a": "\"\\\/\b\f\n\r\t\u0041\uD83D\uDD11\u0000", "b": "x\"y\"z"}')
        assert {"a": '"\\/\b\f\n\r\tA\U0001f511\0', "b": 'x"y"z'} == read

    def test_nesting_to_the_limit_is_read(self) -> None:
        assert "a" in loads_object(nested(MAX_DEPTH))

    def test_brackets_inside_a_text_are_not_nesting(self) -> None:
        brackets = "[{" * 40 + '\\"[[[['
        assert {"a": brackets, "b": [[1], [2]]} == loads_object(dumps_compact({"a": brackets, "b": [[1], [2]]}))

    def test_many_shallow_objects_are_not_nesting(self) -> None:
        many = {"a": [{"b": []} for _ in range(100)]}
        assert many == loads_object(dumps_compact(many))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b" ", "not JSON", id="blank"),
        pytest.param(b"[]", "not an object", id="list"),
        pytest.param(b'"a"', "not an object", id="text"),
        pytest.param(b"null", "not an object", id="null"),
        pytest.param(b"{} {}", "not JSON", id="two objects"),
        pytest.param(b"{}\0", "not JSON", id="trailing NUL"),
        pytest.param(b"\0\0\0\0", "not JSON", id="NUL bytes"),
        pytest.param(b"{'a': 1}", "not JSON", id="single quotes"),
        pytest.param(b'{"a": 1,}', "not JSON", id="trailing comma"),
        pytest.param(b'{"a": 01}', "not JSON", id="leading zero"),
        pytest.param(b'{"a": "\n"}', "not JSON", id="raw control character"),
        pytest.param(rb'{"a": "\t' + b'\n"}', "not JSON", id="raw control character beside an escape"),
        pytest.param(b'{"a": "\x1f' + rb'\t"}', "not JSON", id="raw control character before an escape"),
        pytest.param('{"a": "\u0378\x01"}'.encode(), "not JSON", id="raw control character beside an unknown one"),
        pytest.param(rb'{"a": "\x41"}', "not JSON", id="an escape that JSON does not have"),
        pytest.param(rb'{"a": "\u00e"}', "not JSON", id="an escape of three digits"),
        pytest.param(rb'{"a": "\u+041"}', "not JSON", id="an escape with a sign"),
        pytest.param(rb'{"a": "\"}', "not JSON", id="an escaped end"),
        pytest.param(b'{"a": -}', "not JSON", id="a sign alone"),
        pytest.param(b'{"a": +1}', "not JSON", id="a plus sign"),
        pytest.param(b'{"a": 1_0}', "not JSON", id="an underscore in a number"),
        pytest.param('{"a": \u0661}'.encode(), "not JSON", id="digits of another script"),
        pytest.param('{"a":\u00a01}'.encode(), "not JSON", id="a no-break space"),
        pytest.param(b'{"a": True}', "not JSON", id="Python's own true"),
        pytest.param(b'{"a": 9007199254740993}', "beyond 2", id="2^53 + 1"),
        pytest.param(b'{"a": -9007199254740993}', "beyond 2", id="-2^53 - 1"),
        pytest.param(b'{"a": 1 /* b */}', "not JSON", id="comment"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "beyond 2", id="number of 5,000 digits"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', "not JSON", id="byte order mark"),
        pytest.param('{"a": 1}'.encode("utf-16"), "not UTF-8", id="UTF-16"),
        pytest.param(b'{"a": "\xff"}', "not UTF-8", id="Latin-1"),
        pytest.param(b'{"a": "\xc0\xaf"}', "not UTF-8", id="overlong UTF-8"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', "not UTF-8", id="surrogate in UTF-8"),
        pytest.param(b'{"a": 1, "a": 1}', "duplicate key", id="duplicate key"),
        pytest.param(rb'{"a": 1, "\u0061": 2}', "duplicate key", id="duplicate key, one escaped"),
        pytest.param(b'{"x": [{"a": 1, "a": 2}]}', "duplicate key", id="duplicate key deep inside"),
        pytest.param(b'{"a": NaN}', "not whole", id="NaN"),
        pytest.param(b'{"a": Infinity}', "not whole", id="Infinity"),
        pytest.param(b'{"a": -Infinity}', "not whole", id="-Infinity"),
        pytest.param(b'{"a": 1e999}', "not whole", id="1e999"),
        pytest.param(b'{"a": 1.0}', "not whole", id="1.0"),
        pytest.param(b'{"a": 1e2}', "not whole", id="1e2"),
        pytest.param(rb'{"a": "\ud800"}', "surrogate", id="lone high surrogate"),
        pytest.param(rb'{"a": ["\udc00"]}', "surrogate", id="lone low surrogate in a list"),
        pytest.param(rb'{"\ud800": 1}', "surrogate", id="lone surrogate in a key"),
        pytest.param(nested(MAX_DEPTH + 1), "too deeply", id="one level too deep"),
        pytest.param(nested(30_000), "too deeply", id="30,000 levels of lists"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too deeply", id="10,000 levels of objects"),
        pytest.param(b"[" * 60_000, "too deeply", id="never closed"),
    ],
)
def test_doubtful_json_is_malformed(data: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said) as caught:
        loads_object(data)
    assert ReasonCode.MALFORMED == caught.value.code


class TestWriting:
    def test_json_is_compact_utf8_in_the_order_given(self) -> None:
        assert '{"b":1,"a":["ü",null]}'.encode() == dumps_compact({"b": 1, "a": ["ü", None]})

    def test_nan_is_never_written(self) -> None:
        with pytest.raises(ValueError, match="JSON compliant"):
            dumps_compact({"a": float("nan")})


class TestKeys:
    def test_exactly_the_keys_are_required(self) -> None:
        require_keys({"a": 1, "b": 2}, "it", frozenset({"a", "b"}))

    def test_an_optional_key_may_stand_or_not(self) -> None:
        require_keys({"a": 1}, "it", frozenset({"a"}), frozenset({"b"}))
        require_keys({"a": 1, "b": 2}, "it", frozenset({"a"}), frozenset({"b"}))

    def test_a_missing_key_is_named(self) -> None:
        with pytest.raises(MalformedError, match="it lacks b, c"):
            require_keys({"a": 1}, "it", frozenset({"a", "b", "c"}))

    def test_an_unknown_key_is_named_without_its_control_characters(self) -> None:
        with pytest.raises(MalformedError, match=r"it has unknown keys: '\\x1b\[31m'"):
            require_keys({"a": 1, "\x1b[31m": 2}, "it", frozenset({"a"}))

    def test_unknown_keys_do_not_flood_the_message(self) -> None:
        with pytest.raises(MalformedError) as caught:
            require_keys({"k" * 1000: 1}, "it", frozenset())
        assert len(caught.value.message) < 160


def test_what_json_does_not_know_is_not_written() -> None:
    with pytest.raises(TypeError, match="JSON"):
        dumps_compact({"a": set()})
