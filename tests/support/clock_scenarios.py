"""Honest and dishonest clocks, simulated: a machine with a true time, a wall clock, boots and a steady clock.

Every check is the verifier's own, with a clock guard on real files. The suite and the table of docs/spec/clock.md take
their verdicts from here.
"""

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from keyseat_shared.errors import VerificationError
from keyseat_verifier import Verifier
from keyseat_verifier.client import clock
from keyseat_verifier.client.mark import Steady
from vendor import MACHINE, Vendor

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
USE = 3 * HOUR
"""How long the program is used after each check."""
STARTS = datetime(2023, 6, 1, tzinfo=UTC)
ENDS = STARTS + 10 * DAY
_VENDOR = Vendor(issued_at=datetime(2023, 5, 1, tzinfo=UTC))
_LICENSE = _VENDOR.license(issued_at="2023-06-01T00:00:00Z", expires_at="2023-06-11T00:00:00Z")
_LONG = _VENDOR.license(subscription__ends_at="2026-06-01T00:00:00Z", expires_at="2026-06-01T00:00:00Z")
CHECKS_AFTER = 15
"""Checks that follow once the clock of an honest machine is right again."""
MOST_DAYS = 30
"""How long an attack is watched; one that still works then is called endless."""


class World:
    """One machine.

    ``gained`` is how long the program was entitled after the true end of the licence; ``refused`` counts the checks
    before it that were refused although the clock was right. ``beside`` is another licence file that is looked at
    first, if any.
    """

    def __init__(self, folder: Path, *, counts_boots: bool, license_file: bytes = _LICENSE) -> None:
        """Begin on the first day of the licence, at eight in the morning."""
        self.folder = folder
        self.home = folder / "home"
        self.true = STARTS + 8 * HOUR
        self.offset = timedelta()
        self.uptime = 100
        self.boot = 1
        self.gained = timedelta()
        self.refused = 0
        self.last = ""
        self.guard = clock.ClockGuard(self.home)
        self.process = 0
        self._counts_boots = counts_boots
        self._license = license_file
        self.beside = b""
        self._ends = ENDS if license_file is _LICENSE else datetime.max.replace(tzinfo=UTC)

    @property
    def wall(self) -> datetime:
        """What the wall clock shows."""
        return self.true + self.offset

    def set_to(self, instant: datetime) -> None:
        """Set the wall clock."""
        self.offset = instant - self.true

    def boot_id(self) -> tuple[str, int]:
        """Return what the kernel tells of this boot."""
        return (f"boot-{self.boot}", 0) if self._counts_boots else ("", 0)

    def read_uptime(self) -> int:
        """Return the seconds since the boot."""
        return self.uptime

    def process_clock(self) -> Steady:
        """Return the clock of a program."""
        return (f"~{self.process}", self.uptime)

    def on(self, time: timedelta) -> None:
        """Let time pass with the machine running."""
        self.true += time
        self.uptime += int(time.total_seconds())

    def off(self, time: timedelta) -> None:
        """Switch the machine off for a time, and on again."""
        self.true += time
        self.boot += 1
        self.uptime = 100

    def check(self, *, worth: timedelta = timedelta()) -> str:
        """Start the program: return the verdict. ``worth`` is how long it is used then."""
        self.guard = clock.ClockGuard(self.home)
        self.process += 1
        verifier = Verifier(_VENDOR.bundle, clock=self.guard)
        if self.beside:
            with contextlib.suppress(VerificationError):
                verifier.verify(self.beside, machine=MACHINE, now=self.wall)
        try:
            verifier.verify(self._license, machine=MACHINE, now=self.wall)
        except VerificationError as error:
            self.last = str(error.code)
            if self.true < self._ends and not self.offset:
                self.refused += 1
        else:
            self.last = "OK"
            if self.true >= self._ends:
                self.gained += worth
        return self.last

    def day(self, *, each_use: Callable[[], object] = bool) -> None:
        """Use the program three times, nine hours in all; then switch off until the next morning."""
        for _ in range(3):
            each_use()
            self.check(worth=USE)
            self.on(USE)
            self.guard.keep_progress()
        self.off(DAY - 3 * USE)

    def tell_server_time(self) -> None:
        """Be told the time by a server: a lease that repeats our nonce."""
        clock.ClockGuard(self.home).check(self.wall, str(MACHINE), signed=self.true, fresh=self.true)

    def state_folders(self) -> tuple[Path, ...]:
        """Return the folders with the state: the home, and the account's own place."""
        return self.home, self.folder / "account"


