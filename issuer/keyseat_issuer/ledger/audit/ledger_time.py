"""The ledger's time: it moves forward only, and never further ahead than another clock vouches for.

One wrong clock must not stop every customer. An act that was dated ahead would move the ledger's time, and everybody
with a right clock would be refused from then on. So a second clock is asked at each act: on PostgreSQL the database's,
which all servers share and which then dates the act; on SQLite the seconds since this machine started, counted from an
earlier audit row of the same boot (proc(5), /proc/uptime), since a file has no clock.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from django.db import connection

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.tools.plain_sql import fetch, instant_in, instant_out, lock_clause, run
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError
from keyseat_shared.instants import CLOCK_TOLERANCE, format_instant
from keyseat_shared.rules import check_not_before_floor

FLOOR = "the ledger's newest audit row"
DATABASE = "the database server's clock"
UPTIME = "the time that has passed since this machine started"
_DATABASE = "Set the clock of this machine to the right time, or that of the database server, and try again."
_REANCHOR = 24 * 3600
"""Seconds of uptime after which the anchor follows the clock: small steps of an honest clock do not add up for ever."""
_HEAD = "seq, digest, at, boot, anchor_uptime, anchor_at"


class Head(NamedTuple):
    """The newest audit row, and the anchor: an instant seen in a boot of this machine, and the uptime then.

    ``database_time`` is PostgreSQL's clock as the head was read, where it counts.
    """

    seq: int
    digest: str
    at: datetime
    boot: str
    anchor_uptime: int
    anchor_at: datetime | None
    database_time: datetime | None


class Uptime(NamedTuple):
    """What names a boot of this machine, and the whole seconds since it began, suspended time included."""

    boot: str
    seconds: int


_watched = True


@contextlib.contextmanager
def story_time() -> Iterator[None]:
    """Let acts inside the block take place at any instant: for ledgers that tell a story and are thrown away."""
    global _watched  # noqa: PLW0603 - one ledger a process, and one clock
    before, _watched = _watched, False
    try:
        yield
    finally:
        _watched = before


def ledger_now(now: datetime) -> datetime:
    """Return the instant at which an act takes place: the present, or the newest audit row's where that is later.

    The present is PostgreSQL's own, and ``now`` on SQLite.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK`` where ``now`` is more than 5 minutes before the newest row (ADR 4) or
            the database's clock, ``CLOCK_AHEAD`` where it is more than 5 minutes ahead of what the second clock says.
    """
    head = read_head()
    check_not_before(now, head.at, FLOOR)
    if head.database_time is not None:
        check_not_before(now, head.database_time, DATABASE)
        check_not_ahead(now, head)
        return max(head.database_time, head.at)
    check_not_ahead(now, head)
    return max(now, head.at)


def read_head(*, lock: bool = False) -> Head:
    """Return the head of the audit log; ``lock`` keeps others from appending until the transaction ends."""
    clock = "clock_timestamp()" if _watched and connection.vendor == "postgresql" else "NULL"
    end = lock_clause("ledger_audithead") if lock else ""
    [row] = fetch(f"SELECT {_HEAD}, {clock} FROM ledger_audithead WHERE id = 1{end}")  # noqa: S608 - names of ours
    seq, digest, at, boot, anchor_uptime, anchor_at, database_time = row
    return Head(
        seq,
        digest,
        instant_in(at),
        boot,
        anchor_uptime,
        None if anchor_at is None else instant_in(anchor_at),
        None if database_time is None else instant_in(database_time),
    )


def write_head(head: Head, seq: int, digest: str, at: datetime, *, right: bool = True) -> None:
    """Make a row the newest one. ``right`` tells that ``at`` was checked, so that later acts can be counted from it."""
    anchor = _anchor(head, at) if right and _watched else (head.boot, head.anchor_uptime, head.anchor_at)
    boot, uptime, anchor_at = anchor
    run(
        "UPDATE ledger_audithead SET seq = %s, digest = %s, at = %s, boot = %s, anchor_uptime = %s, anchor_at = %s"
        " WHERE id = 1",
        (seq, digest, instant_out(at), boot, uptime, None if anchor_at is None else instant_out(anchor_at)),
    )


def check_not_before(now: datetime, floor: datetime, evidence: str) -> None:
    """Require that ``now`` is no more than 5 minutes before ``floor``, and say how the ledger's time is corrected.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK``.
    """
    try:
        check_not_before_floor(now, floor, evidence)
    except ClockError as error:
        if evidence == FLOOR:
            error.cause = Cause.LEDGER_TIME_OR_CLOCK
        else:
            error.next_step = _DATABASE
        raise


def check_not_ahead(now: datetime, head: Head) -> None:
    """Require that ``now`` is no more than 5 minutes ahead of the second clock, where there is one.

    Raises:
        ClockError: ``CLOCK_AHEAD``.
    """
    reference = second_clock(head)
    if reference is not None:
        _require(now, reference, UPTIME if head.database_time is None else DATABASE)


def second_clock(head: Head) -> datetime | None:
    """Return what the second clock says, or ``None`` where there is none to ask."""
    if not _watched:
        return None
    if head.database_time is not None:
        return head.database_time
    here = uptime()
    if here is None or here.boot != head.boot or head.anchor_at is None:
        return None
    return head.anchor_at + timedelta(seconds=max(0, here.seconds - head.anchor_uptime))


def date_of_refusal(now: datetime, head: Head) -> datetime:
    """Return when a refusal is recorded: a wrong clock is not believed there either."""
    try:
        check_not_ahead(now, head)
    except ClockError:
        return max(head.at, head.database_time or head.at)
    return max(now, head.at)


def uptime() -> Uptime | None:
    """Return this machine's boot and uptime, or ``None`` where the platform does not tell (Linux only).

    From files: programs that fake a process's clock fake those of its system calls too.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        seconds = int(float(Path("/proc/uptime").read_text("ascii").split()[0]))
    except (OSError, ValueError, IndexError):
        return None
    return Uptime(boot, seconds)


def _anchor(head: Head, at: datetime) -> tuple[str, int, datetime | None]:
    here = None if connection.vendor == "postgresql" else uptime()
    if here is None:
        return "", 0, None
    if here.boot == head.boot and here.seconds - head.anchor_uptime < _REANCHOR:
        return head.boot, head.anchor_uptime, head.anchor_at
    return here.boot, here.seconds, at


def _require(now: datetime, reference: datetime, evidence: str) -> None:
    # Subtracted this way round: nothing overflows at the end of the year 9999.
    if now - reference > CLOCK_TOLERANCE:
        reference = reference.astimezone(UTC)
        raise ClockError(
            ReasonCode.CLOCK_AHEAD,
            f"the clock says {format_instant(now)}, but by {evidence} it is {format_instant(reference)}",
            details={"now": format_instant(now), "evidence": evidence, "at": format_instant(reference)},
            next_step=None if evidence == UPTIME else _DATABASE,
            cause=Cause.LEDGER_TIME_OR_CLOCK if evidence == UPTIME else "",
        )
