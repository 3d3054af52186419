"""What is known of the time on one machine, and how it grows: the model of docs/spec/clock.md as pure functions.

*Known* is an instant that the true time has certainly passed: a signed one, what the kernel's steady clock has counted
on from there, and a clock reading once it has been seen on several days. Every other reading is provisional.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from keyseat_shared import fields
from keyseat_shared.boundary import guarded
from keyseat_shared.instants import format_instant, shifted
from keyseat_shared.machine_id import hmac_sha256
from keyseat_shared.strictjson import dumps_compact, loads_object, malformed, require_keys

DAY_APART = timedelta(hours=20)
"""How far two sightings lie apart that count as two days. Zones of a local clock are 14 hours off UTC at most."""
DAYS = 3
"""On how many days a clock reading must be seen before it is known; one more for each ``LEAP`` that it jumps ahead."""
LEAP = timedelta(days=100)
MOST_DAYS = 10
NEAR = timedelta(days=3)
"""Longest step of the clock after which the end of a licence is believed at once."""
MOST_BOOTS = 8
PROCESS = "~"
"""How the name of a process's own clock begins, where the platform names no boot: such an anchor is not written."""

_FORMAT = 2
_KEYS = frozenset({"format", "fresh", "at", "over", "seen", "end", "days", "day", "boots", "mac"})
_OLD_FORMAT = 1
_OLD_KEYS = frozenset({"format", "at", "boot", "uptime", "mac"})
_KEY = b"keyseat/clock/v1/"
_MAX_UPTIME = 2**40
_DRIFT = 1000  # a steady clock that runs fast gains less than one second in these
_FIRST = datetime.min.replace(tzinfo=UTC)


# Plain tuples: every named one costs a client's start what a whole check does.
Steady: TypeAlias = tuple[str, int]
"""A steady clock: what names the boot (or the process, where nothing does), and whole seconds since its start."""
Anchor: TypeAlias = tuple[str, datetime, int]
"""A boot, an instant, and the seconds that the boot had lasted when the true time was that instant or later."""


class Mark(NamedTuple):
    """What is known and what is provisional. Of two marks of one machine the greater one is the newer.

    ``fresh`` is the latest time that a server has told, and ``at`` the known instant. What ended at ``over`` or before
    has ended for good. ``seen`` is the latest clock reading that followed without a leap, and ``end`` the end of a
    licence that the clock showed after one. ``days`` are the provisional sightings, in order, and ``day`` is when the
    last of them was made; ``boots`` are the anchors.
    """

    fresh: datetime
    at: datetime
    over: datetime
    seen: datetime
    end: datetime
    days: tuple[datetime, ...]
    day: Steady
    boots: tuple[Anchor, ...]


NOTHING = Mark(_FIRST, _FIRST, _FIRST, _FIRST, _FIRST, (), ("", 0), ())
"""The mark of a machine of which nothing is recorded."""


def newest(*marks: Mark) -> Mark:
    """Return the newest of one or more marks of one machine: what is over by one of them stays over."""
    best = max(marks)
    return best._replace(over=max([mark.over for mark in marks if mark.fresh == best.fresh]))


def reached(mark: Mark, steady: Steady) -> datetime:
    """Return the instant that the true time has certainly passed."""
    anchored = _anchored(mark, steady)
    return mark.at if anchored is None or anchored < mark.at else anchored


def with_signed(mark: Mark, signed: datetime, steady: Steady) -> Mark:
    """Return the mark after a signed instant, and anchored to this boot."""
    at = max(signed, reached(mark, steady))
    return _anchor(mark._replace(at=at, seen=max(mark.seen, at)), at, steady)


def after(mark: Mark, now: datetime, steady: Steady) -> Mark:
    """Return the mark after a clock reading that does not lie before what is known."""
    at = reached(mark, steady)
    # A sighting far ahead of an accepted reading is contradicted by it: the clock was ahead by mistake then.
    days = [day for day in mark.days if day > at and day - now <= DAY_APART]
    day = mark.day
    if now - (days[-1] if days else at) >= DAY_APART and _is_another_day(day, steady):
        days.append(now)
        day = steady
    while days and len(days) >= days_needed(days[0] - at):
        at = days.pop(0)
    seen, end = max(mark.seen, at), mark.end
    if now - seen <= NEAR:
        seen, end = max(now, at), _FIRST if now < end else end
    return _anchor(mark._replace(at=at, seen=seen, end=end, days=tuple(days), day=day), at, steady)


def after_end(mark: Mark, ends_at: datetime, steady: Steady) -> Mark:
    """Return the mark after the clock was seen at or past the end of a licence.

    Where the clock came there step by step the licence is over for good. After a leap that is provisional. Neither says
    what time it is: a clock that is hours ahead must not spoil a licence that ends later.
    """
    at = reached(mark, steady)
    if ends_at - max(mark.seen, at) <= NEAR:
        return _anchor(mark._replace(at=at, over=max(mark.over, ends_at)), at, steady)
    return _anchor(mark._replace(at=at, end=max(mark.end, ends_at)), at, steady)


def is_disputed(mark: Mark, now: datetime) -> bool:
    """Tell whether a clock reading lies before an end that was seen, and does not go on from where the clock was."""
    return now < mark.end and now - max(mark.seen, mark.at) > NEAR


def fresh_from(server: datetime, now: datetime, steady: Steady) -> Mark:
    """Return the mark after a server has told the time just now: all that is unsigned is forgotten."""
    mark = Mark(server, server, _FIRST, server, _FIRST, (), ("", 0), ())
    return _anchor(mark._replace(seen=max(server, now) if now - server <= NEAR else server), server, steady)


