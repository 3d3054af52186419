"""Texts and account names by tables of our own: the interpreter's Unicode tables decide nothing."""

import hashlib
import sys
import unicodedata

import pytest

from keyseat_shared.characters import REFUSED, are_allowed
from keyseat_shared.fields import is_plain
from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.casefold import casefold

EVERY = [chr(code) for code in range(sys.maxunicode + 1)]
ALLOWED = {char for char in EVERY if are_allowed(char)}


def test_the_ranges_are_in_order_and_apart() -> None:
    edges = [edge for first, last in REFUSED for edge in (first, last + 1)]
    assert sorted(set(edges)) == edges


def test_whatever_was_printable_to_this_interpreter_is_allowed() -> None:
    assert {char for char in EVERY if char.isprintable()} <= ALLOWED


def test_no_control_format_separator_surrogate_or_private_character_is_allowed() -> None:
    refused = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"}
    assert {" "} == {char for char in ALLOWED if unicodedata.category(char) in refused}


def test_of_what_is_not_assigned_only_noncharacters_and_reserved_places_are_refused() -> None:
    refused = [ord(char) for char in EVERY if unicodedata.category(char) == "Cn" and char not in ALLOWED]
    noncharacters = {code for code in refused if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF}
    assert 66 == len(noncharacters)
    reserved = {code for code in refused if code not in noncharacters}
    # U+1343x: format characters since Unicode 15. The others are "default ignorable" (DerivedCoreProperties.txt).
    assert reserved <= {0x2065, *range(0xFFF0, 0xFFF9), *range(0x13439, 0x13440), *range(0xE0000, 0xE1000)}


def test_the_table_is_frozen() -> None:
    assert "ca4e671c0d6d9078" == _digest("".join(sorted(ALLOWED)))


@pytest.mark.parametrize("text", ["", "Ada", "Ünïcödé", "a\u0378b", "\U0001f511"])
def test_plain_texts_are_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize("text", ["a\n", "\x7f", "a\u200bb", "\ufdd0", "\U0010ffff", "\u00a0"])
def test_others_are_not(text: str) -> None:
    assert not is_plain(text)


def test_folding_is_that_of_unicode_14() -> None:
    changed = [(ord(char), casefold(char)) for char in EVERY if casefold(char) != char]
    assert (1530, "b199c9f1c44dca4d") == (len(changed), _digest(repr(changed)))


def test_folding_differs_from_the_interpreters_only_in_what_later_versions_assigned() -> None:
    other = {char for char in EVERY if casefold(char) != char.casefold()}
    assert other == set() or unicodedata.unidata_version > "15.1.0"


def test_a_windows_account_name_is_folded_so() -> None:
    assert ("straße".casefold(), "") == canonical.account_name("FIRMA\\STRASSE", fold_case=True)
    assert ("\u1c89", "") == canonical.account_name("\u1c89", fold_case=True)  # Unicode 16 folds it to U+1C8A


def test_blanks_around_evidence_are_those_of_the_interpreter_today() -> None:
    assert {char for char in EVERY if char.isspace()} == set(canonical._BLANKS)


@pytest.mark.parametrize("foreign", ["\u017f-1-5-21", "S-1-\u0665", "\uff33-1-5"])
def test_no_foreign_letter_becomes_one_of_an_account_id(foreign: str) -> None:
    assert ("", "empty") == canonical.account_id(foreign)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
