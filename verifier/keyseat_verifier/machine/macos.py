"""The macOS probe: platform UUID and serial and built-in adapters from ioreg(8), the account's UUID from the directory.

ioreg is given by absolute path with a time-out, and writes property lists, so no localised text is read. There is no
operating system id that survives updates, and the disk of a Mac is soldered to the board the firmware names.
"""

from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.findings import ABSENT, REJECTED, Findings
from keyseat_verifier.machine.source import PosixSource, Source

_IOREG = "/usr/sbin/ioreg"
_PLATFORM = (_IOREG, "-a", "-r", "-d", "1", "-c", "IOPlatformExpertDevice")
_ADAPTERS = (_IOREG, "-a", "-r", "-d", "2", "-c", "IOEthernetController")


class MacSource(PosixSource):
    """The real machine on macOS."""

    platform = "macos"

    def account(self) -> "tuple[str, str]":
        """Return the account's UUID (membership(3)) and name; the uid where the directory does not know it."""
        uid, name = super().account()
        import ctypes  # late: costs 6 ms
        import uuid

        found = (ctypes.c_ubyte * 16)()
        try:
            unknown = ctypes.CDLL(None).mbr_uid_to_uuid(ctypes.c_uint32(int(uid)), found)
        except AttributeError:
            unknown = 1
        return (uid if unknown else str(uuid.UUID(bytes=bytes(found))).upper()), name


def probe_macos(source: Source, findings: Findings) -> None:
    """Collect the evidence of a Mac."""
    try:
        platform = next(iter(_entries(source, _PLATFORM)), {})
    except OSError as error:
        findings.failed("firmware-uuid", "ioreg", error)
        findings.failed("firmware-serial", "ioreg", error)
    else:
        uuid, serial = platform.get("IOPlatformUUID"), platform.get("IOPlatformSerialNumber")
        findings.take("firmware-uuid", "IOPlatformUUID", str(uuid or ""), canonical.firmware_uuid)
        findings.take("firmware-serial", "IOPlatformSerialNumber", str(serial or ""), canonical.serial)
    _adapters(source, findings)


def _adapters(source: Source, findings: Findings) -> None:
    try:
        controllers = _entries(source, _ADAPTERS)
    except OSError as error:
        findings.failed("nic", "ioreg", error)
        return
    if not controllers:
        findings.note("nic", "ioreg", ABSENT, "no network adapter")
    for controller in controllers:
        children = controller.get("IORegistryEntryChildren")
        interface = next((one for one in children if isinstance(one, dict)), {}) if isinstance(children, list) else {}
        where = str(interface.get("BSD Name", "adapter"))
        address = controller.get("IOMACAddress")
        if interface.get("IOBuiltin") is not True:
            findings.note("nic", where, REJECTED, "not built in: it may be anybody's tomorrow")
        elif isinstance(address, bytes):
            findings.take("nic", where, address.hex(), canonical.mac)
        else:
            findings.note("nic", where, ABSENT, "the adapter tells no address")


def _entries(source: Source, command: "tuple[str, ...]") -> "list[dict[str, object]]":
    """Return the registry entries ioreg printed as a property list; nothing printed means none."""
    import plistlib  # late: macOS only

    output = source.run(command)
    if not output.strip():
        return []
    try:
        # XML is what `-a` prints; the binary form nests without end. Entities are refused by the parser itself.
        entries = plistlib.loads(output, fmt=plistlib.FMT_XML)
    except Exception:  # noqa: BLE001 - plistlib documents no errors; an unknown encoding is a LookupError, a date an Overflow
        raise OSError("ioreg printed no property list") from None
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
