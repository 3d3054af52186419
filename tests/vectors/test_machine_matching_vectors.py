"""The vectors of matching: what an enrolled ID and what a machine shows come to."""

import importlib.util
import json
from pathlib import Path

import pytest

from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import match

HERE = Path(__file__).parent
CASES = json.loads((HERE / "machine_matching.json").read_text(encoding="utf-8"))["cases"]


def shown(identity: dict) -> MachineID:
    """All that a machine shows, as the probe hands it on."""
    source = "instance-file" if "instance" in identity["values"] else "none"
    return MachineID.from_values(identity["values"], instance_source=source)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["comment"])
class TestVerdicts:
    def test_the_values_give_the_ids(self, case: dict) -> None:
        for identity in (case["enrolled"], case["shown"]):
            assert identity["machine_id"] == str(shown(identity))

    def test_the_verdict_is_the_one_of_the_document(self, case: dict) -> None:
        enrolled = MachineID.parse_canonical(case["enrolled"]["machine_id"])
        assert case["verdict"] == match(enrolled, shown(case["shown"])).verdict


def test_the_file_is_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("build_machine_matching", HERE / "build_machine_matching.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.content() == (HERE / "machine_matching.json").read_text(encoding="utf-8")
