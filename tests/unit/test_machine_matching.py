"""The matching rules of the design, section 6."""

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
        ("usndo", "uSnDO", "same"),
        ("usndo", "UsNdO", "same"),
        ("usndo", "usNDO", "same"),
        ("usndo", "us", "same"),
        ("usndo", "uo", "same"),
        ("usndo", "uSNDO", "other-machine"),
        ("uni", "uNi", "other-machine"),
        # (2) no readable firmware tag mismatches, the adapter and the disk or operating system match
        ("usndo", "ndo", "same"),
        ("usndo", "nd", "same"),
        ("usndo", "nO", "indeterminate"),
        ("usndo", "nDo", "same"),
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


def test_one_adapter_in_common_is_enough() -> None:
    before = MachineID.from_values(USER | {"nic": ["a", "b"], "disk": ["d"]})
    now = MachineID.from_values(USER | {"nic": ["b", "c"], "disk": ["d"]})
    assert Verdict.SAME == match(before, now).verdict


def test_a_broken_half_of_a_mirror_changes_nothing() -> None:
    before = MachineID.from_values(USER | {"disk": ["a", "b"], "os": ["o"]})
    now = MachineID.from_values(USER | {"disk": ["b", "new"], "os": ["o"]})
    assert Verdict.SAME == match(before, now).verdict


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
            ("usndo", "d", "privileges"),
            ("i", "I", "KEYSEAT_INSTANCE_FILE"),
            ("i", "d", "KEYSEAT_INSTANCE_FILE"),
            ("i", "", "--explain` says why the file is passed over"),
        ],
    )
    def test_the_advice_fits_the_verdict(self, enrolled: str, probed: str, words: str) -> None:
        assert words in advice(match(machine(enrolled), machine(probed)))
