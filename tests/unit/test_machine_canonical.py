"""Canonical values, and what is refused as evidence."""

import pytest

from keyseat_verifier.machine import canonical

UUID = "3ff4aecc-2d21-11b2-a85c-c1dd6a0c9f2e"


class TestSerial:
    @pytest.mark.parametrize(
        ("raw", "value"),
        [
            ("PF3XK7QL", "PF3XK7QL"),
            ("  pf3xk7ql \t", "PF3XK7QL"),
            (".7YC4L53.CNFCP0019G00XB.", ".7YC4L53.CNFCP0019G00XB."),
            ("VMware-56 4d 3c 1a  8f 2e", "VMWARE-56 4D 3C 1A 8F 2E"),
            ("naa.5002538e40a1b2c3", "NAA.5002538E40A1B2C3"),
            ("S5H2NS0T123456", "S5H2NS0T123456"),
            ("VB1a2b3c4d-5e6f7a8b", "VB1A2B3C4D-5E6F7A8B"),
            ("PF123456", "PF123456"),
            ("SN: 483920", "SN: 483920"),
            ("52146873", "52146873"),
        ],
    )
    def test_serials_are_upper_case_with_single_blanks(self, raw: str, value: str) -> None:
        assert (value, "") == canonical.serial(raw)

    @pytest.mark.parametrize(
        "raw",
        [
            *(
                "",
                "   ",
                "None",
                "N/A",
                "0",
                "Default string",
                "DEFAULT_STRING",
                "To be filled by O.E.M.",
                "To Be Filled By O.E.M",
            ),
            *(
                "System Serial Number",
                "Chassis Serial Number",
                "Base Board Serial Number",
                "Not Specified",
                "Not Applicable",
            ),
            *(
                "0123456789",
                "123456789",
                "1234567890",
                "00000000",
                "FFFFFFFF",
                "xxxxxxxxxxxx",
                "1111111111",
                "BSSN-0123456789",
            ),
            *("SYS-1234567890", "SYS-9876543210", "SN-12345", "SN-1234567890", "BSN12345678901234567"),
            *("123456789000", "12345678901234567", "1234567890123456", "34567890", "1234567890ABCDEF"),
            *("SystemSerialNumb", "OEM_Serial", "SN-123456fvgv3i0b8o5n6n7k", "123490EN400015"),
            *("VMware NVME_0000", "VMWare NVME_0003", "VMware NVMe_0000", "VB1234-56789", "SN: 000001", "SN: 000002"),
            *("NVME-4-0", "BHYVE-A61D-BA9B-18EF"),
            *(
                "overlayblk",
                "rootfs",
                "drive-scsi0",
                "drive-virtio-disk0",
                "persistent-disk-0",
                "QM00001",
                "QM00013",
                "local-ssd-0",
            ),
            *("t10.ATA     QEMU HARDDISK                           QM00001", "t10.QEMU    QEMU HARDDISK   drive-scsi0"),
            *(
                "Amazon EC2",
                "VirtualBox",
                "abcdefgh",
                "A1B2",
                "S\x00N123456",
                "Séri4l12345",
                "unknown",
                "uninitialized",
            ),
        ],
    )
    def test_placeholders_names_and_uniform_values_are_refused(self, raw: str) -> None:
        value, reason = canonical.serial(raw)
        assert value == ""
        assert reason
        assert not raw.strip() or raw.strip() not in reason


def nvme(serial: str) -> str:
    """The name that Linux makes for a drive without a number of its own."""
    return f"nvme.1ae0-{serial.encode().hex()}-{b'nvme_card-pd'.hex()}-00000001"


def ata(serial: str) -> str:
    """The name that libata makes: a model of 40 characters, a serial of 20."""
    return f"t10.ATA     {'ST1000DM003-1ER162':40}{serial:>20}"


