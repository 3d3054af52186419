"""Honest and dishonest clocks, played: no honest user is locked out, and what a dishonest one gains is bounded."""

import importlib.util
from pathlib import Path

import pytest

from clock_scenarios import DISHONEST, ENDS, HONEST, STARTS, Dishonest, Honest, play

SCRIPT = Path(__file__).parent.parent / "clock" / "build_table.py"
LOCKED_OUT = {"a year ahead by mistake for two weeks"}
"""What section 9 of the specification names as the limit."""
WITHOUT_END = {
    "the same, and it is killed every evening before the restart",
    "the state deleted in both places every morning",
    "the state restored in both places every morning",
}
PLATFORMS = pytest.mark.parametrize("counts_boots", [True, False], ids=["linux", "elsewhere"])


pytestmark = pytest.mark.long


@PLATFORMS
@pytest.mark.parametrize("scenario", HONEST, ids=lambda scenario: scenario.title)
def test_an_honest_machine_is_never_refused_while_its_clock_is_right(scenario: Honest, *, counts_boots: bool) -> None:
    assert (scenario.title in LOCKED_OUT) == (play(scenario, counts_boots=counts_boots).refused > 0)


@PLATFORMS
@pytest.mark.parametrize("scenario", DISHONEST, ids=lambda scenario: scenario.title)
def test_a_dishonest_user_gains_less_than_the_licence_is_long(scenario: Dishonest, *, counts_boots: bool) -> None:
    machine = play(scenario, counts_boots=counts_boots)
    if scenario.title in WITHOUT_END:
        assert "OK" == machine.last
    else:
        assert machine.last in {"EXPIRED", "CLOCK_ROLLED_BACK"}
        assert machine.gained < ENDS - STARTS


def test_the_table_of_the_specification_is_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("build_clock_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.PAGE.read_text(encoding="utf-8")
    assert text == script.page(text)
