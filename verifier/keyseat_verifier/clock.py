"""The clock guard: notices a clock that was set back, from what this software recorded on this machine.

A small state file, kept in two places, holds the latest instant seen (the high-water mark) and, on Linux, the boot in
which it was seen and the seconds since that boot: within one boot time must have moved on as far as the kernel's
steady clock has. Losing or spoiling the state falls back to the signed instants that the verifier checks itself; a
state that cannot be written is a warning. An honest user is never locked out by the guard's own troubles.
"""

import os
from datetime import datetime, timedelta
from typing import NamedTuple

from keyseat_shared import fields, rules
from keyseat_shared.boundary import guarded
from keyseat_shared.errors import ClockError, KeyseatError
from keyseat_shared.files import read_file
from keyseat_shared.instants import format_instant, shifted
from keyseat_shared.machine_id import hmac_sha256
from keyseat_shared.strictjson import dumps_compact, loads_object, malformed, require_keys
from keyseat_verifier.paths import STATE, home_folder, second_state_folder, shown, write_private

INTERVAL = timedelta(minutes=1)
"""How often the state is read and written again while time goes on; well within the tolerance of 5 minutes."""

_FORMAT = 1
_KEYS = frozenset({"format", "at", "boot", "uptime", "mac"})
_KEY = b"keyseat/clock/v1/"
_MAX_UPTIME = 2**53


class Mark(NamedTuple):
    """An instant seen, the boot in which it was ("" where unknown) and the whole seconds that boot had lasted."""

    at: datetime
    boot: str
    uptime: int


class ClockGuard:
    """Remembers the latest instant seen on this machine, in two places under its folders. Thread- and fork-safe.

    Args:
        home: the home folder; by default that of ``KEYSEAT_HOME``.

    ``warning`` says why the state could not be written, or is empty.
    """

    __slots__ = ("_boot", "_folders", "_known", "warning")

    def __init__(self, home: str | os.PathLike[str] | None = None) -> None:
        """Choose the folders; nothing is read or made yet."""
        folder = home_folder(home)
        self._folders = (os.path.join(folder, STATE), second_state_folder(folder))
        self._known: dict[str, Mark] = {}
        self._boot: str | None = None
        self.warning = ""

    def check(self, now: datetime, machine_id: str) -> None:
        """Require that ``now`` is not before what was recorded for this machine ID, and remember it.

        Raises:
            ClockError: ``CLOCK_ROLLED_BACK`` that names the evidence and the files that hold it.
        """
        known = self._known.get(machine_id)
        if known is not None and known.at <= now < shifted(known.at, INTERVAL):
            self._require(now, known, machine_id)
            return
        recorded = self._read(machine_id)
        latest = recorded if known is None or (recorded is not None and recorded.at > known.at) else known
        if latest is not None:
            self._require(now, latest, machine_id)
        if latest is None or now > latest.at:
            latest = Mark(now, self._this_boot(), _uptime())
            if recorded is None or now >= shifted(recorded.at, INTERVAL):
                self._write(machine_id, latest)
        self._known[machine_id] = latest

    def saw(self, at: datetime, machine_id: str) -> None:
        """Remember that the clock has reached ``at``, which refuses nothing now.

        The verifier tells the end of an expired licence rather than the present: a clock that is far ahead by
        mistake then spoils that one licence at most.
        """
        recorded = self._read(machine_id)
        if recorded is None or at > recorded.at:
            mark = Mark(at, self._this_boot(), _uptime())
            self._write(machine_id, mark)
            self._known[machine_id] = mark

    def files(self, machine_id: str) -> tuple[str, ...]:
        """Return the two files that hold the state for a machine ID; they need not exist."""
        # One file per machine ID: a state copied from elsewhere, or made for another user, does not get in the way.
        name = f"clock-{hmac_sha256(_KEY + b'name', machine_id.encode()).hex()[:16]}.json"
        return tuple([os.path.join(folder, name) for folder in self._folders])

    def _require(self, now: datetime, mark: Mark, machine_id: str) -> None:
        try:
            rules.check_not_before_floor(now, mark.at, "the latest time seen by this software on this machine")
            if mark.boot and mark.boot == self._this_boot():
                floor = shifted(mark.at, timedelta(seconds=max(0, _uptime() - mark.uptime)))
                rules.check_not_before_floor(now, floor, "the time that has passed since this machine started")
        except ClockError as error:
            places = [shown(path) for path in self.files(machine_id)]
            error.details["recorded_at"] = format_instant(mark.at)
            error.details["files"] = places
            error.next_step = (
                "Set the clock of this machine to the right time and try again. If the clock is right and was once"
                f" ahead by mistake, ask Customer Success; they may tell you to delete {' and '.join(places)}."
            )
            raise

    def _this_boot(self) -> str:
        if self._boot is None:
            self._boot = _boot_id()
        return self._boot

    def _read(self, machine_id: str) -> Mark | None:
        """Return the later of the two recorded marks; what is missing, spoilt or another machine's does not count."""
        marks = []
        for path in self.files(machine_id):
            try:
                marks.append(_parse(read_file(path), machine_id))
            except KeyseatError:
                continue
        return max(marks, default=None)

    def _write(self, machine_id: str, mark: Mark) -> None:
        content = _content(mark)
        data = dumps_compact(content | {"mac": _mac(machine_id, content)}) + b"\n"
        warnings = []
        for path in self.files(machine_id):
            try:
                write_private(path, data)
            except OSError as error:
                warnings.append(f"{shown(path)}: {(error.strerror or 'unknown reason').lower()}")
        self.warning = f"the time could not be recorded ({'; '.join(warnings)})" if warnings else ""


def _content(mark: Mark) -> dict[str, object]:
    return {"format": _FORMAT, "at": format_instant(mark.at), "boot": mark.boot, "uptime": mark.uptime}


def _mac(machine_id: str, content: dict[str, object]) -> str:
    key = hmac_sha256(_KEY, machine_id.encode())
    return hmac_sha256(key, dumps_compact(content)).hex()


@guarded()
def _parse(data: bytes, machine_id: str) -> Mark:
    value = loads_object(data)
    require_keys(value, "the state", _KEYS)
    fields.whole(value["format"], "format", _FORMAT, _FORMAT)
    boot = value["boot"]
    mark = Mark(
        fields.instant(value["at"], "at"),
        fields.text(boot, "boot") if boot else "",
        fields.whole(value["uptime"], "uptime", 0, _MAX_UPTIME),
    )
    # Keyed to the machine: a state carried over from another one says nothing about this clock.
    if value["mac"] != _mac(machine_id, _content(mark)):
        malformed("the state is not this machine's")
    return mark


def _uptime() -> int:
    """Return the seconds since the boot, suspended time included; 0 where the platform does not tell."""
    import time  # noqa: PLC0415 - late: built in, but only the guard needs it

    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0 if clock is None else int(time.clock_gettime(clock))


def _boot_id() -> str:
    """Return what names this boot (proc(5)), or "" where the platform does not tell.

    A container can have a time namespace of its own (time_namespaces(7)), in which the seconds since the boot differ.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read(64).strip().decode("ascii", "replace")
    except OSError:
        return ""
    try:
        return f"{boot}/{os.stat('/proc/self/ns/time').st_ino}"
    except OSError:
        return boot
