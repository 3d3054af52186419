"""The stability suite: what may happen to a machine. Each function changes a recorded machine the way the world does.

What must come of it stands in machine_table.
"""

import re
from collections.abc import Callable
from pathlib import Path

from keyseat_shared.matching import match
from keyseat_verifier.machine import MachineProbe, probe_machine
from machine_merging import most_machines_of_one_id, strangers
from recorded_machines import RecordedMachine, load

SAME, REFUSED, OTHER_USER, UNSURE, NO_ID, ABSENT = "same", "other-machine", "other-user", "indeterminate", "no ID", ""

COLUMNS = {
    "laptop, Linux": "linux-laptop",
    "laptop, Linux, root": "linux-laptop",
    "server, Linux": "linux-server",
    "Raspberry Pi": "linux-raspberry-pi",
    "VMware guest": "linux-vmware",
    "AWS instance": "linux-aws",
    "KVM guest": "linux-kvm",
    "container": "linux-docker-bare",
    "laptop, Windows": "windows-laptop",
    "Mac": "macos-mini",
}

NICS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e972-e325-11ce-bfc1-08002be10318}"
PLATFORM_PLIST = "/usr/sbin/ioreg -a -r -d 1 -c IOPlatformExpertDevice"
ETHERNET_PLIST = "/usr/sbin/ioreg -a -r -d 2 -c IOEthernetController"
ACCOUNT = {
    "linux": "1001",
    "windows": "S-1-5-21-3623811015-3361044348-30300820-1002",
    "macos": "0A0B0C0D-1111-2222-3333-444455556666",
}


class Case:
    """A machine with its folder for an instance id, before and after a change."""

    def __init__(self, column: str, folder: Path) -> None:
        self.machine = load(COLUMNS[column])
        if column.endswith("root"):
            self.machine.user = ("0", "root")
        self.folder = folder
        self.is_container = column == "container"
        self.environ = {"KEYSEAT_HOME": str(folder)} | self.machine.environ
        self.enrolled = self.probe().machine_id
        self.decided = ""

    def probe(self) -> MachineProbe:
        """Probe as it stands; a container keeps an instance id on its volume."""
        instance = self.folder / "instance-id" if self.is_container else None
        return probe_machine(instance=instance, source=self.machine, environ=self.environ)

    def verdict(self) -> str:
        """Compare with what was enrolled, as the verifier does, unless the change came to a verdict itself."""
        probed = self.probe().machine_id
        return self.decided or (str(match(self.enrolled, probed).verdict) if probed.is_printable else NO_ID)

    def edit(self, pattern: str, old: str, new: str) -> int:
        """Replace text in all files whose path matches; returns how many changed."""
        count = 0
        for path, content in self.machine.files.items():
            if re.search(pattern, path) and old.encode() in content:
                self.machine.files[path] = content.replace(old.encode(), new.encode())
                count += 1
        return count


# -- what may happen; a change returns False where it cannot happen to that machine -----------------------------------


def nothing(case: Case) -> bool:
    return case is not None


def _adapters(case: Case, change: Callable[[str], str]) -> bool:
    machine = case.machine
    before = dict(machine.permanent_macs), dict(machine.files), dict(machine.outputs)
    machine.permanent_macs = {name: change(address) for name, address in machine.permanent_macs.items()}
    for path, content in machine.files.items():
        address = content.decode().strip().replace(":", "")
        if path.endswith("/address") and not int(address[:2], 16) & 2 and address.strip("0"):
            new = change(address)
            machine.files[path] = (":".join(new[n : n + 2] for n in range(0, 12, 2)) + "\n").encode()
    output = machine.outputs.get(ETHERNET_PLIST)
    if output:
        machine.outputs[ETHERNET_PLIST] = output.replace(b"qGC2ESIz", b"qGC2ESI0")
    return before != (machine.permanent_macs, machine.files, machine.outputs)


def all_adapters_swapped(case: Case) -> bool:
    return _adapters(case, lambda address: address[:6] + f"{int(address[6:], 16) ^ 0x5A5A5A:06x}")


def one_adapter_swapped(case: Case) -> bool:
    if len(case.probe().machine_id.tags_of("nic")) < 2:
        return False
    first = min(case.machine.permanent_macs.values() or _addresses(case.machine))
    return _adapters(case, lambda address: address[:6] + "5a5a5a" if address == first else address)


