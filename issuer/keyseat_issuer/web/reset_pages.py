"""A forgotten password: a mail with a link, or, where this server sends no mail, whom to ask; and changing one."""

from datetime import datetime, timedelta
from http import HTTPStatus

from allauth.account import views as account
from allauth.account.forms import ResetPasswordForm
from allauth.core import context
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from keyseat_issuer.web import known_devices, limits
from keyseat_issuer.web.adapters import AccountAdapter
from keyseat_issuer.web.addresses import client_address, network, wide_network
from keyseat_issuer.web.attempts import wait_in_words
from keyseat_issuer.web.limits import Limit
from keyseat_issuer.web.mail import run_later, sends_for_real

MAILS_FROM = Limit("reset-from", 20, timedelta(minutes=10))
MAILS_FROM_WIDE = Limit("reset-wide", 100, timedelta(minutes=10))
MAILS_TO = Limit("reset-to", 5, timedelta(hours=1))
"""To one address. A stranger who uses them up has sent the person five links that work."""
MAILS_IN = Limit("reset-known", 5, timedelta(hours=1))
CHANGES = Limit("password-change", 10, timedelta(minutes=10))


class ResetForm(ResetPasswordForm):  # type: ignore[misc, unused-ignore]
    """Takes any address. Whether it has an account is looked up after the answer, whose time then tells nothing."""

    def clean_email(self) -> str:
        """Return the address as accounts keep it."""
        email: str = AccountAdapter(context.request).clean_email(self.cleaned_data["email"])
        return email

    def save(self, request: HttpRequest, **options: object) -> str:
        """Send the mail in the background, if there is such an account."""
        email: str = self.cleaned_data["email"]

        def work() -> None:
            try:
                with context.request_context(request):
                    ResetPasswordForm.clean_email(self)
                    ResetPasswordForm.save(self, request, **options)
            finally:
                connections.close_all()

        run_later(work)
        return email


def ask_for_link(request: HttpRequest) -> HttpResponseBase:
    """Ask for the address that the link goes to."""
    if not sends_for_real():
        # Nothing is looked up: whether there is such an account is not told here either.
        status = HTTPStatus.OK if request.method in {"GET", "HEAD"} else HTTPStatus.SERVICE_UNAVAILABLE
        return render(request, "web/no_mail.html", status=status)
    if request.method == "POST":
        seconds = _count(request, timezone.now())
        if seconds:
            return too_many(request, seconds)
    answer: HttpResponseBase = account.password_reset(request)
    return answer


def change(request: HttpRequest) -> HttpResponseBase:
    """Change the password of somebody who is signed in: the old one is asked, and guesses at it are counted."""
    if request.method == "POST" and request.user.is_authenticated:
        here = request.session.session_key or ""
        spent = limits.spend(CHANGES, f"{request.user.pk}:{here}", timezone.now())
        if not spent.allowed:
            return too_many(request, spent.retry_after)
    answer: HttpResponseBase = account.password_change(request)
    return answer


def too_many(request: HttpRequest, seconds: int) -> HttpResponse:
    """Answer that somebody has to wait, and how long."""
    response = render(request, "429.html", {"wait": wait_in_words(seconds)}, status=HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["Retry-After"] = str(seconds)
    return response


def _count(request: HttpRequest, now: datetime) -> int:
    """Count a mail that is asked for, and return the seconds to wait; unknown addresses are counted alike."""
    email = AccountAdapter(request).clean_email(request.POST.get("email", "")[:1000])
    device = known_devices.recognise(request, email)
    if device and limits.spend(MAILS_IN, device, now).allowed:
        return 0
    found = network(client_address(request))
    counts = [(MAILS_FROM, found)]
    if wide := wide_network(found):
        counts.append((MAILS_FROM_WIDE, wide))
    if "@" in email:  # a wrong address is shown in the form, and nothing is sent
        counts.append((MAILS_TO, email))
    return limits.spend_all(counts, now).retry_after
