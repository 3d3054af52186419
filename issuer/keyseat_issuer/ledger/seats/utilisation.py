"""The usage report: who used which licence on which machine, when and for how long, as CSV for a spreadsheet."""

import csv
import functools
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.tools.plain_sql import fetch, instant_in, instant_out, uuid_in, uuid_out
from keyseat_issuer.ledger.tools.table_text import safe_cell
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import add_years, format_instant

COLUMNS = ("User name", "E-mail", "Session ID", "Machine ID", "Licence type", "Start", "Duration")
PAGE = 1000
"""Sessions read at once: a year of a busy organisation does not have to fit into memory."""

# Both databases find the place of a pair in an index of the same pair; of two conditions in its stead they do not.
_PAGE = """
SELECT lease.id, lease.email, lease.machine_id, lease.product, made.name, made.prefix,
       lease.started_at, lease.ended_at, lease.expires_at
  FROM ledger_lease lease LEFT JOIN ledger_apikey made ON made.id = lease.api_key_id
 WHERE lease.organization_id = %s AND (lease.started_at, lease.id) > (%s, %s) AND lease.started_at < %s
 ORDER BY lease.started_at, lease.id LIMIT %s
"""

Names = Callable[[Collection[str]], Mapping[str, str]]
"""Returns the names of the people with these addresses, as far as they are known."""


def period(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the period of a report: by default the 30 days before ``end``, which by default is ``now``.

    Raises:
        KeyseatError: ``INVALID_INPUT`` where it is empty or longer than a year.
    """
    until = end or now
    try:
        since = start or until - timedelta(days=30)
        longest = add_years(since, 1)
    except (OverflowError, ValueError):
        raise KeyseatError(ReasonCode.INVALID_INPUT, "the period is outside of what a calendar holds") from None
    if since >= until:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "the period of the report ends before it begins")
    if until > longest:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the period of a report is one year at most",
            details={"latest_end": format_instant(longest)},
            next_step=f"Ask until {format_instant(longest)}, and for the rest in another report.",
        )
    return since, until


def header() -> str:
    """Return the first line of the report."""
    return _lines([COLUMNS])


class _Row(NamedTuple):
    pk: UUID
    email: str
    machine_id: str
    product: str
    key: str
    started_at: datetime
    ended_at: datetime | None
    expires_at: datetime


class Report:
    """Sessions of an organisation that began in a period, page by page, the oldest first."""

    def __init__(
        self, organization: Organization, since: datetime, until: datetime, *, now: datetime, names: Names
    ) -> None:
        """Begin before the first session; ``now`` bounds the duration of those that still run."""
        self._organization = organization.pk
        self._until = until
        self._now = now
        self._names = names
        # No session has this id: the first page begins with the first instant itself.
        self._after = (since, UUID(int=0))

    def next_page(self) -> str:
        """Return the lines of up to ``PAGE`` further sessions; empty when there are no more."""
        at, pk = self._after
        whose = uuid_out(self._organization)
        found = fetch(_PAGE, (whose, instant_out(at), uuid_out(pk), instant_out(self._until), PAGE))
        if not found:
            return ""
        page = [_row(*values) for values in found]
        self._after = (page[-1].started_at, page[-1].pk)
        names = self._names({row.email for row in page if row.email})
        # Few people, machines and products come again and again.
        safe = functools.cache(safe_cell)
        return _lines(
            (
                safe(row.key or names.get(row.email, "")),
                safe(row.email),
                row.pk,
                safe(row.machine_id),
                safe(row.product),
                format_instant(row.started_at),
                _duration(row, self._now),
            )
            for row in page
        )

    def pages(self) -> Iterator[str]:
        """Yield the header, then every page."""
        yield header()
        while page := self.next_page():
            yield page


def _row(*values: Any) -> _Row:  # noqa: ANN401 - columns
    pk, email, machine_id, product, name, prefix, start, ended, expires = values
    return _Row(
        uuid_in(pk),
        email,
        machine_id,
        product,
        "" if prefix is None else f"API key {name} ({prefix})",
        instant_in(start),
        None if ended is None else instant_in(ended),
        instant_in(expires),
    )


def _duration(row: _Row, now: datetime) -> str:
    """Return how long a session ran or has run, as ``h:mm:ss``; one that died ran until its lease ended."""
    end = row.ended_at or min(row.expires_at, now)
    seconds = max(0, int((end - row.started_at).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _lines(rows: Iterable[Collection[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
