"""The stability suite: every legitimate change keeps a licence working, every illegitimate one is refused."""

import importlib.util
from collections.abc import Callable

import pytest

from machine_stability import ABSENT, COLUMNS, Case
from machine_table import cell, rows
from recorded_machines import TREES

ROWS = [
    pytest.param(change, different, usual, id=title)
    for members in rows().values()
    for title, change, different, usual in members
]


@pytest.mark.parametrize(("change", "different", "usual"), ROWS)
def test_a_change_gets_its_verdict_on_each_machine(
    change: Callable[[Case], bool], different: dict[str, str], usual: str
) -> None:
    verdicts = {column: cell(column, change) for column in COLUMNS}
    happens = {column: verdict for column, verdict in verdicts.items() if verdict != ABSENT}
    assert different.keys() <= happens.keys()
    assert {column: different.get(column, usual) for column in happens} == happens
    assert happens


def test_the_page_shows_the_table_as_it_is() -> None:
    spec = importlib.util.spec_from_file_location("build_table", TREES / "build_table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text) == text
