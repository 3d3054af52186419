"""The clock guard: what it remembers, what it notices, and that it locks no honest user out.

The model alone is in test_mark.py; whole honest and dishonest lives of a clock are in test_clock_scenarios.py.
"""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from keyseat_shared.errors import ClockError, RuleError
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import hmac_sha256
from keyseat_shared.strictjson import dumps_compact
from keyseat_verifier import ClockGuard
from keyseat_verifier._internal.paths import second_state_folder, shown
from keyseat_verifier.client import clock
from keyseat_verifier.client.mark import file_name
from vendor import MACHINE, NOW, OTHER_MACHINE

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MID = str(MACHINE)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The boot and its steady clock, under the test's control."""
    state: dict[str, object] = {"boot": "boot-1", "uptime": 1000, "offset": 0, "process": "~1"}
    monkeypatch.setattr(clock, "_boot_id", lambda: (state["boot"], state["offset"]))
    monkeypatch.setattr(clock, "_uptime", lambda: state["uptime"])
    monkeypatch.setattr(clock, "_process_clock", lambda: (state["process"], state["uptime"]))
    return state


def refused(guard: ClockGuard, now: object, machine_id: str = MID, **more: object) -> bool:
    try:
        guard.check(now, machine_id, **more)
    except ClockError:
        return True
    return False


def ended(guard: ClockGuard, now: object, expires_at: object) -> bool:
    try:
        guard.check(now, MID, expires_at=expires_at)
    except RuleError as error:
        return error.code == "EXPIRED"
    return False


