"""Converting a seat to an offline licence: the form, the preview to be read, and the confirmation that issues it."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from keyseat_issuer.console import vendor
from keyseat_issuer.console.after_sunset import AHEAD_DAYS, affected
from keyseat_issuer.console.licenses import base_context
from keyseat_issuer.console.offline_forms import MachineForm, OfflineForm
from keyseat_issuer.console.tables import shown
from keyseat_issuer.console.visits import Visit, page, sentence
from keyseat_issuer.ledger.customers import members, subscriptions
from keyseat_issuer.ledger.customers.member_guards import manages_still
from keyseat_issuer.ledger.offline import confirmations
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_issuer.ledger.pools.pools import Availability
from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.grades import LABELS
from keyseat_shared.instants import parse_instant

MOST_SUGGESTED = 1000
"""Members whose addresses the browser suggests while somebody types; every member's counts."""


class Place(NamedTuple):
    """A visit to a product's pages."""

    request: HttpRequest
    visit: Visit
    product: str

    @property
    def named(self) -> bool:
        """Whether the product's seats are users'.

        Raises:
            Http404: for a product that the catalogue does not hold.
        """
        named: bool = base_context(self.visit, self.product)["tab"].named
        return named


class Source(NamedTuple):
    """A subscription whose seats can be converted; ``ends_at`` is exclusive."""

    term: str
    ends_at: datetime
    figures: Availability


@page("console_offline_new", "GET", "POST")
def new(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Show the form; then, filled in, what issuing would do."""
    place = Place(request, visit, product)
    if request.method == "GET":
        start = {"user": request.GET.get("user", "")[:320]}
        return _form(place, OfflineForm(named=place.named, initial=start))
    form = OfflineForm(request.POST, request.FILES, named=place.named)
    valid = form.is_valid()
    if "change" in request.POST:
        return _form(place, form)
    return _preview(place, form) if valid else _form(place, form, HTTPStatus.BAD_REQUEST)


@page("console_offline_issue", "POST")
def issue(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Issue what the token confirms, and nothing else: the other fields only fill the form again."""
    place = Place(request, visit, product)
    form = OfflineForm(request.POST, named=place.named)
    licensing = vendor.in_use().licensing
    token = request.POST.get("confirmation", "")
    if licensing is None:
        return _form(place, form, HTTPStatus.CONFLICT)
    if "read" not in request.POST:
        fault = "Nothing was issued yet: tick the box that you have read this."
        return _again(place, form, fault, HTTPStatus.BAD_REQUEST)
    try:
        terms = licensing.terms(visit.actor, visit.now)
        guard = manages_still(visit.organization, visit.user.email)
        made = confirmations.confirm(visit.organization, token, terms, guard=guard)
    except KeyseatError as error:
        if error.code is ReasonCode.ALREADY_EXISTS:
            # The button was pressed twice: the licence is there.
            messages.info(request, "This confirmation had issued its licence already: no second one was made.")
            return redirect("console_offline_license", visit.organization.pk, product, error.details["license_id"])
        if error.code is ReasonCode.NOT_CONFIRMED:
            fault = f"{sentence(error)} Read the new preview, and confirm that one."
            return _again(place, form, fault, HTTPStatus.CONFLICT)
        form.full_clean()
        return _refused(place, form, error)
    messages.success(request, "The offline licence is issued.")
    return redirect("console_offline_license", visit.organization.pk, made.product, made.license_id)


def ended(place: Place) -> HttpResponse:
    """Answer that nothing is generated any more, and what to do instead."""
    rows = affected(place.visit, place.product)
    context = base_context(place.visit, place.product) | {
        "affected": shown(place.request, "affected", rows),
        "ahead_days": AHEAD_DAYS,
    }
    return render(place.request, "console/offline_ended.html", context, status=HTTPStatus.GONE)


def machine_page(
    place: Place, template: str, form: MachineForm, more: dict[str, Any], status: int = HTTPStatus.OK
) -> HttpResponse:
    """Answer with the page of a form about a machine; after the sunset with the notice that is then in its place."""
    context = base_context(place.visit, place.product)
    if context["offline_notice"].ended:
        return ended(place)
    signs = vendor.in_use().licensing is not None
    return render(place.request, template, context | {"form": form, "signs": signs} | more, status=status)


def _form(place: Place, form: OfflineForm, status: int = HTTPStatus.OK, existing: object = None) -> HttpResponse:
    """Answer with the form. ``existing``: the licence that stands in the way."""
    sources, hindrance = _sources(place)
    more = {
        "sources": sources,
        "hindrance": hindrance,
        "existing": existing,
        "members": [row.email for row in members.list_members(place.visit.organization)[:MOST_SUGGESTED]],
    }
    return machine_page(place, "console/offline_new.html", form, more, status)


def _again(place: Place, form: OfflineForm, fault: str, status: int) -> HttpResponse:
    """Answer with a new preview of what the fields say, or with the form where they say too little for one."""
    if form.is_valid():
        return _preview(place, form, fault, status)
    form.add_error(None, fault)
    return _form(place, form, status)


def _refused(place: Place, form: OfflineForm, error: KeyseatError) -> HttpResponse:
    """Answer with the form as it was filled in, and the refusal at the field that it is about.

    Raises:
        KeyseatError: the same one, where nothing that can be typed would help.
    """
    if error.code is ReasonCode.ISSUED_AFTER_SUNSET:
        return ended(place)
    return _form(place, form, form.refuse(error), error.details.get("license_id"))


def _preview(place: Place, form: OfflineForm, fault: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    """Answer with what issuing would do, and a new token that confirms it where this server signs licences."""
    visit = place.visit
    service = vendor.in_use()
    try:
        terms = Terms(service.trust.trust(), visit.actor, visit.now)
        found = confirmations.preview(visit.organization, form.asked(visit.organization, place.product), terms)
    except KeyseatError as error:
        return _refused(place, form, error)
    context = base_context(visit, place.product) | {
        "preview": _readable(found.preview),
        "token": found.token if service.licensing is not None else None,
        "token_ends_at": found.expires_at,
        "typed": form.typed(),
        "fault": fault,
    }
    return render(place.request, "console/offline_preview.html", context, status=status)


def _readable(preview: dict[str, Any]) -> dict[str, Any]:
    """Return a preview with instants as such and evidence in words."""
    subscription = cast("dict[str, str]", preview["subscription"])
    return preview | {
        "subscription": subscription | {"ends_at": parse_instant(subscription["ends_at"])},
        "locked_until": parse_instant(preview["locked_until"]),
        "evidence": [LABELS[kind] for kind in preview["evidence"]],
        "remarks": preview["grade_reasons"][1:],
        "conflicts": [
            conflict | {"expires_at": parse_instant(conflict["expires_at"])} for conflict in preview["conflicts"]
        ],
    }


def _sources(place: Place) -> tuple[list[Source], str]:
    """Return the subscriptions that can be converted from, or why there is none."""
    visit, found, reason = place.visit, [], ""
    for view in subscriptions.list_subscriptions(visit.organization, visit.now):
        row = view.subscription
        pools = [pool for pool in view.pools if pool.pool.product == place.product]
        if view.state != "active" or not pools:
            continue
        try:
            rules.check_annual(row.term, row.starts_at, row.ends_at, visit.policy)
        except KeyseatError as error:
            reason = f"{sentence(error)} Users of it activate online."
        else:
            found.append(Source(row.term, row.ends_at, pools[0].figures))
    return found, "" if found else reason or f"There is no active subscription to {place.product}."
