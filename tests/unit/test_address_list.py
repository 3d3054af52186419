"""Addresses as people paste them and as spreadsheets save them: what is read, and how mistakes are told."""

import pytest

from keyseat_issuer.ledger.customers.address_list import MAX_SIZE, MOST_ADDRESSES, Entry, read
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

ADA, BOB = "ada@example.com", "bob@example.com"


def emails(text: str, file: bytes = b"") -> list[str]:
    return [entry.email or f"? {entry.typed}" for entry in read(text, file)]


def refused(text: str, file: bytes = b"") -> KeyseatError:
    with pytest.raises(KeyseatError) as caught:
        read(text, file)
    assert ReasonCode.INVALID_INPUT == caught.value.code
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "ada@example.com\nbob@example.com",
        "ada@example.com\r\nbob@example.com\r\n",
        "ada@example.com\rbob@example.com",
        " ada@example.com , bob@example.com;",
        "ada@example.com bob@example.com",
        "ada@example.com;bob@example.com; ADA@Example.com",
        "Ada Lovelace <ada@example.com>, Bob <bob@example.com>",
        'Ada <ada@example.com>; "Babbage; Bob (b@example.org)" <bob@example.com>',
        "Lovelace, Ada <ada@example.com>; Babbage, Bob <bob@example.com>",
        "ada@example.com <ada@example.com> <bob@example.com>",
        "ada@example.com, Babbage, Bob <bob@example.com>",
        "'ada@example.com' \"bob@example.com\"",
        "Ada <mailto:ada@example.com>, mailto:bob@example.com",
        "\ufeffada@example.com\u200b\u00a0bob@example.com\u2028",
    ],
)
def test_what_people_paste_means_the_same(text: str) -> None:
    assert [ADA, BOB] == emails(text)


@pytest.mark.parametrize(
    "file",
    [
        b"ada@example.com\nbob@example.com\n",
        b"\xef\xbb\xbfada@example.com\r\nbob@example.com",
        b"Email\nada@example.com\nbob@example.com\n",
        b'Name;E-Mail\nAda;ada@example.com\n\n;;\n"Babbage; Bob";bob@example.com\n',
        b"name,E-mail address\nAda,ada@example.com\nBob,Bob <bob@example.com>\n",
        b"ada@example.com,Ada\nbob@example.com,Bob\n",
        b'"ada@example.com, bob@example.com"\n',
    ],
)
def test_what_spreadsheets_save_means_the_same(file: bytes) -> None:
    assert [ADA, BOB] == emails("", file)


def test_what_is_no_address_comes_with_its_line() -> None:
    assert [
        Entry(1, ADA, ADA),
        Entry(3, "bob at example", ""),
        Entry(4, "Eve", ""),
        Entry(4, "@", ""),
        Entry(5, "<>", ""),
        Entry(2, "nobody", "", from_file=True),
        Entry(3, "", "", from_file=True),
    ] == read(f"{ADA}\n\nbob at example\nEve @ ,\nBob <>", b"E-mail,Name\nnobody,Bob\n,Eve\nada@example.com,Ada\n")


def test_rows_that_end_before_the_column_have_no_address() -> None:
    assert [ADA, "? "] == emails("", b"name,email\nAda,ada@example.com\nBob\n")


def test_addresses_are_kept_as_the_ledger_keeps_them() -> None:
    [entry] = read("Ada@Bücher.example")
    assert ("Ada@Bücher.example", "ada@xn--bcher-kva.example") == (entry.typed, entry.email)


def test_a_long_word_is_no_address_and_is_told_in_short() -> None:
    [entry] = read("x" * 5000 + "@example.com")
    assert ("", 60) == (entry.email, len(entry.typed))


def test_at_most_a_thousand_are_taken() -> None:
    many = [f"user{number}@example.com" for number in range(MOST_ADDRESSES)]
    assert MOST_ADDRESSES == len(read("\n".join(many)))
    assert "more than 1,000 entries" in refused("\n".join([*many, ADA])).message


def test_text_and_file_are_limited_together() -> None:
    filler = "\n" * (MAX_SIZE - len(ADA))
    assert [ADA] == emails(filler, ADA.encode())
    assert "larger than 64 KiB together" in refused(filler + "\n", ADA.encode()).message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"\xff\xfea\x00", "the file is not UTF-8 text (byte 1)"),
        (b"ada@example.com\0", "the file holds NUL characters"),
        (b'ada@example.com\n"bob@example.com\n', "line 2 of the file is not CSV"),
        (b"E-mail\n", "the list holds no e-mail address"),
        (b"", "the list holds no e-mail address"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(file: bytes, message: str) -> None:
    assert message in refused(" ;,\n", file).message
