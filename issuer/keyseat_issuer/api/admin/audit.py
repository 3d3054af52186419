"""What happened in an organisation: its part of the audit log, and the usage report as CSV."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from keyseat_issuer.api.admin.access import BASE, AccessDep, act
from keyseat_issuer.api.admin.pages import Next, PageDep, read_page
from keyseat_issuer.api.admin.values import typed
from keyseat_issuer.api.routing import ALWAYS, ServiceDep, problems
from keyseat_issuer.ledger.audit.listing import listed_events, shown_actor
from keyseat_issuer.ledger.models import AuditEvent
from keyseat_issuer.ledger.seats import utilisation
from keyseat_issuer.ledger.seats.usage_file import UsageReport
from keyseat_issuer.web.accounts import names_of
from keyseat_shared.instants import format_instant

router = APIRouter(prefix=BASE, tags=["records"])

_CSV = "text/csv"

Day = Annotated[
    str | None,
    Query(max_length=32, description="A date or instant in UTC.", examples=["2024-01-31"]),
]


class Event(BaseModel):
    """One act or refusal. `actor`: `user:` and an address, `key:` and a prefix, `vendor` (its staff) or `service`."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


class Events(BaseModel):
    """Events, newest first."""

    events: list[Event]
    next: Next


@router.get("/audit", operation_id="audit_list", summary="The audit log", responses=problems(403, 404, *ALWAYS))
async def list_events(service: ServiceDep, access: AccessDep, page: PageDep) -> Events:
    """Return what happened in this organisation, refusals included."""
    found = await read_page(service, page, listed_events(access.organization))
    return Events(events=[_event(row) for row in found.rows], next=found.next)


@router.get(
    "/usage.csv",
    operation_id="usage_report",
    summary="The usage report",
    response_class=StreamingResponse,
    responses={
        200: {"description": "One line a session", "content": {_CSV: {"schema": {"type": "string"}}}},
        **problems(403, 404, *ALWAYS),
    },
)
async def report_usage(
    service: ServiceDep,
    access: AccessDep,
    since: Annotated[Day, Query(alias="from")] = None,
    until: Annotated[Day, Query(alias="to")] = None,
) -> StreamingResponse:
    """Return the sessions that began in a period: the last 30 days, or one of a year at most.

    A date in `to` means through the end of that day. Cells that a spreadsheet would take for formulas begin with `'`.
    """
    now = service.clock()
    start, end = utilisation.period(typed(since, end_of_day=False), typed(until), now)
    report = UsageReport(access.organization, start, end, now=now, names=names_of)
    # The first part is read before the answer begins: what fails, fails as a problem document.
    first = await act(service, report.next_part)

    async def parts() -> AsyncIterator[str]:
        part = first
        while part:
            yield part
            part = await act(service, report.next_part)

    return StreamingResponse(
        parts(), media_type=_CSV, headers={"Content-Disposition": f'attachment; filename="{report.name}"'}
    )


def _event(row: AuditEvent) -> Event:
    return Event(
        seq=row.seq,
        at=format_instant(row.at),
        actor=shown_actor(row.actor),
        action=row.action,
        subject=row.subject,
        details=json.loads(row.details),
    )
