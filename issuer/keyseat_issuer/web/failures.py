"""What a person or program is told where the server itself cannot: never a traceback, always when to try again."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import Error, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from keyseat_issuer.ledger.database import explain
from keyseat_issuer.web.steps import STEPS
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

RETRY_AFTER = 5
"""Seconds after which a client may try again."""

_log = logging.getLogger(__name__)
_OURS = frozenset(
    {
        ReasonCode.LEDGER_UNAVAILABLE,
        ReasonCode.CLOCK_ROLLED_BACK,
        ReasonCode.CLOCK_AHEAD,
        ReasonCode.KEY_UNAVAILABLE,
    }
)


class Failures:
    """Turns errors of the ledger and its database into a page, or into OAuth's JSON for programs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for errors we know; others stay what they are, bugs."""
        for_programs = request.path.startswith("/oauth/")
        if for_programs and isinstance(exception, BadRequest | SuspiciousOperation):
            return _oauth_error("invalid_request", HTTPStatus.BAD_REQUEST)  # Django's own answer is a page
        if isinstance(exception, Error | InterfaceError):
            exception = explain(exception)
        if not isinstance(exception, KeyseatError):
            return None
        busy = exception.code in _OURS
        status = HTTPStatus.SERVICE_UNAVAILABLE if busy else HTTPStatus.CONFLICT
        _log.warning("%s %s: %s", request.method, request.path, exception, extra={"request": request})
        response: HttpResponse
        if for_programs:
            response = _oauth_error("temporarily_unavailable" if busy else "invalid_request", status)
        else:
            context = {"message": exception.message, "next": STEPS.of(exception), "code": str(exception.code)}
            response = render(request, "web/refused.html", context, status=status)
        if busy:
            response.headers["Retry-After"] = str(RETRY_AFTER)
        return response


def _oauth_error(code: str, status: HTTPStatus) -> HttpResponse:
    """Answer as RFC 6749, section 5.2, has it."""
    return JsonResponse({"error": code}, status=status, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})
