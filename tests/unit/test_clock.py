"""The clock guard: what it remembers, what it notices, and that it locks no honest user out."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from keyseat_shared.errors import ClockError
from keyseat_verifier import ClockGuard, clock
from keyseat_verifier.paths import second_state_folder, shown
from vendor import MACHINE, NOW, OTHER_MACHINE

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MID = str(MACHINE)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The boot and its steady clock, under the test's control."""
    state: dict[str, object] = {"boot": "boot-1", "uptime": 1000}
    monkeypatch.setattr(clock, "_boot_id", lambda: state["boot"])
    monkeypatch.setattr(clock, "_uptime", lambda: state["uptime"])
    return state


def refused(guard: ClockGuard, now: object, machine_id: str = MID) -> bool:
    try:
        guard.check(now, machine_id)
    except ClockError:
        return True
    return False


class TestHighWaterMark:
    def test_time_going_on_is_fine(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        assert [refused(guard, NOW + step * HOUR) for step in range(5)] == [False] * 5

    def test_a_clock_set_back_is_noticed_by_a_later_run(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)

    def test_a_clock_set_back_is_noticed_within_a_run(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID)
        assert refused(guard, NOW - HOUR)

    def test_five_minutes_are_tolerated(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        assert not refused(ClockGuard(tmp_path), NOW - 5 * MINUTE)
        assert refused(ClockGuard(tmp_path), NOW - 5 * MINUTE - timedelta(seconds=1))

    def test_tolerated_lags_do_not_add_up(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        ClockGuard(tmp_path).check(NOW - 4 * MINUTE, MID)
        assert refused(ClockGuard(tmp_path), NOW - 8 * MINUTE)

    def test_a_refused_time_is_not_recorded(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)
        assert not refused(ClockGuard(tmp_path), NOW)

    def test_the_error_names_the_evidence_and_the_files(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID)
        with pytest.raises(ClockError, match="latest time seen by this software on this machine") as caught:
            guard.check(NOW - HOUR, MID)
        assert caught.value.details["recorded_at"] == "2023-12-01T12:00:00Z"
        assert caught.value.details["files"] == [shown(path) for path in guard.files(MID)]
        assert all(shown(path) in caught.value.next_step for path in guard.files(MID))

    def test_each_machine_id_has_a_mark_of_its_own(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        assert not refused(ClockGuard(tmp_path), NOW - HOUR, str(OTHER_MACHINE))


class TestSaw:
    def test_an_instant_that_was_reached_is_a_mark(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).saw(NOW, MID)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)
        assert not refused(ClockGuard(tmp_path), NOW)

    def test_an_instant_before_the_mark_changes_nothing(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID)
        guard.saw(NOW - HOUR, MID)
        assert refused(guard, NOW - HOUR)


class TestState:
    def test_is_kept_in_two_places_for_the_owner_only(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID)
        first, second = map(Path, guard.files(MID))
        assert first.parent != second.parent
        assert first.read_bytes() == second.read_bytes()
        assert [path.stat().st_mode & 0o777 for path in (first, second, first.parent)] == [0o600, 0o600, 0o700]
        assert [path.name for path in first.parent.iterdir()] == [first.name]

    def test_one_of_two_copies_is_enough(self, tmp_path: Path) -> None:
        for lost in (0, 1):
            guard = ClockGuard(tmp_path / str(lost))
            guard.check(NOW, MID)
            Path(guard.files(MID)[lost]).unlink()
            assert refused(ClockGuard(tmp_path / str(lost)), NOW - HOUR)

    @pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 99, b"[]", b'{"format":1}', b"x" * 100_000])
    def test_a_spoilt_state_locks_nobody_out(self, tmp_path: Path, content: bytes) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID)
        for path in guard.files(MID):
            Path(path).write_bytes(content)
        assert not refused(ClockGuard(tmp_path), NOW - HOUR)

    @pytest.mark.parametrize("change", [{"at": "2099-01-01T00:00:00Z"}, {"mac": "0" * 64}, {"mac": 1}, {"uptime": 1}])
    def test_an_edited_state_does_not_count(self, tmp_path: Path, change: dict[str, object]) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID)
        for path in guard.files(MID):
            Path(path).write_text(json.dumps(json.loads(Path(path).read_bytes()) | change))
        assert not refused(ClockGuard(tmp_path), NOW - HOUR)

    def test_a_state_carried_over_from_another_machine_does_not_count(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW + 1000 * HOUR, str(OTHER_MACHINE))
        for theirs, ours in zip(guard.files(str(OTHER_MACHINE)), guard.files(MID), strict=True):
            Path(theirs).rename(ours)
        assert not refused(ClockGuard(tmp_path), NOW)

    def test_a_place_that_cannot_be_written_is_a_warning(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        for path in guard.files(MID):
            Path(path).parent.write_bytes(b"a file where the folder should be")
        guard.check(NOW, MID)
        assert guard.warning.startswith("the time could not be recorded (")
        guard.check(NOW + HOUR, MID)

    def test_a_folder_in_place_of_the_state_locks_nobody_out(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        for path in guard.files(MID):
            Path(path).mkdir(parents=True)
        guard.check(NOW, MID)
        assert guard.warning
        leftovers = [found.name for path in guard.files(MID) for found in Path(path).parent.iterdir()]
        assert [name for name in leftovers if name.endswith(".tmp")] == []

    def test_is_written_once_a_minute_at_most(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        path = Path(guard.files(MID)[0])
        recorded = []
        for seconds in (0, 1, 59, 60, 61, 119, 120):
            guard.check(NOW + timedelta(seconds=seconds), MID)
            recorded.append(json.loads(path.read_bytes())["at"][14:19])
        assert recorded == ["00:00", "00:00", "00:00", "01:00", "01:00", "01:00", "02:00"]

    def test_a_later_mark_of_another_process_is_kept(self, tmp_path: Path) -> None:
        first, second = ClockGuard(tmp_path), ClockGuard(tmp_path)
        first.check(NOW, MID)
        second.check(NOW + HOUR, MID)
        assert refused(first, NOW + 2 * MINUTE)


class TestWithinOneBoot:
    def test_time_must_move_on_with_the_steady_clock(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        steady["uptime"] = 1000 + 5 * 3600
        guard = ClockGuard(tmp_path)
        with pytest.raises(ClockError, match="the time that has passed since this machine started"):
            guard.check(NOW + HOUR, MID)
        assert not refused(guard, NOW + 5 * HOUR)

    def test_another_boot_says_nothing(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        steady |= {"boot": "boot-2", "uptime": 9_000_000}
        assert not refused(ClockGuard(tmp_path), NOW + HOUR)

    def test_a_platform_without_boot_ids_relies_on_the_mark(self, tmp_path: Path, steady: dict[str, object]) -> None:
        steady |= {"boot": "", "uptime": 0}
        ClockGuard(tmp_path).check(NOW, MID)
        assert not refused(ClockGuard(tmp_path), NOW + HOUR)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)

    def test_this_system_tells_its_boot_or_nothing(self) -> None:
        assert clock._boot_id() == clock._boot_id()
        assert clock._uptime() >= 0


def test_the_second_place_is_under_a_chosen_home_and_beside_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYSEAT_HOME", raising=False)
    chosen = str(Path("chosen", "home"))
    assert second_state_folder(chosen).startswith(chosen)
    first, second = map(Path, ClockGuard().files(MID))
    assert not second.is_relative_to(first.parent.parent)
