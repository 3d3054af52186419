"""Seats of an organisation: who holds which, assigning, taking back, transferring; online sessions and machines."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from keyseat_issuer.api.admin.access import BASE, AccessDep, act
from keyseat_issuer.api.admin.organizations import SubscriptionItem, subscription_items
from keyseat_issuer.api.admin.pages import Next, PageDep
from keyseat_issuer.api.admin.values import (
    MACHINE_ID_PATTERN,
    PRODUCT_PATTERN,
    Body,
    Email,
    Emails,
    LineItem,
    Lines,
    ProductFilter,
    SeatItem,
)
from keyseat_issuer.api.routing import ALWAYS, ServiceDep, problems
from keyseat_issuer.ledger.models import Lease
from keyseat_issuer.ledger.seats import machines, seats
from keyseat_issuer.ledger.sessions import admin
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.instants import format_instant

router = APIRouter(prefix=BASE, tags=["seats"])

Product = Annotated[str, Path(pattern=PRODUCT_PATTERN, description="A product's code.", examples=["KSE"])]
_MOST_SESSIONS = 500


class Seats(BaseModel):
    """What was bought, what is held, and how many members of a paying organisation hold no paid seat."""

    subscriptions: list[SubscriptionItem]
    seats: list[SeatItem]
    unlicensed: int
    next: Next


class EmailsBody(Body):
    """Whose seats."""

    emails: Emails


class TransferBody(Body):
    """From whom to whom."""

    from_email: Email
    to_email: Email


class SessionItem(BaseModel):
    """A live online session. `holder`: an e-mail address, or `key:` and the prefix of an API key."""

    session_id: str
    product: str
    holder: str
    machine_id: str
    started_at: str
    renewed_at: str
    expires_at: str

    @classmethod
    def of(cls, row: Lease) -> "SessionItem":
        """Return the item of a session."""
        return cls(
            session_id=str(row.pk),
            product=row.product,
            holder=row.holder,
            machine_id=row.machine_id,
            started_at=format_instant(row.started_at),
            renewed_at=format_instant(row.renewed_at),
            expires_at=format_instant(row.expires_at),
        )


class Sessions(BaseModel):
    """Live sessions, the one that started last first."""

    sessions: list[SessionItem]
    next: Next


class EndBody(Body):
    """Which sessions to end."""

    session_ids: list[UUID] = Field(min_length=1, max_length=_MOST_SESSIONS)


class Ended(BaseModel):
    """How many sessions were live and were ended."""

    ended: int


class BoundItem(BaseModel):
    """An active offline licence on a machine."""

    license_id: str
    product: str
    user: str | None
    expires_at: str


class MachineItem(BaseModel):
    """A machine with what it holds."""

    machine_id: str
    sessions: list[SessionItem]
    offline_licenses: list[BoundItem]


class Machines(BaseModel):
    """The machines that hold a session or an offline licence now."""

    machines: list[MachineItem]
    next: Next


class MachineRemoval(BaseModel):
    """What a removal did. Offline licences stay until these instants: they cannot be revoked."""

    sessions_ended: int
    offline_until: list[str]


@router.get("/seats", operation_id="seats_list", summary="Quota and seats", responses=problems(403, 404, *ALWAYS))
async def list_seats(service: ServiceDep, access: AccessDep, page: PageDep, product: ProductFilter = None) -> Seats:
    """Return quotas, used and free seats, the holders with their ends, and how many members hold no seat."""

    def read() -> Seats:
        now = service.clock()
        found = paging.read(seats.listed(access.organization, now, product), *page)
        return Seats(
            subscriptions=subscription_items(access, now),
            seats=[SeatItem.of(seat) for seat in found.rows],
            unlicensed=seats.unlicensed(access.organization, now).count(),
            next=found.next,
        )

    return await act(service, read)


@router.post(
    "/seats/{product}/assign",
    operation_id="seats_assign",
    summary="Assign seats",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def assign(service: ServiceDep, access: AccessDep, product: Product, body: EmailsBody) -> Lines:
    """Assign a seat to each member, or to none where one cannot get it: `details.lines` of the refusal tells which."""
    now = service.clock()
    policy = service.trust.policy()
    lines = await act(
        service,
        seats.assign,
        access.organization,
        product,
        body.emails,
        policy=policy,
        actor=access.actor,
        now=now,
    )
    return Lines.of(lines)


@router.post(
    "/seats/{product}/unassign",
    operation_id="seats_unassign",
    summary="Take seats back",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def unassign(service: ServiceDep, access: AccessDep, product: Product, body: EmailsBody) -> Lines:
    """Take back the seat of each address, or of none; their online sessions end. Offline ones are locked."""
    lines = await act(
        service,
        seats.unassign,
        access.organization,
        product,
        body.emails,
        actor=access.actor,
        now=service.clock(),
    )
    return Lines.of(lines)


@router.post(
    "/seats/{product}/transfer",
    operation_id="seat_transfer",
    summary="Transfer a seat",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def transfer(service: ServiceDep, access: AccessDep, product: Product, body: TransferBody) -> Lines:
    """Move a seat from one member to another in one act; the giver's online session ends."""
    moved = await act(
        service,
        seats.transfer,
        access.organization,
        product,
        body.from_email,
        body.to_email,
        actor=access.actor,
        now=service.clock(),
    )
    return Lines(lines=[LineItem(email=moved.holder, status=seats.ASSIGNED, code="OK", note="")])


