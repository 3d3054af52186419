"""The Linux probe: firmware, adapters, system disk and operating system from /sys, /proc and /etc; no tools run.

Sources: Documentation/ABI/{stable,testing}/sysfs-class-net, sysfs-block, sysfs-firmware-dmi of the kernel;
machine-id(5); proc_pid_mountinfo(5).
"""

import posixpath

from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.containers import container_signals, is_composefs, is_wsl
from keyseat_verifier.machine.findings import ABSENT, REJECTED, UNREADABLE, Findings
from keyseat_verifier.machine.mounts import Mount, read_mounts
from keyseat_verifier.machine.source import Source

_DMI = "/sys/class/dmi/id/"
_SERIALS = ("product_serial", "board_serial", "chassis_serial")

# Buses that adapters soldered in or plugged into the board sit on; USB, Bluetooth, Thunderbolt and VPNs are others.
_ADAPTER_BUSES = frozenset(
    {"pci", "virtio", "platform", "vmbus", "xen", "sdio", "ssb", "bcma", "amba", "ccwgroup", "vio", "of_platform"}
)
_ETHERNET = "1"  # ARPHRD_ETHER of <linux/if_arp.h>, Wi-Fi included
_ASSIGNED_PERMANENTLY = "0"  # NET_ADDR_PERM of <linux/netdevice.h>

# A container's own root is a layer of an image, but these files are bind mounts from the disk that holds its engine.
_BOUND_FROM_HOST = ("/etc/hostname", "/etc/resolv.conf", "/etc/hosts")
# Where an image-based system mounts the disk that its root is a view of (ostree-prepare-root(1)).
_BELOW_COMPOSEFS = ("/sysroot", "/etc", "/var")
_CANONICAL = {"wwid": canonical.drive_name, "cid": canonical.card_identity}
_MAX_DEPTH = 8
_ADDRESS_DIGITS = 12
_HEX = frozenset("0123456789abcdef")


def probe_linux(source: Source, findings: Findings) -> None:
    """Collect the evidence of a Linux machine."""
    mounts = read_mounts(source)
    in_container = bool(container_signals(source, mounts))
    _firmware(source, findings)
    _adapters(source, findings)
    _disks(source, findings, mounts, in_container=in_container)
    _operating_system(source, findings, mounts, in_container=in_container)


def _text(source: Source, path: str) -> str:
    return canonical.text(source.read_file(path, 512))


def _text_or_none(source: Source, path: str) -> str:
    try:
        return _text(source, path)
    except OSError:
        return ""


def _firmware(source: Source, findings: Findings) -> None:
    findings.attempt("firmware-uuid", "DMI product_uuid", canonical.firmware_uuid, _text, source, _DMI + "product_uuid")
    if not findings.has("firmware-uuid") and source.exists("/sys/hypervisor/uuid"):
        # Xen shows every user what DMI shows root only (sysfs-hypervisor-xen).
        findings.attempt(
            "firmware-uuid", "Xen hypervisor uuid", canonical.firmware_uuid, _text, source, "/sys/hypervisor/uuid"
        )
    uuid = next(iter(findings.values.get("firmware-uuid", ())), "")

    def canonicalise(raw: str) -> "tuple[str, str]":
        return canonical.firmware_serial(raw, uuid)

    for place, name in enumerate(_SERIALS):
        taken = findings.attempt("firmware-serial", f"DMI {name}", canonicalise, _text, source, _DMI + name)
        # Going on after an unreadable one would give an ordinary user another serial than the administrator.
        if findings.notes[-1].state == UNREADABLE:
            return
        if taken:
            findings.keep_other_serials(
                place, [_text_or_none(source, _DMI + other) for other in _SERIALS], canonicalise
            )
            return
    for path in ("/proc/device-tree/serial-number", "/proc/device-tree/system-id"):
        where = "device tree " + posixpath.basename(path)
        if source.exists(path) and findings.attempt("firmware-serial", where, canonical.serial, _text, source, path):
            return


def _adapters(source: Source, findings: Findings) -> None:
    try:
        names = source.listdir("/sys/class/net")
    except OSError as error:
        findings.failed("nic", "/sys/class/net", error)
        return
    wsl = is_wsl(source)
    for name in names:
        if name == "lo":
            continue
        reason = _why_no_adapter(source, name, wsl=wsl)
        if reason:
            findings.note("nic", _shown(name), REJECTED, reason)
            continue
        findings.attempt("nic", _shown(name), canonical.mac, _permanent_address, source, name)
    if not any(note.kind == "nic" for note in findings.notes):
        findings.note("nic", "/sys/class/net", ABSENT, "no network adapter")


def _shown(name: str) -> str:
    """Return an interface's name for notes: names like enx9c2dcd314fa0 are the address itself (systemd.net-naming).

    Anything but printable ASCII becomes `?`: a name may be any bytes, and not every output takes them.
    """
    is_address = len(name) > _ADDRESS_DIGITS and set(name[-_ADDRESS_DIGITS:]) <= _HEX
    shown = name[:-_ADDRESS_DIGITS] + "..." if is_address else name
    return shown if shown.isascii() and shown.isprintable() else "".join([c if "!" <= c <= "~" else "?" for c in shown])


