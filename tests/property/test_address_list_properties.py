"""Whatever is pasted or uploaded, a list of addresses is read or refused, and every good address comes out once."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from keyseat_issuer.ledger.customers.address_list import Entry, read
from keyseat_shared.errors import KeyseatError

LOCAL = st.from_regex(r"[a-z0-9]([a-z0-9._+-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda text: ".." not in text)
ADDRESSES = st.builds("{}@{}".format, LOCAL, st.sampled_from(["example.com", "example.org", "xn--bcher-kva.example"]))
NAMES = st.text(st.characters(exclude_characters='<>"@\r\n;', exclude_categories=["Cs"]), max_size=12)
BETWEEN = st.text(" \t\r\n,;", min_size=1, max_size=4)
NAMED = st.builds(lambda name, address: (address, f"{name} <{address}>\n"), NAMES, ADDRESSES)
QUOTED = st.builds(lambda name, address: (address, f'"{name};@," <{address}>'), NAMES, ADDRESSES)
PLAIN = st.builds(lambda address, case: (address, address.upper() if case else address), ADDRESSES, st.booleans())
NOISE = st.text(st.sampled_from("<>\"'@;, \n\r\tä\u200b\u2028\0x.=:") | st.characters(), max_size=200)


def good(entries: list[Entry]) -> list[str]:
    return [entry.email for entry in entries if entry.email]


@given(st.text() | NOISE, st.binary() | (st.text() | NOISE).map(lambda text: text.encode("utf-8", "replace")))
def test_any_input_is_read_or_refused(text: str, file: bytes) -> None:
    with contextlib.suppress(KeyseatError):
        found = good(read(text, file))
        assert len(found) == len(set(found))


@given(st.lists(st.tuples(NAMED | QUOTED | PLAIN, BETWEEN), min_size=1, max_size=20))
def test_every_address_comes_out_once_and_in_order(parts: list[tuple[tuple[str, str], str]]) -> None:
    text = "".join(written + between for (_address, written), between in parts)
    assert list(dict.fromkeys(address for (address, _written), _between in parts)) == good(read(text))


@given(addresses=st.lists(ADDRESSES, min_size=1, max_size=20), delimiter=st.sampled_from(",;"), headed=st.booleans())
def test_every_address_of_a_table_comes_out_once_and_in_order(
    *, addresses: list[str], delimiter: str, headed: bool
) -> None:
    rows = [(f"Name {number}", address) if headed else (address, "x") for number, address in enumerate(addresses)]
    table = "\ufeff" * headed + "".join(delimiter.join(row) + "\r\n" for row in [("Name", "E-Mail")] * headed + rows)
    assert list(dict.fromkeys(addresses)) == good(read("", table.encode()))


@given(NOISE)
def test_what_is_read_reads_the_same_again(text: str) -> None:
    with contextlib.suppress(KeyseatError):
        found = good(read(text))
        assert not found or found == good(read(" ".join(found)))
