"""The clock guard: notices a clock that was set back, from what this software recorded on this machine.

A small state file, kept in two places, holds what is known of the time and what is provisional (`mark.py`;
docs/spec/clock.md). Losing or spoiling the state falls back to the signed instants; a state that cannot be written is a
warning. An honest user is never locked out by the guard's own troubles, nor by a clock that was ahead for a while.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, KeyseatError, RuleError, VerificationError
from keyseat_shared.files import read_file
from keyseat_shared.instants import CLOCK_TOLERANCE, format_instant
from keyseat_verifier._internal.paths import (
    STATE,
    former_state_folder,
    home_folder,
    second_state_folder,
    shown,
    write_private,
)
from keyseat_verifier.client import mark as marks
from keyseat_verifier.client.mark import NOTHING, Mark, Steady

INTERVAL = timedelta(minutes=1)
"""How often the state is read and written again while time goes on; well within the tolerance of 5 minutes."""

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_OFFSETS = "/proc/self/timens_offsets"
_SECONDS = 60  # of the interval
_AT_EXIT = timedelta(minutes=10)
_SEEN = "the latest time seen by this software on this machine"
_PASSED = "the time that has passed since this machine started"
_END = "the end of a licence that this software has seen on this machine"
_FIRST = datetime.min.replace(tzinfo=UTC)


_Known: TypeAlias = tuple[Mark, datetime, int]
"""What a process knows for one machine ID: the mark, the last reading accepted, and the steady clock then."""


class ClockGuard:
    """Remembers the latest instant seen on this machine, in two places. Thread- and fork-safe.

    Args:
        home: the home folder; by default that of ``KEYSEAT_HOME``.
        scope: whose licences are looked at (``scope_of`` a trust bundle): each vendor has a state of its own.

    ``warning`` says why the state could not be written, or is empty.
    """

    __slots__ = ("__weakref__", "_asked", "_boot", "_folders", "_halved", "_home", "_known", "_scope", "warning")

    def __init__(self, home: str | os.PathLike[str] | None = None, *, scope: str = "") -> None:
        """Name the home; nothing is read or made yet."""
        self._scope = scope
        self._home = home_folder(home)
        self._folders: tuple[str, str] | None = None
        self._known: dict[str, _Known] = {}
        self._asked: set[str] = set()
        self._halved: set[str] = set()
        self._boot: tuple[str, int] | None = None
        self.warning = ""

    def check(
        self,
        now: datetime,
        machine_id: str,
        *,
        signed: datetime = _FIRST,
        expires_at: datetime | None = None,
        fresh: datetime | None = None,
    ) -> None:
        """Require that ``now`` is not before the known time of this machine ID, and remember it.

        Args:
            now: an aware instant.
            machine_id: the machine ID in the file.
            signed: the latest signed instant at hand; it counts as known from now on.
            expires_at: the end of the licence or lease; ``EXPIRED`` where the known time has reached it.
            fresh: the time that a server has signed just now, over our nonce. It voids every recorded time that is not
                signed.

        Raises:
            ClockError: ``CLOCK_ROLLED_BACK`` that names the evidence and the files that hold it.
            RuleError: ``EXPIRED``.
        """
        steady = self._steady()
        known = self._known.get(machine_id)
        if (
            known is not None
            and fresh is None
            and known[1] <= now
            and now - known[1] < INTERVAL
            and 0 <= steady[1] - known[2] < _SECONDS
            and signed <= known[0].at
        ):
            self._require(now, known[0], marks.reached(known[0], steady), machine_id, expires_at)
            return
        self._asked.add(machine_id)
        recorded = self._read(machine_id)
        mark, reached = recorded or NOTHING, signed
        if known is not None:
            mark, reached = marks.newest(mark, known[0]), max(signed, marks.reached(known[0], steady))
        if fresh is not None and fresh >= mark.fresh:
            mark, reached = marks.fresh_from(fresh, now, steady), signed
            self._tell_others(mark, now, steady, machine_id)
        mark = mark._replace(at=max(mark.at, signed))
        reached = max(reached, marks.reached(mark, steady))
        anchored = marks.with_signed(mark, reached, steady)
        try:
            self._require(now, mark, reached, machine_id, expires_at)
            if marks.is_disputed(mark, now):
                self._require_not_before(now, mark, (mark.end, _END), machine_id, tolerance=timedelta())
        except VerificationError:
            # What time passes from here on counts, whatever the wall clock says; the reading itself only in a dispute.
            is_reading = marks.is_disputed(mark, now) and now >= reached
            self._keep(
                recorded, marks.after(anchored, now, steady) if is_reading else anchored, None, steady, machine_id
            )
            raise
        self._keep(recorded, marks.after(anchored, now, steady), now, steady, machine_id)

    def saw(self, at: datetime, machine_id: str) -> None:
        """Remember that the clock has reached ``at``. Raises nothing.

        The verifier passes the end of an expired licence, not the present: a clock that is far ahead by mistake then
        spoils that one licence at most.
        """
        steady = self._steady()
        known = self._known.get(machine_id)
        if known is not None and at <= max(known[0].at, known[0].over):
            return
        mark = self._read(machine_id) or NOTHING
        if at <= mark.at or at == mark.end:
            return
        marked = marks.after_end(mark, at, steady)
        if marked != mark:
            self._write(machine_id, marked)
            self._known[machine_id] = (marked, _FIRST, steady[1])

    def keep_progress(self) -> None:
        """Record how far the steady clock has run since the last check. The wall clock is not read.

        Call it when a session or a program ends, so that a program that checks only at its start counts too.
        """
        for machine_id, known in list(self._known.items()):
            recorded = self._read(machine_id)
            if recorded is None:  # lost since: that is no time to bring it back
                continue
            steady = self._steady()
            at = marks.reached(marks.newest(recorded, known[0]), steady)
            if at - recorded.at >= _AT_EXIT:
                self._write(machine_id, marks.with_signed(recorded, at, steady))

    def files(self, machine_id: str) -> tuple[str, ...]:
        """Return the two files that hold the state for a machine ID; they need not exist."""
        if self._folders is None:
            self._folders = (os.path.join(self._home, STATE), second_state_folder(self._home))
        name = marks.file_name(machine_id, self._scope)
        return tuple([os.path.join(folder, name) for folder in self._folders])

    def _keep(self, recorded: Mark | None, mark: Mark, now: datetime | None, steady: Steady, machine_id: str) -> None:
        self._known[machine_id] = (mark, now or _FIRST, steady[1])
        if recorded is None or machine_id in self._halved or _is_news(recorded, mark):
            self._write(machine_id, mark)

    def _tell_others(self, mark: Mark, now: datetime, steady: Steady, machine_id: str) -> None:
        """Let a server's time count for licence files too that were made for an earlier ID of this machine."""
        for other in self._asked - {machine_id}:
            self._known[other] = (mark, now, steady[1])
            self._write(other, mark)

    def _require(
        self, now: datetime, mark: Mark, reached: datetime, machine_id: str, expires_at: datetime | None
    ) -> None:
        # Without tolerance: with one, an ended licence would go on while somebody keeps setting the clock back.
        passed = max(reached, mark.over)
        if expires_at is not None and now < expires_at <= passed:
            raise RuleError(
                ReasonCode.EXPIRED,
                f"its time ended at {format_instant(expires_at)}: this machine has passed {format_instant(passed)}"
                f" already, though its clock says {format_instant(now)}",
                details={
                    "expires_at": format_instant(expires_at),
                    "now": format_instant(now),
                    "at": format_instant(passed),
                    "files": [shown(path) for path in self.files(machine_id)],
                },
            )
        if now < reached:
            self._require_not_before(now, mark, (mark.at, _SEEN), machine_id)
            self._require_not_before(now, mark, (reached, _PASSED), machine_id)

    def _require_not_before(
        self,
        now: datetime,
        mark: Mark,
        floor: tuple[datetime, str],
        machine_id: str,
        *,
        tolerance: timedelta = CLOCK_TOLERANCE,
    ) -> None:
        try:
            rules.check_not_before_floor(now, *floor, tolerance)
        except ClockError as error:
            places = [shown(path) for path in self.files(machine_id)]
            error.details["recorded_at"] = format_instant(mark.at)
            error.details["files"] = places
            error.next_step = (
                "Set the clock of this machine to the right time and try again. If it is right and was ahead by mistake"
                " for days, activate online once, or ask Customer Success; they may tell you to delete"
                f" {' and '.join(places)}."
            )
            raise

    def _steady(self) -> Steady:
        if self._boot is None:
            self._boot = _boot_id()
        name, offset = self._boot
        return (name, _uptime() - offset) if name else _process_clock()

    def _read(self, machine_id: str) -> Mark | None:
        """Return the newer of the two recorded marks; a missing, damaged or foreign one does not count."""
        found: list[Mark] = []
        former = b""
        for path in self.files(machine_id):
            try:
                data = read_file(path)
                # The copies are alike, but for somebody's doing.
                found.append(found[0] if data == former and found else marks.read(data, machine_id))
            except KeyseatError:
                continue
            former = data
        if len(found) == 1:  # the other copy was lost: it is made again
            self._halved.add(machine_id)
        else:
            self._halved.discard(machine_id)
        return marks.newest(*found) if found else self._read_old(machine_id)

    def _read_old(self, machine_id: str) -> Mark | None:
        """Return what a client before format 2 has recorded here."""
        found = []
        name = marks.file_name(machine_id, old=True)
        for folder in (os.path.join(self._home, STATE), former_state_folder(self._home)):
            try:
                found.append(marks.read_old(read_file(os.path.join(folder, name)), machine_id))
            except KeyseatError:
                continue
        return marks.with_old(NOTHING, max(found)) if found else None

    def _write(self, machine_id: str, mark: Mark) -> None:
        data = marks.write(mark, machine_id)
        warnings = []
        for path in self.files(machine_id):
            try:
                write_private(path, data)
            except OSError as error:
                warnings.append(f"{shown(path)}: {(error.strerror or 'unknown reason').lower()}")
        self.warning = f"the time could not be recorded ({'; '.join(warnings)})" if warnings else ""


