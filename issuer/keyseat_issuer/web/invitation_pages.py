"""The pages behind an invitation's link: sign in or choose a password, then join."""

import functools
from http import HTTPStatus
from typing import cast

from allauth.account.models import EmailAddress
from allauth.account.utils import perform_login
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from keyseat_issuer.ledger.customers import invitations
from keyseat_issuer.ledger.models import Invitation
from keyseat_issuer.web.forms import NewAccountForm
from keyseat_issuer.web.models import User
from keyseat_issuer.web.steps import STEPS
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_SESSION_KEY = "keyseat-invitation"


@require_GET
def open_link(request: HttpRequest) -> HttpResponse:
    """Take the token out of the address bar (history, Referer) into the session, and go on without it."""
    token = request.GET.get("token", "")[:200]
    try:
        invitations.look_up(token, timezone.now())
    except KeyseatError as error:
        return _refuse(request, error)
    request.session[_SESSION_KEY] = token
    return redirect("invitation")


@require_http_methods(["GET", "POST"])
def accept(request: HttpRequest) -> HttpResponse:
    """Show who invites whom; join with one's account, or make one."""
    now = timezone.now()
    try:
        invitation = invitations.look_up(request.session.get(_SESSION_KEY, ""), now)
    except KeyseatError as error:
        return _refuse(request, error)
    if request.user.is_authenticated:
        return _join(request, invitation)
    if User.objects.filter(email=invitation.email).exists():
        return _show(request, invitation, "sign-in")
    return _make_account(request, invitation)


def _join(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    user = cast("User", request.user)
    if user.email != invitation.email:
        return _show(request, invitation, "other-account")
    if request.method == "GET":
        return _show(request, invitation, "join")
    try:
        invitations.accept(invitation.pk, user.email, now=timezone.now())
    except KeyseatError as error:
        return _refuse(request, error)
    return _welcome(request)


def _make_account(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    form = NewAccountForm(request.POST if request.method == "POST" else None, email=invitation.email)
    if not form.is_valid():
        status = HTTPStatus.BAD_REQUEST if form.is_bound else HTTPStatus.OK
        return _show(request, invitation, "new-account", form, status)
    made = functools.partial(_create, invitation.email, form.cleaned_data["name"], form.cleaned_data["password"])
    try:
        invitations.accept(invitation.pk, invitation.email, now=timezone.now(), make_account=made)
    except KeyseatError as error:
        return _refuse(request, error)
    perform_login(request, User.objects.get(email=invitation.email))
    return _welcome(request)


def _create(email: str, name: str, password: str) -> None:
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name)
    except IntegrityError:
        raise KeyseatError(
            ReasonCode.ALREADY_EXISTS,
            f"{email} has an account since a moment ago",
            next_step="Open the link again, and sign in.",
        ) from None
    # allauth's flag lets a second factor be set up, no more. Whether the address is proven is the ledger's: ``claims``.
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)


def _welcome(request: HttpRequest) -> HttpResponse:
    request.session.pop(_SESSION_KEY, None)
    return redirect("home")


def _show(
    request: HttpRequest,
    invitation: Invitation,
    step: str,
    form: NewAccountForm | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    context = {"invitation": invitation, "step": step, "form": form}
    return render(request, "web/invitation.html", context, status=status)


def _refuse(request: HttpRequest, error: KeyseatError) -> HttpResponse:
    if error.code in {ReasonCode.LEDGER_UNAVAILABLE, ReasonCode.CLOCK_ROLLED_BACK, ReasonCode.CLOCK_AHEAD}:
        raise error  # not the link's fault: it works again when the server does
    context = {
        "title": "This link does not work",
        "message": error.message,
        "next": STEPS.of(error),
        "code": str(error.code),
    }
    return render(request, "web/refused.html", context, status=HTTPStatus.GONE)
