"""Errors as `application/problem+json` (RFC 9457), carrying our reason codes: the one place that knows statuses."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from keyseat_issuer.api.steps import STEPS
from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.errors import KeyseatError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "https://keyseat.dev/problems/"
RETRY_AFTER = 5
"""Seconds a client is asked to wait where the server cannot tell better."""

_UNAUTHENTICATED = frozenset({"missing", "unknown", "expired", "revoked"})

STATUS: dict[ReasonCode, HTTPStatus] = {
    ReasonCode.MALFORMED: HTTPStatus.BAD_REQUEST,
    ReasonCode.UNSUPPORTED_FORMAT: HTTPStatus.BAD_REQUEST,
    ReasonCode.INVALID_INPUT: HTTPStatus.UNPROCESSABLE_ENTITY,
    ReasonCode.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    ReasonCode.SIGN_IN_TOO_OLD: HTTPStatus.UNAUTHORIZED,
    ReasonCode.NOT_A_MEMBER: HTTPStatus.FORBIDDEN,
    ReasonCode.NOT_ASSIGNED: HTTPStatus.FORBIDDEN,
    ReasonCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ReasonCode.LEASE_ENDED: HTTPStatus.GONE,
    ReasonCode.LEDGER_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ReasonCode.KEY_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ReasonCode.TRUST_INVALID: HTTPStatus.SERVICE_UNAVAILABLE,
    ReasonCode.UNREADABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ReasonCode.CLOCK_ROLLED_BACK: HTTPStatus.SERVICE_UNAVAILABLE,
    ReasonCode.CLOCK_AHEAD: HTTPStatus.SERVICE_UNAVAILABLE,
    ReasonCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Statuses by reason; every other reason is a refusal by the state of things: 409."""

TITLES: dict[ReasonCode, str] = {
    ReasonCode.MALFORMED: "The request cannot be read",
    ReasonCode.INVALID_INPUT: "The request is not right",
    ReasonCode.NOT_ALLOWED: "Not allowed",
    ReasonCode.ADDRESS_UNPROVEN: "The address is not proven",
    ReasonCode.SIGN_IN_TOO_OLD: "The sign-in is too old for this",
    ReasonCode.NOT_A_MEMBER: "Not a member of the organisation",
    ReasonCode.NOT_ASSIGNED: "No licence is assigned",
    ReasonCode.NOT_FOUND: "Not found",
    ReasonCode.QUOTA_EXCEEDED: "No seat is free",
    ReasonCode.SUBSCRIPTION_ENDED: "The subscription has ended",
    ReasonCode.SEAT_LOCKED_OFFLINE: "The seat is bound to an offline licence",
    ReasonCode.LEASE_ENDED: "The session has ended",
    ReasonCode.LEDGER_UNAVAILABLE: "The ledger cannot be reached",
    ReasonCode.KEY_UNAVAILABLE: "A signing key cannot be used",
    ReasonCode.ALREADY_EXISTS: "It exists already",
    ReasonCode.NOT_CONFIRMED: "Not confirmed",
    ReasonCode.ALREADY_BOUND: "The machine is bound already",
    ReasonCode.MACHINE_WEAK: "The machine ID is weak",
    ReasonCode.ISSUED_AFTER_SUNSET: "Offline licence generation has ended",
    ReasonCode.NOT_ANNUAL: "Only annual subscriptions can be converted",
    ReasonCode.EXPIRY_AFTER_SUBSCRIPTION: "The expiry is after the end of the subscription",
    ReasonCode.EXPIRY_IN_PAST: "The expiry is in the past",
    ReasonCode.INTERNAL: "Internal error",
}
"""Short titles; other reasons are titled by their code."""


