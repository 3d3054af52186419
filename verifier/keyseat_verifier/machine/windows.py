r"""The Windows probe: SMBIOS, adapters on the board, system disk and MachineGuid, all without administrator rights.

No tool is run: no WMI, no PowerShell, whose output is localised and slow. Sources: GetSystemFirmwareTable
(sysinfoapi.h); STORAGE_DEVICE_DESCRIPTOR (winioctl.h); OID_802_3_PERMANENT_ADDRESS (ntddndis.h).
"""

from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.findings import ABSENT, REJECTED, Findings
from keyseat_verifier.machine.smbios import parse_smbios
from keyseat_verifier.machine.source import Source

_CRYPTOGRAPHY = r"SOFTWARE\Microsoft\Cryptography"
_ADAPTERS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e972-e325-11ce-bfc1-08002be10318}"

# Device instance paths of adapters on the board or given by a hypervisor. `PhysicalAdapter` of WMI is no help: VPN
# adapters call themselves physical. USB, Bluetooth (BTH), ROOT and SWD devices come and go.
_ADAPTER_PATHS = ("PCI\\", "VMBUS\\", "XENVIF\\", "SD\\", "ACPI\\")

_BUS_USB, _BUS_VIRTUAL, _BUS_FILE_BACKED = 7, 14, 15  # STORAGE_BUS_TYPE
_SERIAL_OFFSET_AT, _BUS_TYPE_AT, _DESCRIPTOR_SIZE = 24, 28, 32


def probe_windows(source: Source, findings: Findings) -> None:
    """Collect the evidence of a Windows machine."""
    _firmware(source, findings)
    _adapters(source, findings)
    _disks(source, findings)
    findings.attempt("os", "MachineGuid", canonical.os_id, _value, source, _CRYPTOGRAPHY, "MachineGuid")


def _value(source: Source, key: str, name: str) -> str:
    values = source.registry(key)
    if name not in values:
        raise FileNotFoundError(name)
    return values[name]


def _firmware(source: Source, findings: Findings) -> None:
    try:
        table = parse_smbios(source.firmware_table())
    except OSError as error:
        findings.failed("firmware-uuid", "SMBIOS", error)
        findings.failed("firmware-serial", "SMBIOS", error)
        return
    findings.take("firmware-uuid", "SMBIOS system UUID", table.product_uuid, canonical.firmware_uuid)
    uuid = next(iter(findings.values.get("firmware-uuid", ())), "")

    def canonicalise(raw: str) -> "tuple[str, str]":
        return canonical.firmware_serial(raw, uuid)

    # The order of the Linux probe, so that both name the same machine alike.
    serials = [table.product_serial, table.board_serial, table.chassis_serial]
    for place, name in enumerate(("system", "board", "chassis")):
        if findings.take("firmware-serial", f"SMBIOS {name} serial", serials[place], canonicalise):
            findings.keep_other_serials(place, serials, canonicalise)
            return


def _adapters(source: Source, findings: Findings) -> None:
    try:
        names = source.registry_keys(_ADAPTERS)
    except OSError as error:
        findings.failed("nic", "network adapters", error)
        return
    for name in names:
        if not (name.isascii() and name.isdigit()):
            continue
        where = f"adapter {name}"
        try:
            values = source.registry(f"{_ADAPTERS}\\{name}")
        except OSError as error:
            findings.failed("nic", where, error)
            continue
        path = (values.get("DeviceInstanceID") or values.get("MatchingDeviceId") or "").upper()
        interface = values.get("NetCfgInstanceId", "")
        if not path.startswith(_ADAPTER_PATHS) or not interface:
            findings.note("nic", where, REJECTED, "a virtual, USB, Bluetooth or VPN adapter")
            continue
        findings.attempt("nic", where, canonical.mac, source.permanent_mac, interface)
    if not any(note.kind == "nic" for note in findings.notes):
        findings.note("nic", "network adapters", ABSENT, "no network adapter")


def _disks(source: Source, findings: Findings) -> None:
    try:
        descriptors = source.system_disks()
    except OSError as error:
        findings.failed("disk", "system disk", error)
        return
    if not descriptors:
        findings.note("disk", "system disk", ABSENT, "the system is not on a disk that can be seen")
    for number, descriptor in enumerate(descriptors):
        where = f"system disk {number}"
        if len(descriptor) < _DESCRIPTOR_SIZE:
            findings.note("disk", where, ABSENT, "the drive tells nothing")
            continue
        bus = int.from_bytes(descriptor[_BUS_TYPE_AT : _BUS_TYPE_AT + 4], "little")
        if bus == _BUS_USB:
            findings.note("disk", where, REJECTED, "on USB: it may be anybody's tomorrow")
            continue
        if bus in {_BUS_VIRTUAL, _BUS_FILE_BACKED}:
            findings.note("disk", where, REJECTED, "a virtual drive kept in a file")
            continue
        start = int.from_bytes(descriptor[_SERIAL_OFFSET_AT : _SERIAL_OFFSET_AT + 4], "little")
        # Offset 0 or 0xFFFFFFFF: the drive has no serial.
        raw = descriptor[start:] if _DESCRIPTOR_SIZE <= start < len(descriptor) else b""
        findings.take("disk", where, canonical.text(raw), canonical.drive_name)