def _why_no_adapter(source: Source, name: str, *, wsl: bool) -> str:  # noqa: PLR0911 - a return for each reason
    """Say why an interface is no evidence, or nothing if it is an adapter on a bus of this machine."""
    base = f"/sys/class/net/{name}"
    try:
        target = source.readlink(base)
        bus = posixpath.basename(source.readlink(base + "/device/subsystem"))
        kind = _text(source, base + "/type")
    except OSError:
        # Bridges, bonds, VLANs, tunnels, VPNs and the veth of a container have no device.
        return "a virtual interface (bridge, bond, tunnel, VPN or container)"
    if kind != _ETHERNET:
        return "not Ethernet or Wi-Fi"
    if "/usb" in target:
        return "on USB: it may be anybody's tomorrow"
    if "/bluetooth" in target or bus not in _ADAPTER_BUSES:
        return f"on a bus that says nothing about this machine ({bus})"
    if bus == "vmbus" and wsl:
        return "WSL gives its adapter a new address at every start"
    try:
        if _text(source, base + "/device/removable") == "removable":
            return "in a dock or other removable enclosure"
    except OSError:
        pass  # attribute of PCI devices only, kernel 5.13 and later
    return ""


def _permanent_address(source: Source, name: str) -> str:
    """Return the burnt-in address: the present one if the kernel calls it permanent, else what the driver says.

    The present address may be randomised or lent by a bond. Where the kernel calls it permanent it is the very
    address the driver would tell (``register_netdevice`` copies it), so the driver need not be asked.
    """
    base = f"/sys/class/net/{name}"
    present = _text(source, base + "/address")
    if _text(source, base + "/addr_assign_type") == _ASSIGNED_PERMANENTLY and not source.exists(base + "/master"):
        return present
    return source.permanent_mac(name)


def _disks(source: Source, findings: Findings, mounts: "list[Mount]", *, in_container: bool) -> None:
    disks: list[str] = []
    root = _mount_on(mounts, "/")
    more = _BOUND_FROM_HOST if in_container else _BELOW_COMPOSEFS if root is not None and is_composefs(root) else ()
    for point in ("/", *more):
        mount = _mount_on(mounts, point)
        if mount is not None:
            disks = _disks_under(source, _block_device(source, mount), 0)
        if disks:
            break
    if not disks:
        findings.note("disk", "system disk", ABSENT, "the system is not on a disk that can be seen")
    for path in dict.fromkeys(disks):
        name = posixpath.basename(path)
        if "/usb" in path:
            findings.note("disk", name, REJECTED, "on USB: it may be anybody's tomorrow")
            continue
        _disk_serial(source, findings, path, name)


def _mount_on(mounts: "list[Mount]", point: str) -> "Mount | None":
    """Return the mount in force on a point: the last one."""
    return next((one for one in reversed(mounts) if one.point == point), None)


def _disk_serial(source: Source, findings: Findings, path: str, name: str) -> None:
    """Take the first usable of the places where drivers keep a serial; all are readable by every user."""
    # virtio; SD and eMMC card identity; SCSI and SATA world-wide name; NVMe; NVMe namespace name. SCSI and SATA drives
    # got a `serial` as well in 2026: taking that first would rename them all with the update of the kernel.
    for place in ("serial", "device/cid", "device/wwid", "device/serial", "wwid"):
        where = f"{path}/{place}"
        canonicalise = _CANONICAL.get(posixpath.basename(place), canonical.serial)
        if source.exists(where) and findings.attempt("disk", f"{name} {place}", canonicalise, _text, source, where):
            return
    if not any(note.kind == "disk" and note.where.startswith(name + " ") for note in findings.notes):
        findings.note("disk", name, ABSENT, "the drive tells no serial number")


def _block_device(source: Source, mount: "Mount") -> str:
    """Return the /sys path of the block device of a mount, or nothing."""
    if not mount.device.startswith("0:"):
        return _resolve(source, f"/sys/dev/block/{mount.device}")
    # btrfs and others have device numbers of their own; the mount's source names the disk.
    if not mount.source.startswith("/dev/"):
        return ""
    name = posixpath.basename(mount.source)
    if mount.source.startswith("/dev/mapper/"):
        name = _mapped(source, name)
    return _resolve(source, f"/sys/class/block/{name}") if name else ""


def _mapped(source: Source, name: str) -> str:
    try:
        for candidate in source.listdir("/sys/class/block"):
            path = f"/sys/class/block/{candidate}/dm/name"
            if candidate.startswith("dm-") and _text(source, path) == name:
                return candidate
    except OSError:
        pass
    return ""


def _resolve(source: Source, path: str) -> str:
    try:
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), source.readlink(path)))
    except OSError:
        return ""


def _disks_under(source: Source, path: str, depth: int) -> "list[str]":
    """Follow a partition to its disk, and a mapped or RAID device to the disks below it."""
    if not path or depth > _MAX_DEPTH:
        return []
    if source.exists(path + "/partition"):
        return _disks_under(source, posixpath.dirname(path), depth + 1)
    try:
        below = source.listdir(path + "/slaves")
    except OSError:
        below = []
    if not below:
        # Loop and RAM devices are no hardware; the head of an NVMe with several paths is, although it lives there too.
        return [] if "/virtual/" in path and "/nvme-subsystem/" not in path else [path]
    return [
        disk for name in below for disk in _disks_under(source, _resolve(source, f"/sys/class/block/{name}"), depth + 1)
    ]


def _operating_system(source: Source, findings: Findings, mounts: "list[Mount]", *, in_container: bool) -> None:
    if in_container:
        findings.note("os", "/etc/machine-id", REJECTED, "part of a container image, the same in every container of it")
        return
    mount = _mount_on(mounts, "/etc/machine-id")
    if mount is not None and mount.filesystem == "tmpfs":
        # systemd mounts /run/machine-id there where the file can't be written (machine-id(5), "Initialization").
        findings.note("os", "/etc/machine-id", REJECTED, "made anew at every start: this system cannot keep one")
        return
    path = "/etc/machine-id" if source.exists("/etc/machine-id") else "/var/lib/dbus/machine-id"
    findings.attempt("os", path, canonical.os_id, _text, source, path)
