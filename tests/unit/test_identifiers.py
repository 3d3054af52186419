"""Identifiers: UUID version 7, sortable by the instant they were made."""

import uuid
from datetime import UTC, datetime, timedelta

from keyseat_shared import fields
from keyseat_shared.identifiers import uuid7

NOW = datetime(2023, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def test_an_identifier_is_a_canonical_uuid_of_version_7() -> None:
    made = uuid7(NOW)
    assert made == fields.uuid(made, "id")
    assert uuid.UUID(made).version == 7
    assert uuid.UUID(made).variant == uuid.RFC_4122


def test_its_first_48_bits_are_the_milliseconds() -> None:
    assert int(NOW.timestamp() * 1000) == uuid.UUID(uuid7(NOW)).int >> 80


def test_identifiers_sort_by_time() -> None:
    made = [uuid7(NOW + timedelta(milliseconds=n)) for n in range(50)]
    assert sorted(made) == made


def test_identifiers_of_one_instant_differ_in_all_random_bits() -> None:
    made = [uuid.UUID(uuid7(NOW)).int for _ in range(300)]
    assert len(set(made)) == 300
    always, ever = ~0, 0
    for number in made:
        always, ever = always & number, ever | number
    random_bits = (0xFFF << 64) | ((1 << 62) - 1)
    assert always & random_bits == 0
    assert ever & random_bits == random_bits