def boots(mark: Mark) -> set[str]:
    """Return the boots of the anchors that are written down."""
    return {boot for boot, _, _ in mark.boots if not boot.startswith(PROCESS)}


def days_needed(leap: timedelta) -> int:
    """Return on how many days a reading must be seen that lies ``leap`` ahead of what is known."""
    return min(MOST_DAYS, DAYS + leap // LEAP)


def _is_another_day(day: Steady, steady: Steady) -> bool:
    """Tell whether a day may have passed since the last sighting: within one boot the steady clock must agree."""
    return not day[0] or day[0] != steady[0] or steady[1] - day[1] >= DAY_APART.total_seconds()


def _anchored(mark: Mark, steady: Steady) -> datetime | None:
    for boot, at, uptime in mark.boots:
        if boot == steady[0]:
            passed = max(0, steady[1] - uptime)
            return shifted(at, timedelta(seconds=passed - passed // _DRIFT))
    return None


def _anchor(mark: Mark, at: datetime, steady: Steady) -> Mark:
    """Anchor ``at`` to this boot, unless the anchor that is there says as much."""
    anchored = _anchored(mark, steady)
    if anchored is not None and anchored >= at:
        return mark
    others = [anchor for anchor in mark.boots if anchor[0] != steady[0]]
    return mark._replace(boots=(*others[1 - MOST_BOOTS :], (steady[0], at, steady[1])))


def file_name(machine_id: str, scope: str = "", *, old: bool = False) -> str:
    """Return the name of the state file of a machine ID; ``old`` names that of clients up to format 1.

    ``scope`` keeps vendors apart in a place that they share.
    """
    # One file per machine ID: a state copied from elsewhere, or made for another user, does not get in the way.
    # Formats have names of their own: programs with older and newer clients share one home.
    digest = hmac_sha256(_KEY + b"name", (scope + machine_id).encode()).hex()[:16]
    return f"clock-{digest}.json" if old else f"time-{digest}.json"


def write(mark: Mark, machine_id: str) -> bytes:
    """Return the state file of a mark."""
    content = _content(mark)
    return dumps_compact(content | {"mac": _mac(machine_id, content)}) + b"\n"


@guarded()
def read(data: bytes, machine_id: str) -> Mark:
    """Read a state file.

    Raises:
        MalformedError: it is damaged, or another machine's.
    """
    value = loads_object(data)
    require_keys(value, "the state", _KEYS)
    fields.whole(value["format"], "format", _FORMAT, _FORMAT)
    mark = Mark(
        fields.instant(value["fresh"], "fresh"),
        fields.instant(value["at"], "at"),
        fields.instant(value["over"], "over"),
        fields.instant(value["seen"], "seen"),
        fields.instant(value["end"], "end"),
        tuple([fields.instant(day, "a day") for day in fields.sequence(value["days"], "days", MOST_DAYS)]),
        _boot(value["day"], "day", 2),
        tuple([_read_anchor(entry) for entry in fields.sequence(value["boots"], "boots", MOST_BOOTS)]),
    )
    # Keyed to the machine: a state carried over from another one says nothing about this clock.
    if value["mac"] != _mac(machine_id, _content(mark)):
        malformed("the state is not this machine's")
    return mark


@guarded()
def read_old(data: bytes, machine_id: str) -> datetime:
    """Read the state file of a client up to format 1: the latest instant that it has seen.

    Raises:
        MalformedError: as ``read``.
    """
    value = loads_object(data)
    require_keys(value, "the state", _OLD_KEYS)
    fields.whole(value["format"], "format", _OLD_FORMAT, _OLD_FORMAT)
    at = fields.instant(value["at"], "at")
    boot, uptime = value["boot"], value["uptime"]
    content = {"format": _OLD_FORMAT, "at": format_instant(at), "boot": boot, "uptime": uptime}
    if value["mac"] != _mac(machine_id, content):
        malformed("the state is not this machine's")
    return at


def with_old(mark: Mark, at: datetime) -> Mark:
    """Return the mark with the instant that an older client has seen: a sighting like any other."""
    return mark._replace(days=(at,)) if at > mark.at else mark


def _content(mark: Mark) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "fresh": format_instant(mark.fresh),
        "at": format_instant(mark.at),
        "over": format_instant(mark.over),
        "seen": format_instant(mark.seen),
        "end": format_instant(mark.end),
        "days": [format_instant(day) for day in mark.days],
        "day": list(mark.day),
        "boots": [
            [boot, format_instant(at), uptime] for boot, at, uptime in mark.boots if not boot.startswith(PROCESS)
        ],
    }


def _mac(machine_id: str, content: dict[str, object]) -> str:
    key = hmac_sha256(_KEY, machine_id.encode())
    return hmac_sha256(key, dumps_compact(content)).hex()


def _boot(value: object, what: str, size: int) -> tuple[str, int]:
    entry = fields.sequence(value, what, size)
    if len(entry) != size:
        malformed(f"{what} has not {size} parts")
    name = entry[0]
    return fields.text(name, what) if name != "" else "", fields.whole(entry[-1], what, 0, _MAX_UPTIME)


def _read_anchor(value: object) -> Anchor:
    boot, uptime = _boot(value, "a boot", 3)
    return boot, fields.instant(fields.sequence(value, "a boot", 3)[1], "a boot"), uptime
