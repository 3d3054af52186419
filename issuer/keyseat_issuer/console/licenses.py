"""License Management: a product's subscriptions, users, sessions, offline licences and machines on one page."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from keyseat_issuer.console import vendor
from keyseat_issuer.console.after_sunset import AHEAD_DAYS, affected
from keyseat_issuer.console.tables import Shown, listed, shown, values
from keyseat_issuer.console.usage import usage
from keyseat_issuer.console.visits import Visit, common, page
from keyseat_issuer.ledger.customers import subscriptions
from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.offline import licenses as offline
from keyseat_issuer.ledger.pools.pools import Availability
from keyseat_issuer.ledger.seats import licensed_users, machines, seats
from keyseat_issuer.ledger.sessions import admin
from keyseat_shared.policy import Policy

MOST_NAMED = 50
"""Members without a seat who are named; of more, their number is told."""
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
    """Show a product's licences; a billing manager sees the subscriptions only."""
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
    with_ended = "ended" in request.GET
    ended = OfflineLicense.objects.filter(organization=organization, product=product, expires_at__lte=now)
    search = request.GET.get("q", "").strip().lower().replace("\0", "")[:254]
    without = seats.unlicensed(organization, now)
    licenses = offline.listed(organization, now, product, everything=with_ended)
    if with_ended:
        # Those that have ended come behind the active ones, the last one first.
        licenses = licenses._replace(keys=tuple([key._replace(down=True) for key in licenses.keys]))
    return {
        "search": search,
        "users": _users(request, visit, product, search),
        "sessions": listed(request, "sessions", admin.listed(organization, now, product)),
        "licenses": listed(request, "offline", licenses),
        "signs": vendor.in_use().licensing is not None,
        "with_ended": with_ended,
        "some_ended": not with_ended and ended.exists(),
        "machines": _machines(request, visit, product),
        "unlicensed": list(without.order_by("email").values_list("email", flat=True)[:MOST_NAMED]),
        "unlicensed_count": without.count(),
    }


def _users(request: HttpRequest, visit: Visit, product: str, search: str) -> Shown[licensed_users.LicensedUser]:
    """Return a page of those who hold a seat of the product."""
    organization, now = visit.organization, visit.now
    found = values(request, "users", licensed_users.addresses(organization, product, now, search))
    found.object_list = licensed_users.licensed(organization, product, now, found.object_list)
    return found


def _machines(request: HttpRequest, visit: Visit, product: str) -> Shown[machines.Machine]:
    """Return a page of the machines that hold something of the product."""
    organization, now = visit.organization, visit.now
    found = values(request, "machines", machines.machine_ids(organization, now, product))
    found.object_list = machines.list_machines(organization, now, found.object_list, product=product)
    return found
