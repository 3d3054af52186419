"""The probes on damaged machines: whatever is unreadable, missing or nonsense, there is an answer and no error."""

from hypothesis import given, settings
from hypothesis import strategies as st

from keyseat_shared.machine_id import MachineID
from keyseat_verifier.machine import probe_machine
from keyseat_verifier.machine.explain import explain
from recorded_machines import load, names

HOME = {"KEYSEAT_HOME": "/nonexistent"}
CONTENT = st.one_of(st.binary(max_size=200), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_machine_gives_an_id_or_none_and_never_an_error(data: st.DataObject) -> None:
    machine = load(data.draw(st.sampled_from(names())))
    paths = sorted(machine.files)
    if paths:
        for path in data.draw(st.lists(st.sampled_from(paths), max_size=6)):
            machine.files[path] = data.draw(CONTENT)
        machine.denied |= set(data.draw(st.lists(st.sampled_from(paths), max_size=6)))
        for path in data.draw(st.lists(st.sampled_from(paths), max_size=6)):
            machine.files.pop(path, None)
    links = sorted(machine.links)
    if links:
        for path in data.draw(st.lists(st.sampled_from(links), max_size=4)):
            machine.links[path] = data.draw(st.sampled_from(["", ".", "..", "/", "../../..", "nowhere", path, *links]))
    if machine.smbios is not None:
        machine.smbios = data.draw(st.one_of(st.just(machine.smbios), st.binary(max_size=120)))
    machine.disks = [data.draw(st.one_of(st.just(disk), st.binary(max_size=80))) for disk in machine.disks]
    machine.outputs = {
        command: data.draw(st.one_of(st.just(output), CONTENT)) for command, output in machine.outputs.items()
    }
    found = probe_machine(source=machine, environ=HOME)
    assert explain(found)
    if found.machine_id.is_printable:
        assert found.machine_id == MachineID.parse_canonical(str(found.machine_id))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789: /-abcr\\\n", max_size=200))
def test_any_mount_table_is_read(table: str) -> None:
    machine = load("linux-docker-bare")
    machine.files["/proc/self/mountinfo"] = table.encode()
    environ = HOME | {"KEYSEAT_HOST_ID_FILE": "/a/b"}
    assert not probe_machine(source=machine, environ=environ).machine_id.has_hardware