class TestKnownTime:
    def test_going_on_is_fine(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        assert [False] * 5 == [refused(guard, NOW + step * HOUR) for step in range(5)]

    def test_is_not_made_by_one_reading(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        assert not refused(ClockGuard(tmp_path), NOW - 14 * HOUR)

    def test_is_what_was_signed(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)

    def test_counts_within_a_run_too(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        assert refused(guard, NOW - HOUR)

    def test_leaves_five_minutes(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        assert not refused(ClockGuard(tmp_path), NOW - 5 * MINUTE)
        assert refused(ClockGuard(tmp_path), NOW - 5 * MINUTE - timedelta(seconds=1))

    def test_of_lags_that_are_tolerated_does_not_add_up(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        ClockGuard(tmp_path).check(NOW - 4 * MINUTE, MID)
        assert refused(ClockGuard(tmp_path), NOW - 8 * MINUTE)

    def test_is_not_made_by_a_refused_reading(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)
        assert not refused(ClockGuard(tmp_path), NOW)

    def test_that_refuses_names_the_evidence_and_the_files(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        with pytest.raises(ClockError, match="latest time seen by this software on this machine") as caught:
            guard.check(NOW - HOUR, MID)
        assert "2023-12-01T12:00:00Z" == caught.value.details["recorded_at"]
        assert [shown(path) for path in guard.files(MID)] == caught.value.details["files"]
        assert all(shown(path) in caught.value.next_step for path in guard.files(MID))
        assert "activate online once" in caught.value.next_step

    def test_is_kept_for_each_machine_id(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        assert not refused(ClockGuard(tmp_path), NOW - HOUR, str(OTHER_MACHINE))

    def test_has_no_overflow_at_the_end_of_all_dates(self, tmp_path: Path, steady: dict[str, object]) -> None:
        last = NOW.replace(year=9999, month=12, day=31, hour=23, minute=59, second=59)
        guard = ClockGuard(tmp_path)
        for _ in range(3):
            guard.check(last, MID, signed=last)
            steady["uptime"] = int(str(steady["uptime"])) + 10**7
        assert not refused(ClockGuard(tmp_path), last)


class TestAnEnd:
    """What is checked is over where the known time has reached its end, whatever the clock says."""

    def test_that_is_reached_has_no_tolerance(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW - 290 * MINUTE / 60, MID, signed=NOW - 290 * MINUTE / 60)
        steady["uptime"] = 1000 + 290
        assert not ended(ClockGuard(tmp_path), NOW - 290 * MINUTE / 60, NOW + MINUTE)
        assert ended(ClockGuard(tmp_path), NOW - 290 * MINUTE / 60, NOW)

    def test_comes_after_as_much_running_time_as_was_left_boot_after_boot(
        self, tmp_path: Path, steady: dict[str, object]
    ) -> None:
        ends_at = NOW + timedelta(seconds=290)
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        for boot in range(2, 5):
            steady |= {"boot": f"boot-{boot}", "uptime": 60}
            assert not ended(ClockGuard(tmp_path), NOW, ends_at)
            steady["uptime"] = 60 + 80
            assert not ended(ClockGuard(tmp_path), NOW, ends_at)
        steady |= {"boot": "boot-5", "uptime": 60}
        assert not ended(ClockGuard(tmp_path), NOW, ends_at)
        steady["uptime"] = 60 + 60
        assert ended(ClockGuard(tmp_path), NOW, ends_at)

    def test_counts_running_time_also_where_the_clock_was_refused(
        self, tmp_path: Path, steady: dict[str, object]
    ) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        steady |= {"boot": "boot-2", "uptime": 60}
        assert refused(ClockGuard(tmp_path), NOW - HOUR)
        steady["uptime"] = 60 + 3600 + 60
        assert ended(ClockGuard(tmp_path), NOW, NOW + HOUR)

    def test_stays_for_a_running_program_whose_state_is_put_back(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        before = {path: path.read_bytes() for path in map(Path, guard.files(MID))}
        guard.saw(NOW + DAY, MID)
        for path, data in before.items():
            path.write_bytes(data)
        guard.check(NOW, MID)
        assert ended(ClockGuard(tmp_path), NOW, NOW + DAY)

    def test_seen_step_by_step_stays(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        ClockGuard(tmp_path).saw(NOW + DAY, MID)
        assert ended(ClockGuard(tmp_path), NOW + DAY - HOUR, NOW + DAY)
        # The clock may have been hours ahead: a licence that ends later goes on.
        assert not refused(ClockGuard(tmp_path), NOW + DAY - HOUR)
        assert ended(ClockGuard(tmp_path), NOW + DAY - HOUR, NOW + DAY)

    def test_seen_after_a_leap_is_forgotten_when_the_clock_goes_on_as_before(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        ClockGuard(tmp_path).saw(NOW + 200 * DAY, MID)
        assert not ended(ClockGuard(tmp_path), NOW + HOUR, NOW + 200 * DAY)
        assert not refused(ClockGuard(tmp_path), NOW + 30 * DAY)

    def test_seen_after_a_leap_refuses_what_does_not_go_on_from_before(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        ClockGuard(tmp_path).saw(NOW + 200 * DAY, MID)
        with pytest.raises(ClockError, match="the end of a licence that this software has seen"):
            ClockGuard(tmp_path).check(NOW + 150 * DAY, MID)

    def test_that_is_disputed_ends_when_the_time_before_it_is_known(
        self, tmp_path: Path, steady: dict[str, object]
    ) -> None:
        ClockGuard(tmp_path).saw(NOW, MID)
        found = []
        for day in range(14):
            steady["boot"] = f"boot-{day}"
            found.append(refused(ClockGuard(tmp_path), NOW + (day - 100) * DAY))
        assert [True] * 10 + [False] * 4 == found

    def test_an_instant_before_what_is_known_changes_nothing(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        before = [Path(path).read_bytes() for path in guard.files(MID)]
        guard.saw(NOW - HOUR, MID)
        ClockGuard(tmp_path).saw(NOW - HOUR, MID)
        assert before == [Path(path).read_bytes() for path in guard.files(MID)]


class TestAServersAnswer:
    def test_voids_what_was_only_read(self, tmp_path: Path, steady: dict[str, object]) -> None:
        for day in range(20):
            steady["boot"] = f"boot-{day}"
            ClockGuard(tmp_path).check(NOW + (365 + day) * DAY, MID)
        assert refused(ClockGuard(tmp_path), NOW)
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW, fresh=NOW)
        assert not refused(ClockGuard(tmp_path), NOW)
        assert refused(ClockGuard(tmp_path), NOW - HOUR)

    def test_counts_for_files_of_an_earlier_id_of_the_machine(self, tmp_path: Path) -> None:
        other = str(OTHER_MACHINE)
        ClockGuard(tmp_path).check(NOW + DAY, other, signed=NOW + DAY)
        guard = ClockGuard(tmp_path)
        assert refused(guard, NOW, other)
        guard.check(NOW, MID, signed=NOW, fresh=NOW)
        assert not refused(guard, NOW, other)
        assert not refused(ClockGuard(tmp_path), NOW, other)

    def test_does_not_go_behind_an_earlier_one(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW, fresh=NOW)
        assert refused(ClockGuard(tmp_path), NOW - HOUR, signed=NOW - HOUR, fresh=NOW - HOUR)


class TestProgress:
    """What the steady clock counts, although nobody asks any more."""

    def test_is_kept_at_the_end_of_a_program(self, tmp_path: Path, steady: dict[str, object]) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        steady["uptime"] = 1000 + 8 * 3600
        guard.keep_progress()
        steady |= {"boot": "boot-2", "uptime": 10}
        assert refused(ClockGuard(tmp_path), NOW + 7 * HOUR)

    def test_is_kept_where_the_platform_names_no_boot(self, tmp_path: Path, steady: dict[str, object]) -> None:
        steady["boot"] = ""
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        steady["uptime"] = 1000 + 8 * 3600
        guard.keep_progress()
        steady |= {"process": "~2", "uptime": 10}
        assert refused(ClockGuard(tmp_path), NOW + 7 * HOUR)
        assert b"~" not in Path(guard.files(MID)[0]).read_bytes()

    def test_of_minutes_is_not_worth_writing(self, tmp_path: Path, steady: dict[str, object]) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        before = Path(guard.files(MID)[0]).stat().st_ino
        steady["uptime"] = 1000 + 500
        guard.keep_progress()
        assert before == Path(guard.files(MID)[0]).stat().st_ino

    def test_brings_back_no_state_that_was_deleted(self, tmp_path: Path, steady: dict[str, object]) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        for path in guard.files(MID):
            Path(path).unlink()
        steady["uptime"] = 1000 + 8 * 3600
        guard.keep_progress()
        assert [False, False] == [Path(path).exists() for path in guard.files(MID)]

    def test_is_kept_at_exit(self, tmp_path: Path) -> None:
        program = f"""
from datetime import UTC, datetime
from keyseat_verifier.client import clock
clock._boot_id = lambda: ("boot-1", 0)
clock._uptime = lambda: 1000
guard = clock.ClockGuard({str(tmp_path)!r})
now = datetime(2023, 12, 1, 12, tzinfo=UTC)
guard.check(now, {MID!r}, signed=now)
clock.keep_progress_at_exit(guard)
clock._uptime = lambda: 1000 + 8 * 3600
"""
        subprocess.run([sys.executable, "-c", program], check=True)
        assert refused(ClockGuard(tmp_path), NOW + 7 * HOUR)


class TestState:
    def test_that_lost_one_copy_gets_it_back(self, tmp_path: Path) -> None:
        ClockGuard(tmp_path).check(NOW, MID)
        files = [Path(path) for path in ClockGuard(tmp_path).files(MID)]
        for lost in files:
            lost.unlink()
            ClockGuard(tmp_path).check(NOW, MID)
            assert files[0].read_bytes() == files[1].read_bytes()

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
            guard.check(NOW, MID, signed=NOW)
            Path(guard.files(MID)[lost]).unlink()
            assert refused(ClockGuard(tmp_path / str(lost)), NOW - HOUR)

    @pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 99, b"[]", b'{"format":1}', b"x" * 100_000])
    def test_a_spoilt_state_locks_nobody_out(self, tmp_path: Path, content: bytes) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        for path in guard.files(MID):
            Path(path).write_bytes(content)
        assert not refused(ClockGuard(tmp_path), NOW - HOUR)

    @pytest.mark.parametrize(
        "change", [{"at": "2099-01-01T00:00:00Z"}, {"mac": "0" * 64}, {"mac": 1}, {"day": ["", 1]}]
    )
    def test_an_edited_state_does_not_count(self, tmp_path: Path, change: dict[str, object]) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        for path in guard.files(MID):
            Path(path).write_text(json.dumps(json.loads(Path(path).read_bytes()) | change))
        assert not refused(ClockGuard(tmp_path), NOW - HOUR)

    def test_a_state_carried_over_from_another_machine_does_not_count(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW + 1000 * HOUR, str(OTHER_MACHINE), signed=NOW + 1000 * HOUR)
        for theirs, ours in zip(guard.files(str(OTHER_MACHINE)), guard.files(MID), strict=True):
            Path(theirs).rename(ours)
        assert not refused(ClockGuard(tmp_path), NOW)

    def test_a_place_that_cannot_be_written_is_a_warning(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        for path in guard.files(MID):
            if Path(path).parent.exists():
                Path(path).parent.rmdir()
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
            guard.check(NOW + timedelta(seconds=seconds), MID, signed=NOW)
            recorded.append(json.loads(path.read_bytes())["seen"][14:19])
        assert recorded == ["00:00", "00:00", "00:00", "01:00", "01:00", "01:00", "02:00"]

    def test_a_later_mark_of_another_process_is_kept(self, tmp_path: Path) -> None:
        first, second = ClockGuard(tmp_path), ClockGuard(tmp_path)
        first.check(NOW, MID, signed=NOW)
        second.check(NOW + HOUR, MID, signed=NOW + HOUR)
        assert refused(first, NOW + 2 * MINUTE)


class TestWithinOneBoot:
    def test_time_must_move_on_with_the_steady_clock(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        steady["uptime"] = 1000 + 5 * 3600
        guard = ClockGuard(tmp_path)
        with pytest.raises(ClockError, match="the time that has passed since this machine started"):
            guard.check(NOW + HOUR, MID)
        assert not refused(guard, NOW + 5 * HOUR)

    def test_the_steady_clock_may_run_fast_by_a_thousandth(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        steady["uptime"] = 1000 + 10_000 * 3600
        assert not refused(ClockGuard(tmp_path), NOW + 9_990 * HOUR)
        assert refused(ClockGuard(tmp_path), NOW + 9_989 * HOUR)

    def test_another_boot_says_nothing(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        steady |= {"boot": "boot-2", "uptime": 9_000_000}
        assert not refused(ClockGuard(tmp_path), NOW + HOUR)

    def test_a_steady_clock_that_goes_back_says_nothing(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        steady["uptime"] = 5
        assert not refused(ClockGuard(tmp_path), NOW + HOUR)

    def test_a_time_namespace_is_seen_through(self, tmp_path: Path, steady: dict[str, object]) -> None:
        ClockGuard(tmp_path).check(NOW, MID, signed=NOW)
        steady |= {"uptime": 1_000_000 + 1000 + 5 * 3600, "offset": 1_000_000}
        assert refused(ClockGuard(tmp_path), NOW + HOUR)
        assert not refused(ClockGuard(tmp_path), NOW + 5 * HOUR)

    @pytest.mark.parametrize(
        ("offsets", "expected"),
        [
            (b"monotonic           5         0\nboottime      -12345         0\n", -12345),
            (b"monotonic           0         0\nboottime           0         0\n", 0),
            (b"boottime\n", 0),
            (b"boottime x 0\n", 0),
            (None, 0),
        ],
    )
    def test_the_offset_of_a_time_namespace_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offsets: bytes | None, expected: int
    ) -> None:
        (tmp_path / "boot").write_bytes(b"boot-1\n")
        if offsets is not None:
            (tmp_path / "offsets").write_bytes(offsets)
        monkeypatch.setattr(clock, "_BOOT_ID", str(tmp_path / "boot"))
        monkeypatch.setattr(clock, "_OFFSETS", str(tmp_path / "offsets"))
        assert ("boot-1", expected) == clock._boot_id()

    def test_two_kernels_that_share_a_home_do_not_disturb_each_other(
        self, tmp_path: Path, steady: dict[str, object]
    ) -> None:
        for hour in range(6):
            steady |= {"boot": f"boot-{hour % 2}", "uptime": hour * 3600 + (hour % 2) * 10**7}
            assert not refused(ClockGuard(tmp_path), NOW + hour * HOUR, signed=NOW)
        assert refused(ClockGuard(tmp_path), NOW + 3 * HOUR)

    def test_this_system_tells_its_boot_or_nothing(self) -> None:
        assert clock._boot_id() == clock._boot_id()
        assert clock._uptime() >= 0
        assert clock._process_clock()[0] == clock._process_clock()[0]


class TestOlderClients:
    """Format 1 kept one mark under another name: the latest reading."""

    def put(self, home: Path, at: object, machine_id: str = MID) -> Path:
        content = {"format": 1, "at": format_instant(at), "boot": "b", "uptime": 5}
        key = hmac_sha256(b"keyseat/clock/v1/", machine_id.encode())
        path = home / "state" / file_name(machine_id, old=True)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dumps_compact(content | {"mac": hmac_sha256(key, dumps_compact(content)).hex()}))
        return path

    def test_leave_a_sighting(self, tmp_path: Path, steady: dict[str, object]) -> None:
        self.put(tmp_path, NOW)
        found = []
        for day in range(1, 12):
            steady["boot"] = f"boot-{day}"
            found.append(refused(ClockGuard(tmp_path), NOW + day * DAY))
        assert [False] * 11 == found
        assert refused(ClockGuard(tmp_path), NOW)

    def test_that_saw_a_clock_ahead_lock_nobody_out(self, tmp_path: Path) -> None:
        path = self.put(tmp_path, NOW + 365 * DAY)
        before = path.read_bytes()
        assert not refused(ClockGuard(tmp_path), NOW)
        assert before == path.read_bytes()

    def test_are_not_asked_once_there_is_a_newer_state(self, tmp_path: Path) -> None:
        guard = ClockGuard(tmp_path)
        guard.check(NOW, MID, signed=NOW)
        self.put(tmp_path, NOW + 10 * DAY)
        ClockGuard(tmp_path).check(NOW + HOUR, MID)
        assert [] == json.loads(Path(guard.files(MID)[0]).read_bytes())["days"]

    def test_of_another_machine_say_nothing(self, tmp_path: Path) -> None:
        self.put(tmp_path, NOW, str(OTHER_MACHINE)).rename(tmp_path / "state" / file_name(MID, old=True))
        guard = ClockGuard(tmp_path)
        guard.check(NOW - HOUR, MID, signed=NOW - HOUR)
        assert [] == json.loads(Path(guard.files(MID)[0]).read_bytes())["days"]


def test_the_second_place_is_the_accounts_own_whatever_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_account_home: Path
) -> None:
    for home in (tmp_path / "one", tmp_path / "two"):
        monkeypatch.setenv("KEYSEAT_HOME", str(home))
        assert home / "state" == Path(ClockGuard().files(MID)[0]).parent
        assert own_account_home / ".local" / "state" / "keyseat" == Path(ClockGuard().files(MID)[1]).parent
    assert str(own_account_home / ".local" / "state" / "keyseat") == second_state_folder("anywhere")
