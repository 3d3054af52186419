"""The machine ID as a value and as a string."""

import copy
import hmac
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

from keyseat_shared import machine_id as module
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Evidence, Grade, InstanceSource
from keyseat_shared.grades import LABELS
from keyseat_shared.machine_id import KINDS, MachineID, tag

LAPTOP = {
    "firmware-uuid": ["3ff4aecc2d2111b2a85cc1dd6a0c9f2e"],
    "firmware-serial": ["PF3XK7QL"],
    "nic": ["9c2dcd314fa0", "f47b0996e3c1"],
    "disk": ["S676NF0R912345"],
    "os": ["8c4f6a1d3b2e4907a5c8e1f20b7d9364"],
    "user-id": ["1000"],
    "user-name": ["ada"],
}


def laptop(**changes: list[str] | None) -> MachineID:
    """A laptop's ID; a kind given as None is left out."""
    values = LAPTOP | {name.replace("_", "-"): value for name, value in changes.items()}
    return MachineID.from_values({kind: value for kind, value in values.items() if value is not None})


class TestTags:
    def test_a_tag_is_three_bytes_of_an_hmac_keyed_by_its_kind(self) -> None:
        expected = hmac.new(b"keyseat/machine-id/v1/disk", b"S676NF0R912345", "sha256").digest()[:3]
        assert expected == tag(Evidence.DISK, "S676NF0R912345")

    def test_the_same_value_has_another_tag_as_another_kind(self) -> None:
        assert tag("os", "8c4f6a1d3b2e4907") != tag("instance", "8c4f6a1d3b2e4907")

    def test_the_plain_kinds_are_those_of_the_enum(self) -> None:
        assert tuple(Evidence) == KINDS
        assert set(Evidence) == set(LABELS)


class TestValue:
    def test_order_and_repetition_of_values_do_not_matter(self) -> None:
        assert laptop() == laptop(nic=["f47b0996e3c1", "9c2dcd314fa0", "f47b0996e3c1"])

    def test_of_many_adapters_the_four_lowest_tags_are_kept(self) -> None:
        many = laptop(nic=[f"9c2dcd3100{number:02x}" for number in range(20)])
        assert 4 == len(many.tags_of("nic"))
        assert many.tags_of("nic") == tuple(sorted(tag("nic", f"9c2dcd3100{number:02x}") for number in range(20))[:4])

    def test_equal_ids_have_equal_hashes(self) -> None:
        assert {laptop()} == {laptop(), laptop()}

    def test_an_id_differs_from_other_things(self) -> None:
        assert laptop() != str(laptop())

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            laptop().instance_source = "host-id"

    def test_it_survives_copying_and_pickling(self) -> None:
        assert laptop() == copy.deepcopy(laptop())
        assert laptop() == pickle.loads(pickle.dumps(laptop()))  # noqa: S301 - our own bytes

    def test_evidence_lists_the_kinds_present_in_order(self) -> None:
        found = MachineID.from_values({"user-id": ["1000"], "os": ["x"]}).evidence
        assert (Evidence.OS, Evidence.USER_ID) == found

    @pytest.mark.parametrize(
        ("tags", "source"),
        [
            ({"colour": [b"red"]}, "none"),
            ({"os": [b"four"]}, "none"),
            ({"os": ["abc"]}, "none"),
            ({"os": [b"abc"]}, "host-id"),
            ({"instance": [b"abc"]}, "none"),
            ({"instance": [b"abc"]}, "dream"),
        ],
    )
    def test_tags_that_make_no_sense_are_refused(self, tags: dict[str, list[bytes]], source: str) -> None:
        with pytest.raises(ValueError, match=r"evidence|bytes|instance"):
            MachineID(tags, instance_source=source)

    def test_another_user_on_the_same_hardware_is_another_id_with_the_same_hardware_key(self) -> None:
        ada, grace = laptop(), laptop(user_id=["1001"], user_name=["grace"])
        assert str(ada) != str(grace)
        assert ada.hardware_key == grace.hardware_key

    def test_search_keys_name_hardware_only(self) -> None:
        keys = laptop().search_keys
        assert 6 == len(keys)
        assert not any(key.startswith("user") for key in keys)

    def test_a_drifted_machine_shares_search_keys(self) -> None:
        assert set(laptop().search_keys) & set(laptop(nic=["d8bbc15e2077"], os=["ff"]).search_keys)

    @pytest.mark.parametrize("account", ["0", "S-1-5-18", "FFFFEEEE-DDDD-CCCC-BBBB-AAAA00000000"])
    def test_an_administrator_account_is_told(self, account: str) -> None:
        assert laptop(user_id=[account]).for_superuser
        assert any("administrator" in reason for reason in laptop(user_id=[account]).grade_reasons)

    def test_an_ordinary_account_is_not_called_an_administrator(self) -> None:
        assert not laptop().for_superuser

    def test_words_are_available_from_the_module(self) -> None:
        assert (module.Evidence, module.Grade, module.InstanceSource) == (Evidence, Grade, InstanceSource)

    def test_other_names_are_not(self) -> None:
        with pytest.raises(AttributeError):
            _ = module.Nonsense