class ApiError(KeyseatError):
    """A refusal whose status or headers its reason code alone does not tell (401, 404, 405, 413, 429)."""

    def __init__(
        self,
        code: ReasonCode,
        message: str,
        *,
        status: int,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
        next_step: str | None = None,
    ) -> None:
        """Keep the status (400 to 599) and extra headers of the answer."""
        super().__init__(code, message, details=details, next_step=next_step)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: KeyseatError) -> int:
    """Return the HTTP status of a refusal."""
    if isinstance(error, ApiError):
        return error.status
    reason = error.details.get("reason")
    if error.code is ReasonCode.NOT_ALLOWED and reason in _UNAUTHENTICATED:
        return HTTPStatus.UNAUTHORIZED
    if error.code is ReasonCode.NOT_ALLOWED and reason == "rate":
        return HTTPStatus.TOO_MANY_REQUESTS
    return STATUS.get(error.code, HTTPStatus.CONFLICT)


def headers_of(error: KeyseatError, status: int) -> dict[str, str]:
    """Return the extra headers of a refusal: when to retry, and how to authenticate."""
    headers = dict(error.headers) if isinstance(error, ApiError) else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="keyseat"')
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_AFTER))
    if status == HTTPStatus.TOO_MANY_REQUESTS and "retry_after" in error.details:
        headers.setdefault("Retry-After", str(error.details["retry_after"]))
    return headers


def next_of(error: KeyseatError) -> str:
    """Return what to do next, in the API's own words; what the API refuses itself says it already."""
    return error.next_step if isinstance(error, ApiError) else STEPS.of(error)


def problem_body(error: KeyseatError, status: int, request_id: str) -> bytes:
    """Write the problem document. The members ``code``, ``next``, ``request_id``, ``details`` are extensions."""
    return json.dumps(
        {
            "type": TYPE_PREFIX + error.code,
            "title": TITLES.get(error.code, str(error.code)),
            "status": int(status),
            "code": str(error.code),
            "detail": error.message,
            "next": next_of(error),
            "request_id": request_id,
            "details": error.details,
        },
        ensure_ascii=False,
        separators=(",", ":"),
        default=str,
    ).encode()


def too_old(seconds: int) -> ApiError:
    """Return the answer to a sign-in whose person was asked more than ``seconds`` ago who they are (RFC 9470)."""
    return ApiError(
        ReasonCode.SIGN_IN_TOO_OLD,
        f"this needs a password or second factor given within the last {seconds // 60} minutes",
        status=HTTPStatus.UNAUTHORIZED,
        headers={
            "WWW-Authenticate": 'Bearer realm="keyseat", error="insufficient_user_authentication", '
            f'error_description="a more recent authentication is needed", max_age="{seconds}"'
        },
        details={"reason": "authentication", "max_age": seconds},
        next_step="Sign in again: `POST /oauth/device` with the scope `admin`, approve it in a browser, and send this"
        " with the new token. Renewing the old one is not enough. The console asks for the password by itself.",
    )


def internal_error() -> ApiError:
    """Return the answer to a bug of ours: nothing of the bug, but where to look."""
    return ApiError(
        ReasonCode.INTERNAL,
        "the server failed in a way it did not expect",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        next_step=NEXT_STEPS[ReasonCode.INTERNAL],
    )


def not_found(path: str) -> ApiError:
    """Return the answer to an unknown path."""
    return ApiError(
        ReasonCode.NOT_FOUND,
        f"there is nothing at {path[:120]!r}",
        status=HTTPStatus.NOT_FOUND,
        next_step="Check the path; /openapi.json lists what there is.",
    )


def too_large(limit: int) -> ApiError:
    """Return the answer to a body over ``limit`` bytes."""
    return ApiError(
        ReasonCode.INVALID_INPUT,
        f"the request body is larger than {limit // 1024} KiB",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        next_step="Send less in one request.",
    )


def too_many(seconds: int, what: str) -> ApiError:
    """Return the answer to a caller over its rate: ``seconds`` until the next call may pass."""
    return ApiError(
        ReasonCode.NOT_ALLOWED,
        f"too many {what}",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        headers={"Retry-After": str(seconds)},
        details={"reason": "rate", "retry_after": seconds},
        next_step=f"Wait {seconds} seconds and try again.",
    )