def keep_progress_at_exit(guard: ClockGuard) -> None:
    """Let a guard keep the progress when the process ends: a program that asks only at its start is counted too."""
    import atexit  # late: only programs that embed the client need it
    import weakref

    known = weakref.ref(guard)

    def keep() -> None:
        found = known()
        if found is not None:
            found.keep_progress()

    atexit.register(keep)
    weakref.finalize(guard, atexit.unregister, keep).atexit = False


def _is_news(recorded: Mark, mark: Mark) -> bool:
    """Tell whether a mark says enough beyond the recorded one to be written: once a minute at most in usual times."""
    return (
        (recorded.fresh, recorded.over, recorded.end, recorded.days) != (mark.fresh, mark.over, mark.end, mark.days)
        or not marks.boots(mark) <= marks.boots(recorded)
        or mark.at - recorded.at >= INTERVAL
        or abs(mark.seen - recorded.seen) >= INTERVAL
    )


def _uptime() -> int:
    """Return the seconds since the boot, suspended time included; 0 where the platform does not tell."""
    import time  # late: built in, but only the guard needs it

    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0 if clock is None else int(time.clock_gettime(clock))


_process: list[str] = []


def _process_clock() -> Steady:
    """Return the clock of this process, where the platform names no boot: it is not written down."""
    import time

    if not _process:
        _process.append(f"{marks.PROCESS}{os.urandom(8).hex()}")
    return _process[0], int(time.monotonic())


def _boot_id() -> tuple[str, int]:
    """Return what names this boot (proc(5)), or "" where the platform does not tell, and an offset of its clock.

    A container can have a time namespace of its own, whose seconds since the boot differ by that offset
    (time_namespaces(7)); without it all containers of one kernel count alike.
    """
    try:
        with open(_BOOT_ID, "rb") as file:
            boot = file.read(64).strip().decode("ascii", "replace")
    except OSError:
        return "", 0
    try:
        with open(_OFFSETS, "rb") as file:
            for line in file.read(256).splitlines():
                words = line.split()
                if words[:1] == [b"boottime"]:
                    return boot, int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return boot, 0
