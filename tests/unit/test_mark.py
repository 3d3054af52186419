"""The model of what is known of the time, as pure functions: which readings count, and which are dropped."""

from datetime import datetime, timedelta

import pytest

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.client import mark as marks
from keyseat_verifier.client.mark import NOTHING, Mark
from vendor import MACHINE, NOW, OTHER_MACHINE

MID = str(MACHINE)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = marks.with_signed(NOTHING, NOW, ("boot-0", 0))


def seen(readings: list[datetime], mark: Mark = START) -> Mark:
    """Return the mark after readings, each in a boot of its own."""
    for number, now in enumerate(readings, 1):
        mark = marks.after(mark, now, (f"boot-{number}", 0))
    return mark


class TestSightings:
    def test_become_known_after_three_days(self) -> None:
        known = [seen([NOW + day * DAY for day in range(1, last + 1)]).at for last in range(1, 6)]
        assert [NOW, NOW, NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY] == known

    def test_need_a_day_more_for_each_hundred_days_of_a_leap(self) -> None:
        assert [3, 3, 4, 6, 10] == [marks.days_needed(days * DAY) for days in (1, 99, 100, 365, 10_000)]

    def test_are_never_known_within_forty_hours(self) -> None:
        for now in (NOW + step * HOUR for step in range(1, 200)):
            found = seen([NOW + hour * HOUR for hour in range(1, 200) if NOW + hour * HOUR <= now])
            assert now - found.at >= 40 * HOUR or found.at == NOW

    def test_within_one_boot_need_a_day_of_its_clock(self) -> None:
        quick = slow = START
        for day in range(1, 6):  # somebody tries out five dates within minutes, and somebody leaves the machine on
            quick = marks.after(quick, NOW + day * DAY, ("boot-1", day * 60))
            slow = marks.after(slow, NOW + day * DAY, ("boot-2", day * 86_400))
        assert ((NOW + DAY,), True) == (quick.days, quick.at < NOW + HOUR)
        assert slow.at > NOW + 3 * DAY

    def test_that_an_accepted_reading_contradicts_are_dropped(self) -> None:
        found = NOTHING
        for year in range(4):  # every year an hour a year ahead: never twice the same, and never counted together
            found = seen([NOW + (365 * year + 1) * DAY, NOW + (365 * (year + 5)) * DAY], found)
            found = marks.after(found, NOW + (365 * year + 2) * DAY, (f"back-{year}", 0))
            assert all(day <= NOW + (365 * year + 3) * DAY for day in found.days)

    def test_of_a_local_clock_are_kept(self) -> None:
        found = seen([NOW + DAY + 14 * HOUR, NOW + DAY])
        assert (NOW + DAY + 14 * HOUR,) == found.days


class TestTheNewestOfSeveral:
    def test_keeps_what_is_over_by_another(self) -> None:
        over = START._replace(over=NOW + DAY)
        later = START._replace(at=NOW + HOUR)
        assert later._replace(over=NOW + DAY) == marks.newest(over, later) == marks.newest(later, over)

    def test_knows_nothing_of_before_a_servers_answer(self) -> None:
        fresh = marks.fresh_from(NOW, NOW, ("boot-1", 5))
        assert fresh == marks.newest(START._replace(over=NOW + DAY), fresh)


class TestTheFile:
    FULL = Mark(NOW, NOW, NOW + DAY, NOW, NOW, (NOW + DAY,), ("boot-1", 7), (("boot-1", NOW, 5),))

    def test_is_read_as_it_was_written(self) -> None:
        for mark in (NOTHING, START, self.FULL):
            assert mark == marks.read(marks.write(mark, MID), MID)

    def test_holds_no_clock_of_a_process(self) -> None:
        mark = marks.with_signed(self.FULL, NOW + DAY, (f"{marks.PROCESS}1", 5))
        assert self.FULL.boots == marks.read(marks.write(mark, MID), MID).boots

    def test_of_another_machine_is_refused(self) -> None:
        with pytest.raises(KeyseatError, match="not this machine's"):
            marks.read(marks.write(self.FULL, MID), str(OTHER_MACHINE))

    def test_is_refused_with_every_byte_lost_or_changed(self) -> None:
        data = marks.write(self.FULL, MID).rstrip(b"\n")
        for at in range(len(data)):
            for damaged in (data[:at], data[:at] + b"\x00" + data[at + 1 :]):
                with pytest.raises(KeyseatError):
                    marks.read(damaged, MID)

    def test_has_a_name_for_each_machine_vendor_and_format(self) -> None:
        names = {
            marks.file_name(MID),
            marks.file_name(MID, "vendor"),
            marks.file_name(str(OTHER_MACHINE)),
            marks.file_name(MID, old=True),
        }
        assert 4 == len(names)
