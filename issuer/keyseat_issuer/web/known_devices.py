"""Browsers in which somebody has signed in before: they keep getting in while others guess at the same account.

A long-lived signed cookie (OWASP's device cookie) is set after each sign-in. It opens nothing by itself; attempts with
it are counted on its own. So guesses from elsewhere lock out other new browsers, and not the person.
A new password ends all cookies that were set before it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from keyseat_issuer.web.models import User

AGE = timedelta(days=365)
_SALT = "keyseat.known-device"
_MARK = "keyseat_known_user"


def note(request: HttpRequest | None, user: User, **_arguments: Any) -> None:  # noqa: ANN401 - a signal's arguments
    """Have the answer to this request make its browser a known one of ``user``."""
    if request is not None:
        setattr(request, _MARK, user)


def recognise(request: HttpRequest, email: str) -> str:
    """Return what a known browser of this account is counted by; empty for one that is not known."""
    value = request.COOKIES.get(_name(email), "")
    if not value:
        return ""
    try:
        found = signing.loads(value, salt=_SALT + email, max_age=AGE)
        device, proof = str(found["device"]), str(found["proof"])
    except (signing.BadSignature, LookupError, TypeError):
        return ""
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None or not hmac.compare_digest(proof, _proof(device, user)):
        return ""
    return device


class KnownDevices:
    """Sets the cookie."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        response = self._get_response(request)
        user = getattr(request, _MARK, None)
        if user is not None:
            _remember(request, response, user)
        return response


def _remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    device = recognise(request, user.email) or secrets.token_urlsafe(16)
    response.set_cookie(
        _name(user.email),
        signing.dumps({"device": device, "proof": _proof(device, user)}, salt=_SALT + user.email),
        max_age=AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _name(email: str) -> str:
    # One cookie an account: people share browsers. Its name does not tell whose it is.
    prefix = "__Host-" if settings.SESSION_COOKIE_SECURE else ""
    return f"{prefix}keyseat-device-{hashlib.sha256(email.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _proof(device: str, user: User) -> str:
    """Return a value that changes with the password and does not reveal its hash: the salt is secret."""
    return hashlib.sha256(f"{device}\0{user.password}".encode()).hexdigest()[:32]
