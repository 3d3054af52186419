"""The probes of all platforms, from recorded machines, and the probe of the machine the tests run on."""

import importlib.util
import json
import plistlib
from pathlib import Path

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import MachineID, tag
from keyseat_verifier.machine import MachineProbe, probe_machine
from keyseat_verifier.machine.explain import explain
from keyseat_verifier.machine.smbios import parse_smbios
from recorded_machines import TREES, RecordedMachine, load, names

pytestmark = pytest.mark.machine

HOME = {"KEYSEAT_HOME": "/nonexistent"}


def probe(machine: RecordedMachine | str) -> MachineProbe:
    """Probe a recording, or the one with this name."""
    machine = load(machine) if isinstance(machine, str) else machine
    return probe_machine(source=machine, environ=HOME | machine.environ)


def reasons(found: MachineProbe, kind: str) -> dict:
    """What became of each place looked at for a kind."""
    return {note.where: note.reason or note.state for note in found.components if note.kind == kind}


@pytest.mark.parametrize(
    ("name", "evidence", "environment", "grade"),
    [
        ("linux-laptop", "nic disk os", "physical", "fair"),
        ("linux-tower", "nic disk os", "physical", "fair"),
        ("linux-server", "nic disk os", "physical", "fair"),
        ("linux-vmware", "nic os", "vm", "fair"),
        ("linux-hyperv", "nic disk os", "vm", "fair"),
        ("linux-kvm", "os", "vm", "weak"),
        ("linux-aws", "disk os", "vm", "fair"),
        ("linux-gcp", "os", "vm", "weak"),
        ("linux-gcp-nvme", "os", "vm", "weak"),
        ("linux-raspberry-pi", "firmware-serial nic disk os", "physical", "strong"),
        ("linux-wsl2", "disk os", "wsl", "fair"),
        ("linux-docker", "disk", "container", "weak"),
        ("linux-docker-bare", "", "container", "weak"),
        ("linux-podman-rootless", "disk", "container", "weak"),
        ("linux-kubernetes", "disk", "container", "weak"),
        ("linux-ci-runner", "nic disk os", "ci", "fair"),
        ("linux-microvm", "", "container", "weak"),
        ("windows-laptop", "firmware-uuid firmware-serial nic disk os", "physical", "strong"),
        ("windows-tower", "nic disk os", "physical", "fair"),
        ("windows-hyperv", "firmware-uuid firmware-serial nic os", "vm", "strong"),
        ("windows-damaged", "", "physical", "weak"),
        ("macos-laptop", "firmware-uuid firmware-serial", "physical", "strong"),
        ("macos-mini", "firmware-uuid firmware-serial nic", "physical", "strong"),
        ("macos-no-tools", "", "physical", "weak"),
    ],
)
def test_each_recorded_machine_gives_its_evidence(name: str, evidence: str, environment: str, grade: str) -> None:
    found = probe(name)
    assert [*evidence.split(), "user-id", "user-name"] == list(found.machine_id.kinds)
    assert environment == found.environment
    assert grade == found.grade


def test_every_recording_is_in_the_table_above() -> None:
    listed = test_each_recorded_machine_gives_its_evidence.pytestmark[0].args[1]
    assert names() == sorted(name for name, *_rest in listed)


