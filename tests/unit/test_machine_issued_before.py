"""IDs in licences that were issued before stay those of the machines they name, whatever is no evidence since."""

import itertools
import json
import pickle

import pytest

from keyseat_shared.evidence import ComponentState, Evidence, Verdict
from keyseat_shared.machine_id import MachineID, tag
from keyseat_shared.matching import match
from keyseat_verifier.machine import MachineProbe, canonical, probe_machine
from recorded_machines import TREES, RecordedMachine, load

HOME = {"KEYSEAT_HOME": "/nonexistent"}
DMI = "/sys/devices/virtual/dmi/id/"
ISSUED = json.loads((TREES / "issued_ids.json").read_text(encoding="utf-8"))
GOLDEN = json.loads((TREES.parent / "vectors" / "machine_id.json").read_text(encoding="utf-8"))["ids"]


def probe(machine: RecordedMachine) -> MachineProbe:
    return probe_machine(source=machine, environ=HOME | machine.environ)


def as_root(name: str) -> RecordedMachine:
    machine = load(name)
    machine.user = ("0", "root")
    return machine


def issued(probe: MachineProbe, **values: str) -> MachineID:
    """The ID that was made when these values counted."""
    now = probe.machine_id
    tags = {kind: now.tags_of(kind) for kind in now.kinds}
    return MachineID(
        tags | {kind.replace("_", "-"): [tag(kind.replace("_", "-"), value)] for kind, value in values.items()}
    )


@pytest.mark.parametrize("name", sorted(ISSUED))
def test_an_id_is_of_the_unchanged_machine(name: str) -> None:
    """IDs that the first release of format 1 made of the recorded machines; never written anew."""
    for user, text in ISSUED[name].items():
        found = probe(as_root(name) if user == "root" else load(name)).machine_id
        assert Verdict.SAME == match(MachineID.parse_canonical(text), found).verdict


@pytest.mark.parametrize("name", sorted(ISSUED))
def test_an_id_made_by_root_never_calls_a_users_view_another_machine(name: str) -> None:
    ids = [MachineID.parse_canonical(text) for text in ISSUED[name].values()]
    for enrolled, shown in itertools.permutations(ids, 2):
        assert Verdict.OTHER_MACHINE != match(enrolled, shown).verdict


@pytest.mark.parametrize("text", [one["machine_id"] for one in GOLDEN])
def test_a_golden_id_is_of_its_own_machine(text: str) -> None:
    assert Verdict.SAME == match(MachineID.parse(text), MachineID.parse(text)).verdict


class TestWhatIsNoEvidenceSince:
    UUID = "07090201-0103-0301-0807-060504030201"

    def test_a_new_id_does_not_hold_it_and_an_old_one_still_fits(self) -> None:
        machine = as_root("linux-tower")
        machine.files[DMI + "product_uuid"] = self.UUID.encode()
        found = probe(machine)
        old = issued(found, firmware_uuid=canonical.firmware_uuid(self.UUID)[0])
        assert Evidence.FIRMWARE_UUID not in found.evidence
        assert Evidence.FIRMWARE_UUID in old.evidence
        states = {one.kind: one.state for one in match(old, found.machine_id).components}
        assert ComponentState.SAME == states[Evidence.FIRMWARE_UUID]

    def test_an_old_id_that_rests_on_it_still_fits(self) -> None:
        machine = as_root("linux-kvm")
        machine.files[DMI + "product_uuid"] = self.UUID.encode()
        found = probe(machine)
        old = issued(found, firmware_uuid=canonical.firmware_uuid(self.UUID)[0])
        assert {"firmware-uuid", "os"} <= set(old.kinds)
        assert Verdict.SAME == match(old, found.machine_id).verdict

    def test_a_real_value_that_turned_into_it_is_out_of_sight_and_not_another_one(self) -> None:
        machine = as_root("linux-laptop")
        enrolled = probe(machine).machine_id
        machine.files[DMI + "product_uuid"] = self.UUID.encode()
        states = {one.kind: one.state for one in match(enrolled, probe(machine).machine_id).components}
        assert ComponentState.UNREADABLE == states[Evidence.FIRMWARE_UUID]

    def test_a_disk_and_an_adapter_likewise(self) -> None:
        machine = as_root("linux-laptop")
        machine.permanent_macs = {}
        machine.remove("/sys/devices/pci0000:00/0000:00:06.0/0000:04:00.0/nvme/nvme0/block/nvme0n1/wwid")
        for path, content in machine.files.items():
            if path.endswith("nvme0/serial"):
                machine.files[path] = b"EeePC-0123456789\n"
            elif content == b"9c:2d:cd:31:4f:a0\n":
                machine.files[path] = b"08:00:27:d1:4c:66\n"
        now = probe(machine).machine_id
        old = issued(probe(machine), disk="EEEPC-0123456789", nic="080027d14c66")
        states = {one.kind: one.state for one in match(old, now).components}
        assert (ComponentState.SAME, ComponentState.SAME) == (states[Evidence.DISK], states[Evidence.NIC])
        assert not {Evidence.DISK, Evidence.NIC} & set(now.evidence)


