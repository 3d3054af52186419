"""The page a signed-in person starts from: their organisations, seats, and the clients they are signed in on."""

from datetime import datetime
from typing import NamedTuple, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from keyseat_issuer.ledger.customers.rights import BUYERS
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Membership, OfflineLicense
from keyseat_issuer.web import tokens
from keyseat_issuer.web.models import ClientSignIn, User


class Place(NamedTuple):
    """An organisation as one of its members sees it: the products of their seats, and offline licences that count.

    ``manages``: whether the console is for them.
    """

    membership: Membership
    seats: list[str]
    offline: list[OfflineLicense]
    manages: bool


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Show what is the person's own; managing others' seats is the console's."""
    user = cast("User", request.user)
    now = timezone.now()
    context = {
        "places": _places(user.email, now),
        "clients": _clients(user, now),
    }
    return render(request, "web/home.html", context)


@login_required
@require_POST
def end_client(request: HttpRequest, sign_in: UUID) -> HttpResponse:
    """Sign one of the person's clients out."""
    user = cast("User", request.user)
    record = get_object_or_404(ClientSignIn, pk=sign_in, user=user)
    tokens.end_sign_in(record, timezone.now())
    messages.success(request, f"Signed out on {record.device_name or 'that machine'}.")
    return redirect("home")


def _clients(user: User, now: datetime) -> list[ClientSignIn]:
    """Return the clients that are signed in: not those that ended, nor those whose tokens ran out."""
    live = user.client_sign_ins.filter(ended_at__isnull=True, refreshed_at__gt=now - tokens.REFRESH_TTL)
    return [record for record in live.order_by("-refreshed_at") if tokens.ends_at(record) > now]


def _places(email: str, now: datetime) -> list[Place]:
    memberships = (
        Membership.objects.select_related("organization__account")
        .filter(email=email)
        .order_by("organization__account__name", "organization__name")
    )
    return [_place(membership, now) for membership in memberships]


def _place(membership: Membership, now: datetime) -> Place:
    assigned = Allocation.objects.filter(
        holder=membership.email,
        kind=AllocationKind.NAMED,
        released_at__isnull=True,
        pool__subscription__organization_id=membership.organization_id,
        pool__subscription__ends_at__gt=now,
    )
    offline = OfflineLicense.objects.filter(
        organization_id=membership.organization_id, user=membership.email, expires_at__gt=now
    )
    products = assigned.order_by("pool__product").values_list("pool__product", flat=True).distinct()
    mine = list(offline.defer("file").order_by("expires_at"))
    return Place(membership, list(products), mine, manages=membership.role in BUYERS)
