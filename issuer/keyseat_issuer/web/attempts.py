"""Guesses at a person's secrets: what counts them, and who is asked to wait for how long."""

import math
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from keyseat_issuer.web import known_devices, limits
from keyseat_issuer.web.addresses import client_address, network, wide_network
from keyseat_issuer.web.limits import Limit
from keyseat_issuer.web.mail import sends_for_real
from keyseat_issuer.web.models import User

PASSWORDS = Limit("sign-in", 5, timedelta(minutes=5))
"""Of one account, whether there is such an account or not, from browsers that are not known."""
PASSWORDS_FROM = Limit("sign-in-from", 10, timedelta(minutes=1))
"""From one network: an IPv4 address, or the /64 of an IPv6 subscriber."""
PASSWORDS_FROM_WIDE = Limit("sign-in-wide", 60, timedelta(minutes=1))
"""From one IPv6 /48: what a subscriber of a hoster gets has 65,536 networks."""
PASSWORDS_IN = Limit("sign-in-known", 10, timedelta(minutes=10))
"""In one known browser of an account; beyond, it is treated as one that is not known."""

CODES = Limit("second-factor", 5, timedelta(minutes=5))
CODES_A_DAY = Limit("second-factor-day", 50, timedelta(days=1))
"""Of one account, by who knows its password. A million codes, of which two count: a year of guessing hits with 4 %."""
CODES_IN = Limit("second-factor-known", 10, timedelta(minutes=10))

CONFIRMATIONS = Limit("confirm", 10, timedelta(minutes=10))
"""Passwords and codes of somebody who is signed in, in one browser."""


_MARK = "keyseat_wait"


class Attempt(NamedTuple):
    """An attempt that was counted. It is one until it succeeds: parallel guesses cannot slip through together."""

    counts: tuple[tuple[Limit, str], ...]

    def succeeded(self) -> None:
        """Take it off the counts."""
        for limit, subject in self.counts:
            limits.give_back(limit, subject)


def at_password(request: HttpRequest, email: str) -> Attempt:
    """Count an attempt to sign in as ``email``.

    Raises:
        ValidationError: with how long to wait.
    """
    found = network(client_address(request))
    unknown = [(PASSWORDS_FROM, found), (PASSWORDS, email)]
    if wide := wide_network(found):
        unknown.insert(0, (PASSWORDS_FROM_WIDE, wide))
    return _count(request, email, PASSWORDS_IN, unknown)


def at_second_factor(request: HttpRequest, user: User) -> Attempt:
    """Count a code of somebody who knows the password of ``user``.

    Raises:
        ValidationError: with how long to wait.
    """
    subject = str(user.pk)
    return _count(request, user.email, CODES_IN, [(CODES, subject), (CODES_A_DAY, subject)])


def at_confirmation(request: HttpRequest, user: User) -> Attempt:
    """Count a password or code of somebody who is signed in: a finder of an open browser may guess, too.

    Raises:
        ValidationError: with how long to wait.
    """
    here = known_devices.recognise(request, user.email) or request.session.session_key or ""
    return _spend(request, [(CONFIRMATIONS, f"{user.pk}:{here}")], "")


def wait_in_words(seconds: int) -> str:
    """Return how long a person has to wait."""
    if seconds < 100:  # noqa: PLR2004 - seconds that people still count
        return f"{seconds} second{'s' if seconds > 1 else ''}"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{math.ceil(minutes / 60)} hours"  # noqa: PLR2004 - as above


class Waiting:
    """Answers 429 (too many requests) where a form was refused because somebody has to wait."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        response = self._get_response(request)
        seconds = getattr(request, _MARK, 0)
        if seconds and response.status_code == HTTPStatus.OK:
            response.status_code = HTTPStatus.TOO_MANY_REQUESTS
            response.headers["Retry-After"] = str(seconds)
        return response


def _count(request: HttpRequest, email: str, known: Limit, unknown: list[tuple[Limit, str]]) -> Attempt:
    device = known_devices.recognise(request, email)
    if device and limits.spend(known, device, timezone.now()).allowed:
        return Attempt(((known, device),))
    return _spend(request, unknown, _advice(known_here=bool(device)))


def _advice(*, known_here: bool) -> str:
    """Return what lets the right person in meanwhile; a browser that is known and used up is no such thing."""
    elsewhere = "" if known_here else " A browser in which you have signed in before still lets you in."
    reset = "“Forgot your password?”" if sends_for_real() else "ask Customer Success for a link to do so"
    return f"{elsewhere} One in which you have set a new password by a link lets you in, too: {reset}."


def _spend(request: HttpRequest, counts: list[tuple[Limit, str]], advice: str) -> Attempt:
    spent = limits.spend_all(counts, timezone.now())
    if not spent.allowed:
        setattr(request, _MARK, spent.retry_after)
        raise ValidationError(
            f"Too many attempts. Try again in {wait_in_words(spent.retry_after)}.{advice}",
            code="too_many_login_attempts",
        )
    return Attempt(tuple(counts))
