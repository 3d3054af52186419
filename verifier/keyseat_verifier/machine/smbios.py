"""The SMBIOS table (DMTF DSP0134): system UUID and serial numbers, from the raw bytes that Windows hands out."""

_HEADER = 8  # RawSMBIOSData of GetSystemFirmwareTable: method, major, minor, revision, length (4 bytes)
_STRUCTURE = 4  # type, length, handle (2 bytes)
_SYSTEM, _BOARD, _CHASSIS, _END = 1, 2, 3, 127
_SERIAL_INDEX = 7  # the same place in the three structures
_UUID_AT = 8
_MAX_STRUCTURES = 4096


class Smbios:
    """UUID and serials of the first system, board and chassis structures; empty text where there is none."""

    __slots__ = ("board_serial", "chassis_serial", "product_serial", "product_uuid")

    def __init__(self) -> None:
        self.product_uuid = ""
        self.product_serial = ""
        self.board_serial = ""
        self.chassis_serial = ""


def parse_smbios(raw: bytes) -> Smbios:
    """Read what identifies a machine from ``RawSMBIOSData``; a damaged table gives what comes before the damage."""
    found = Smbios()
    end = min(len(raw), _HEADER + int.from_bytes(raw[4:_HEADER], "little"))
    place = _HEADER
    for _ in range(_MAX_STRUCTURES):
        if place + _STRUCTURE > end:
            break
        kind, length = raw[place], raw[place + 1]
        if length < _STRUCTURE or place + length > end or kind == _END:
            break
        body = raw[place : place + length]
        # Strings follow the structure, each closed by NUL, the set by one more.
        close = raw.find(b"\0\0", place + length, end)
        if close < 0:
            break
        strings = raw[place + length : close].split(b"\0")
        _note(found, kind, body, strings)
        place = close + 2
    return found


def _note(found: Smbios, kind: int, body: bytes, strings: "list[bytes]") -> None:
    if len(body) <= _SERIAL_INDEX:
        return
    number = body[_SERIAL_INDEX]
    serial = strings[number - 1].decode("utf-8", "replace") if 0 < number <= len(strings) else ""
    if kind == _SYSTEM:
        found.product_serial = found.product_serial or serial
        if not found.product_uuid and len(body) >= _UUID_AT + 16:
            found.product_uuid = body[_UUID_AT : _UUID_AT + 16].hex()
    elif kind == _BOARD:
        found.board_serial = found.board_serial or serial
    elif kind == _CHASSIS:
        found.chassis_serial = found.chassis_serial or serial
