"""Going on after a wrong clock: an operator states that the clock is right now, and the ledger's time follows it.

Without this only a restore would help where a wrong clock moved the ledger's time ahead, or where an honest one was set
right by a jump. It is no way to date licences back: the sunset is held against the latest time that the ledger has ever
had, and nothing is dated before a licence that was issued.
"""

import json
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from keyseat_issuer.ledger.audit import ledger_time, log
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.ledger.models import AuditEvent, OfflineLicense
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, KeyseatError
from keyseat_shared.instants import format_instant

ACCEPTED = "clock.accepted"
"""The one act whose row may be dated before the row in front of it; its details say ``from`` when ``to`` when."""


class Clocks(NamedTuple):
    """What the clocks say: this machine's, the ledger's newest row, the database's, and why an act is refused now."""

    now: datetime
    ledger: datetime
    database: datetime | None
    trouble: ClockError | None


def look(now: datetime) -> Clocks:
    """Return what the clocks say at ``now``, without changing anything.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    with ledger_errors():
        head = ledger_time.read_head()
        try:
            ledger_time.ledger_now(now)
        except ClockError as error:
            return Clocks(now, head.at, head.database_time, error)
        return Clocks(now, head.at, head.database_time, None)


def require_right(now: datetime) -> None:
    """Require that an act could take place at ``now``: what a server asks as it starts and when it is probed.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK``, ``CLOCK_AHEAD``.
        KeyseatError: ``LEDGER_UNAVAILABLE``.
    """
    trouble = look(now).trouble
    if trouble is not None:
        raise trouble


def accept(now: datetime, *, actor: str) -> Clocks:
    """Let the ledger's time go on from ``now``, which somebody says is right; on record like every act.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK`` where a licence was issued later than ``now``; ``CLOCK_AHEAD`` or
            ``CLOCK_ROLLED_BACK`` where PostgreSQL's clock disagrees.
        KeyseatError: ``ALREADY_EXISTS`` where the ledger's time needs no correction; ``LEDGER_UNAVAILABLE``.
    """
    with ledger_errors():
        try:
            with transaction.atomic(durable=True):
                return _accept(now, actor)
        except KeyseatError as error:
            if error.code is not ReasonCode.LEDGER_UNAVAILABLE:
                log.refused(error, actor=actor, action=ACCEPTED, organization=None, subject="clock", now=now)
            raise


def _accept(now: datetime, actor: str) -> Clocks:
    head = ledger_time.read_head(lock=True)
    clocks = look(now)
    if clocks.trouble is None:
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS,
            f"the ledger's time needs no correction: it is {format_instant(head.at)}, and the clock says"
            f" {format_instant(now)}",
            next_step="Nothing to do.",
        )
    if head.database_time is not None:
        # Servers share that clock; what disagrees with it is this machine's.
        ledger_time.check_not_before(now, head.database_time, ledger_time.DATABASE)
        ledger_time.check_not_ahead(now, head)
    issued = OfflineLicense.objects.order_by("-issued_at").values_list("issued_at", flat=True).first()
    if issued is not None and issued > now:
        raise ClockError(
            ReasonCode.CLOCK_ROLLED_BACK,
            f"an offline licence was issued at {format_instant(issued)}, and it is signed: the ledger's time cannot go"
            " back before it",
            details={"now": format_instant(now), "at": format_instant(issued)},
            next_step=f"Wait until {format_instant(issued)}, or restore home and ledger from a backup made before it.",
        )
    told = {"from": format_instant(head.at), "to": format_instant(now)}
    log.go_on_from(now, log.NewEvent(ACCEPTED, "clock", told), actor=actor, head=head)
    return clocks


def latest(now: datetime) -> datetime:
    """Return the latest time that the ledger has ever had, at least ``now``: what the sunset is held to."""
    found = [now, ledger_time.read_head().at]
    for details in AuditEvent.objects.filter(action=ACCEPTED).values_list("details", flat=True):
        try:
            found.append(datetime.fromisoformat(json.loads(details)["from"]))
        except (ValueError, TypeError, KeyError):  # `audit verify` names it
            continue
    return max(found)