def test_the_recordings_are_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("build_trees", TREES / "build.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.folders()
    assert names() == sorted(written)
    for name, files in written.items():
        assert files == {path.name: path.read_bytes() for path in (TREES / name).iterdir()}, name


@pytest.mark.parametrize("name", names())
def test_neither_id_nor_notes_nor_explanation_hold_a_raw_value(name: str) -> None:
    machine = load(name)
    found = probe(machine)
    account, user = machine.account()
    secrets = {user.rpartition("\\")[2], *machine.permanent_macs.values()}
    for path, content in machine.files.items():
        if path.endswith(("serial", "uuid", "wwid", "cid", "machine-id", "serial-number", "/address")):
            secrets.add(content.decode().strip("\n\0 "))
    secrets |= {secret.replace(":", "") for secret in secrets}
    secrets = {secret.lower() for secret in secrets if len(secret) > 2 and secret.lower() not in {"none", "root"}}
    secrets -= {"not specified", "default string", "uninitialized", "overlayblk", "runner", "system", "amazon ec2"}
    told = json.dumps([note.to_dict() for note in found.components]) + explain(found) + repr(found.machine_id)
    assert not [secret for secret in secrets if secret in told.lower()]
    assert account not in told or len(account) < 6


class TestLinux:
    def test_root_sees_the_firmware_and_the_rest_stays_the_same(self) -> None:
        machine = load("linux-laptop")
        user = probe(machine)
        machine.user = ("0", "root")
        root = probe(machine)
        assert "firmware-uuid" in root.machine_id.kinds
        for kind in ("nic", "disk", "os"):
            assert user.machine_id.tags_of(kind) == root.machine_id.tags_of(kind)

    def test_firmware_out_of_reach_is_unreadable_not_absent(self) -> None:
        assert "needs administrator rights" == reasons(probe("linux-laptop"), "firmware-uuid")["DMI product_uuid"]

    def test_absent_firmware_is_absent(self) -> None:
        assert "not there" == reasons(probe("linux-raspberry-pi"), "firmware-uuid")["DMI product_uuid"]

    def test_placeholders_of_the_firmware_give_way_to_the_board(self) -> None:
        machine = load("linux-tower")
        machine.user = ("0", "root")
        found = probe(machine)
        assert "firmware-uuid" not in found.machine_id.kinds
        assert (tag("firmware-serial", "M80-E4015300912"),) == found.machine_id.tags_of("firmware-serial")

    def test_the_number_of_the_host_gives_way_to_the_board(self) -> None:
        machine = load("linux-laptop")
        machine.user = ("0", "root")
        machine.files["/sys/devices/virtual/dmi/id/product_serial"] = b"4c4c4544-0044-3010-8052-b4c04f565231\n"
        found = probe(machine)
        assert "host" in reasons(found, "firmware-serial")["DMI product_serial"]
        assert "strong" == found.grade

    def test_a_randomised_address_gives_way_to_the_permanent_one(self) -> None:
        tags = probe("linux-laptop").machine_id.tags_of("nic")
        assert tuple(sorted([tag("nic", "9c2dcd314fa0"), tag("nic", "f47b0996e3c1")])) == tags

    def test_bridges_tunnels_and_containers_are_no_adapters(self) -> None:
        told = reasons(probe("linux-laptop"), "nic")
        assert ["docker0", "tun0", "virbr0"] == [where for where, reason in told.items() if "virtual" in reason]

    def test_a_name_of_odd_bytes_is_told_in_plain_letters(self) -> None:
        machine = load("linux-laptop")
        machine.links["/sys/class/net/\udcff\x1bvpn"] = "../../devices/virtual/net/x"
        assert "??vpn" in reasons(probe(machine), "nic")

    def test_usb_adapters_are_no_evidence(self) -> None:
        assert "USB" in reasons(probe("linux-tower"), "nic")["enx..."]

    def test_adapters_in_a_dock_are_no_evidence(self) -> None:
        machine = load("linux-laptop")
        machine.files["/sys/devices/pci0000:00/0000:00:1f.6/removable"] = b"removable\n"
        assert "dock" in reasons(probe(machine), "nic")["enp0s31f6"]

    @pytest.mark.parametrize(
        ("device", "bus"), [("pci0000:00/usb1/1-1/bluetooth/hci0/hci0:11", "bluetooth"), ("platform/x", "isa")]
    )
    def test_adapters_on_other_buses_are_no_evidence(self, device: str, bus: str) -> None:
        machine = load("linux-laptop")
        machine.add_tree(
            {
                f"/sys/devices/{device}/net/x0/type": "1\n",
                f"/sys/devices/{device}/net/x0/address": "9c:2d:cd:00:00:09\n",
            },
            {
                "/sys/class/net/x0": f"../../devices/{device}/net/x0",
                f"/sys/devices/{device}/net/x0/device": "../../../" + device.rsplit("/", maxsplit=1)[-1],
                f"/sys/devices/{device}/subsystem": f"../../../bus/{bus}",
            },
        )
        assert reasons(probe(machine), "nic")["x0"] != "read"

    def test_bonded_adapters_count_by_their_own_addresses(self) -> None:
        tags = probe("linux-server").machine_id.tags_of("nic")
        assert tuple(sorted([tag("nic", "b49691aabb10"), tag("nic", "b49691aabb11")])) == tags

    def test_a_made_up_address_is_refused_although_the_kernel_calls_it_permanent(self) -> None:
        assert "locally administered" in reasons(probe("linux-microvm"), "nic")["eth0"]

    def test_an_address_that_was_set_and_whose_driver_tells_nothing_is_absent(self) -> None:
        machine = load("linux-laptop")
        machine.permanent_macs.clear()
        assert 1 == len(probe(machine).machine_id.tags_of("nic"))

    def test_the_root_disk_is_found_through_encryption_and_volumes(self) -> None:
        assert (tag("disk", "S676NF0R912345"),) == probe("linux-laptop").machine_id.tags_of("disk")

    def test_the_root_disk_is_found_below_btrfs(self) -> None:
        assert 1 == len(probe("linux-tower").machine_id.tags_of("disk"))

    def test_btrfs_on_a_mapped_device_is_found_by_its_name(self) -> None:
        machine = load("linux-laptop")
        mounts = machine.files["/proc/self/mountinfo"].replace(b"252:0 / / rw", b"0:30 / / rw")
        machine.files["/proc/self/mountinfo"] = mounts
        assert (tag("disk", "S676NF0R912345"),) == probe(machine).machine_id.tags_of("disk")

    def test_an_image_based_system_keeps_its_id_when_composefs_comes(self) -> None:
        """Fedora Atomic 42, RHEL image mode: the root becomes an overlay, the disk is mounted beside it."""
        machine = load("linux-tower")
        before = probe(machine)
        mounts = machine.files["/proc/self/mountinfo"].decode()
        root = next(line for line in mounts.splitlines() if " / / " in line)
        composefs = "29 1 0:39 / / ro,relatime shared:1 - overlay composefs ro,lowerdir+=/run/ostree/.private/cfsroot"
        below = [root.replace(" / / ", f" /sub{point} {point} ") for point in ("/etc", "/sysroot", "/var")]
        machine.files["/proc/self/mountinfo"] = mounts.replace(root, "\n".join([composefs, *below])).encode()
        after = probe(machine)
        assert before.machine_id == after.machine_id
        assert (before.environment, {"disk", "os"}) == (after.environment, {"disk", "os"} & set(after.machine_id.kinds))

    def test_a_container_on_composefs_is_still_a_container(self) -> None:
        machine = load("linux-docker")
        mounts = machine.files["/proc/self/mountinfo"].replace(b"- overlay overlay", b"- overlay composefs")
        machine.files["/proc/self/mountinfo"] = mounts
        assert load("linux-docker").files["/proc/self/mountinfo"] != mounts
        assert "os" not in probe(machine).machine_id.kinds

    @pytest.mark.parametrize("source", ["rpool/ROOT/ubuntu", "/dev/mapper/unknown", "/dev/gone"])
    def test_a_root_on_no_disk_in_sight_is_absent(self, source: str) -> None:
        machine = load("linux-tower")
        mounts = machine.files["/proc/self/mountinfo"].replace(b"/dev/sda2", source.encode())
        machine.files["/proc/self/mountinfo"] = mounts
        assert () == probe(machine).machine_id.tags_of("disk")

    def test_both_disks_of_a_mirror_count(self) -> None:
        assert 2 == len(probe("linux-server").machine_id.tags_of("disk"))

    def test_a_root_on_a_usb_stick_is_no_evidence(self) -> None:
        machine = load("linux-raspberry-pi")
        machine.remove("/sys/dev/block")
        machine.add_tree({}, {"/sys/dev/block/179:2": "../../devices/pci/usb1/1-1/host0/block/sda"})
        assert "USB" in reasons(probe(machine), "disk")["sda"]

    def test_a_drive_named_by_the_hypervisor_is_no_evidence(self) -> None:
        for name in ("linux-kvm", "linux-gcp", "linux-microvm"):
            assert any("drive name" in reason for reason in reasons(probe(name), "disk").values()), name

    def test_a_container_is_bound_to_the_disk_of_its_host(self) -> None:
        assert probe("linux-laptop").machine_id.tags_of("disk") == probe("linux-docker").machine_id.tags_of("disk")

    def test_a_container_that_may_read_the_firmware_is_bound_to_its_host(self) -> None:
        machine = load("linux-docker")
        machine.user = ("0", "root")
        assert (tag("firmware-serial", "PF3XK7QL"),) == probe(machine).machine_id.tags_of("firmware-serial")

    @pytest.mark.parametrize("name", ["linux-docker", "linux-podman-rootless", "linux-kubernetes", "linux-microvm"])
    def test_the_machine_id_of_an_image_is_no_evidence(self, name: str) -> None:
        assert "image" in reasons(probe(name), "os")["/etc/machine-id"]

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            ("/.dockerenv", ""),
            ("/run/.containerenv", ""),
            ("/run/systemd/container", "lxc\n"),
            ("/proc/1/environ", "TERM=linux\0container=systemd-nspawn\0"),
            ("/proc/self/cgroup", f"0::/system.slice/docker-{'0a' * 32}.scope\n"),
            ("/proc/self/cgroup", f"12:cpu:/docker/{'0a' * 32}\n"),
            ("/proc/self/cgroup", "0::/kubepods.slice/kubepods-burstable.slice\n"),
            ("/proc/self/cgroup", "0::/lxc/web1/init.scope\n"),
            ("/proc/self/cgroup", "0::/lxc.payload.web1\n"),
            ("/proc/self/mountinfo", "30 1 0:61 / / rw - virtiofs kataShared rw\n"),
            ("/proc/self/mountinfo", "30 1 0:61 / / rw - overlay overlay rw\n"),
        ],
    )
    def test_any_one_sign_of_a_container_rejects_the_operating_system_id(self, path: str, content: str) -> None:
        machine = load("linux-laptop")
        machine.files[path] = content.encode()
        found = probe(machine)
        assert "os" not in found.machine_id.kinds
        assert "container" == found.environment

    @pytest.mark.parametrize(
        "group",
        ["/system.slice/docker.service", "/user.slice/app-docker-compose-4711.scope", "/system.slice/run-u7.scope"],
    )
    def test_a_service_of_the_host_is_no_container(self, group: str) -> None:
        machine = load("linux-laptop")
        machine.files["/proc/self/cgroup"] = f"0::{group}\n".encode()
        assert "os" in probe(machine).machine_id.kinds

    @pytest.mark.parametrize("name", ["linux-tower", "linux-server", "linux-hyperv"])
    def test_a_kernel_that_tells_serials_of_scsi_drives_changes_nothing(self, name: str) -> None:
        """Kernels since 2026 give SCSI and SATA drives a `serial` beside the world-wide name."""
        machine = load(name)
        before = probe(machine).machine_id
        drives = [path for path in machine.files if path.endswith("/wwid")]
        machine.add_tree({path.removesuffix("wwid") + "serial": "S3Z8NB0K123456\n" for path in drives}, {})
        assert drives
        assert before == probe(machine).machine_id

    def test_the_head_of_an_nvme_with_several_paths_is_a_disk(self) -> None:
        machine = load("linux-aws")
        before = probe(machine).machine_id
        machine.remove("/sys/dev/block")
        machine.add_tree(
            {"/sys/devices/virtual/nvme-subsystem/nvme-subsys0/serial": "vol0a1b2c3d4e5f60718\n"},
            {
                "/sys/dev/block/259:1": "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
                "/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/device": "../../nvme-subsys0",
            },
        )
        assert before == probe(machine).machine_id

    def test_a_loop_device_is_no_disk(self) -> None:
        machine = load("linux-aws")
        machine.remove("/sys/dev/block")
        machine.add_tree({}, {"/sys/dev/block/259:1": "../../devices/virtual/block/loop0"})
        assert "disk" not in probe(machine).machine_id.kinds

    def test_variables_choose_words_and_never_evidence(self) -> None:
        machine = load("linux-laptop")
        before = probe(machine)
        machine.environ = {
            "CI": "true",
            "container": "docker",
            "KUBERNETES_SERVICE_HOST": "1",
            "LOGNAME": "root",
            "USER": "root",
        }
        after = probe(machine)
        assert before.machine_id == after.machine_id
        assert ("physical", "ci") == (before.environment, after.environment)

    def test_an_id_that_is_made_anew_at_every_start_is_no_evidence(self) -> None:
        """A system on a read-only root or without a disk: systemd mounts an id of this boot over the file."""
        machine = load("linux-laptop")
        mount = b"61 29 0:25 /machine-id /etc/machine-id ro,relatime - tmpfs tmpfs rw,mode=755\n"
        machine.files["/proc/self/mountinfo"] += mount
        assert "every start" in reasons(probe(machine), "os")["/etc/machine-id"]

    def test_an_id_kept_on_a_partition_of_its_own_is_evidence(self) -> None:
        machine = load("linux-laptop")
        before = probe(machine).machine_id
        machine.files["/proc/self/mountinfo"] += (
            b"61 29 259:3 /machine-id /etc/machine-id ro - ext4 /dev/nvme0n1p3 rw\n"
        )
        assert before == probe(machine).machine_id

    def test_the_dbus_file_stands_in_for_a_missing_machine_id(self) -> None:
        machine = load("linux-laptop")
        before = probe(machine).machine_id
        machine.files["/var/lib/dbus/machine-id"] = machine.files.pop("/etc/machine-id")
        assert before == probe(machine).machine_id

    def test_xen_tells_everybody_the_uuid_that_firmware_tells_root(self) -> None:
        machine = load("linux-aws")
        machine.user = ("0", "root")
        root = probe(machine).machine_id
        machine.user = ("1000", "ada")
        # As Xen writes it: the other byte order.
        machine.files |= {
            "/sys/hypervisor/uuid": b"614f2dec-3a9b-857c-10de-2f4b6a8c0e13\n",
            "/sys/hypervisor/type": b"xen\n",
        }
        assert root.tags_of("firmware-uuid") == probe(machine).machine_id.tags_of("firmware-uuid")

    def test_a_machine_without_sysfs_and_procfs_gives_no_evidence_and_no_error(self) -> None:
        machine = load("linux-laptop")
        machine.files, machine.links = {}, {}
        assert ("user-id", "user-name") == probe(machine).machine_id.kinds

    def test_loops_in_the_block_devices_end(self) -> None:
        machine = load("linux-laptop")
        machine.links["/sys/devices/virtual/block/dm-0/slaves/dm-0"] = "../../../../../class/block/dm-0"
        assert (tag("disk", "S676NF0R912345"),) == probe(machine).machine_id.tags_of("disk")

    def test_an_account_without_a_name_has_an_id(self) -> None:
        machine = load("linux-kubernetes")
        machine.user = ("65532", "")
        assert ("disk", "user-id") == probe(machine).machine_id.kinds