class TestAddedLater:
    """No evidence for a new ID; the value is told, since an ID issued before may hold it."""

    @pytest.mark.parametrize(
        "raw",
        [
            *("123456789ABC", "EeePC-0123456789", "#A123456789", "1234567812", "123-1234-123"),
            *("SYSTEM-12345678", "X01234567"),
        ],
    )
    def test_serials_that_count_within(self, raw: str) -> None:
        assert (raw.upper(), "a placeholder that many machines share") == canonical.serial(raw)

    @pytest.mark.parametrize("raw", ["S5H2NS0T123456", "WD-WX11A1234567", "naa.60022480b7a1c3d5e7f90123456789ab"])
    def test_serials_that_merely_hold_some_digits_in_a_row_are_kept(self, raw: str) -> None:
        assert "" == canonical.drive_name(raw)[1]

    def test_a_drive_named_by_such_a_serial(self) -> None:
        raw = "t10.ATA     " + "A MODEL".ljust(40) + "EeePC-0123456789"
        value, reason = canonical.drive_name(raw)
        assert (" ".join(raw.upper().split()), True) == (value, bool(reason))

    @pytest.mark.parametrize(
        "raw",
        [
            *("07090201-0103-0301-0807-060504030201", "890e2d14-cacd-45d1-ae66-bc80e8bfeb0f"),
            *("8e275844-178f-44a8-aceb-a7d7e5178c63", "dc698397-fa54-4cf2-82c8-b1b5307a6a7f"),
            *("00000000-0000-0000-0807-060504030201", "5c4606fa-192f-453a-b299-7b088c63bb9b"),
            "00000011-4918-8015-bf5a-888888888788",
            *(f"{start}-1234-5678-ffff-ffffffffffff" for start in ("56f49712", "93309712", "50fb9712", "61f39712")),
            "52309712-0a0b-0c0d-ffff-ffffffffffff",
            *("b08dfa60-83e7-567a-1921-a715000001fb", "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4"),
        ],
    )
    def test_uuids_of_many_boards_and_ids_of_images_in_either_byte_order(self, raw: str) -> None:
        digits = raw.replace("-", "")
        swapped = "".join([*[digits[n : n + 2] for n in (6, 4, 2, 0, 10, 8, 14, 12)], digits[16:]])
        for one in (raw, swapped):
            assert (min(digits, swapped), "a default that many machines share") == canonical.firmware_uuid(one)

    def test_a_uuid_of_its_own_may_end_in_many_f(self) -> None:
        assert "" == canonical.firmware_uuid("4c4c4544-0042-3510-ffff-ffffffffffff")[1]
        assert "" == canonical.firmware_uuid("56f49712-1234-5678-9abc-ffffffffffff")[1]

    @pytest.mark.parametrize("raw", ["00:04:9f:be:ef:01", "00:04:9f:be:ef:ff", "08:00:27:d1:4c:66"])
    def test_addresses(self, raw: str) -> None:
        assert (raw.replace(":", ""), "an address that many machines share") == canonical.mac(raw)


class TestDriveName:
    @pytest.mark.parametrize(
        "raw",
        [
            *(nvme("S676NF0R912345"), ata("W9A1B2C3"), nvme("vol0a13de76620f5f4df")),
            *("eui.0025388b11b7c3a4", "eui.000000000000000600a0752342269630", "eui.34473630529000010025385800000001"),
            *("naa.5002538e40a1b2c3", "naa.60022480a9b8c7d6e5f4031221304f5e", "0025_388B_11B7_C3A4."),
            *("uuid.3ff4aecc-2d21-11b2-a85c-c1dd6a0c9f2e", "S5H2NS0T123456", "WD-WCC4N1234567."),
        ],
    )
    def test_the_name_of_one_drive_is_kept_as_a_serial_is(self, raw: str) -> None:
        assert canonical.serial(raw) == canonical.drive_name(raw)
        assert canonical.drive_name(raw)[0]

    @pytest.mark.parametrize(
        "raw",
        [
            *(nvme(""), nvme("  "), nvme("\0\0"), nvme("nvme_card-pd"), nvme("1234567890"), nvme("\xff\xfe1234567")),
            *(nvme("VMware NVME_0000"), nvme("VB1234-56789"), nvme("SN: 000001")),
            *("t10.Google  PersistentDisk  instance-1", "t10.Google  PersistentDisk  persistent-disk-0"),
            *(
                "nvme.",
                "nvme.1ae0",
                "nvme.1ae0--6e766d65-00000001",
                "nvme.1ae0-xyz-6e766d65-00000001",
                "NVME.1AE0-20-61-1",
            ),
            *(ata(""), ata("QM00001"), ata("00000000"), ata("To be filled"), "t10.ATA ST1000DM003-1ER162 W9A1B2C3"),
            *("eui.0000000000000000", "eui.0000000000000001", "eui.0025380000000000", "eui.ffffffffffffffff"),
            *("eui.00000000000000000025380000000000", "eui.", "eui.0025"),
            *("naa.5000000000000000", "naa.50014ee000000000", "uuid.00000000-0000-0000-0000-000000000000"),
            *("0000_0000_0000_0000.", "0025_3800_0000_0000.", "0000_0000_0000_0001.", "drive-scsi0", "QM00001", ""),
        ],
    )
    def test_a_name_that_other_drives_have_too_is_refused(self, raw: str) -> None:
        value, reason = canonical.drive_name(raw)
        assert value == ""
        assert reason
        assert not raw.strip() or raw.strip() not in reason


