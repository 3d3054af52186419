"""Taking seats back and moving them to other members, after a look at what that means."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from keyseat_issuer.console.licenses import base_context
from keyseat_issuer.console.pages import ask, back
from keyseat_issuer.console.templatetags.console import said_through
from keyseat_issuer.console.visits import Visit, page, told
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.seats.licensed_users import LicensedUser, licensed
from keyseat_issuer.ledger.seats.preview import receivers
from keyseat_shared.errors import KeyseatError

MOST_OPTIONS = 50
"""Members up to which the receiver is chosen from a list; of more, a part of the address finds them."""


@page("console_unassign", "POST")
def unassign(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Show whose seats would be taken back and what stays, then take them back: all of them or none."""
    context = base_context(visit, product)
    chosen = request.POST.getlist("user")
    if not chosen:
        messages.warning(request, "Nobody was chosen.")
        return back(visit, product, "users")
    if "confirmed" not in request.POST:
        return _ask_unassign(request, visit, context, chosen)
    try:
        taken = seats.unassign(visit.organization, product, chosen, actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        messages.error(request, told(error))
    else:
        whose = taken[0].email if len(taken) == 1 else f"{len(taken)} users"
        messages.success(request, f"Took back the {product} seat{'s' * (len(taken) > 1)} of {whose}.")
    return back(visit, product, "users")


@page("console_transfer", "GET", "POST")
def transfer(request: HttpRequest, visit: Visit, product: str) -> HttpResponse:
    """Let a receiver be chosen, show what the transfer means, then move the seat in one act."""
    context = base_context(visit, product)
    sent = request.POST if request.method == "POST" else request.GET
    giver, receiver = sent.get("from", ""), sent.get("to", "").strip()
    try:
        possible = receivers(visit.organization, product, giver, visit.now)
    except KeyseatError as error:
        messages.error(request, told(error))
        return back(visit, product, "users")
    context |= {"giver": giver, "receiver": receiver, "possible": possible, "listed": len(possible) <= MOST_OPTIONS}
    if request.method == "GET":
        return render(request, "console/transfer.html", context)
    if "confirmed" in request.POST:
        return _transfer(request, visit, context)
    if receiver.lower() not in possible:
        named = receiver[:80] or "Nobody"
        context["error"] = f"{named} is not a member without a {product} seat. Choose one of those."
        return render(request, "console/transfer.html", context, status=HTTPStatus.BAD_REQUEST)
    return _ask_transfer(request, visit, context)


def _ask_unassign(request: HttpRequest, visit: Visit, context: dict[str, Any], chosen: list[str]) -> HttpResponse:
    product = context["tab"].code
    emails = sorted({email for email in chosen if email.isprintable()})
    users = licensed(visit.organization, product, visit.now, emails)
    taken = [user for user in users if user.assigned]
    if not taken:
        locked = [f"The seat of {user.email} {_stays(user)}." for user in users]
        messages.warning(request, " ".join(locked) or "Nobody of those holds a seat any more.")
        return back(visit, product, "users")
    several = len(taken) > 1
    return ask(
        request,
        context,
        title=f"Take back these {len(taken)} seats?" if several else "Take back this seat?",
        meaning="Online sessions end: each client is told when it renews next, until then it may go on. "
        "What is bound to an offline licence stays bound until it expires.",
        lines=[_fate(user) for user in users],
        fields=[("user", user.email) for user in taken],
        verb="Unassign",
    )


def _fate(user: LicensedUser) -> str:
    """Return what taking the seat back means for one user."""
    if not user.assigned:
        return f"{user.email}: {_stays(user)}"
    parts = [user.email + (": the online session ends" if user.online else ": not online")]
    if user.offline_until is not None:
        parts.append(f"a second seat {_stays(user)}")
    return "; ".join(parts)


def _stays(user: LicensedUser) -> str:
    until = "" if user.offline_until is None else f" {said_through(user.offline_until)}"
    return f"is bound to an offline licence{until} and cannot be taken back"


def _ask_transfer(request: HttpRequest, visit: Visit, context: dict[str, Any]) -> HttpResponse:
    product, giver, receiver = context["tab"].code, context["giver"], context["receiver"].lower()
    online = any(user.online for user in licensed(visit.organization, product, visit.now, [giver]))
    return ask(
        request,
        context,
        title=f"Transfer the {product} seat?",
        meaning=f"{giver} can then no longer activate {product} online. Nobody else can take the seat in between.",
        lines=[
            f"{giver} gives the seat{', and the online session ends' if online else ''}",
            f"{receiver} gets it",
        ],
        fields=[("from", giver), ("to", receiver)],
        verb="Transfer",
    )


def _transfer(request: HttpRequest, visit: Visit, context: dict[str, Any]) -> HttpResponse:
    product, giver, receiver = context["tab"].code, context["giver"], context["receiver"]
    try:
        seats.transfer(visit.organization, product, giver, receiver, actor=visit.actor, now=visit.now)
    except KeyseatError as error:
        context["error"] = told(error)
        return render(request, "console/transfer.html", context, status=HTTPStatus.CONFLICT)
    messages.success(request, f"The {product} seat of {giver} is {receiver}'s now.")
    return back(visit, product, "users")