class TestWindows:
    def test_the_same_laptop_has_the_same_firmware_and_adapters_under_both_systems(self) -> None:
        linux = load("linux-laptop")
        linux.user = ("0", "root")
        linux, windows = probe(linux).machine_id, probe("windows-laptop").machine_id
        for kind in ("firmware-uuid", "firmware-serial", "nic"):
            assert linux.tags_of(kind) == windows.tags_of(kind), kind

    def test_vpn_bluetooth_and_usb_adapters_are_no_evidence(self) -> None:
        told = reasons(probe("windows-laptop"), "nic")
        assert ["adapter 0002", "adapter 0003", "adapter 0004"] == [where for where in told if told[where] != "read"]

    def test_an_adapter_that_is_gone_is_absent(self) -> None:
        assert "not there" == reasons(probe("windows-tower"), "nic")["adapter 0001"]

    def test_a_usb_system_disk_is_no_evidence(self) -> None:
        machine = load("windows-laptop")
        machine.disks = [machine.disks[0][:28] + (7).to_bytes(4, "little") + machine.disks[0][32:]]
        assert "USB" in reasons(probe(machine), "disk")["system disk 0"]

    @pytest.mark.parametrize("offset", [0, 31, 4000, 0xFFFFFFFF])
    def test_a_disk_without_a_serial_is_no_evidence(self, offset: int) -> None:
        machine = load("windows-laptop")
        machine.disks = [machine.disks[0][:24] + offset.to_bytes(4, "little") + machine.disks[0][28:]]
        assert "disk" not in probe(machine).machine_id.kinds

    def test_a_renamed_computer_keeps_its_user(self) -> None:
        machine = load("windows-laptop")
        before = probe(machine).machine_id
        machine.user = (machine.user[0], "NEUER-NAME\\JÖRG")
        assert before == probe(machine).machine_id

    def test_nothing_readable_is_told_and_no_error(self) -> None:
        machine = load("windows-laptop")
        machine.values, machine.smbios = {}, None
        machine.disks = []
        found = probe(machine)
        assert not found.machine_id.has_hardware
        assert {"absent"} == {note.state for note in found.components if not note.kind.startswith("user")}


