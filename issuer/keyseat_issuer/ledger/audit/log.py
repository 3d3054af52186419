"""The audit log: every act and every refusal is one row, chained by digests, dated by the ledger's time.

The digest of a row is SHA-256 over the previous row's digest and the compact JSON of the row, so that a
row cannot be changed, removed, added or moved without breaking the chain at that place.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from keyseat_issuer.ledger.audit import ledger_time
from keyseat_issuer.ledger.audit.ledger_time import ledger_now
from keyseat_issuer.ledger.database import ledger_errors
from keyseat_issuer.ledger.models import AuditEvent, Organization
from keyseat_issuer.ledger.tools.plain_sql import insert, instant_out, uuid_out
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, KeyseatError
from keyseat_shared.strictjson import dumps_compact, dumps_text

OFFLINE_ISSUED = "offline.issued"
"""The row that issues an offline licence: ``subject`` is the licence id, ``details`` hold ``FILE_DIGEST``."""

FILE_DIGEST = "file_sha256"
_COLUMNS = ("seq", "at", "actor", "action", "organization_id", "subject", "details", "previous", "digest")
_MAX_SUBJECT = 400
_MAX_ACTOR = 200


class NewEvent(NamedTuple):
    """An event to append: ``subject`` says what it is about, ``details`` is JSON-ready and holds no secrets.

    ``actor`` is empty where it is the actor of the act that appends the event.
    """

    action: str
    subject: str
    details: Mapping[str, object]
    organization_id: UUID | None = None
    actor: str = ""


class _Written(NamedTuple):
    """An event as its row will say it: actor and subject fit to be stored, details as JSON."""

    actor: str
    action: str
    organization_id: UUID | None
    subject: str
    details: str


class Row(NamedTuple):
    """A row as it is stored; a Django instance of it takes as long to make as a third of an Ed25519 signature."""

    seq: int
    at: datetime
    actor: str
    action: str
    organization_id: UUID | None
    subject: str
    details: str
    previous: str
    digest: str


def cli_actor() -> str:
    """Return who acts on a command line: ``cli:`` and the operating system's account name (from the real uid)."""
    if hasattr(os, "getuid"):
        import pwd  # noqa: PLC0415 - POSIX only

        try:
            return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
        except KeyError:
            return f"cli:uid {os.getuid()}"
    return f"cli:{os.getlogin()}"


@contextlib.contextmanager
def act(
    action: str, *, actor: str, organization: Organization | None, subject: str, now: datetime
) -> Iterator[datetime]:
    """Run one act as one transaction and yield the ledger's time; a refusal rolls it back and is recorded.

    The block appends the act's own audit row at its end. Leaving it commits, raising rolls back.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK``, ``CLOCK_AHEAD``.
        KeyseatError: whatever the block refuses; ``LEDGER_UNAVAILABLE`` where the database fails.
    """
    with ledger_errors():
        try:
            # Durable: inside somebody else's transaction "leaving it commits" would be a lie.
            with transaction.atomic(durable=True):
                yield ledger_now(now)
        except KeyseatError as error:
            if error.code is not ReasonCode.LEDGER_UNAVAILABLE:
                refused(error, actor=actor, action=action, organization=organization, subject=subject, now=now)
            raise


def append(
    *,
    actor: str,
    action: str,
    organization: Organization | None,
    subject: str,
    details: Mapping[str, object],
    now: datetime,
) -> Row:
    """Append one event inside the caller's transaction. Locks the head: do it last.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK``, ``CLOCK_AHEAD``.
    """
    event = NewEvent(action, subject, details, None if organization is None else organization.pk)
    return append_many([event], actor=actor, now=now)[0]


def append_many(events: Sequence[NewEvent], *, actor: str, now: datetime) -> list[Row]:
    """Append events in order inside the caller's transaction, with few statements. Locks the head: do it last.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK`` where another process has dated an event more than 5 minutes later;
            ``CLOCK_AHEAD``.
    """
    if not connection.in_atomic_block:
        msg = "audit events are appended in the transaction of the act they tell of"
        raise RuntimeError(msg)
    written = _written(events, actor)
    # From here on everybody else waits: what can be done before, is.
    head = ledger_time.read_head(lock=True)
    ledger_time.check_not_before(now, head.at, ledger_time.FLOOR)
    ledger_time.check_not_ahead(now, head)
    return _append(written, max(now, head.at), head)