class TestString:
    def test_it_is_one_lower_case_word_of_at_most_90_characters(self) -> None:
        full = laptop(nic=[f"9c2dcd3100{n:02x}" for n in range(4)], disk=["A1B2C3", "D4E5F6"])
        full = MachineID(
            {kind: full.tags_of(kind) for kind in KINDS} | {"instance": [b"abc"]}, instance_source="instance-file"
        )
        assert 73 == len(str(full))
        assert str(full) == str(full).lower()
        assert str(full).isalnum()

    def test_short_is_the_ten_symbols_after_the_prefix(self) -> None:
        assert str(laptop())[4:14] == laptop().short

    def test_it_holds_no_raw_value(self) -> None:
        text = str(laptop()).lower()
        assert not [value for values in LAPTOP.values() for value in values if value.lower() in text]

    @pytest.mark.parametrize(
        "missing", [{"user_id": None}, dict.fromkeys(["firmware_uuid", "firmware_serial", "nic", "disk", "os"])]
    )
    def test_without_account_or_hardware_there_is_no_string(self, missing: dict[str, None]) -> None:
        with pytest.raises(KeyseatError) as caught:
            str(laptop(**missing))
        assert ReasonCode.NO_MACHINE_EVIDENCE == caught.value.code

    def test_repr_never_fails(self) -> None:
        assert str(laptop()) in repr(laptop())
        assert "no evidence" in repr(MachineID({}))


class TestParse:
    @pytest.mark.parametrize(
        "typed",
        [
            lambda text: text,
            str.upper,
            str.title,
            lambda text: f"  {text}\r\n",
            lambda text: "-".join(text[place : place + 5] for place in range(0, len(text), 5)),
            lambda text: "\n".join(text[place : place + 30] for place in range(0, len(text), 30)),
            lambda text: text[:20] + "\u2013" + text[20:40] + "\u00a0\u200b" + text[40:] + "\ufeff",
        ],
    )
    def test_case_spaces_dashes_and_line_breaks_do_not_matter(self, typed: Callable[[str], str]) -> None:
        assert laptop() == MachineID.parse(typed(str(laptop())))

    @pytest.mark.parametrize("change", [str.upper, lambda text: text + "\n", lambda text: text[:8] + "-" + text[8:]])
    def test_signed_payloads_hold_the_canonical_string_only(self, change: Callable[[str], str]) -> None:
        with pytest.raises(KeyseatError) as caught:
            MachineID.parse_canonical(change(str(laptop())))
        assert ReasonCode.MALFORMED == caught.value.code

    def test_the_canonical_string_is_read(self) -> None:
        assert laptop() == MachineID.parse_canonical(str(laptop()))

    @pytest.mark.parametrize(
        "text", ["", " ", "mid1", "mid1q", "hello", "m" * 401, "mid1" + "q" * 120, "\0", "mid1\u212a" + "q" * 20]
    )
    def test_anything_else_is_malformed(self, text: str) -> None:
        with pytest.raises(KeyseatError) as caught:
            MachineID.parse(text)
        assert ReasonCode.MALFORMED == caught.value.code

    def test_a_letter_that_lower_case_would_turn_into_ours_is_refused(self) -> None:
        text = str(laptop())
        place = text.index("k")
        with pytest.raises(KeyseatError) as caught:
            MachineID.parse(text[:place] + "\u212a" + text[place + 1 :])  # the Kelvin sign
        assert [place + 1] == caught.value.details["positions"]


