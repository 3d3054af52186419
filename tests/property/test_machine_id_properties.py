"""Machine IDs under random tags, random text and random typing errors."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyseat_shared import bech32m
from keyseat_shared.bech32m_locate import locate
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import KINDS, MAX_DISKS, MAX_NICS, MachineID
from keyseat_shared.matching import Verdict, match
from keyseat_shared.request import parse_request
from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.smbios import parse_smbios

TAG = st.binary(min_size=3, max_size=3)
HARDWARE = ("firmware-uuid", "firmware-serial", "nic", "disk", "os")


REFUSALS = {ReasonCode.MALFORMED, ReasonCode.UNSUPPORTED_FORMAT}


def read(text: str) -> MachineID | KeyseatError:
    """Return the ID or the error."""
    try:
        return MachineID.parse(text)
    except KeyseatError as error:
        return error


@st.composite
def machine_ids(draw: st.DrawFn) -> MachineID:
    """Any ID that can be written."""
    kinds = draw(st.sets(st.sampled_from(HARDWARE), max_size=5))
    source = draw(st.sampled_from(["none", "instance-file", "host-id"]))
    if source != "none":
        kinds.add("instance")
    elif not kinds:
        kinds.add("os")
    limits = {"nic": 4, "disk": 2}
    tags = {kind: draw(st.sets(TAG, min_size=1, max_size=limits.get(kind, 1))) for kind in sorted(kinds)}
    tags["user-id"] = {draw(TAG)}
    if draw(st.booleans()):
        tags["user-name"] = {draw(TAG)}
    return MachineID(tags, instance_source=source)


@given(machine_ids())
def test_the_string_means_the_same_id_and_has_one_spelling(machine_id: MachineID) -> None:
    text = str(machine_id)
    assert machine_id == MachineID.parse(text) == MachineID.parse_canonical(text)
    assert text == str(MachineID.parse(text.upper()))
    assert len(text) <= bech32m.MAX_LENGTH


@given(st.one_of(st.text(max_size=120), st.text(alphabet=bech32m.ALPHABET, max_size=80).map("mid1".__add__)))
def test_any_text_is_an_id_with_that_canonical_string_or_malformed(text: str) -> None:
    found = read(text)
    if isinstance(found, MachineID):
        assert found == MachineID.parse_canonical(str(found))
    else:
        assert found.code in REFUSALS
        assert found.message.isprintable()


@given(st.binary(max_size=50))
def test_any_bytes_with_a_right_checksum_are_an_id_written_by_them_or_refused(data: bytes) -> None:
    word = bech32m.encode("mid", data)
    found = read(word)
    if isinstance(found, MachineID):
        assert word == str(found)
    else:
        assert found.code in REFUSALS


@given(st.binary(max_size=48), st.sampled_from(["mid", "a", "other"]))
def test_bech32m_gives_back_the_bytes(data: bytes, prefix: str) -> None:
    assert data == bech32m.decode(prefix, bech32m.encode(prefix, data))


@given(machine_ids())
def test_every_id_matches_itself(machine_id: MachineID) -> None:
    assert Verdict.SAME == match(machine_id, machine_id).verdict


@given(machine_ids(), machine_ids())
def test_seeing_more_never_turns_the_same_machine_into_another(enrolled: MachineID, other: MachineID) -> None:
    more = {kind: enrolled.tags_of(kind) or other.tags_of(kind) for kind in KINDS if kind != "instance"}
    more["instance"] = enrolled.tags_of("instance")
    probed = MachineID(more, instance_source=enrolled.instance_source)
    assert Verdict.SAME == match(enrolled, probed).verdict


LIMITS = {"nic": MAX_NICS, "disk": MAX_DISKS}
USER = {"user-id": [b"uid"]}


@st.composite
def merged_ids(draw: st.DrawFn) -> tuple[MachineID, list[MachineID]]:
    """An ID of any parts of two to four machines that share nothing, and what each machine shows of itself."""
    machines = [
        {
            kind: [bytes([number, place, item]) for item in range(draw(st.integers(0, LIMITS.get(kind, 1))))]
            for place, kind in enumerate(HARDWARE)
        }
        for number in range(draw(st.integers(2, 4)))
    ]
    parts = {}
    for kind in HARDWARE:
        pool = sorted(tag for machine in machines for tag in machine[kind])
        parts[kind] = draw(st.sets(st.sampled_from(pool), max_size=LIMITS.get(kind, 1))) if pool else set()
    shown = [{kind: tags for kind, tags in machine.items() if draw(st.booleans())} for machine in machines]
    return MachineID(parts | USER), [MachineID(tags | USER) for tags in [*shown, *machines]]


@settings(max_examples=500)
@given(merged_ids())
def test_no_id_is_good_on_two_machines_that_share_nothing(case: tuple[MachineID, list[MachineID]]) -> None:
    enrolled, views = case
    count = len(views) // 2
    good = {place % count for place, view in enumerate(views) if match(enrolled, view).verdict is Verdict.SAME}
    assert len(good) < 2


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_malformed(data: bytes) -> None:
    with pytest.raises(KeyseatError) as caught:
        parse_request(data)
    assert caught.value.code in {ReasonCode.MALFORMED, ReasonCode.UNSUPPORTED_FORMAT}


@given(st.binary(max_size=300))
def test_any_bytes_are_an_smbios_table_that_tells_something_or_nothing(data: bytes) -> None:
    assert isinstance(parse_smbios(data).product_serial, str)


@given(st.text(max_size=60))
def test_every_value_is_evidence_in_one_spelling_or_refused_with_a_reason(raw: str) -> None:
    for canonicalise in (canonical.serial, canonical.firmware_uuid, canonical.mac, canonical.os_id):
        value, reason = canonicalise(raw)
        assert value or reason
        if value:
            assert (value, reason) == canonicalise(value)


def mistyped(random_: random.Random, word: str) -> str:
    """Return the word with one to four characters wrong, two swapped, or a part shifted."""
    kind = random_.randrange(4)
    letters = list(word)
    if kind == 0:
        for place in random_.sample(range(len(word)), random_.randint(1, 4)):
            letters[place] = random_.choice(bech32m.ALPHABET)
    elif kind == 1:
        first = random_.randrange(len(word) - 1)
        second = random_.choice([first + 1, random_.randrange(len(word))])
        letters[first], letters[second] = letters[second], letters[first]
    elif kind == 2:
        letter = letters.pop(random_.randrange(4, len(word)))
        letters.insert(random_.randrange(4, len(word)), letter)
    else:
        place = random_.randrange(4, len(word))
        if random_.random() < 0.5:
            del letters[place]
        else:
            letters.insert(place, random_.choice(bech32m.ALPHABET))
    return "".join(letters)


def sample(random_: random.Random) -> str:
    """Return a random ID of usual size."""
    kinds = [*random_.sample(HARDWARE, random_.randint(1, 5)), "user-id", "user-name"]
    return str(MachineID({kind: [random_.randbytes(3)] for kind in kinds}))


def test_none_of_100_000_typing_errors_is_taken_for_another_id() -> None:
    random_ = random.Random(20240117)
    refused = 0
    for turn in range(100_000):
        if turn % 100 == 0:
            word = sample(random_)
        typed = mistyped(random_, word)
        try:
            bech32m.decode("mid", typed)
        except bech32m.Bech32mError:
            refused += 1
        else:
            assert word == typed
    assert refused > 90_000  # the rest are errors that change nothing, such as swapping equal letters


def test_one_or_two_wrong_characters_and_swapped_neighbours_are_located_exactly() -> None:
    random_ = random.Random(20240116)
    for turn in range(600):
        word = sample(random_)
        letters = list(word)
        if turn % 3:
            places = sorted(random_.sample(range(4, len(word)), turn % 3))
            for place in places:
                letters[place] = random_.choice([letter for letter in bech32m.ALPHABET if letter != letters[place]])
        else:
            place = random_.choice([place for place in range(4, len(word) - 1) if word[place] != word[place + 1]])
            places = [place, place + 1]
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        reason, found = locate("mid", "".join(letters))
        assert [place + 1 for place in places] == list(found)
        assert ("swapped" in reason) == (turn % 3 == 0) or turn % 3 == 2


def test_a_missing_or_surplus_character_is_located_within_its_run() -> None:
    random_ = random.Random(20240115)
    for turn in range(120):
        word = sample(random_)
        place = random_.randrange(5, len(word) - 1)
        if turn % 2:
            typed = word[:place] + word[place + 1 :]
        else:
            typed = word[:place] + random_.choice(bech32m.ALPHABET) + word[place:]
        _reason, found = locate("mid", typed)
        assert 1 == len(found)
        assert abs(found[0] - 1 - place) <= 2
