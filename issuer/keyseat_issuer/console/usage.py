"""How much a product is used: the chart on its page, and the usage report as a file."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from http import HTTPStatus
from typing import NamedTuple

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from keyseat_issuer.console import chart
from keyseat_issuer.console.templatetags.console import plain_day
from keyseat_issuer.console.visits import Visit, common, page, told
from keyseat_issuer.ledger.seats import concurrency, utilisation
from keyseat_issuer.ledger.seats.concurrency import DayPeak
from keyseat_issuer.ledger.seats.usage_file import UsageReport
from keyseat_issuer.web.accounts import names_of
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import parse_instant, parse_typed

CHOICES = (30, 90, 365)
"""The numbers of days that the chart can show."""


class Usage(NamedTuple):
    """What the section tells. ``highest`` is the day of most use, ``None`` where there was none."""

    days: int
    choices: tuple[int, ...]
    peaks: list[DayPeak]
    chart: chart.Chart
    highest: DayPeak | None
    quotas: list[int]
    reached: int

    @property
    def quota_text(self) -> str:
        """The quotas in force on the days shown, in the order in which they came."""
        return ", then ".join(f"{quota:,}" for quota in self.quotas)


def usage(request: HttpRequest, visit: Visit, product: str) -> Usage:
    """Return the use of a product on the last days, as many as the address asks for by ``days``."""
    days = next((choice for choice in CHOICES if request.GET.get("days") == str(choice)), CHOICES[0])
    today = visit.now.date()
    peaks = concurrency.daily_peaks(visit.organization, product, today - timedelta(days=days - 1), today, visit.now)
    highest = max(peaks, key=lambda peak: (peak.together, peak.day))
    return Usage(
        days,
        CHOICES,
        peaks,
        chart.draw(peaks),
        highest if highest.together else None,
        _changes(peaks),
        sum(peak.reached for peak in peaks),
    )


@page("console_usage", "GET")
def report_page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the form of the usage report, with the last 30 days in it."""
    today = visit.now.date()
    return _form(request, visit, _shown(today - timedelta(days=29)), _shown(today))


@page("console_usage_csv", "GET")
def report(request: HttpRequest, visit: Visit) -> HttpResponse | StreamingHttpResponse:
    """Answer with the usage report as CSV; a period that cannot be is told beside what was typed."""
    since, until = (request.GET.get(name, "").strip() for name in ("from", "to"))
    try:
        start, end = utilisation.period(
            parse_typed(since, end_of_day=False) if since else None,
            parse_typed(until, end_of_day=True) if until else None,
            visit.now,
        )
    except KeyseatError as error:
        if error.code is not ReasonCode.INVALID_INPUT:
            raise
        return _form(request, visit, since, until, _fault(error), HTTPStatus.BAD_REQUEST)
    file = UsageReport(visit.organization, start, end, now=visit.now, names=names_of)
    # The first part is read before the answer begins: what fails, fails as a page.
    first = file.next_part()
    # Django would read the wrong kind of iterator to its end before it sends anything.
    parts = _parts_later(file, first) if isinstance(request, ASGIRequest) else _parts(file, first)
    return StreamingHttpResponse(
        parts, content_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{file.name}"'}
    )


def _parts(file: UsageReport, part: str) -> Iterator[str]:
    while part:
        yield part
        part = file.next_part()


async def _parts_later(file: UsageReport, part: str) -> AsyncIterator[str]:
    while part:
        yield part
        part = await sync_to_async(_next_part)(file)


def _next_part(file: UsageReport) -> str:
    """Return the next part, and keep no connection to the database while it is sent: the client may read slowly."""
    try:
        return file.next_part()
    finally:
        connection.close()


def _form(  # noqa: PLR0917 - what a form shows
    request: HttpRequest,
    visit: Visit,
    since: str,
    until: str,
    fault: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    context = common(visit, "usage") | {
        "since": since[:32],
        "until": until[:32],
        "today": _shown(visit.now.date()),
        "fault": fault,
        "columns": utilisation.COLUMNS,
    }
    return render(request, "console/usage.html", context, status=status)


def _fault(error: KeyseatError) -> str:
    """Return what is wrong with a period, in days, since days are what the form takes."""
    latest = error.details.get("latest_end")
    if latest is None:
        return told(error)
    day = plain_day(parse_instant(str(latest)).date() - timedelta(days=1))
    return f"A report covers one year at most. Choose {day} or a day before as the last one, or begin later."


def _changes(peaks: list[DayPeak]) -> list[int]:
    """Return the quotas in force, one after the other; days without one are left out."""
    found: list[int] = []
    for peak in peaks:
        if peak.quota and (not found or found[-1] != peak.quota):
            found.append(peak.quota)
    return found


def _shown(day: date) -> str:
    return day.isoformat()
