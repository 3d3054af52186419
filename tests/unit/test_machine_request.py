"""The request file and the doctor."""

import base64
import json
from pathlib import Path

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import MachineID
from keyseat_shared.request import MAX_REQUEST_SIZE, parse_request
from keyseat_verifier.machine import MachineProbe, probe_machine
from keyseat_verifier.machine.doctor import compare, diagnosis, enrolled_id
from keyseat_verifier.machine.explain import to_request
from recorded_machines import load, names
from vendor import Vendor
from vendor import machine as vendor_machine

HOME = {"KEYSEAT_HOME": "/nonexistent"}
WITHOUT_EVIDENCE = {"linux-microvm", "linux-docker-bare", "windows-damaged", "macos-no-tools"}


def probe(name: str = "linux-laptop") -> MachineProbe:
    machine = load(name)
    return probe_machine(source=machine, environ=HOME | machine.environ)


def request(**changes: object) -> bytes:
    """A laptop's request file, some fields changed; a field given as ... is left out."""
    fields = to_request(probe()) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


class TestRequest:
    @pytest.mark.parametrize("name", [name for name in names() if name not in WITHOUT_EVIDENCE])
    def test_each_machine_writes_a_request_that_the_issuer_reads_back(self, name: str) -> None:
        found = probe(name)
        parsed = parse_request(json.dumps(to_request(found)).encode())
        assert found.machine_id == parsed.machine_id
        assert (found.platform, found.environment) == (parsed.platform, parsed.environment)
        assert found.grade == parsed.grade
        assert {(note.kind, note.state) for note in found.components} == {
            (note.kind, note.state) for note in parsed.components
        }
        assert parsed.to_dict() == to_request(found)

    def test_names_of_refused_adapters_stay_on_the_machine_and_hide_nothing_else(self) -> None:
        machine = load("linux-server")
        for number in range(200):
            machine.links[f"/sys/class/net/vpn-acme{number}"] = "../../devices/virtual/net/x"
        found = probe_machine(source=machine, environ=HOME)
        request = parse_request(json.dumps(to_request(found)).encode())
        assert "vpn-acme" not in json.dumps(request.to_dict())
        assert {"firmware-uuid", "nic", "disk", "os", "user-id"} <= {note.kind for note in request.components}

    def test_it_is_small_enough_to_be_read(self) -> None:
        assert len(request()) < MAX_REQUEST_SIZE // 4

    def test_a_machine_without_evidence_has_nothing_to_request(self) -> None:
        with pytest.raises(KeyseatError) as caught:
            to_request(probe("linux-microvm"))
        assert ReasonCode.NO_MACHINE_EVIDENCE == caught.value.code

    def test_the_issuer_is_told_what_was_out_of_reach(self) -> None:
        reasons = parse_request(request()).grade_reasons
        assert "firmware-serial, firmware-uuid" in reasons[-1]

    def test_the_grade_is_computed_from_the_id_whatever_the_file_says(self) -> None:
        assert "fair" == parse_request(request(grade="strong")).grade

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "licence"},
            {"type": ...},
            {"machine_id": ...},
            {"extra": 1},
            {"machine_id": "mid1qqqq"},
            {"machine_id": 7},
            {"machine_id": str(probe().machine_id).upper()},
            {"evidence": ["os"]},
            {"evidence": None},
            {"instance_source": "host-id"},
            {"superuser": True},
            {"superuser": 0},
            {"grade": "excellent"},
            {"grade_reasons": "because"},
            {"grade_reasons": [1]},
            {"grade_reasons": ["\x1b[2J"]},
            {"grade_reasons": ["x"] * 300},
            {"platform": "amiga"},
            {"environment": "\u202ephysical"},
            {"versions": []},
            {"versions": {"os": 6}},
            {"versions": {"os": "x" * 201}},
            {"components": {}},
            {"components": ["nic"]},
            {"components": [{"kind": "nic"}]},
            {"components": [{"kind": "nic", "where": "eth0", "state": "lost", "reason": ""}]},
            {"components": [{"kind": "soul", "where": "eth0", "state": "read", "reason": ""}]},
            {"components": [{"kind": "nic", "where": "eth0\n", "state": "read", "reason": ""}]},
        ],
        ids=lambda changes: ", ".join(f"{name} {str(value)[:20]!a}" for name, value in changes.items()),
    )
    def test_anything_else_is_malformed_and_says_how_to_make_it_again(self, changes: dict[str, object]) -> None:
        with pytest.raises(KeyseatError) as caught:
            parse_request(request(**changes))
        assert ReasonCode.MALFORMED == caught.value.code
        assert "--request" in caught.value.next_step

    @pytest.mark.parametrize("version", [2, True, "1", None])
    def test_a_later_format_is_unsupported(self, version: object) -> None:
        with pytest.raises(KeyseatError) as caught:
            parse_request(request(format=version))
        assert ReasonCode.UNSUPPORTED_FORMAT == caught.value.code

    @pytest.mark.parametrize(
        "data", [b"", b"{}", b"[]", b"\xff", b"x" * (MAX_REQUEST_SIZE + 1), request()[:-1], request() * 2]
    )
    def test_other_bytes_are_malformed(self, data: bytes) -> None:
        with pytest.raises(KeyseatError) as caught:
            parse_request(data)
        assert ReasonCode.MALFORMED == caught.value.code