def _addresses(machine: RecordedMachine) -> list[str]:
    return [
        content.decode().strip().replace(":", "")
        for path, content in machine.files.items()
        if path.endswith("/address")
    ]


def _add_interface(case: Case, name: str, device: str, bus: str, address: str, *, removable: str = "") -> None:
    real = f"/sys/devices/{device}/net/{name}"
    files = {f"{real}/address": address + "\n", f"{real}/type": "1\n", f"{real}/addr_assign_type": "0\n"}
    links = {f"/sys/class/net/{name}": f"../../devices/{device}/net/{name}"}
    if bus:
        links[f"{real}/device"] = "../../../" + device.rpartition("/")[2]
        links[f"/sys/devices/{device}/subsystem"] = f"../../../bus/{bus}"
    if removable:
        files[f"/sys/devices/{device}/removable"] = removable + "\n"
    case.machine.add_tree(files, links)


def _add_windows_adapter(case: Case, number: str, path: str, address: str) -> None:
    interface = "{99999999-0000-4000-8000-000000000099}"
    case.machine.values[f"{NICS}\\{number}"] = {"DeviceInstanceID": path, "NetCfgInstanceId": interface}
    case.machine.permanent_macs[interface] = address


def docked(case: Case) -> bool:
    if case.machine.platform == "linux":
        _add_interface(case, "enx1", "pci0000:00/0000:00:14.0/usb4/4-1/4-1:1.0", "usb", "00:e0:4c:11:22:33")
        _add_interface(
            case, "enp9s0", "pci0000:00/0000:00:07.0/0000:09:00.0", "pci", "3c:e1:a1:44:55:66", removable="removable"
        )
    elif case.machine.platform == "windows":
        _add_windows_adapter(case, "0042", r"USB\VID_0BDA&PID_8153\000001", "00e04c112233")
    else:
        return False
    return not case.is_container


def vpn_up(case: Case) -> bool:
    if case.machine.platform == "linux":
        _add_interface(case, "wg0", "virtual", "", "d6:11:22:33:44:55")
        _add_interface(case, "tap0", "virtual", "", "00:ff:11:22:33:44")
    elif case.machine.platform == "windows":
        _add_windows_adapter(case, "0043", r"ROOT\NET\0001", "00ff99887766")
    else:
        return False
    return True


def address_randomised(case: Case) -> bool:
    changed = False
    for path in [path for path in case.machine.files if path.endswith("/address")]:
        name = path.split("/")[-2]
        if name in case.machine.permanent_macs:
            case.machine.files[path] = b"6e:1f:0c:9d:33:21\n"
            case.machine.files[path.removesuffix("address") + "addr_assign_type"] = b"3\n"
            changed = True
    return changed


