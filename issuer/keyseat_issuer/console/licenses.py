"""License Management: a product's subscriptions, users, sessions, offline licences and machines on one page."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from keyseat_issuer.console import vendor
from keyseat_issuer.console.after_sunset import AHEAD_DAYS, affected
from keyseat_issuer.console.usage import usage
from keyseat_issuer.console.visits import Visit, common, page
from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.services import machines, offline, seats, session_admin, subscriptions
from keyseat_issuer.ledger.services.pools import Availability
from keyseat_shared.policy import Policy

ROWS = 50
"""Rows of a table that one page shows."""
SOON = timedelta(days=60)
"""How long before its end a subscription is said to end soon."""


class Tab(NamedTuple):
    """A product of the catalogue, as a tab."""

    code: str
    name: str
    named: bool
    current: bool

    @property
    def kind(self) -> str:
        """How its seats are licensed, as the vendor's page says it."""
        return "per User" if self.named else "Floating"


class Bought(NamedTuple):
    """The seats of the product in one subscription; ``ends_at`` is exclusive."""

    term: str
    state: str
    starts_at: datetime
    ends_at: datetime
    figures: Availability
    ends_soon: bool


class LicensedUser(NamedTuple):
    """Somebody who holds a seat. ``offline_until``: an offline licence locks it; ``online``: a session is live."""

    email: str
    since: datetime
    assigned: bool
    offline_until: datetime | None
    online: bool


class OfflineNotice(NamedTuple):
    """Whether offline licences are still generated, and until when they were."""

    ended: bool
    sunset: datetime | None


@page("console_licenses", "GET")
def first_product(_request: HttpRequest, visit: Visit) -> HttpResponse:
    """Go to the product that the organisation has bought, or the first of the catalogue."""
    products = _in_order(visit.policy)
    bought = {
        pool.pool.product
        for view in subscriptions.list_subscriptions(visit.organization, visit.now)
        if view.state == "active"
        for pool in view.pools
    }
    chosen = next((code for code in products if code in bought), products[0])
    return redirect("console_product", visit.organization.pk, chosen)


@page("console_product", "GET")
def product_page(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Show a product's licences; a billing manager sees what was bought and no more."""
    context = base_context(visit, product) | {"bought": _bought(visit, product)}
    context["totals"] = _totals(context["bought"])
    if visit.manages:
        context |= _held(request, visit, product)
        context["usage"] = usage(request, visit, product)
    if visit.manages and context["offline_notice"].ended:
        context |= {"affected": shown(request, "affected", affected(visit, product)), "ahead_days": AHEAD_DAYS}
    return render(request, "console/product.html", context)


def base_context(visit: Visit, product: str) -> dict[str, Any]:
    """Return what every page about a product shows.

    Raises:
        Http404: for a product that the catalogue does not hold.
    """
    policy = visit.policy
    if product not in policy.products:
        raise Http404
    known = policy.products
    tabs = [Tab(code, known[code].name, known[code].seats == "named", code == product) for code in _in_order(policy)]
    return common(visit, "licenses") | {
        "tabs": tabs,
        "tab": next(tab for tab in tabs if tab.current),
        "offline_notice": _notice(policy, visit.now),
    }


def licensed_users(visit: Visit, product: str) -> list[LicensedUser]:
    """Return who holds a seat of the product, by address."""
    return _users(visit, product, _active_licenses(visit, product))


def _active_licenses(visit: Visit, product: str) -> list[OfflineLicense]:
    every = offline.list_licenses(now=visit.now, organization=visit.organization)
    return [row for row in every if row.product == product]


def _in_order(policy: Policy) -> list[str]:
    """Return the codes of the catalogue, named products first."""
    return sorted(policy.products, key=lambda code: (policy.products[code].seats != "named", code))


def _notice(policy: Policy, now: datetime) -> OfflineNotice:
    return OfflineNotice(policy.sunset is not None and now >= policy.sunset, policy.sunset)


def _bought(visit: Visit, product: str) -> list[Bought]:
    return [
        Bought(
            view.subscription.term,
            view.state,
            view.subscription.starts_at,
            view.subscription.ends_at,
            pool.figures,
            view.state == "active" and view.subscription.ends_at - visit.now <= SOON,
        )
        for view in subscriptions.list_subscriptions(visit.organization, visit.now)
        for pool in view.pools
        if pool.pool.product == product
    ]


def _totals(bought: Sequence[Bought]) -> Availability | None:
    """Return the figures of all active subscriptions together, or ``None`` where there is none."""
    active = [entry.figures for entry in bought if entry.state == "active"]
    if not active:
        return None
    returns = [figures.next_expiry for figures in active if figures.next_expiry is not None]
    return Availability(
        quota=sum(figures.quota for figures in active),
        used=sum(figures.used for figures in active),
        available=sum(figures.available for figures in active),
        assigned=sum(figures.assigned for figures in active),
        offline=sum(figures.offline for figures in active),
        next_expiry=min(returns, default=None),
        lingering=sum(figures.lingering for figures in active),
    )


def _held(request: HttpRequest, visit: Visit, product: str) -> dict[str, Any]:
    organization, now = visit.organization, visit.now
    licenses = _active_licenses(visit, product)
    with_ended = "ended" in request.GET
    ended = OfflineLicense.objects.defer("file").filter(organization=organization, product=product, expires_at__lte=now)
    search = request.GET.get("q", "").strip().lower()[:254]
    users = [user for user in _users(visit, product, licenses) if search in user.email]
    return {
        "search": search,
        "users": shown(request, "users", users),
        "sessions": shown(request, "sessions", session_admin.listed(organization, now, product).ordered),
        "licenses": shown(
            request, "offline", [*licenses, *ended.order_by("-expires_at", "pk")] if with_ended else licenses
        ),
        "signs": vendor.in_use().licensing is not None,
        "with_ended": with_ended,
        "some_ended": not with_ended and ended.exists(),
        "machines": _machines(request, visit, product),
        "unlicensed": seats.unlicensed_members(organization, now),
    }


def _users(visit: Visit, product: str, licenses: Sequence[OfflineLicense]) -> list[LicensedUser]:
    # Sessions of API keys, which can be many thousands, are nobody's.
    live = session_admin.listed(visit.organization, visit.now, product).rows.exclude(email="")
    online = set(live.values_list("email", flat=True))
    found: dict[str, LicensedUser] = {}
    for row in licenses:
        if row.user:
            found[row.user] = LicensedUser(
                row.user, row.issued_at, assigned=False, offline_until=row.expires_at, online=row.user in online
            )
    for email, since in seats.assigned_since(visit.organization, product).items():
        until = found[email].offline_until if email in found else None
        found[email] = LicensedUser(email, since, assigned=True, offline_until=until, online=email in online)
    return [found[email] for email in sorted(found)]


def _machines(request: HttpRequest, visit: Visit, product: str) -> "Page[Any]":
    """Return a page of the machines that hold something of the product."""
    organization, now = visit.organization, visit.now
    found = shown(request, "machines", machines.machine_ids(organization, now, product))
    found.object_list = machines.list_machines(organization, now, list(found.object_list), product=product)
    return found


def shown(request: HttpRequest, name: str, rows: "Sequence[Any] | QuerySet[Any]") -> "Page[Any]":
    """Return the page of a table that the address asks for by the table's name; a wrong number is the nearest."""
    return Paginator(rows, ROWS).get_page(request.GET.get(name))