class TestSmbios:
    TABLE = load("windows-laptop").firmware_table()

    def test_uuid_and_serials_are_read(self) -> None:
        table = parse_smbios(self.TABLE)
        assert "ccaef43f212db211a85cc1dd6a0c9f2e" == table.product_uuid
        assert ("PF3XK7QL", "L1HF2CJ01PB", "PF3XK7QL") == (
            table.product_serial,
            table.board_serial,
            table.chassis_serial,
        )

    def test_a_table_cut_anywhere_never_fails_nor_invents(self) -> None:
        whole = parse_smbios(self.TABLE)
        for length in range(len(self.TABLE)):
            table = parse_smbios(self.TABLE[:length])
            assert table.product_uuid in {"", whole.product_uuid}
            assert table.product_serial in {"", whole.product_serial}

    def test_a_structure_that_ends_before_it_begins_ends_the_reading(self) -> None:
        assert "" == parse_smbios(self.TABLE[:8] + b"\x01\x00\x00\x00" + self.TABLE[12:]).product_uuid


class TestMac:
    def test_bridges_and_usb_adapters_are_no_evidence(self) -> None:
        told = reasons(probe("macos-laptop"), "nic")
        assert "locally administered" in told["en1"]
        assert "not built in" in told["en5"]

    def test_only_the_address_on_the_board_counts(self) -> None:
        assert (tag("nic", "a860b6112233"),) == probe("macos-mini").machine_id.tags_of("nic")

    def test_a_mac_without_its_tool_is_refused_an_id_not_given_a_wrong_one(self) -> None:
        with pytest.raises(KeyseatError) as caught:
            probe("macos-no-tools").require_id()
        assert ReasonCode.NO_MACHINE_EVIDENCE == caught.value.code

    @pytest.mark.parametrize(
        "output",
        [
            *(b"garbage", b"<plist><array><dict>", b"\x00\x01", b"<?xml version='1.0'?><plist/>", b""),
            plistlib.dumps([{"IOPlatformUUID": "3ff4aecc-2d21-11b2-a85c-c1dd6a0c9f2e"}], fmt=plistlib.FMT_BINARY),
            b"<?xml version='1.0'?><!DOCTYPE plist [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><plist>&b;</plist>",
            b"<?xml version='1.0'?><plist>" + b"<array>" * 100_000,
            b"<?xml version='1.0' encoding='no-such'?><plist><array/></plist>",
            b"<?xml version='1.0' encoding='idna'?><plist><array/></plist>",
            b"<?xml version='1.0'?><plist><array><date>9999-99-99T99:99:99Z</date></array></plist>",
            b"<?xml version='1.0'?><plist><array><integer>" + b"9" * 5000 + b"</integer></array></plist>",
        ],
    )
    def test_unusable_output_is_unreadable_not_an_error(self, output: bytes) -> None:
        machine = load("macos-mini")
        machine.outputs = dict.fromkeys(machine.outputs, output)
        assert not probe(machine).machine_id.has_hardware

    @pytest.mark.parametrize(
        "entry", [{}, {"IOPlatformUUID": 7}, {"IORegistryEntryChildren": "x", "IOMACAddress": "x"}]
    )
    def test_unexpected_entries_are_no_evidence(self, entry: dict[str, object]) -> None:
        machine = load("macos-mini")
        machine.outputs = dict.fromkeys(machine.outputs, plistlib.dumps([entry, "odd"]))
        assert not probe(machine).machine_id.has_hardware


