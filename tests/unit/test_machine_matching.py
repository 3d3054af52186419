"""The matching rules of docs/spec/machine-id.md, section 9."""

import itertools

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import CouldNotVerifyError, KeyseatError, MachineError
from keyseat_shared.evidence import ComponentState, Evidence, Verdict
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import advice, describe, match, require_match

USER = {"user-id": ["1000"], "user-name": ["ada"]}
SHORT = {"u": "firmware-uuid", "s": "firmware-serial", "n": "nic", "d": "disk", "o": "os", "i": "instance"}


def machine(kinds: str, **user: list[str] | None) -> MachineID:
    """An ID from a word: a letter a kind, upper case for another value."""
    values = {SHORT[letter.lower()]: [letter] for letter in kinds}
    account = USER | {name.replace("_", "-"): value for name, value in user.items()}
    values |= {kind: value for kind, value in account.items() if value}
    return MachineID.from_values(values, instance_source="instance-file" if "i" in kinds.lower() else "none")


@pytest.mark.parametrize(
    ("enrolled", "probed", "verdict"),
    [
        # (1) a firmware tag and one more hardware tag
        ("usndo", "usndo", "same"),
        ("usndo", "uSnDo", "same"),
        ("usndo", "UsNdo", "same"),
        ("usndo", "usnDO", "same"),
        ("usndo", "usd", "same"),
        ("usn", "us", "same"),
        ("usndo", "uSNDO", "other-machine"),
        ("uni", "uNi", "other-machine"),
        # (2) no readable firmware tag mismatches, the adapter and the disk or operating system match
        ("usndo", "ndo", "same"),
        ("undo", "nd", "indeterminate"),
        ("usndo", "nO", "indeterminate"),
        ("usndo", "Undo", "other-machine"),
        ("usndo", "USndo", "other-machine"),
        ("ndo", "usndo", "same"),
        ("ndo", "nDO", "other-machine"),
        # (3) firmware never enrolled, disk and operating system match
        ("ndo", "Ndo", "same"),
        ("ndo", "do", "same"),
        ("ndo", "NDo", "other-machine"),
        ("ndo", "NdO", "other-machine"),
        ("ndo", "Nd", "indeterminate"),
        # (4) everything enrolled matches
        ("o", "o", "same"),
        ("o", "usndo", "same"),
        ("o", "O", "other-machine"),
        ("o", "n", "indeterminate"),
        ("d", "d", "same"),
        ("n", "n", "same"),
        ("u", "u", "same"),
        ("u", "U", "other-machine"),
        ("i", "i", "same"),
        ("i", "I", "other-machine"),
        ("i", "d", "indeterminate"),
        ("di", "di", "same"),
        ("di", "dI", "other-machine"),
        ("di", "d", "indeterminate"),
        ("di", "Di", "other-machine"),
        # most of what was enrolled: the rest may be of another machine, which another rule lets in
        ("usndo", "uSnDO", "other-machine"),
        ("usndo", "UsNdO", "other-machine"),
        ("usndo", "usNDO", "other-machine"),
        ("usndo", "us", "indeterminate"),
        ("usndo", "uo", "indeterminate"),
        ("usndo", "nd", "indeterminate"),
        ("usndo", "nDo", "indeterminate"),
        # half of it, and the half with more firmware counts
        ("sndo", "snDO", "same"),
        ("sndo", "Sndo", "other-machine"),
        ("usno", "usNO", "same"),
        ("usnd", "uSnD", "other-machine"),
        # firmware enrolled, unreadable now
        ("us", "ndo", "indeterminate"),
        ("usd", "ndo", "indeterminate"),
        ("usndo", "NDO", "indeterminate"),
    ],
)
def test_the_hardware_rules(enrolled: str, probed: str, verdict: str) -> None:
    assert verdict == match(machine(enrolled), machine(probed)).verdict


@pytest.mark.parametrize("count", range(1, 7))
def test_every_id_matches_itself(count: int) -> None:
    for kinds in itertools.combinations("usndoi", count):
        assert Verdict.SAME == match(machine("".join(kinds)), machine("".join(kinds))).verdict


def test_a_machine_with_nothing_in_common_never_matches() -> None:
    for count in range(1, 7):
        for kinds in itertools.combinations("usndoi", count):
            result = match(machine("".join(kinds)), machine("USNDOI"))
            assert Verdict.OTHER_MACHINE == result.verdict, kinds


