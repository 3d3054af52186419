"""Canonical values of evidence, and what is refused as evidence because many machines share it.

Each function returns ``(value, "")`` for evidence and ``("", reason)`` for what is none. ``(value, reason)`` is what
former versions took: no evidence for a new ID, but IDs issued before may hold it (ADR 0024). The reasons never hold
the value. The lists and their sources stand in docs/spec/machine-id.md; canonical values are frozen for format v1.
"""

# Serials that firmware vendors and hypervisors leave in place of a number, as letters and digits only, lower case.
# Sources: strings of AMI, Phoenix and Insyde reference firmware in public dmidecode reports; DMTF DSP0134; the default
# blacklists of the inventories GLPI and OCS. 123490EN400015: boards of Samsung. VB1234-56789: VirtualBox's NVMe drives.
_PLACEHOLDER_SERIALS = frozenset(
    """
    123456 1234567 12345678 123456789 1234567890 12345678901 123456789012 1234567890123 12345678901234567890
    0123456789 01234567890 012345678901 0123456789abcdef 987654321 0987654321 1122334455 112233445566
    bssn0123456789 cssn0123456789 ssn0123456789 sn0123456789 mb1234567890 nb1234567890 ssn1234567890 ssnnumber1234567
    default defaultstring empty invalid none notapplicable notavailable notdefined notprovided notset notspecified null
    oem oemdefault pleasereplacethis standard undefined uninitialized unknown unspecified xxxxxxxx
    123456789000 1234567890abcdef oemserial sn123456fvgv3i0b8o5n6n7k 123490en400015
    amazonec2 vmware virtualbox parallels 5ekpm18320000397 vb123456789
    """.split()  # noqa: SIM905 - a list of words is easier to review
)

# Added after the first release, as all names below that begin with `_LATER`. Digits that count within a serial number
# were found in placeholders only (EeePC-0123456789, 1234567812), and in none of 150 serials of real machines.
_LATER_PLACEHOLDERS = frozenset({"1231234123"})
_LATER_COUNTING = ("12345678", "01234567")

# Digits that count up or down, after words like "SN-" or "SYS-": of any length, so no list of them ends.
_COUNTING = ("0123456789" * 4, "9876543210" * 4)
_COUNTED_WORDS = ("sys", "ssn", "bssn", "bsn", "sn", "mb", "nb")
_MIN_COUNTING = 5

# Names that hypervisors give drives: the same on every machine of a fleet.
# QEMU: "QM" and five digits, "drive-..." ids (Proxmox, libvirt). Google Cloud: "persistent-disk-0", "local-ssd-0",
# "local-nvme-ssd-0", "nvme_card". Firecracker and Kata: the drive's configured name ("rootfs", "overlayblk").
# VMware's NVMe drives: "VMware NVME_0000", the number of the controller. Azure's: "SN: 000001". bhyve: "NVME-4-0" by
# the place on the bus, "BHYVE-A61D-BA9B-18EF" by the path of the image on the host.
_DRIVE_NAME_STARTS = (
    *("drive-", "persistent-disk-", "local-ssd-", "local-nvme-ssd-", "nvme_card", "rootfs", "overlay", "virtio-"),
    *("scsi0-", "disk-", "qemu", "vmware nvme", "sn: 0000", "nvme-", "bhyve-"),
)

# SMBIOS UUIDs that boards of many buyers carry, without dashes; `firmware_uuid` looks at both byte orders.
# 0300...0009: AMI reference firmware. 0001...0e0f and the counting ones: examples left in firmware and in VM templates.
# 6ab5b300...: the default blacklist of the inventory GLPI.
_SHARED_UUIDS = frozenset(
    """
    03000200040005000006000700080009 000102030405060708090a0b0c0d0e0f 12345678123456781234567812345678
    12345678123412341234123456789abc 12345678123456789012123456789012 123456781234567890abcddeefaabbcc
    12345678123412341234123456789012 1234567890abcdef1234567890abcdef 0123456789abcdef0123456789abcdef
    00112233445566778899aabbccddeeff 112233445566778899aabbccddeeff00 0102030405060708090a0b0c0d0e0f10
    550e8400e29b41d4a716446655440000 6ab5b300538d10149fb5b0684d007b53
    123e4567e89b12d3a456426614174000 deadbeefdeadbeefdeadbeefdeadbeef 11111111222233334444555555555555
    """.split()  # noqa: SIM905 - a list of words is easier to review
)
# Lists of hostid(8) of FreeBSD, rockstor, CapaSystems and System Center.
_LATER_SHARED_UUIDS = frozenset(
    """
    07090201010303010807060504030201 890e2d14cacd45d1ae66bc80e8bfeb0f
    8e275844178f44a8aceba7d7e5178c63 dc698397fa544cf282c8b1b5307a6a7f 00000000000000000807060504030201
    5c4606fa192f453ab2997b088c63bb9b 0000001149188015bf5a888888888788
    """.split()  # noqa: SIM905 - a list of words is easier to review
)
# A family of boards: one of these, anything, and then 16 digits `f`. Other numbers that end so are their machine's own.
_LATER_UUID_STARTS = ("56f49712", "93309712", "50fb9712", "61f39712", "52309712")
_LATER_UUID_END = "f" * 16

