"""Organisations of a caller, what they have bought, and one's own seat in them."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from keyseat_issuer.api.admin.access import BASE, Access, AccessDep, act
from keyseat_issuer.api.admin.values import SeatItem
from keyseat_issuer.api.auth import Caller
from keyseat_issuer.api.routing import ALWAYS, CallerDep, ServiceDep, problems
from keyseat_issuer.ledger.customers import subscriptions
from keyseat_issuer.ledger.models import Membership, Organization
from keyseat_issuer.ledger.seats import seats
from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import Policy

router = APIRouter(tags=["organisations"])


class OrganizationItem(BaseModel):
    """An organisation, and the caller's role in it (`null` for its API keys)."""

    id: str
    name: str
    account: str
    role: str | None


class Organizations(BaseModel):
    """The caller's organisations, by account and name."""

    organizations: list[OrganizationItem]


class ProductItem(BaseModel):
    """A product of the catalogue. `seats`: `named` or `floating`."""

    code: str
    name: str
    seats: str


class OfflineNotice(BaseModel):
    """Whether seats can be converted to offline licences now, and what to do where they cannot."""

    generating: bool
    sunset: str | None
    next: str | None


class OrganizationAnswer(OrganizationItem):
    """An organisation with what its licences are of."""

    products: list[ProductItem]
    offline: OfflineNotice


class OwnSeat(BaseModel):
    """What the caller holds in the organisation: assigned seats, offline licences, online sessions."""

    email: str
    role: str
    seats: list[SeatItem]


class PoolItem(BaseModel):
    """The seats of one product in one subscription. `next_expiry`: when the next offline seat comes back.

    `lingering`: leases that run on although their sessions have ended.
    """

    product: str
    seats: str
    quota: int
    used: int
    available: int
    assigned: int
    offline: int
    next_expiry: str | None
    lingering: int


class SubscriptionItem(BaseModel):
    """A subscription. `state`: `upcoming`, `active` or `ended`; `ends_at` is the first instant after it."""

    id: str
    term: str
    state: str
    starts_at: str
    ends_at: str
    pools: list[PoolItem]


class Subscriptions(BaseModel):
    """The organisation's subscriptions, the one that ends last first."""

    subscriptions: list[SubscriptionItem]


@router.get(
    "/api/v1/organizations",
    operation_id="organizations_list",
    summary="One's organisations",
    responses=problems(403, *ALWAYS),
)
async def list_organizations(service: ServiceDep, caller: CallerDep) -> Organizations:
    """Return the organisations that the caller is a member of; an API key's is the one it belongs to."""
    return Organizations(organizations=await act(service, _own, caller))


@router.get(BASE, operation_id="organization_get", summary="One organisation", responses=problems(403, 404, *ALWAYS))
async def get_organization(service: ServiceDep, access: AccessDep) -> OrganizationAnswer:
    """Return an organisation, the products there are, and whether offline licences are still generated."""
    now = service.clock()
    policy = service.trust.policy()
    return OrganizationAnswer(
        **_item(access.organization, access.role).model_dump(),
        products=[
            ProductItem(code=code, name=product.name, seats=product.seats) for code, product in policy.products.items()
        ],
        offline=_notice(policy, now),
    )


@router.get(BASE + "/me", operation_id="own_seat_get", summary="One's own seat", responses=problems(403, 404, *ALWAYS))
async def get_own_seat(service: ServiceDep, access: AccessDep) -> OwnSeat:
    """Return what the signed-in user holds here."""
    held = await act(service, seats.held_by, access.organization, service.clock(), [access.caller.email])
    return OwnSeat(email=access.caller.email, role=str(access.role or ""), seats=[SeatItem.of(seat) for seat in held])


@router.get(
    BASE + "/subscriptions",
    operation_id="subscriptions_list",
    summary="Subscriptions and their seats",
    responses=problems(403, 404, *ALWAYS),
)
async def list_subscriptions(service: ServiceDep, access: AccessDep) -> Subscriptions:
    """Return what the organisation has bought, and how much of it is taken."""
    return Subscriptions(subscriptions=await act(service, subscription_items, access, service.clock()))


def subscription_items(access: Access, now: datetime) -> list[SubscriptionItem]:
    """Return the organisation's subscriptions with their figures."""
    return [
        SubscriptionItem(
            id=str(view.subscription.pk),
            term=view.subscription.term,
            state=view.state,
            starts_at=format_instant(view.subscription.starts_at),
            ends_at=format_instant(view.subscription.ends_at),
            pools=[
                PoolItem(
                    product=entry.pool.product,
                    seats=entry.pool.seats,
                    quota=entry.figures.quota,
                    used=entry.figures.used,
                    available=entry.figures.available,
                    assigned=entry.figures.assigned,
                    offline=entry.figures.offline,
                    next_expiry=None if (at := entry.figures.next_expiry) is None else format_instant(at),
                    lingering=entry.figures.lingering,
                )
                for entry in view.pools
            ],
        )
        for view in subscriptions.list_subscriptions(access.organization, now)
    ]


def _own(caller: Caller) -> list[OrganizationItem]:
    if caller.organization_id is not None:
        found = Organization.objects.select_related("account").filter(pk=caller.organization_id)
        return [_item(organization, None) for organization in found]
    rows = Membership.objects.select_related("organization__account").filter(email=caller.email)
    ordered = rows.order_by("organization__account__name", "organization__name")
    return [_item(row.organization, row.role) for row in ordered]


def _item(organization: Organization, role: str | None) -> OrganizationItem:
    return OrganizationItem(
        id=str(organization.pk),
        name=organization.name,
        account=organization.account.name,
        role=None if role is None else str(role),
    )


def _notice(policy: Policy, now: datetime) -> OfflineNotice:
    ended = policy.sunset is not None and now >= policy.sunset
    return OfflineNotice(
        generating=not ended,
        sunset=None if policy.sunset is None else format_instant(policy.sunset),
        next=NEXT_STEPS[ReasonCode.ISSUED_AFTER_SUNSET] if ended else None,
    )
