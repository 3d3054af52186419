"""What a person or program is told where the server itself cannot: never a traceback, always when to try again."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.db import Error, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from keyseat_issuer.ledger.database import explain
from keyseat_issuer.next_steps import for_people
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
        if isinstance(exception, Error | InterfaceError):
            exception = explain(exception)
        if not isinstance(exception, KeyseatError):
            return None
        busy = exception.code in _OURS
        status = HTTPStatus.SERVICE_UNAVAILABLE if busy else HTTPStatus.CONFLICT
        # A second factor that cannot be read (KEY_UNAVAILABLE) says itself what to ask the operator for.
        if exception.code is not ReasonCode.KEY_UNAVAILABLE:
            for_people(exception, {})
        _log.warning("%s %s: %s", request.method, request.path, exception, extra={"request": request})
        response: HttpResponse
        if request.path.startswith("/oauth/"):
            response = JsonResponse({"error": "temporarily_unavailable" if busy else "invalid_request"}, status=status)
        else:
            context = {"message": exception.message, "next": exception.next_step, "code": str(exception.code)}
            response = render(request, "web/refused.html", context, status=status)
        if busy:
            response.headers["Retry-After"] = str(RETRY_AFTER)
        return response