# Dell boards whose service tag was never written: "DELL", then blanks (0x20) where its letters belong.
_SHARED_UUID_STARTS = ("4c4c4544000020108020", "44454c4c000010208020", "44454c4c000020108020", "4c4c4544000010208020")

# Ids baked into images, which every machine made from the image then shares, and ids typed in by hand.
# b08dfa60...: the D-Bus example id that container images of Chrome ship. 3d1219c7...: a public CI base image.
# 1c4ad377...: an image of Ubuntu for the Raspberry Pi (TheRemote/Ubuntu-Server-raspi4-unofficial, issue 74).
_IMAGE_IDS = frozenset(
    """
    b08dfa6083e7567a1921a715000001fb 3d1219c7c4c5404aaa1f6d2a48adfda4 12345678901234567890123456789012
    0123456789abcdef0123456789abcdef ffffffffffffffffffffffffffffffff 00000000000000000000000000000001
    deadbeefdeadbeefdeadbeefdeadbeef 1234567890abcdef1234567890abcdef 1c4ad377574c4263adbb7c624b6a3429
    """.split()  # noqa: SIM905 - a list of words is easier to review
)

# MAC addresses that belong to software or to every device of a kind (IEEE OUI registry, vendors' manuals).
# 00:50:56:c0:00:xx: VMware's host-side adapters. 00:05:9a:3c:7a:00, 00:05:9a:3c:78:00: Cisco AnyConnect.
# 00:ff:xx: TAP-Windows. 00:09:0f:fe:00:01, 00:09:0f:aa:00:01: Fortinet SSL VPN. 00:1c:42:00:00:08 and 09: Parallels'
# host side. ac:de:48:00:11:xx: the bridge to the security chip inside Macs. 00:11:22:33:44:55 and the like: examples.
# Adapters left unprogrammed: 00:e0:4c:68:00:xx, 00:e0:4c:68:10:00, 00:e0:4c:87:00:00 Realtek; 00:90:4c:c5:12:38
# Broadcom (`brcmf_default_mac_address` of Linux); 00:a0:c9:00:00:00 Intel; 04:4b:80:80:80:03 NVIDIA;
# 00:03:7f:12:34:56, 00:03:7f:ba:db:ad Atheros.
_SHARED_MAC_STARTS = (
    *("005056c000", "00059a3c", "00ff", "00090ffe", "00090faa", "00e04c6800", "00e04c681000", "001122334455"),
    *("00e04c870000", "00904cc51238", "00904c112233", "00a0c9000000", "044b808080", "00037f123456", "00037fbadbad"),
    *("000102030405", "0123456789ab", "123456789abc", "001c42000008", "001c42000009", "acde480011"),
    "000000",
)

# 00:04:9f:be:ef:xx: boards of Freescale whose address was never set. 08:00:27:d1:4c:66: in public Vagrantfiles.
_LATER_MAC_STARTS = ("00049fbeef", "080027d14c66")