def memory_and_processor_changed(case: Case) -> bool:
    case.machine.files |= {
        "/proc/cpuinfo": b"model name\t: Another Processor\nflags\t\t: fpu\n",
        "/proc/meminfo": b"MemTotal: 131072000 kB\n",
    }
    case.machine.values[r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"] = {"ProcessorNameString": "Another"}
    return True


def _new_os_id(case: Case) -> bool:
    if case.machine.platform == "windows":
        case.machine.values[r"SOFTWARE\Microsoft\Cryptography"] = {
            "MachineGuid": "deadbe7f-0102-4304-8506-0708090a0b0c"
        }
        return True
    if "/etc/machine-id" not in case.machine.files:
        return False
    case.machine.files["/etc/machine-id"] = b"deadbe7f010243048506070809a0b0c0\n"
    return True


def system_reinstalled(case: Case) -> bool:
    """A new installation on the same disk: another id of the system, the user added again in another order."""
    if case.is_container or case.machine.is_superuser:
        case.machine.user = case.machine.user
    else:
        case.machine.user = (ACCOUNT[case.machine.platform], case.machine.user[1])
    return _new_os_id(case) or case.machine.platform == "macos"


def _new_disk(case: Case) -> bool:
    edits = [("S676NF0R912345", "S777NF0R000111"), ("naa.5002538e40", "naa.50025aaaaa"), ("vol0a1b2c3d", "vol0ffffff9")]
    edits += [("03534453433332478012ab34cd0147b1", "1b534d30303030301022ffee9900c3d5")]
    changed = sum(case.edit(r"/(serial|wwid|cid)$", old, new) for old, new in edits)
    if case.machine.platform == "windows":
        case.machine.disks = [
            disk.replace(b"0025_388B_11B7_C3A4", b"0025_0000_7777_1A2B") for disk in case.machine.disks
        ]
        changed = 1
    return changed > 0


def disk_replaced(case: Case) -> bool:
    """A new disk, restored from a backup: the id of the system comes along."""
    return _new_disk(case)


def disk_replaced_and_reinstalled(case: Case) -> bool:
    return _new_disk(case) and system_reinstalled(case)


def renamed_host(case: Case) -> bool:
    case.machine.files["/etc/hostname"] = b"another-name\n"
    if case.machine.platform == "windows":
        case.machine.user = (case.machine.user[0], "ANOTHER-PC\\Jörg")
    return True


def renamed_user(case: Case) -> bool:
    case.machine.user = (case.machine.user[0], "married")
    return not case.machine.is_superuser


def less_privileged(case: Case) -> bool:
    """What was readable with capabilities when enrolled is not any more; the account is the same."""
    case.machine.denied |= {path for path in case.machine.files if "/dmi/id/" in path}
    user, case.machine.user = case.machine.user, ("1000", "avlacey")
    unreadable = not any(kind.startswith("firmware") for kind in case.probe().machine_id.kinds)
    if user[0] != "0" or not unreadable:
        return False
    case.machine.account = lambda: user
    return True


def more_privileged(case: Case) -> bool:
    """Enrolled by an ordinary user, now run with the right to read the firmware."""
    had = bool(case.machine.denied) and not case.machine.is_superuser
    case.machine.denied = set()
    return had


def kernel_and_firmware_updated(case: Case) -> bool:
    case.edit("osrelease", "6.8.0", "6.11.0")
    case.edit("bios_version", "N3AET70W", "N3AET83W")
    # Kernels since 2026 give SCSI and SATA drives a serial number beside the world-wide name.
    drives = [path for path in case.machine.files if path.endswith("/wwid") and "/host" in path]
    case.machine.add_tree({path.removesuffix("wwid") + "serial": "S3Z8NB0K123456\n" for path in drives}, {})
    if case.machine.smbios is not None:
        case.machine.smbios = case.machine.smbios.replace(b"1.35", b"1.48")
    return True


def uuid_in_the_other_byte_order(case: Case) -> bool:
    """Firmware that raises its SMBIOS version past 2.6, read by a tool that minds."""
    old, new = "3ff4aecc-2d21-11b2-a85c", "ccaef43f-212d-b211-a85c"
    changed = case.edit("product_uuid", old, new) and case.machine.is_superuser
    if case.machine.smbios is not None:
        case.machine.smbios = case.machine.smbios.replace(
            bytes.fromhex("ccaef43f212db211a85c"), bytes.fromhex("3ff4aecc2d2111b2a85c")
        )
        changed = True
    return bool(changed)


def one_firmware_field_flaps(case: Case) -> bool:
    """The serial turns into a placeholder after an update."""
    if case.machine.platform == "macos":
        return False
    changed = case.edit(
        r"product_serial$",
        case.machine.files.get("/sys/devices/virtual/dmi/id/product_serial", b"?").decode(),
        "Default string\n",
    )
    if case.machine.smbios is not None:
        case.machine.smbios = case.machine.smbios.replace(b"PF3XK7QL", b"        ")
        changed = 1
    return changed > 0


def moved_to_another_host(case: Case) -> bool:
    """Live migration: the guest keeps firmware, adapters and disk; the processor under it is another."""
    memory_and_processor_changed(case)
    return case.probe().environment == "vm" or case.is_container


def _other_hardware(case: Case) -> None:
    all_adapters_swapped(case)
    _new_disk(case)
    for old, new in (
        ("3ff4aecc-2d21", "11112222-aaaa"),
        ("4c4c4544-0059", "4c4c4544-0077"),
        ("564d3c1a", "564dffff"),
        ("9d2c6b1e", "9d2cffff"),
        ("ec2d4f61", "ec2dffff"),
        ("10000000f3a91c42", "10000000aabbccdd"),
        ("PF3XK7QL", "PF9ZZZ9Z"),
        ("7YC4L53", "9ZZ9Z99"),
        ("L1HF2CJ01PB", "L1HF2CJ99ZZ"),
        ("56 4d 3c 1a", "56 4d ff ff"),
    ):
        case.edit(r"dmi/id|device-tree", old, new)
    if case.machine.smbios is not None:
        table = case.machine.smbios.replace(bytes.fromhex("ccaef43f212d"), bytes.fromhex("11112222aaaa"))
        case.machine.smbios = table.replace(b"PF3XK7QL", b"PF9ZZZ9Z").replace(b"L1HF2CJ01PB", b"L1HF2CJ99ZZ")
    if PLATFORM_PLIST in case.machine.outputs:
        plist = case.machine.outputs[PLATFORM_PLIST].replace(b"0E1F2A3B-4C5D", b"99998888-7777")
        case.machine.outputs[PLATFORM_PLIST] = plist.replace(b"C07ZX3KDJYVX", b"C07AAAA9ZZZ9")


def image_on_other_hardware(case: Case) -> bool:
    """The whole disk copied to another machine, user accounts and system id included."""
    _other_hardware(case)
    if case.is_container:
        case.folder = case.folder / "new-volume"
    return True


def home_copied(case: Case) -> bool:
    """The licence, the state and the instance id copied to another machine with a system of its own."""
    _other_hardware(case)
    _new_os_id(case)
    return True


def disk_moved(case: Case) -> bool:
    """The disk itself put into another machine."""
    before = {path: content for path, content in case.machine.files.items() if re.search(r"/(serial|wwid|cid)$", path)}
    disks = list(case.machine.disks)
    _other_hardware(case)
    case.machine.files |= {path: content for path, content in before.items() if "/dmi/" not in path}
    case.machine.disks = disks
    return not case.is_container and case.machine.platform != "macos" and "disk" in case.probe().machine_id.kinds


def other_user(case: Case) -> bool:
    case.machine.user = (ACCOUNT[case.machine.platform], "mallory")
    return True


def other_user_claims_to_be_the_first(case: Case) -> bool:
    name = case.machine.user[1]
    other_user(case)
    case.environ |= {"LOGNAME": name, "USER": name, "USERNAME": name, "HOME": f"/home/{name}", "SUDO_USER": name}
    return True


def variables_set(case: Case) -> bool:
    """The same user under other variables: nothing believes them."""
    case.environ |= {"LOGNAME": "x", "USER": "x", "USERNAME": "x", "LANG": "de_DE", "CI": "1", "container": "docker"}
    return True


def fresh_container(case: Case) -> bool:
    """A second container of the same image on the same host, with a volume of its own."""
    case.folder = case.folder / "another-volume"
    return case.is_container


def fresh_container_without_volume(case: Case) -> bool:
    is_container, case.is_container = case.is_container, False  # no --instance
    case.environ["KEYSEAT_HOME"] = "/nonexistent"
    return is_container


def instance_file_copied(case: Case) -> bool:
    """Another machine is pointed to a copy of a file that this one never enrolled."""
    if case.is_container:
        return False
    _other_hardware(case)
    _new_os_id(case)
    file = case.folder / "copied"
    file.write_text("00112233445566778899aabbccddeeff\n", encoding="ascii")
    file.chmod(0o600)
    case.environ["KEYSEAT_INSTANCE_FILE"] = str(file)
    return True


def _merged_by_hand(case: Case, count: int) -> bool:
    """One licence for an ID written of parts of several machines, used on more than one of them."""
    case.machine.denied = set()
    machines = strangers(case.probe().machine_id, count)
    case.decided = SAME if most_machines_of_one_id(machines) > 1 else REFUSED
    return True


def merged_of_two(case: Case) -> bool:
    return _merged_by_hand(case, 2)


def merged_of_three(case: Case) -> bool:
    return _merged_by_hand(case, 3)


def merged_of_four(case: Case) -> bool:
    return _merged_by_hand(case, 4)


def card_with_many_ports(case: Case) -> bool:
    """Eight more adapters on the board, whatever their addresses: an ID has room for four."""
    if case.machine.platform != "linux" or case.is_container:
        return False
    for port in range(8):
        device = f"pci0000:00/0000:00:01.0/0000:0a:00.{port}"
        _add_interface(case, f"enp10s0f{port}", device, "pci", f"{port * 32:02x}:1b:21:9c:7d:{port:02x}")
    return True


def half_of_a_mirror_replaced(case: Case) -> bool:
    """One of two system disks breaks and is replaced."""
    if len(case.enrolled.tags_of("disk")) < 2:
        return False
    return case.edit(r"sdb/device/wwid$|host1.*wwid$", "naa.5002538e40", "naa.50025aaaaa") > 0