class TestLocation:
    TEXT = str(laptop())

    def positions(self, text: str) -> KeyseatError:
        with pytest.raises(KeyseatError) as caught:
            MachineID.parse(text)
        return caught.value

    @pytest.mark.parametrize("foreign", "1bio!")
    def test_a_character_that_never_occurs_is_named(self, foreign: str) -> None:
        error = self.positions(self.TEXT[:16] + foreign + self.TEXT[17:])
        assert [17] == error.details["positions"]
        assert f"character 17 '{foreign}'" in error.message

    def test_positions_are_counted_without_spaces_and_dashes(self) -> None:
        error = self.positions(self.TEXT[:10] + " - " + self.TEXT[10:16] + "b" + self.TEXT[17:])
        assert [17] == error.details["positions"]

    def test_two_wrong_characters_are_located(self) -> None:
        other = {char: ("q" if char != "q" else "p") for char in self.TEXT}
        text = self.TEXT[:9] + other[self.TEXT[9]] + self.TEXT[10:50] + other[self.TEXT[50]] + self.TEXT[51:]
        assert [10, 51] == self.positions(text).details["positions"]

    def test_swapped_neighbours_are_located(self) -> None:
        place = next(n for n in range(10, 40) if self.TEXT[n] != self.TEXT[n + 1])
        text = self.TEXT[:place] + self.TEXT[place + 1] + self.TEXT[place] + self.TEXT[place + 2 :]
        error = self.positions(text)
        assert [place + 1, place + 2] == error.details["positions"]
        assert "swapped" in error.message

    def test_a_missing_character_is_located(self) -> None:
        place = next(n for n in range(10, 40) if self.TEXT[n] not in self.TEXT[n - 1] + self.TEXT[n + 1])
        error = self.positions(self.TEXT[:place] + self.TEXT[place + 1 :])
        assert [place + 1] == error.details["positions"]
        assert "lacks a character" in error.message

    def test_a_surplus_character_is_located(self) -> None:
        place = next(n for n in range(10, 40) if "q" not in self.TEXT[n - 1 : n + 1])
        error = self.positions(self.TEXT[:place] + "q" + self.TEXT[place:])
        assert [place + 1] == error.details["positions"]
        assert "too many" in error.message

    def test_a_wrong_prefix_is_located(self) -> None:
        assert [2] == self.positions("mld1" + self.TEXT[4:]).details["positions"]

    def test_the_message_marks_the_place_and_says_what_to_do(self) -> None:
        error = self.positions(self.TEXT[:16] + "b" + self.TEXT[17:])
        assert self.TEXT[:16] + "[b]" + self.TEXT[17:] in error.message
        assert "Copy the machine ID again" in error.next_step

    def test_control_characters_never_reach_the_message(self) -> None:
        assert self.positions(self.TEXT[:16] + "\x1b" + self.TEXT[17:]).message.isprintable()


class TestGrades:
    @pytest.mark.parametrize(
        ("kinds", "grade"),
        [
            (["firmware-uuid", "nic"], "strong"),
            (["firmware-serial", "disk"], "strong"),
            (["firmware-uuid", "firmware-serial"], "strong"),
            (["firmware-uuid"], "fair"),
            (["firmware-serial", "os"], "fair"),
            (["nic", "disk"], "fair"),
            (["disk", "os"], "fair"),
            (["nic", "os"], "fair"),
            (["nic"], "weak"),
            (["disk"], "weak"),
            (["os"], "weak"),
            ([], "weak"),
        ],
    )
    def test_the_grade_follows_from_the_evidence(self, kinds: list[str], grade: str) -> None:
        machine_id = MachineID.from_values({kind: ["x"] for kind in [*kinds, "user-id"]})
        assert grade == machine_id.grade
        assert machine_id.grade_reasons[0]

    @pytest.mark.parametrize("source", ["instance-file", "host-id"])
    def test_an_instance_or_host_id_alone_is_weak_and_said(self, source: str) -> None:
        machine_id = MachineID.from_values({"instance": ["x"], "user-id": ["1000"]}, instance_source=source)
        assert Grade.WEAK == machine_id.grade
        assert 2 == len(machine_id.grade_reasons)

    def test_an_instance_id_does_not_raise_the_grade(self) -> None:
        values = {"disk": ["x"], "user-id": ["1000"]}
        with_id = MachineID.from_values(values | {"instance": ["y"]}, instance_source="instance-file")
        assert MachineID.from_values(values).grade == with_id.grade

    @pytest.mark.parametrize(
        ("nics", "disks", "told"),
        [
            (2, 1, ""),
            (3, 0, "It holds 3 network adapters, more"),
            (1, 2, "It holds 2 system disks, more"),
            (0, 2, "It holds 2 system disks, more"),
        ],
    )
    def test_more_items_than_most_machines_have_are_told_and_lower_no_grade(
        self, nics: int, disks: int, told: str
    ) -> None:
        sets = {"nic": [str(one) for one in range(nics)], "disk": [str(one) for one in range(disks)]}
        machine_id = MachineID.from_values(sets | {"firmware-uuid": ["u"], "user-id": ["1000"]})
        assert Grade.STRONG == machine_id.grade
        assert told in " ".join(machine_id.grade_reasons[1:])
        assert bool(told) == bool(machine_id.grade_reasons[1:])


class TestBeyondTheLimits:
    PORTS = MachineID.from_values({"nic": [str(port) for port in range(9)], "user-id": ["1000"]})

    def test_what_a_machine_shows_beyond_them_is_kept_beside_the_id(self) -> None:
        assert (4, 9) == (len(self.PORTS.tags_of("nic")), len(self.PORTS.seen_of("nic")))
        assert 9 == len(pickle.loads(pickle.dumps(self.PORTS)).seen_of("nic"))  # noqa: S301 - our own

    def test_the_string_and_equality_know_nothing_of_it(self) -> None:
        read = MachineID.parse(str(self.PORTS))
        assert (read, hash(read), read.tags_of("nic")) == (self.PORTS, hash(self.PORTS), read.seen_of("nic"))


def test_importing_the_machine_id_loads_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); import keyseat_verifier.machine.probe, keyseat_verifier.machine.linux;"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"enum", "re", "typing", "dataclasses", "hashlib", "_hashlib", "json", "socket", "ctypes", "subprocess"}
    assert not heavy.intersection(loaded)