def _written(events: Sequence[NewEvent], actor: str) -> list[_Written]:
    """Return events as their rows will say them."""
    actor = clean(actor, _MAX_ACTOR)
    return [
        _Written(
            clean(event.actor, _MAX_ACTOR) if event.actor else actor,
            event.action,
            event.organization_id,
            clean(event.subject, _MAX_SUBJECT),
            _as_text(event.details),
        )
        for event in events
    ]


def _append(events: Sequence[_Written], at: datetime, head: ledger_time.Head, *, right: bool = True) -> list[Row]:
    if not events:
        return []  # the head is dated as its row: `audit verify` takes any other date for a forged one
    seq, digest = head.seq, head.digest
    instant = at.astimezone(UTC).isoformat()
    rows: list[Row] = []
    for who, action, organization_id, subject, details in events:
        seq += 1
        previous = digest
        organization = None if organization_id is None else str(organization_id)
        digest = _digest(previous, [seq, instant, who, action, organization, subject, details])
        rows.append(Row(seq, at, who, action, organization_id, subject, details, previous, digest))
    _insert(rows, at)
    ledger_time.write_head(head, seq, digest, at, right=right)
    return rows


def go_on_from(at: datetime, event: NewEvent, *, actor: str, head: ledger_time.Head) -> None:
    """Append the event that corrects the ledger's time, dated ``at`` wherever the head is (``clock_correction``)."""
    _append(_written([event], actor), at, head._replace(boot=""))


def _insert(rows: Sequence[Row], at: datetime) -> None:
    written = instant_out(at)
    organizations: dict[UUID | None, object] = {None: None}
    for row in rows:
        if row.organization_id is not None and row.organization_id not in organizations:
            organizations[row.organization_id] = uuid_out(row.organization_id)
    insert(
        "ledger_auditevent",
        _COLUMNS,
        [
            (
                row.seq,
                written,
                row.actor,
                row.action,
                organizations[row.organization_id],
                row.subject,
                row.details,
                row.previous,
                row.digest,
            )
            for row in rows
        ],
    )


def refused(
    error: KeyseatError,
    *,
    actor: str,
    action: str,
    organization: Organization | None,
    subject: str,
    now: datetime,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record a refused attempt, in a transaction of its own: call it after the act was rolled back.

    The row's action is ``<action>.refused``. An attempt with a wrong clock is dated by the ledger's time.
    """
    told = {"code": str(error.code), "message": error.message, **(details or {})}
    event = NewEvent(f"{action}.refused", subject, told, None if organization is None else organization.pk)
    written = _written([event], actor)
    with transaction.atomic():
        head = ledger_time.read_head(lock=True)
        wrong = isinstance(error, ClockError)
        at = max(head.at, head.database_time or head.at) if wrong else ledger_time.date_of_refusal(now, head)
        _append(written, at, head, right=not wrong)


def row_digest(row: AuditEvent | Row) -> str:
    """Return the SHA-256, in hex, that chains a row to the one before it."""
    at = row.at.astimezone(UTC).isoformat()
    organization = None if row.organization_id is None else str(row.organization_id)
    return _digest(row.previous, [row.seq, at, row.actor, row.action, organization, row.subject, row.details])


def _digest(previous: str, content: Sequence[object]) -> str:
    return hashlib.sha256(previous.encode() + dumps_compact(content)).hexdigest()


def _as_text(details: Mapping[str, object]) -> str:
    """Write details as JSON; bytes of a command line that are not text become ``?``."""
    return dumps_text(details).encode("utf-8", "replace").decode()


def clean(text: str, most: int) -> str:
    """Return ``text`` fit to be stored and shown: at most ``most`` characters, unprintable ones as ``?``."""
    text = text[:most]
    return text if text.isprintable() else "".join([c if c.isprintable() else "?" for c in text])


def recent(limit: int, organization: Organization | None = None) -> Iterable[AuditEvent]:
    """Return the newest ``limit`` events, oldest first, of one organisation or of all."""
    events = AuditEvent.objects.select_related("organization").order_by("-seq")
    if organization is not None:
        events = events.filter(organization=organization)
    return reversed(list(events[:limit]))
