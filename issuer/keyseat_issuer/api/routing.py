"""What every ordinary route needs: the service, the caller, and how problems look in the API's description."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from keyseat_issuer.api.auth import Caller
from keyseat_issuer.api.calls import CLIENT, REQUEST_ID
from keyseat_issuer.api.problems import MEDIA_TYPE
from keyseat_issuer.api.roles import require_scope, rule_of
from keyseat_issuer.api.service import Service
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.strictjson import loads_object

BEARER = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="An API key (`ksk_…`) or a user token of the device grant."
)

_TITLES = {
    400: "The request cannot be read",
    401: "No good token",
    403: "Not allowed",
    404: "Not found",
    409: "Refused by the state of things; `code` says why",
    410: "The session is over; `details.reason` says why",
    413: "The request body is larger than 64 KiB",
    422: "A field of the request is not right",
    429: "Too many calls; wait `Retry-After` seconds",
    503: "The service cannot answer now; come back after `Retry-After` seconds",
}


class Problem(BaseModel):
    """An error (RFC 9457). Programs decide by `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    next: str
    request_id: str
    details: dict[str, Any]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` entry that documents these problem statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


ALWAYS = (400, 401, 413, 422, 429, 503)
"""Problems that any route for a caller may answer with."""


def service_of(request: Request) -> Service:
    """Return the service of the application that got this request."""
    service: Service = request.app.state.service
    return service


def client_of(request: Request) -> str:
    """Return the address that calls are counted by."""
    client: str = request.scope[CLIENT]
    return client


def request_id_of(request: Request) -> str:
    """Return the request's id."""
    found: str = request.scope.get(REQUEST_ID, "")
    return found


def route_name(request: Request) -> str | None:
    """Return the operation id of the route that a request was matched to."""
    return getattr(request.scope.get("route"), "operation_id", None)


async def caller_of(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Caller:
    """Return who sent a bearer token with this request, where the token is good for the route.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` (401, or 403 for a token made for other things), or too many calls (429).
    """
    token = credentials.credentials if credentials else None
    caller = await service_of(request).authenticator.caller(token, client_of(request))
    require_scope(rule_of(route_name(request)), caller)
    return caller


async def require_strict_json(request: Request) -> None:
    """Refuse a body that two readers could understand differently, on a route that takes one.

    Called last, where it is known that the caller may: who may not hears that, whatever they sent.
    The framework's reader takes the last of two members of one name, a byte order mark, UTF-16, and any `…+json`.

    Raises:
        KeyseatError: ``MALFORMED`` (400); ``INVALID_INPUT`` (422) for a body of another type.
    """
    if getattr(request.scope.get("route"), "body_field", None) is None:
        return
    body = await request.body()
    if not body:
        return  # whether one is needed, the route knows
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the body is not application/json",
            next_step="Send the body with `Content-Type: application/json`.",
        )
    loads_object(body)


ServiceDep = Annotated[Service, Depends(service_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
