"""Long tables in a pipe look as short ones do."""

from datetime import UTC, datetime

import pytest

from keyseat_issuer.cli import output, plain_table
from keyseat_issuer.cli.output import Output, Styled

ROW = ["id", 1, "Ada", datetime(2026, 1, 1, tzinfo=UTC)]
TABLES = {
    "plain": ("Online sessions of Acme", [ROW, ["longer id", 12345, None, None]]),
    "no title": ("", [ROW]),
    "no row": ("Title", []),
    "wide characters": ("日本の会社", [["日本", 1, "e\u0301", "x"], ["a", 2, "😀", "  y "]]),
    "styles and what commands a terminal": ("\x1b[2J", [[Styled("a\x1b", "red"), 1, "[red]b[/]", "\x9b\t"]]),
    "a column that is not all numbers": ("T", [["a", 1, 2, 3], ["b", "x", 2, None]]),
    "lines in a cell": ("T", [["a\nb", 1, 2, 3]]),
    "a title that is folded": ("a title that is longer than everything that stands below it", [["a", 1, 2, 3]]),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_long_table_has_the_characters_of_a_short_one(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    title, rows = TABLES[name]

    def shown(many: int) -> str:
        monkeypatch.setattr(output, "_MANY", many)
        Output().table(title, ["Id", "Number", "Name", "At"], rows)
        return capsys.readouterr().out

    assert shown(100) == shown(-1)


def test_what_takes_more_than_padding_is_left_to_others() -> None:
    heads, right = ["A"], [False]
    assert ["T    ", "A    ", "─────", "a b  "] == plain_table.lines("T", heads, [["a b  "]], right)
    assert plain_table.lines("", heads, [["a\nb"]], right) is None
    assert plain_table.lines("wider", heads, [["a"]], right) is None
