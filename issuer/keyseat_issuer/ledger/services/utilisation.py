"""The usage report: who used which licence on which machine, when and for how long, as CSV for a spreadsheet."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from keyseat_issuer.ledger.models import Lease, Organization
from keyseat_issuer.ledger.services.table_text import safe_cell
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import add_years, format_instant

COLUMNS = ("User name", "E-mail", "Session ID", "Machine ID", "Licence type", "Start", "Duration")
PAGE = 1000
"""Sessions read at once: a year of a busy organisation does not have to fit into memory."""

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
    return _line(COLUMNS)


class Report:
    """Sessions of an organisation that began in a period, page by page, the oldest first."""

    def __init__(
        self, organization: Organization, since: datetime, until: datetime, *, now: datetime, names: Names
    ) -> None:
        """Begin before the first session; ``now`` bounds the duration of those that still run."""
        self._rows = Lease.objects.filter(organization=organization, started_at__gte=since, started_at__lt=until)
        self._now = now
        self._names = names
        self._after: tuple[datetime, UUID] | None = None

    def next_page(self) -> str:
        """Return the lines of up to ``PAGE`` further sessions; empty when there are no more."""
        rows = self._rows
        if self._after is not None:
            at, pk = self._after
            # The first condition is implied by the second, which no database looks up in an index.
            rows = rows.filter(Q(started_at=at, pk__gt=pk) | Q(started_at__gt=at), started_at__gte=at)
        page = list(rows.select_related("api_key").order_by("started_at", "pk")[:PAGE])
        if not page:
            return ""
        self._after = (page[-1].started_at, page[-1].pk)
        names = self._names({row.email for row in page if row.email})
        return "".join(_line(self._cells(row, names)) for row in page)

    def pages(self) -> Iterator[str]:
        """Yield the header, then every page."""
        yield header()
        while page := self.next_page():
            yield page

    def _cells(self, row: Lease, names: Mapping[str, str]) -> tuple[str, ...]:
        name = names.get(row.email, "") if row.api_key is None else f"API key {row.api_key.name} ({row.api_key.prefix})"
        return (
            name,
            row.email,
            str(row.pk),
            row.machine_id,
            row.product,
            format_instant(row.started_at),
            duration(row, self._now),
        )


def duration(row: Lease, now: datetime) -> str:
    """Return how long a session ran or has run, as ``h:mm:ss``; one that died ran until its lease ended."""
    end = row.ended_at or min(row.expires_at, now)
    seconds = max(0, int((end - row.started_at).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _line(cells: Collection[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([safe_cell(cell) for cell in cells])
    return out.getvalue()
