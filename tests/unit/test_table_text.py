"""Cells of tables that we write: no spreadsheet runs them, whatever stands between its cells."""

import pytest

from keyseat_issuer.ledger.tools.table_text import safe_cell


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=cmd|' /C calc'!A0@example.com", "'=cmd|' /C calc'!A0@example.com"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "'\t'=1+1"),
        ("\rx", "'\rx"),
        (" =1+1", "' =1+1"),
        ("Ada;=1+1;x", "Ada;'=1+1;x"),
        ("Ada;;= 1", "Ada;;'= 1"),
        ("Ada\n=1+1", "Ada\n'=1+1"),
        ("Ada\t=1+1", "Ada\t'=1+1"),
    ],
)
def test_a_formula_is_led_by_an_apostrophe_wherever_a_cell_may_begin(text: str, safe: str) -> None:
    assert safe == safe_cell(text)


@pytest.mark.parametrize(
    "text", ["", "Ada Lovelace", "a-b@example.com", "1:02:03", "x=1", "Ada; Bob", "API key ci (=)"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert text == safe_cell(text)
