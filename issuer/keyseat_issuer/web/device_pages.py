"""The page where a signed-in person answers a client's request to be signed in (RFC 8628, section 3.3)."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import cast

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import (
    STATE_SESSION_KEY,
    is_reauthentication_required,
    raise_if_reauthentication_required,
)
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from keyseat_issuer.web import device, limits
from keyseat_issuer.web.forms import UserCodeForm
from keyseat_issuer.web.models import DeviceAuthorization, User
from keyseat_issuer.web.reset_pages import too_many

# 20^8 codes, of which a handful are alive: at these rates a guess hits within some ten thousand years.
WRONG_CODES = limits.Limit("user-code", 10, timedelta(minutes=10))

_UNKNOWN = "This code is not known, was used, or has expired. Start again in your terminal to get a new one."


@login_required
@require_http_methods(["GET", "POST"])
def device_page(request: HttpRequest) -> HttpResponse:
    """Ask for the code, show what asks, take the answer.

    A code in the link only fills in the field: the person must see and send it, so that nobody is led to
    approve somebody else's machine by one click (RFC 8628, section 5.4).
    """
    if request.method == "GET":
        request.session.pop(STATE_SESSION_KEY, None)  # an approval that waited for the password, and was left
        return _ask(request, UserCodeForm(initial={"user_code": request.GET.get("user_code", "")[:20]}))
    form = UserCodeForm(request.POST)
    if not form.is_valid():
        return _ask(request, form, HTTPStatus.BAD_REQUEST)
    typed = form.cleaned_data["user_code"]
    now = timezone.now()
    found = _look_up(request, typed, now)
    if isinstance(found, limits.Spent):
        return too_many(request, found.retry_after)
    if found is not None:
        action = request.POST.get("action")
        if action not in {"approve", "deny"}:
            return _show(request, typed, found)
        approve = action == "approve"
        if approve and _needs_proof(found):
            # A browser left open must not give away a token that outlasts it and is asked for no password later.
            raise_if_reauthentication_required(request, app="keyseat")
        user = cast("User", request.user)
        if device.decide(found, user, approve=approve, now=now, authenticated_at=authenticated_at(request)):
            return render(request, "web/device_done.html", {"approved": action == "approve", "asked": found})
    form.add_error("user_code", _UNKNOWN)
    return _ask(request, form, HTTPStatus.BAD_REQUEST)


def _needs_proof(asked: DeviceAuthorization) -> bool:
    return "admin" in asked.scopes.split()


def authenticated_at(request: HttpRequest) -> datetime | None:
    """Return when the person last gave a password or second factor in this browser."""
    records = get_authentication_records(request, cast("User", request.user))
    return datetime.fromtimestamp(int(records[-1]["at"]), UTC) if records else None


def _look_up(request: HttpRequest, typed: str, now: datetime) -> DeviceAuthorization | limits.Spent | None:
    """Return the request behind a code, None for a wrong one, or the limit that forbids to look.

    Guesses are counted by account, not by network: accounts are by invitation only, and one person's guesses must not
    shut out the others of an office.
    """
    subject = str(request.user.pk)
    spent = limits.spend(WRONG_CODES, subject, now)
    if not spent.allowed:
        return spent
    found = device.find(typed, now)
    if found is not None:
        limits.give_back(WRONG_CODES, subject)
    return found


def _ask(request: HttpRequest, form: UserCodeForm, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return render(request, "web/device.html", {"form": form}, status=status)


def _show(request: HttpRequest, user_code: str, found: DeviceAuthorization) -> HttpResponse:
    context = {
        "asked": found,
        "user_code": user_code,
        "client": device.CLIENTS[found.client_id],
        "proof_needed": _needs_proof(found) and is_reauthentication_required(request, app="keyseat"),
        "rights": [device.SCOPES[scope] for scope in found.scopes.split()],
    }
    return render(request, "web/device_confirm.html", context)