class TestCardIdentity:
    @pytest.mark.parametrize("raw", ["035344534c3332478012a4b3c5014b7d", "150100424a54443452074a3b2c1d8e55"])
    def test_the_identity_of_one_card_is_kept_as_a_serial_is(self, raw: str) -> None:
        assert (raw.upper(), "") == canonical.card_identity(raw + "\n")

    @pytest.mark.parametrize(
        "raw",
        [
            *(
                "035344534c333247800000000001" + "4b7d",
                "035344534c33324780ffffffff014b7d",
                "aa585951454d552101deadbeef0062a1",
            ),
            *("150100424a5444345207000000008e55", "150100424a54443452071234567" + "88e55", "", "00" * 16),
        ],
    )
    def test_an_identity_without_a_number_of_the_card_is_refused(self, raw: str) -> None:
        value, reason = canonical.card_identity(raw)
        assert value == ""
        assert reason


class TestFirmwareSerial:
    @pytest.mark.parametrize("uuid", [UUID, UUID.upper(), "ccaef43f-212d-b211-a85c-c1dd6a0c9f2e"])
    def test_the_machines_own_uuid_as_serial_is_evidence(self, uuid: str) -> None:
        assert (uuid.upper(), "") == canonical.firmware_serial(uuid, canonical.firmware_uuid(UUID)[0])

    @pytest.mark.parametrize("uuid", ["", canonical.firmware_uuid(UUID)[0]])
    @pytest.mark.parametrize("raw", ["PF3XK7QL", "0000-0014-8420-0320-5461-9999-46", "12-34-56-78-9A"])
    def test_other_serials_are_judged_as_serials(self, raw: str, uuid: str) -> None:
        assert canonical.serial(raw) == canonical.firmware_serial(raw, uuid)
        assert canonical.firmware_serial("Default string", uuid)[1]

    def test_the_uuid_of_the_host_is_no_evidence(self) -> None:
        """Nova and oVirt can give all virtual machines of a host its UUID as serial number."""
        host = "4c4c4544-0044-3010-8052-b4c04f565231"
        assert "" == canonical.firmware_serial(host, canonical.firmware_uuid(UUID)[0])[0]
        assert host.upper() == canonical.firmware_serial(host, "")[0]


class TestFirmwareUuid:
    def test_case_dashes_and_braces_do_not_matter(self) -> None:
        assert canonical.firmware_uuid(UUID) == canonical.firmware_uuid("{" + UUID.upper().replace("-", "") + "}")

    def test_both_byte_orders_are_one_value(self) -> None:
        swapped = "ccaef43f-212d-b211-a85c-c1dd6a0c9f2e"
        assert canonical.firmware_uuid(UUID) == canonical.firmware_uuid(swapped)

    def test_other_uuids_are_other_values(self) -> None:
        assert canonical.firmware_uuid(UUID) != canonical.firmware_uuid(UUID[:-1] + "f")

    @pytest.mark.parametrize(
        "raw",
        [
            *("", "abc", "not a uuid", "g" * 32, "0" * 32, "f" * 32, "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE"),
            *("03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"),
            *("00010203-0405-0607-0809-0a0b0c0d0e0f", "03020100-0504-0706-0809-0a0b0c0d0e0f"),
            *("12345678-1234-5678-90ab-cddeefaabbcc", "78563412-3412-7856-90ab-cddeefaabbcc"),
            *("4c4c4544-0000-2010-8020-80c04f202020", "44454c4c-0000-1020-8020-80c04f202020"),
            *("6AB5B300-538D-1014-9FB5-B0684D007B53", "00B3B56A-8D53-1410-9FB5-B0684D007B53"),
            *("00112233-4455-6677-8899-aabbccddeeff", "550e8400-e29b-41d4-a716-446655440000"),
        ],
    )
    def test_defaults_are_refused_in_either_byte_order(self, raw: str) -> None:
        value, reason = canonical.firmware_uuid(raw)
        assert value == ""
        assert reason

    def test_a_uuid_made_of_an_address_is_accepted(self) -> None:
        assert canonical.firmware_uuid("00000000-0000-0000-0000-ac1f6b2a9c51")[0]