class TestDoctor:
    def test_it_takes_an_id_as_typed(self) -> None:
        machine_id = probe().machine_id
        assert machine_id == enrolled_id(f" {str(machine_id).upper()} ")

    def test_it_takes_a_request_file_a_signed_file_and_a_file_with_the_id(self, tmp_path: Path) -> None:
        machine_id = probe().machine_id
        payload = base64.b64encode(json.dumps({"machine_id": str(machine_id)}).encode()).decode()
        contents = [
            request(),
            json.dumps({"payloadType": "x", "payload": payload, "signatures": []}).encode(),
            f"{machine_id}\n".encode(),
        ]
        for number, content in enumerate(contents):
            file = tmp_path / str(number)
            file.write_bytes(content)
            assert machine_id == enrolled_id(str(file))

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "ascii"])
    def test_it_takes_an_id_that_a_shell_of_windows_wrote(self, tmp_path: Path, encoding: str) -> None:
        machine_id = probe().machine_id
        (tmp_path / "id.txt").write_bytes(f"\r\n{machine_id}\r\n".encode(encoding))
        assert machine_id == enrolled_id(str(tmp_path / "id.txt"))

    def test_it_takes_licences_test_licences_and_leases(self, tmp_path: Path) -> None:
        vendor = Vendor()
        for number, content in enumerate([vendor.license(), vendor.test_license(), vendor.lease()]):
            file = tmp_path / f"{number}.lic"
            file.write_bytes(content)
            assert vendor_machine() == enrolled_id(str(file))

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "MALFORMED"),
            (b"{}", "MALFORMED"),
            (b'{"machine_id": 7}', "MALFORMED"),
            (b'{"machine_id": "mid1x"}', "MALFORMED"),
            (b'{"payload": "?"}', "MALFORMED"),
            (b'{"payload": "bm8="}', "MALFORMED"),
            (b"mid1\xff\xfe", "MALFORMED"),
            (b" " * 70000, "MALFORMED"),
        ],
    )
    def test_other_files_are_refused_with_a_reason(self, tmp_path: Path, content: bytes, code: str) -> None:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(KeyseatError) as caught:
            enrolled_id(str(tmp_path / "file"))
        assert code == caught.value.code

    @pytest.mark.parametrize("what", ["./nowhere.lic", "C:\\nowhere.lic", "/", "a" * 5000 + "/", "x\0/"])
    def test_what_is_neither_id_nor_file_is_unreadable(self, what: str) -> None:
        with pytest.raises(KeyseatError) as caught:
            enrolled_id(what)
        assert ReasonCode.UNREADABLE == caught.value.code

    def test_a_mistyped_id_is_told_as_such(self) -> None:
        with pytest.raises(KeyseatError) as caught:
            enrolled_id("mld1" + str(probe().machine_id)[4:])
        assert [2] == caught.value.details["positions"]

    def test_it_says_why_something_is_not_seen_now(self) -> None:
        machine = load("linux-laptop")
        machine.user = ("0", "root")
        enrolled = probe_machine(source=machine, environ=HOME).machine_id
        found = probe()
        text = diagnosis(compare(enrolled, found), found)
        assert "firmware UUID      unreadable" in text
        assert "DMI product_uuid: needs administrator rights" in text
        assert "next: Sign in" in text

    def test_it_says_that_all_is_well(self) -> None:
        found = probe()
        assert "next: Nothing to do." in diagnosis(compare(found.machine_id, found), found)

    def test_another_machine_is_told_component_by_component(self) -> None:
        found = probe()
        text = diagnosis(compare(probe("linux-server").machine_id, found), found)
        assert text.startswith("This is not the machine of the licence.")
        assert 3 == text.count("changed")


def test_an_id_of_one_machine_is_no_id_of_another() -> None:
    ids = {str(probe(name).machine_id) for name in names() if name not in WITHOUT_EVIDENCE}
    assert len(names()) - len(WITHOUT_EVIDENCE) == len(ids)
    assert all(MachineID.parse(text) for text in ids)