class TestSerialsOfTheFirmware:
    """A firmware update fills in the product's serial, or blanks it: then the board's is the first no more, or is."""

    @pytest.fixture(params=["linux", "windows"])
    def machine(self, request: pytest.FixtureRequest) -> RecordedMachine:
        """A machine whose UUID says nothing, so that all hangs on the serial."""
        if request.param == "linux":
            machine = as_root("linux-laptop")
            machine.files[DMI + "product_uuid"] = b"03000200-0400-0500-0006-000700080009\n"
        else:
            machine = load("windows-laptop")
            machine.smbios = machine.smbios.replace(bytes.fromhex("ccaef43f212db211a85cc1dd6a0c9f2e"), bytes(16))
        assert Evidence.FIRMWARE_UUID not in probe(machine).evidence
        return machine

    def blanked(self, machine: RecordedMachine, board: bytes = b"L1HF2CJ01PB") -> RecordedMachine:
        changed = machine.copy()
        changed.files[DMI + "product_serial"] = b"Default string\n"
        changed.files[DMI + "board_serial"] = board + b"\n"
        changed.files[DMI + "chassis_serial"] = b"\n"
        if changed.smbios is not None:
            changed.smbios = changed.smbios.replace(b"PF3XK7QL", b" " * 8).replace(b"L1HF2CJ01PB", board)
        return changed

    def test_filling_it_in_changes_nothing(self, machine: RecordedMachine) -> None:
        before, now = probe(self.blanked(machine)).machine_id, probe(machine).machine_id
        assert before.tags_of("firmware-serial") != now.tags_of("firmware-serial")
        result = match(before, now)
        assert Verdict.SAME == result.verdict
        assert Evidence.FIRMWARE_SERIAL in result.kinds(ComponentState.SAME)

    def test_blanking_it_leaves_the_rest_to_decide(self, machine: RecordedMachine) -> None:
        result = match(probe(machine).machine_id, probe(self.blanked(machine)).machine_id)
        assert Verdict.SAME == result.verdict
        assert Evidence.FIRMWARE_SERIAL in result.kinds(ComponentState.UNREADABLE)

    def test_another_product_serial_is_another_one(self, machine: RecordedMachine) -> None:
        other = machine.copy()
        other.files[DMI + "product_serial"] = other.files[DMI + "chassis_serial"] = b"PF9ZZZ9Z\n"
        if other.smbios is not None:
            other.smbios = other.smbios.replace(b"PF3XK7QL", b"PF9ZZZ9Z")
        result = match(probe(machine).machine_id, probe(other).machine_id)
        assert Evidence.FIRMWARE_SERIAL in result.kinds(ComponentState.CHANGED)
        assert Verdict.OTHER_MACHINE == result.verdict

    def test_another_board_without_product_serial_never_is_the_machine(self, machine: RecordedMachine) -> None:
        enrolled = probe(self.blanked(machine)).machine_id
        other = self.blanked(machine, b"L1HF2CJ99ZZ")
        other.permanent_macs = {}
        for path in [path for path in other.files if path.endswith("/address")]:
            other.files[path] = b"02:00:00:00:00:01\n"
        assert Verdict.SAME != match(enrolled, probe(other).machine_id).verdict


def test_what_stands_beside_an_id_survives_pickling_and_is_no_part_of_it() -> None:
    one = MachineID.from_values({"os": ["o"], "user-id": ["1"]}, beside={"disk": ["d"]}, uncertain=["disk"])
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    assert (one.seen_of("disk"), one.uncertain) == (again.seen_of("disk"), again.uncertain)
    assert (("os", "user-id"), str(MachineID.from_values({"os": ["o"], "user-id": ["1"]}))) == (one.kinds, str(again))