# White space as Unicode has it (PropList.txt) and the four separators of ASCII: a table of our own, because canonical
# values are frozen and the interpreter's tables are not.
_BLANKS = (
    " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_TO_SPACES = dict.fromkeys(map(ord, _BLANKS), " ")

_HEX = frozenset("0123456789abcdef")
_MIN_SERIAL = 6
_MIN_DISTINCT = 4

# Where the serial stands in a drive name of libata: after "t10.", a vendor of 8 characters and a model of 40.
_ATA_SERIAL = 4 + 8 + 40
# Digits in front of a drive's number that name its maker, or the kind of number.
_MAKERS_DIGITS = {"eui": 6, "naa": 7, "uuid": 0}
_NGUID_DIGITS = 32
_UNSET_CARDS = frozenset({"00000000", "ffffffff", "12345678", "deadbeef"})  # the last one: QEMU's cards
_UUID_DASHES = 4


def text(raw: bytes) -> str:
    """Decode what a file, table or tool gave: UTF-8 with anything odd replaced, cut at NUL, blanks trimmed."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip(_BLANKS)


def serial(raw: str) -> "tuple[str, str]":
    """Canonicalise a serial number: ASCII upper case, runs of blanks as one.

    Refused: placeholders, drive names, fewer than 6 letters and digits, no digit at all (serials are numbered, names
    are not), fewer than 4 different characters, anything but printable ASCII.
    """
    value, reason = _plain(raw)
    key = "".join([char for char in value.lower() if char.isalnum()])
    if key in _LATER_PLACEHOLDERS or any(digits in key for digits in _LATER_COUNTING):
        return value, "a placeholder that many machines share"
    return value, reason


def _plain(raw: str) -> "tuple[str, str]":  # noqa: PLR0911 - a return for each reason
    """`serial` without what was added later, which is about numbers that people type, not about hexadecimal ones."""
    value = " ".join([word for word in raw.translate(_TO_SPACES).split(" ") if word])
    if not value:
        return "", "empty"
    if not value.isascii() or not value.isprintable():
        return "", "not printable text"
    value = value.upper()
    key = "".join([char for char in value.lower() if char.isalnum()])
    last = value.lower().split()[-1]
    if key in _PLACEHOLDER_SERIALS or key.startswith("tobefilled") or "serialnumb" in key or _only_counts(key):
        return "", "a placeholder that many machines share"
    if value.lower().startswith(_DRIVE_NAME_STARTS) or last.startswith(_DRIVE_NAME_STARTS) or _is_qemu_default(last):
        return "", "a drive name that a hypervisor gives to every machine"
    if len(key) < _MIN_SERIAL or len(set(key)) < _MIN_DISTINCT:
        return "", "too short or too uniform to tell machines apart"
    if not any(char.isdigit() for char in key):
        return "", "a name, not a number"
    return value, ""


def _only_counts(key: str) -> bool:
    word = next((one for one in _COUNTED_WORDS if key.startswith(one)), "")
    digits = key[len(word) :]
    return len(digits) >= _MIN_COUNTING and any(digits in counting for counting in _COUNTING)


def _is_qemu_default(word: str) -> bool:
    return word.startswith("qm000") and word[2:].isdigit()


def drive_name(raw: str) -> "tuple[str, str]":
    """Canonicalise the name that a system gives a drive, as `serial`, if the number in it tells drives apart.

    Linux (attribute ``wwid``): ``nvme.<vendor>-<serial>-<model>-<namespace>``, both texts in hexadecimal, for drives
    without a number of their own (``wwid_show`` of drivers/nvme/host/sysfs.c); ``t10.ATA``, a model of 40 characters
    and the serial (libata, SAT-4). Where the serial in it is refused, the rest names a model. ``eui.``, ``naa.``,
    ``uuid.`` and Windows' ``0025_388B_11B7_C3A4.``: a number that begins with the maker's digits (NVMe 2.0, 4.5;
    SPC-5, 7.7.6), and was never set if all others are equal.
    """
    name = raw.strip(_BLANKS)
    kind, _dot, rest = ("eui", "", name[:-1]) if name.endswith(".") and "_" in name else name.partition(".")
    kind = kind.lower()
    number, reason = "", ""
    judge = _plain
    if name.startswith("t10.Google "):
        reason = "a drive name that a hypervisor gives to every machine"  # or the name of the instance
    elif kind == "nvme":
        number, reason = _nvme_number(rest)
    elif name.startswith("t10.ATA "):
        number, reason = serial(name[_ATA_SERIAL:])
    elif kind in _MAKERS_DIGITS:
        reason = _why_no_drive_number(kind, "".join([char for char in rest.lower() if char not in "-_"]))
    else:
        judge = serial
    if not reason:
        return judge(name)
    return (judge(name)[0], reason) if number else ("", reason)


def card_identity(raw: str) -> "tuple[str, str]":
    """Canonicalise the identity (CID) of an SD or eMMC card, as `serial`, if the product serial number in it was set.

    It stands at hexadecimal digit 18 of an SD card's identity (SD Physical Layer, 5.2), at 20 of an eMMC's (JESD84,
    7.2); what is left without it names a lot of cards.
    """
    digits = raw.strip(_BLANKS).lower()
    if digits[18:26] in _UNSET_CARDS or digits[20:28] in _UNSET_CARDS:
        return "", "a number that was never set"
    return _plain(raw)


def firmware_serial(raw: str, uuid: str) -> "tuple[str, str]":
    """Canonicalise a serial number of the firmware, as `serial`, next to the firmware's UUID (canonical, or empty).

    Refused: a UUID that is not the machine's own. oVirt, RHV and OpenStack (``sysinfo_serial``) can give all virtual
    machines of a host the host's UUID as serial number.
    """
    value, reason = serial(raw)
    other = firmware_uuid(value)[0] if uuid and value.count("-") == _UUID_DASHES else ""
    if other not in {"", uuid}:
        return "", "the UUID of another machine: the host's, for all machines on it"
    return value, reason


def _nvme_number(rest: str) -> "tuple[str, str]":
    try:
        number = bytes.fromhex(rest.split("-")[1])
    except (IndexError, ValueError):
        return "", "not a name of an NVMe drive"
    return serial(text(number))


def _why_no_drive_number(kind: str, digits: str) -> str:
    own = digits[_MAKERS_DIGITS[kind] :]
    if kind == "eui" and len(digits) == _NGUID_DIGITS:
        own = digits[:16] + digits[22:]  # the maker's digits stand in the middle
    return "" if len(set(digits)) >= _MIN_DISTINCT and len(set(own)) > 1 else "a number that was never set"


def firmware_uuid(raw: str) -> "tuple[str, str]":
    """Canonicalise an SMBIOS UUID: 32 hexadecimal digits, in the byte order that sorts first.

    SMBIOS before 2.6 left the byte order of the first three fields open, and firmware, kernels and tools disagree
    about it (DMTF DSP0134, 7.2.1). Taking the smaller of both readings makes the tag independent of the reader, and
    of a firmware update that raises the SMBIOS version.
    """
    digits = "".join([char for char in raw.strip(_BLANKS).lower() if char not in "-{}"])
    if len(digits) != 32 or not _HEX.issuperset(digits):  # noqa: PLR2004 - 128 bits
        return "", "not a UUID" if digits else "empty"
    pairs = [digits[place : place + 2] for place in range(0, 32, 2)]
    swapped = "".join([*pairs[3::-1], pairs[5], pairs[4], pairs[7], pairs[6], *pairs[8:]])
    both = (digits, swapped)
    shared = any(one in _SHARED_UUIDS or one.startswith(_SHARED_UUID_STARTS) for one in both)
    if shared or len(set(pairs)) < _MIN_DISTINCT:
        return "", "a default that many machines share"
    later = any(one in _LATER_SHARED_UUIDS or one in _IMAGE_IDS or _is_of_the_family(one) for one in both)
    return min(both), "a default that many machines share" if later else ""


def _is_of_the_family(digits: str) -> bool:
    return digits.startswith(_LATER_UUID_STARTS) and digits.endswith(_LATER_UUID_END)


def mac(raw: str) -> "tuple[str, str]":
    """Canonicalise a MAC address (EUI-48): 12 lower-case hexadecimal digits.

    Locally administered addresses (IEEE 802, bit 1 of the first octet) are refused whatever the kernel calls them:
    hypervisors, containers, VPNs and privacy features make them up.
    """
    digits = "".join([char for char in raw.strip(_BLANKS).lower() if char not in ":-."])
    if len(digits) != 12 or not _HEX.issuperset(digits):  # noqa: PLR2004 - 48 bits
        return "", "not a MAC address"
    first = int(digits[:2], 16)
    if first & 1:
        return "", "a group address"
    if first & 2:
        return "", "a locally administered address, made up by software"
    if digits.startswith(_SHARED_MAC_STARTS) or len({digits[place : place + 2] for place in range(0, 12, 2)}) < 3:  # noqa: PLR2004 - aa:aa:aa:bb:bb:bb
        return "", "an address that many machines share"
    if digits.startswith(_LATER_MAC_STARTS):
        return digits, "an address that many machines share"
    return digits, ""


def os_id(raw: str) -> "tuple[str, str]":
    """Canonicalise a machine-id(5) or Windows MachineGuid: 32 lower-case hexadecimal digits."""
    digits = "".join([char for char in raw.strip(_BLANKS).lower() if char not in "-{}"])
    if not digits:
        return "", "empty"
    if digits == "uninitialized":
        return "", "not set up yet (uninitialized)"
    if len(digits) != 32 or not _HEX.issuperset(digits):  # noqa: PLR2004 - 128 bits
        return "", "not an id of 32 hexadecimal digits"
    if digits in _IMAGE_IDS or len({digits[place : place + 2] for place in range(0, 32, 2)}) < _MIN_DISTINCT:
        return "", "an id that many machines share, baked into an image"
    return digits, ""


def account_id(raw: str) -> "tuple[str, str]":
    """Canonicalise a stable account id: a POSIX uid in decimal, a Windows SID, or a macOS account UUID, upper case."""
    value = raw.strip(_BLANKS)
    # ASCII first: `upper` turns some foreign letters into ours (the long s into S).
    return (value.upper(), "") if value.isascii() and value else ("", "empty")


def account_name(raw: str, *, fold_case: bool) -> "tuple[str, str]":
    """Canonicalise an account name; Windows names ignore case and lose the domain, which a renamed computer changes."""
    value = raw.strip(_BLANKS)
    if fold_case:
        value = value.rpartition("\\")[2]
        value = value.lower() if value.isascii() else _casefold(value)
    # Windows does not promise whole UTF-16; half a pair can be written this way only.
    return (value.encode("utf-8", "backslashreplace").decode(), "") if value else ("", "empty")


def _casefold(name: str) -> str:
    from keyseat_verifier.machine.casefold import casefold  # late: only for names beyond ASCII, on Windows

    return casefold(name)