class TestNoEvidence:
    @pytest.mark.parametrize("name", ["linux-microvm", "linux-docker-bare", "windows-damaged", "macos-no-tools"])
    def test_no_id_and_the_options_with_online_floating_sessions_first(self, name: str) -> None:
        with pytest.raises(KeyseatError) as caught:
            probe(name).require_id()
        assert ReasonCode.NO_MACHINE_EVIDENCE == caught.value.code
        options = caught.value.details["options"]
        assert "online floating sessions" in options[0]
        assert "--instance" in options[1]
        assert all(option in caught.value.next_step for option in options)

    def test_administrator_rights_are_an_option_where_they_would_help(self) -> None:
        machine = load("linux-kvm")
        del machine.files["/etc/machine-id"]
        with pytest.raises(KeyseatError) as caught:
            probe(machine).require_id()
        assert "administrator rights" in caught.value.details["options"][-1]

    def test_an_account_that_cannot_be_told_is_said(self) -> None:
        machine = load("linux-laptop")
        machine.account = lambda: (_ for _ in ()).throw(OSError("no account"))
        with pytest.raises(KeyseatError, match="user account"):
            probe(machine).require_id()


class TestThisMachine:
    def test_the_probe_gives_an_account_and_never_fails(self) -> None:
        found = probe_machine(environ=HOME)
        assert "user-id" in found.machine_id.kinds
        assert found.environment in {"physical", "vm", "container", "wsl", "ci"}
        assert "processor" in explain(found)

    def test_a_thousand_probes_agree(self, tmp_path: Path) -> None:
        instance = tmp_path / "instance-id"
        ids = {str(probe_machine(instance=instance, environ=HOME).require_id()) for _ in range(1000)}
        assert 1 == len(ids)
        assert MachineID.parse_canonical(ids.pop())