@contextlib.contextmanager
def world(folder: Path, *, counts_boots: bool = True, license_file: bytes = _LICENSE) -> Iterator[World]:
    """Make a machine, and let the clock guard see it."""
    made = World(folder, counts_boots=counts_boots, license_file=license_file)
    with (
        mock.patch.object(clock, "_boot_id", made.boot_id),
        mock.patch.object(clock, "_uptime", made.read_uptime),
        mock.patch.object(clock, "_process_clock", made.process_clock),
        mock.patch.object(clock, "second_state_folder", return_value=str(folder / "account")),
        mock.patch.object(os, "fsync"),  # a power cut is not played
    ):
        yield made


# Honest clocks: what the user is refused while the clock is right ----------------------------------------------------


def _usual(machine: World) -> None:
    for _ in range(8):
        machine.day()


def _dual_boot(hours: int) -> Callable[[World], None]:
    """Another system keeps the hardware clock in local time: every start is wrong until the network corrects it."""

    def run(machine: World) -> None:
        for _ in range(8):
            machine.offset = hours * HOUR
            machine.check()
            machine.on(HOUR / 6)
            machine.offset = timedelta()
            machine.day()

    return run


def _renewed(machine: World) -> None:
    machine.beside = _LICENSE
    for _ in range(8):
        machine.day()
    _dual_boot(14)(machine)


def _renewed_late(machine: World) -> None:
    """The clock is ahead for an hour, and shows the end of the only licence; the next one is put in afterwards."""
    for _ in range(7):
        machine.day()
    machine.beside = _LICENSE
    machine.offset = 2.6 * DAY
    with contextlib.suppress(VerificationError):
        Verifier(_VENDOR.bundle, clock=clock.ClockGuard(machine.home)).verify(
            _LICENSE, machine=MACHINE, now=machine.wall
        )
    machine.on(HOUR)
    machine.offset = timedelta()
    for _ in range(5):
        machine.day()


def _dead_battery(machine: World) -> None:
    for _ in range(4):
        machine.set_to(datetime(2000, 1, 1, tzinfo=UTC))
        machine.check()
        machine.on(HOUR / 6)
        machine.offset = timedelta()
        machine.day()


def _stepped(machine: World) -> None:
    for minutes in (10, -10, 60, -60):
        machine.offset = timedelta(minutes=minutes)
        machine.check()
        machine.offset = timedelta()
        machine.day()


def _suspended(machine: World) -> None:
    _usual(machine)
    machine.true += 30 * DAY  # the host stops it: no clock of the guest goes on, then the wall clock is put right
    for _ in range(5):
        machine.day()


def _containers(machine: World) -> None:
    for _ in range(60):
        machine.boot += 1  # a micro virtual machine for each job, two at a time on one volume
        machine.uptime = 5
        machine.check()
        machine.on(HOUR / 4)
        former, uptime = machine.boot, machine.uptime
        machine.boot, machine.uptime = former - 1, uptime + 900
        machine.check()
        machine.boot, machine.uptime = former, uptime


