"""The frozen vectors of the machine ID, format v1."""

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import MachineID, tag

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "machine_id.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["ids"], ids=lambda vector: vector["comment"])
class TestIds:
    def test_values_give_the_tags(self, vector: dict) -> None:
        tags = {kind: sorted(tag(kind, value).hex() for value in values) for kind, values in vector["values"].items()}
        assert vector["tags"] == tags

    def test_values_give_the_bytes_and_the_string(self, vector: dict) -> None:
        machine_id = MachineID.from_values(vector["values"], instance_source=vector["instance_source"])
        assert vector["bytes"] == machine_id.to_bytes().hex()
        assert vector["machine_id"] == str(machine_id)

    def test_the_string_gives_the_tags(self, vector: dict) -> None:
        machine_id = MachineID.parse_canonical(vector["machine_id"])
        assert vector["tags"] == {kind: [one.hex() for one in machine_id.tags_of(kind)] for kind in machine_id.kinds}
        assert vector["instance_source"] == machine_id.instance_source


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["comment"])
@pytest.mark.parametrize("read", [MachineID.parse, MachineID.parse_canonical])
def test_what_is_no_id_is_refused(vector: dict, read: Callable[[str], MachineID]) -> None:
    with pytest.raises(KeyseatError) as caught:
        read(vector["text"])
    assert vector["code"] == caught.value.code


def test_the_file_is_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("build_machine_id", HERE / "build_machine_id.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.content() == (HERE / "machine_id.json").read_text(encoding="utf-8")


def test_the_file_never_changes_within_format_1() -> None:
    # A licence in the field names its machine by these strings: a change here is a new format version.
    assert hashlib.sha256((HERE / "machine_id.json").read_bytes()).hexdigest() == FROZEN


FROZEN = "32eea1c1b6a8457151543b0b447916ed569c44d41c070240e5dc54e2e9854d11"
