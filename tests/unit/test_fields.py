"""Typed fields of parsed JSON: each reader takes its own type only, and names the field that is wrong."""

from datetime import UTC, datetime

import pytest

from keyseat_shared import fields
from keyseat_shared.errors import MalformedError

UUID = "018f4a6e-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    "value", ["a", "x" * fields.MAX_TEXT, "Ada Lovelace & Søn", "ada@example.com", "日本電気株式会社"]
)
def test_a_printable_text_is_read(value: str) -> None:
    assert value == fields.text(value, "name")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * (fields.MAX_TEXT + 1), id="too long"),
        pytest.param("a\x1b[31mb", id="terminal escape"),
        pytest.param("a\nb", id="line break"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\u202eb", id="right-to-left override"),
        pytest.param("a\u200bb", id="zero-width space"),
        pytest.param("a\u2028b", id="line separator"),
        pytest.param(5, id="number"),
        pytest.param(None, id="null"),
        pytest.param(["a"], id="list"),
        pytest.param(b"a", id="bytes"),
    ],
)
def test_other_values_are_no_text(value: object) -> None:
    with pytest.raises(MalformedError, match="name is not a printable text"):
        fields.text(value, "name")


@pytest.mark.parametrize("value", [1, 2, 10])
def test_a_whole_number_in_range_is_read(value: int) -> None:
    assert value == fields.whole(value, "sessions", 1, 10)


@pytest.mark.parametrize("value", [0, 11, -1, True, 1.0, "1", None, [1]])
def test_other_values_are_no_whole_number(value: object) -> None:
    with pytest.raises(MalformedError, match="sessions is not a whole number from 1 to 10"):
        fields.whole(value, "sessions", 1, 10)


def test_an_instant_is_read_as_utc() -> None:
    assert datetime(2023, 6, 1, 12, 30, 59, tzinfo=UTC) == fields.instant("2023-06-01T12:30:59Z", "issued_at")


@pytest.mark.parametrize("value", ["2023-06-01", "", 1_685_620_800, None, True])
def test_other_values_are_no_instant(value: object) -> None:
    with pytest.raises(MalformedError, match="issued_at is not a UTC timestamp"):
        fields.instant(value, "issued_at")


def test_a_uuid_is_read() -> None:
    assert UUID == fields.uuid(UUID, "id")


@pytest.mark.parametrize(
    "value", [UUID.upper(), UUID.replace("-", ""), "{" + UUID + "}", UUID + "\n", UUID[:-1], UUID[:-1] + "g", 5, None]
)
def test_other_values_are_no_uuid(value: object) -> None:
    with pytest.raises(MalformedError, match="id is not a UUID"):
        fields.uuid(value, "id")


@pytest.mark.parametrize("value", ["K", "KSE", "9a", "ed25519", "a_b.c-d", "x" * 32])
def test_a_short_name_is_read(value: str) -> None:
    assert value == fields.code(value, "product")


@pytest.mark.parametrize("value", ["", "_a", ".a", "../a", "a b", "a/b", "é", "٣", "x" * 33, "a\n", 5, None])
def test_other_values_are_no_short_name(value: object) -> None:
    with pytest.raises(MalformedError, match="product is not a short name"):
        fields.code(value, "product")


def test_short_names_are_read_in_order() -> None:
    assert ("b", "a") == fields.codes(["b", "a"], "features")
    assert () == fields.codes([], "features")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["a", "a"], "twice"),
        (["a"] * 3, "list of at most 2"),
        ("ab", "list"),
        ({"a": 1}, "list"),
        (None, "list"),
        ([1], "short name"),
    ],
)
def test_other_values_are_no_short_names(value: object, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        fields.codes(value, "features", 2)


def test_a_digest_is_read() -> None:
    assert "sha256:" + "0f" * 32 == fields.digest("sha256:" + "0f" * 32, "policy")


@pytest.mark.parametrize(
    "value", ["0f" * 32, "sha256:" + "0F" * 32, "sha256:" + "0f" * 31, "sha512:" + "0f" * 32, "sha256:", None]
)
def test_other_values_are_no_digest(value: object) -> None:
    with pytest.raises(MalformedError, match="policy is not a sha256 digest"):
        fields.digest(value, "policy")


def test_objects_and_lists_are_read() -> None:
    assert {"a": 1} == fields.mapping({"a": 1}, "root")
    assert [1, 2] == fields.sequence([1, 2], "keys", 2)


@pytest.mark.parametrize("value", [[], "a", None, 1])
def test_other_values_are_no_object(value: object) -> None:
    with pytest.raises(MalformedError, match="root is not an object"):
        fields.mapping(value, "root")


@pytest.mark.parametrize("value", [{}, "ab", None, [1, 2, 3]])
def test_other_values_are_no_list(value: object) -> None:
    with pytest.raises(MalformedError, match="keys is not a list of at most 2"):
        fields.sequence(value, "keys", 2)