def _year_ahead(hours: int) -> Callable[[World], None]:
    def run(machine: World) -> None:
        for _ in range(3):
            machine.day()
        for _ in range(max(1, hours // 24)):
            machine.offset = 365 * DAY
            for _ in range(min(hours, 3)):
                machine.check()
                machine.on(HOUR)
            if hours > DAY / HOUR:
                machine.off(DAY - 3 * HOUR)
        machine.offset = timedelta()
        for _ in range(5):
            machine.day()

    return run


def _year_ahead_then_server(machine: World) -> None:
    _year_ahead(24 * 14)(machine)
    machine.refused = 0
    machine.tell_server_time()
    for _ in range(3):
        machine.day()


def _lost(machine: World) -> None:
    for _ in range(5):
        machine.day()
    shutil.rmtree(machine.home)
    shutil.rmtree(machine.folder / "account")
    for _ in range(3):
        machine.day()


# Dishonest clocks: how long the program is entitled past the true end -----------------------------------------------


def _until_the_end(machine: World, *, every: int = 1) -> None:
    while machine.true < ENDS:
        machine.day()
        machine.true += (every - 1) * DAY


def _attack(machine: World, each_day: Callable[[], object], *, each_use: Callable[[], object] = bool) -> None:
    for _ in range(MOST_DAYS):
        each_day()
        machine.day(each_use=each_use)


def _day_before(machine: World) -> None:
    _until_the_end(machine)
    _attack(machine, lambda: machine.set_to(ENDS - DAY))


def _week_before(machine: World) -> None:
    _until_the_end(machine)
    _attack(machine, lambda: machine.set_to(ENDS - 7 * DAY))


def _after_expired(machine: World) -> None:
    _until_the_end(machine)
    machine.check()
    _attack(machine, lambda: machine.set_to(ENDS - DAY))


def _seconds_before(machine: World) -> None:
    _until_the_end(machine)
    _attack(machine, bool, each_use=lambda: machine.set_to(ENDS - timedelta(seconds=290)))


def _seconds_before_after_a_leap(machine: World) -> None:
    machine.check()
    machine.set_to(ENDS + 30 * DAY)
    machine.check()
    machine.true = ENDS
    for second in range(MOST_DAYS):
        machine.set_to(ENDS - timedelta(seconds=290 - second))
        machine.check(worth=3 * USE)


def _one_boot(machine: World) -> None:
    _until_the_end(machine)
    for _ in range(MOST_DAYS * 3):
        machine.set_to(ENDS - timedelta(seconds=290))
        machine.check(worth=USE)
        machine.on(USE)
        machine.guard.keep_progress()


def _lives_on(machine: World) -> None:
    _until_the_end(machine)
    machine.offset = -2 * DAY
    _attack(machine, bool)
    machine.offset = -4 * DAY
    _attack(machine, bool)


def _seldom_used(machine: World) -> None:
    _until_the_end(machine, every=3)
    _attack(machine, lambda: machine.set_to(ENDS - 3 * DAY))


def _frozen(machine: World) -> None:
    at = machine.true
    for _ in range(10 + MOST_DAYS):
        machine.set_to(at)
        machine.day()


def _stopped_at_night(machine: World) -> None:
    for _ in range(10 + MOST_DAYS):
        machine.day()
        machine.offset -= DAY - 3 * USE


def _start_only(machine: World, *, ends_well: bool) -> None:
    _until_the_end(machine)
    for _ in range(MOST_DAYS):
        machine.set_to(ENDS - DAY)
        machine.check(worth=3 * USE)
        machine.on(3 * USE)
        if ends_well:
            machine.guard.keep_progress()
        machine.off(DAY - 3 * USE)


def _deleted(machine: World, *, both: bool) -> None:
    _until_the_end(machine)

    def each_day() -> None:
        machine.set_to(ENDS - 7 * DAY)
        for folder in machine.state_folders()[: 2 if both else 1]:
            shutil.rmtree(folder, ignore_errors=True)

    _attack(machine, each_day)


def _restored(machine: World, *, both: bool) -> None:
    for _ in range(2):
        machine.day()
    copies = [(folder, machine.folder / f"copy-{folder.name}") for folder in machine.state_folders()][: 1 + both]
    for folder, copy in copies:
        shutil.copytree(folder, copy)
    _until_the_end(machine)

    def each_day() -> None:
        machine.set_to(ENDS - 7 * DAY)
        for folder, copy in copies:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(copy, folder)

    _attack(machine, each_day)


def _other_homes(machine: World) -> None:
    _until_the_end(machine)
    numbers = itertools.count(1)

    def each_day() -> None:
        machine.set_to(ENDS - 7 * DAY)
        machine.home = machine.folder / f"home-{next(numbers)}"

    _attack(machine, each_day)


class Honest(NamedTuple):
    """A clock that is wrong by mistake; ``is_long`` takes a licence that does not end meanwhile."""

    title: str
    run: Callable[[World], None]
    is_long: bool = False


class Dishonest(NamedTuple):
    """An attempt to use the program past the end."""

    title: str
    run: Callable[[World], None]


HONEST = (
    Honest("right clock, daily use", _usual),
    Honest("dual boot, hardware clock in local time, 14 hours ahead at every start until corrected", _dual_boot(14)),
    Honest("the same, renewed: the ended licence lies beside the next one", _renewed, is_long=True),
    Honest("dual boot, 12 hours behind", _dual_boot(-12)),
    Honest("dead battery: 2000-01-01 at every start until the network corrects it", _dead_battery),
    Honest("stepped by NTP, up to an hour in both directions", _stepped),
    Honest("virtual machine stopped for a month", _suspended, is_long=True),
    Honest("a micro virtual machine for each job, two at a time, one shared volume", _containers),
    Honest("a year ahead by mistake for an hour, the licence ends within that year", _year_ahead(1)),
    Honest("a year ahead by mistake for an hour, the licence does not end", _year_ahead(1), is_long=True),
    Honest("a year ahead by mistake for two days", _year_ahead(48), is_long=True),
    Honest("a year ahead by mistake for two weeks", _year_ahead(24 * 14), is_long=True),
    Honest("the same, then one answer of a server", _year_ahead_then_server, is_long=True),
    Honest("2.6 days ahead for an hour, which shows the end; renewed afterwards", _renewed_late, is_long=True),
    Honest("the state is lost", _lost),
)
DISHONEST = (
    Dishonest("set to a day before the end every morning", _day_before),
    Dishonest("set to a week before the end every morning", _week_before),
    Dishonest("the same to a day before, after `EXPIRED` was seen", _after_expired),
    Dishonest("set to 290 seconds before the end again and again, a restart every day", _seconds_before),
    Dishonest("the same without a restart", _one_boot),
    Dishonest("the same second by second, after a leap of a month had shown the end", _seconds_before_after_a_leap),
    Dishonest("set back two days at the end and left running, then two more", _lives_on),
    Dishonest("used one day in three; set to three days before the end every morning", _seldom_used),
    Dishonest("set to the first morning of the licence every morning, from the first day on", _frozen),
    Dishonest("stopped while the machine is off, from the first day on", _stopped_at_night),
    Dishonest(
        "set to a day before the end every morning; the program asks at its start only, and ends normally",
        lambda machine: _start_only(machine, ends_well=True),
    ),
    Dishonest(
        "the same, and it is killed every evening before the restart",
        lambda machine: _start_only(machine, ends_well=False),
    ),
    Dishonest("another home folder every morning, seven days before the end", _other_homes),
    Dishonest("the home's state deleted every morning", lambda machine: _deleted(machine, both=False)),
    Dishonest("the home's state restored from a copy every morning", lambda machine: _restored(machine, both=False)),
    Dishonest("the state deleted in both places every morning", lambda machine: _deleted(machine, both=True)),
    Dishonest("the state restored in both places every morning", lambda machine: _restored(machine, both=True)),
)


@functools.cache
def play(scenario: Honest | Dishonest, *, counts_boots: bool) -> World:
    """Play a scenario through, once, and return the machine as it is then."""
    long = isinstance(scenario, Honest) and scenario.is_long
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder), counts_boots=counts_boots, license_file=_LONG if long else _LICENSE) as machine,
    ):
        scenario.run(machine)
    return machine