@router.get(
    "/sessions", operation_id="online_sessions_list", summary="Online sessions", responses=problems(403, 404, *ALWAYS)
)
async def list_sessions(
    service: ServiceDep, access: AccessDep, page: PageDep, product: ProductFilter = None
) -> Sessions:
    """Return the live online sessions."""

    def read() -> paging.Page[Lease]:
        return paging.read([admin.listed(access.organization, service.clock(), product)], *page)

    found = await act(service, read)
    return Sessions(sessions=[SessionItem.of(row) for row in found.rows], next=found.next)


@router.post(
    "/sessions/end",
    operation_id="online_sessions_end",
    summary="End sessions by force",
    responses=problems(403, 404, *ALWAYS),
)
async def end_sessions(service: ServiceDep, access: AccessDep, body: EndBody) -> Ended:
    """End sessions, all or none: their seats are free at once, and their clients hear `FORCED` when they renew."""
    ended = await act(
        service,
        admin.force_release,
        access.organization,
        body.session_ids,
        actor=access.actor,
        now=service.clock(),
    )
    return Ended(ended=len(ended))


@router.get(
    "/machines", operation_id="machines_list", summary="Registered machines", responses=problems(403, 404, *ALWAYS)
)
async def list_machines(service: ServiceDep, access: AccessDep, page: PageDep) -> Machines:
    """Return the machines that hold an online session or an offline licence now, by their ids."""
    found = await act(service, machines.page_of_machines, access.organization, service.clock(), *page)
    return Machines(machines=[_machine(entry) for entry in found.rows], next=found.next)


@router.delete(
    "/machines/{machine_id}",
    operation_id="machine_remove",
    summary="Remove a machine",
    responses=problems(403, 404, *ALWAYS),
)
async def remove_machine(
    service: ServiceDep,
    access: AccessDep,
    machine_id: Annotated[str, Path(pattern=MACHINE_ID_PATTERN, description="In its canonical form.")],
) -> MachineRemoval:
    """End the machine's online sessions: their clients hear `MACHINE_REMOVED`. Offline licences stay."""
    removed = await act(
        service,
        machines.remove_machine,
        access.organization,
        machine_id,
        actor=access.actor,
        now=service.clock(),
    )
    return MachineRemoval(
        sessions_ended=removed.sessions_ended,
        offline_until=[format_instant(until) for until in removed.offline_until],
    )


def _machine(entry: machines.Machine) -> MachineItem:
    return MachineItem(
        machine_id=entry.machine_id,
        sessions=[SessionItem.of(row) for row in entry.sessions],
        offline_licenses=[
            BoundItem(
                license_id=str(row.pk),
                product=row.product,
                user=row.user or None,
                expires_at=format_instant(row.expires_at),
            )
            for row in entry.licenses
        ],
    )
