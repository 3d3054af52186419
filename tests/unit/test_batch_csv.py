"""The table of a batch: what is read, and how mistakes are told."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyseat_issuer.ledger.offline.batch_csv import MAX_ROWS, MAX_SIZE, read_rows
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

HEADER = "organization,product,machine_id,user,expires,sessions\n"
ROW = "Acme,KSE,mid1abc,ada@example.com,2024-05-31,1\n"


def unusable(data: bytes) -> KeyseatError:
    """Return why the whole table cannot be used."""
    with pytest.raises(KeyseatError) as caught:
        read_rows(data)
    assert ReasonCode.INVALID_INPUT == caught.value.code
    return caught.value


def test_a_row_is_read_with_its_line() -> None:
    [row], bad = read_rows((HEADER + ROW).encode())

    assert [] == bad
    assert (2, "Acme", "KSE", "mid1abc", "ada@example.com", 1) == (
        row.line,
        row.organization,
        row.product,
        row.machine_id,
        row.user,
        row.sessions,
    )
    assert datetime(2024, 6, 1, tzinfo=UTC) == row.expires_at


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROW,
        "\ufeff" + HEADER + ROW,
        (HEADER + ROW).replace("\n", "\r\n"),
        (HEADER + ROW).replace(",", ";"),
        "\n\n" + HEADER + "\n,,,,,\n" + ROW + "\n",
        (HEADER + ROW).replace("Acme", '" Acme "'),
        HEADER.upper() + ROW,
        (HEADER + ROW).rstrip("\n"),
    ],
    ids=["plain", "byte order mark", "CRLF", "semicolons", "empty lines", "quotes", "capitals", "no last newline"],
)
def test_the_ways_in_which_spreadsheets_write_it_mean_the_same(text: str) -> None:
    [row], bad = read_rows(text.encode())

    assert [] == bad
    assert ("Acme", "KSE", "ada@example.com") == (row.organization, row.product, row.user)


def test_columns_may_be_left_out_and_stand_in_any_order() -> None:
    [row], _ = read_rows(b"machine_id,product,organization\nmid1abc,KRE,Acme\n")

    assert ("Acme", "KRE", "mid1abc", None, None, 1) == (
        row.organization,
        row.product,
        row.machine_id,
        row.user,
        row.expires_at,
        row.sessions,
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Acme,KSE\n", "the line has 2 cells, the header 6"),
        (",KSE,mid1abc,,,\n", "organization is empty"),
        ("Acme,KSE, ,,,\n", "machine_id is empty"),
        ("Acme,KSE,mid1abc,,tomorrow,\n", "'tomorrow' is not a date"),
        ("Acme,KSE,mid1abc,,2024-02-30,\n", "'2024-02-30' is not a date"),
        ("Acme,KRE,mid1abc,,,two\n", "sessions is not a whole number: 'two'"),
        ("Acme,KRE,mid1abc,,,-1\n", "sessions is not a whole number: '-1'"),
        ("Acme,KRE,mid1abc,,,²\n", "sessions is not a whole number: '²'"),
        (f"Acme,KSE,{'m' * 3000},,,\n", "a cell is too long"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_does_not_hide_the_others(row: str, message: str) -> None:
    good, [bad] = read_rows((HEADER + ROW + row + ROW).encode())

    assert [2, 4] == [entry.line for entry in good]
    assert (3, message) == (bad.line, bad.error.message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the batch is empty"),
        (b"\n\n", "the batch is empty"),
        (HEADER.encode(), "a header line but no rows"),
        ((HEADER + ROW).encode("utf-16"), "not UTF-8"),
        (HEADER.encode() + b"Acme,KSE,mid1\0abc,,,\n", "NUL"),
        (b"organisation,product,machine_id\n", "did you mean organization?"),
        (b"organization,product,machine_id,price\n", "unknown column 'price'"),
        (b"organization,product\nAcme,KSE\n", "lacks the column machine_id"),
        (b"organization,product,machine_id,product\n", "twice"),
        (HEADER.encode() + b'Acme,"KSE,mid1abc,,,\n', "is not CSV"),
        (b"x" * (MAX_SIZE + 1), "larger than 16 MiB"),
        ((HEADER + ROW * (MAX_ROWS + 1)).encode(), "more than 10,000 rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_as_a_whole(data: bytes, message: str) -> None:
    assert message in unusable(data).message


@pytest.mark.long
@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: (HEADER + text).encode()))
def test_no_table_gives_anything_but_rows_or_a_refusal(data: bytes) -> None:
    try:
        good, bad = read_rows(data)
    except KeyseatError as error:
        assert ReasonCode.INVALID_INPUT == error.code  # noqa: PT017 - every refusal is of this kind
    else:
        assert len({row.line for row in good} | {row.line for row in bad}) == len(good) + len(bad)