class TestMac:
    @pytest.mark.parametrize("raw", ["9c:2d:cd:31:4f:a0", "9C-2D-CD-31-4F-A0", "9c2dcd314fa0", "9c2d.cd31.4fa0\n"])
    def test_spelling_does_not_matter(self, raw: str) -> None:
        assert ("9c2dcd314fa0", "") == canonical.mac(raw)

    @pytest.mark.parametrize(
        "raw",
        [
            *("", "9c:2d:cd", "zz:zz:zz:zz:zz:zz", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"),
            *("02:fc:00:00:00:01", "02:42:ac:11:00:02", "52:54:00:a1:b2:c3", "06:3f:9a:5b:71:c8", "42:01:0a:80:00:05"),
            *("00:50:56:c0:00:01", "00:50:56:c0:00:08", "00:05:9a:3c:7a:00", "00:ff:1a:2b:3c:4d", "00:09:0f:fe:00:01"),
            *("ac:de:48:00:11:22", "00:11:22:33:44:55", "88:88:88:88:87:88"),
            *("00:e0:4c:68:00:36", "00:e0:4c:68:00:be", "00:e0:4c:87:00:00", "00:90:4c:c5:12:38", "00:90:4c:11:22:33"),
            *("00:a0:c9:00:00:00", "04:4b:80:80:80:03", "00:03:7f:12:34:56", "00:03:7f:ba:db:ad"),
        ],
    )
    def test_made_up_group_and_shared_addresses_are_refused(self, raw: str) -> None:
        value, reason = canonical.mac(raw)
        assert value == ""
        assert reason

    def test_every_locally_administered_first_octet_is_refused(self) -> None:
        refused = [first for first in range(256) if not canonical.mac(f"{first:02x}2dcd314fa0")[0]]
        assert [first for first in range(256) if first & 3] == refused


class TestOsId:
    @pytest.mark.parametrize("raw", ["8c4f6a1d3b2e4907a5c8e1f20b7d9364\n", "{8C4F6A1D-3B2E-4907-A5C8-E1F20B7D9364}"])
    def test_machine_id_and_machine_guid_have_one_spelling(self, raw: str) -> None:
        assert ("8c4f6a1d3b2e4907a5c8e1f20b7d9364", "") == canonical.os_id(raw)

    @pytest.mark.parametrize(
        "raw", ["", "\n", "uninitialized\n", "short", "0" * 32, "f" * 32, "b08dfa6083e7567a1921a715000001fb", "g" * 32]
    )
    def test_empty_unfinished_and_shared_ids_are_refused(self, raw: str) -> None:
        value, reason = canonical.os_id(raw)
        assert value == ""
        assert reason


class TestAccount:
    def test_windows_names_ignore_case_and_domain(self) -> None:
        assert ("jörg", "") == canonical.account_name("BÜRO-PC\\Jörg", fold_case=True)

    def test_other_names_are_kept(self) -> None:
        assert ("Ada", "") == canonical.account_name("Ada", fold_case=False)

    def test_a_missing_name_is_no_evidence(self) -> None:
        assert ("", "empty") == canonical.account_name(" ", fold_case=True)

    def test_a_name_that_is_not_whole_utf_16_is_kept_and_can_be_written(self) -> None:
        assert ("ad\\udc80a", "") == canonical.account_name("HOST\\ad\udc80a", fold_case=True)

    def test_account_ids_are_upper_case(self) -> None:
        assert ("8A1B-2C", "") == canonical.account_id("8a1b-2c ")

    @pytest.mark.parametrize("raw", ["", "ü"])
    def test_other_account_ids_are_refused(self, raw: str) -> None:
        assert canonical.account_id(raw)[1]


def test_text_is_cut_at_nul_and_trimmed_and_never_fails() -> None:
    assert "abc" == canonical.text(b" abc\x00def")
    assert canonical.text(b"\xff\xfe").isprintable()
