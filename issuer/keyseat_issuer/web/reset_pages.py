"""A forgotten password: a mail with a link, or, where this server sends no mail, whom to ask."""

from http import HTTPStatus

from allauth.account import views as account
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from keyseat_issuer.web.mail import sends_for_real


def ask_for_link(request: HttpRequest) -> HttpResponseBase:
    """Ask for the address that the link goes to."""
    if sends_for_real():
        answer: HttpResponseBase = account.password_reset(request)
        return answer
    # Nothing is looked up: whether there is such an account is not told here either.
    status = HTTPStatus.OK if request.method in {"GET", "HEAD"} else HTTPStatus.SERVICE_UNAVAILABLE
    return render(request, "web/no_mail.html", status=status)