class TestSets:
    """Several adapters and disks: most of those enrolled, or half of them with other hardware that vouches."""

    @pytest.mark.parametrize(
        ("enrolled", "probed", "verdict"),
        [
            # adapters and a disk
            ("n:ab d:x", "n:bc d:x", "same"),
            ("n:abc d:x", "n:ab d:x", "same"),
            ("n:abc d:x", "n:a d:x", "other-machine"),
            ("n:abcd d:x", "n:ab d:x", "same"),
            ("n:abcd d:x", "n:a d:x", "other-machine"),
            ("n:abcd", "n:abc", "same"),
            ("n:abcd", "n:ab", "other-machine"),
            ("n:ab", "n:a", "other-machine"),
            # a mirror of disks: the adapter vouches for half of it, the copied id of a system does not
            ("n:a d:xy o:1", "n:a d:xz o:1", "same"),
            ("n:a d:xy", "n:a d:xz", "same"),
            ("d:xy o:1", "d:yz o:1", "other-machine"),
            ("d:xy o:1", "d:xy o:1", "same"),
            ("n:ab d:xy o:1", "n:ac d:xz o:1", "other-machine"),
            # firmware vouches for half as well
            ("u:f n:ab", "u:f n:a", "same"),
            ("u:f n:abcd", "u:f n:a", "other-machine"),
            ("u:f n:ab d:xy", "u:f n:a d:x", "same"),
            # an instance file is copied in a moment
            ("n:ab i:1", "n:a i:1", "other-machine"),
        ],
    )
    def test_most_of_a_set_must_be_there(self, enrolled: str, probed: str, verdict: str) -> None:
        assert verdict == match(self.id(enrolled), self.id(probed)).verdict

    @staticmethod
    def id(words: str) -> MachineID:
        values = {SHORT[word[0]]: list(word[2:]) for word in words.split()}
        return MachineID.from_values(USER | values, instance_source="instance-file" if "instance" in values else "none")

    def test_adapters_past_the_four_of_the_id_are_compared_as_well(self) -> None:
        """A card with more ports: four others have the lowest tags now, and the enrolled one is still there."""
        ports = [str(port) for port in range(9)]
        for enrolled in ports:
            before = MachineID.from_values(USER | {"nic": [enrolled], "disk": ["x"]})
            assert Verdict.SAME == match(before, MachineID.from_values(USER | {"nic": ports, "disk": ["x"]})).verdict

    def test_people_see_how_many_of_a_set_are_there(self) -> None:
        result = match(self.id("n:abc d:xy o:1"), self.id("n:a d:xy o:1"))
        assert "network adapters   changed (1 of 3)\n" in describe(result)
        assert "system disk        same (2 of 2)\n" in describe(result)
        assert "operating system   same\n" in describe(result)
        assert "half (1 of 2)" in describe(match(self.id("n:ab d:x"), self.id("n:a d:x")))


@pytest.mark.parametrize(
    ("user", "verdict"),
    [
        ({}, "same"),
        ({"user_name": ["grace"]}, "same"),
        ({"user_id": ["1001"]}, "same"),
        ({"user_name": None}, "same"),
        ({"user_id": ["1001"], "user_name": ["grace"]}, "other-user"),
        ({"user_id": ["1001"], "user_name": None}, "other-user"),
    ],
)
def test_the_account_id_or_name_must_match(user: dict[str, list[str] | None], verdict: str) -> None:
    assert verdict == match(machine("nd"), machine("nd", **user)).verdict


def test_another_machine_is_told_before_another_user() -> None:
    result = match(machine("nd"), machine("ND", user_id=["1001"], user_name=["grace"]))
    assert Verdict.OTHER_MACHINE == result.verdict


def test_an_account_that_cannot_be_compared_is_indeterminate() -> None:
    enrolled = MachineID.from_values({"disk": ["d"], "user-id": ["1000"]})
    probed = MachineID.from_values({"disk": ["d"], "user-name": ["ada"]})
    assert Verdict.INDETERMINATE == match(enrolled, probed).verdict


def test_an_id_without_hardware_matches_nothing() -> None:
    assert Verdict.OTHER_MACHINE == match(MachineID.from_values(USER), MachineID.from_values(USER)).verdict


def test_every_component_is_listed_with_its_state() -> None:
    result = match(machine("usn"), machine("uSd", user_name=None))
    assert {
        Evidence.FIRMWARE_UUID: ComponentState.SAME,
        Evidence.FIRMWARE_SERIAL: ComponentState.CHANGED,
        Evidence.NIC: ComponentState.UNREADABLE,
        Evidence.DISK: ComponentState.NEW,
        Evidence.OS: ComponentState.NOT_ENROLLED,
        Evidence.INSTANCE: ComponentState.NOT_ENROLLED,
        Evidence.USER_ID: ComponentState.SAME,
        Evidence.USER_NAME: ComponentState.UNREADABLE,
    } == {component.kind: component.state for component in result.components}


class TestErrors:
    def test_the_same_machine_passes(self) -> None:
        assert require_match(machine("usndo"), machine("ndo")) is None

    @pytest.mark.parametrize(
        ("probed", "error", "code"),
        [
            (machine("USNDO"), MachineError, ReasonCode.MACHINE_MISMATCH),
            (machine("usndo", user_id=["1"], user_name=["x"]), MachineError, ReasonCode.USER_MISMATCH),
            (machine("d"), CouldNotVerifyError, ReasonCode.MACHINE_INDETERMINATE),
        ],
    )
    def test_others_are_refused_with_components_and_rule(
        self, probed: MachineID, error: type[KeyseatError], code: ReasonCode
    ) -> None:
        with pytest.raises(error) as caught:
            require_match(machine("usndo"), probed)
        result = match(machine("usndo"), probed)
        assert code == caught.value.code
        assert result.rule == caught.value.details["rule"]
        assert {str(one.kind): str(one.state) for one in result.components} == caught.value.details["components"]
        assert describe(result) == caught.value.message
        assert advice(result) == caught.value.next_step

    @pytest.mark.parametrize(
        ("enrolled", "probed", "words"),
        [
            ("usndo", "usndo", "Nothing to do"),
            ("usndo", "USNDO", "machine it was issued for"),
            ("usndo", "UsNDO", "hardware was replaced"),
            ("usndo", "d", "Run as the ID of the licence was made"),
            ("usndo", "NDO", "another machine's"),
            ("us", "ndo", "Run as the ID of the licence was made"),
            ("undo", "NdO", "Run as the ID of the licence was made"),
            ("i", "I", "KEYSEAT_INSTANCE_FILE"),
            ("i", "d", "KEYSEAT_INSTANCE_FILE"),
            ("i", "", "--explain` says why the file is passed over"),
        ],
    )
    def test_the_advice_fits_the_verdict(self, enrolled: str, probed: str, words: str) -> None:
        assert words in advice(match(machine(enrolled), machine(probed)))
