"""The stability suite: every legitimate change keeps a licence working, every illegitimate one is refused."""

import importlib.util
import itertools
import json
from collections.abc import Callable

import pytest

from keyseat_shared.evidence import Verdict
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import match
from keyseat_verifier.machine import probe_machine
from machine_stability import ABSENT, COLUMNS, Case
from machine_table import cell, rows
from recorded_machines import TREES, load

HOME = {"KEYSEAT_HOME": "/nonexistent"}
ISSUED = json.loads((TREES / "issued_ids.json").read_text(encoding="utf-8"))
GOLDEN = json.loads((TREES.parent / "vectors" / "machine_id.json").read_text(encoding="utf-8"))["ids"]

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


@pytest.mark.parametrize("name", sorted(ISSUED))
def test_an_id_issued_before_is_of_the_unchanged_machine(name: str) -> None:
    """IDs that the first release of format 1 made of the recorded machines; never written anew."""
    for user, text in ISSUED[name].items():
        machine = load(name)
        machine.user = ("0", "root") if user == "root" else machine.user
        found = probe_machine(source=machine, environ=HOME | machine.environ).machine_id
        assert Verdict.SAME == match(MachineID.parse_canonical(text), found).verdict


@pytest.mark.parametrize("name", sorted(ISSUED))
def test_an_id_made_by_root_never_calls_a_users_view_another_machine(name: str) -> None:
    ids = [MachineID.parse_canonical(text) for text in ISSUED[name].values()]
    for enrolled, shown in itertools.permutations(ids, 2):
        assert Verdict.OTHER_MACHINE != match(enrolled, shown).verdict


@pytest.mark.parametrize("text", [one["machine_id"] for one in GOLDEN])
def test_a_golden_id_is_of_its_own_machine(text: str) -> None:
    assert Verdict.SAME == match(MachineID.parse(text), MachineID.parse(text)).verdict


def test_the_page_shows_the_table_as_it_is() -> None:
    spec = importlib.util.spec_from_file_location("build_table", TREES / "build_table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text) == text
