"""How the session routes stand in the API's description. The frame answers them; these routes are their twins."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from keyseat_issuer.api import patterns
from keyseat_issuer.api.calls import Call, Handler, Lane
from keyseat_issuer.api.client.sessions import BASE
from keyseat_issuer.api.routing import ALWAYS, problems

_MACHINE_ID = Field(pattern=patterns.whole(patterns.MACHINE_ID), description="The machine ID, in its canonical form.")
_NONCE = Field(pattern=patterns.whole(patterns.NONCE), description="Fresh random characters; the lease repeats them.")
_PRODUCT = Field(pattern=patterns.whole(patterns.PRODUCT), examples=["KRE"])


class ClientInfo(BaseModel):
    """What the client is; for support only."""

    version: str = ""
    platform: str = ""


class AcquireBody(BaseModel):
    """A request for a session."""

    product: str = _PRODUCT
    machine_id: str = _MACHINE_ID
    nonce: str = _NONCE
    organization: str | None = Field(default=None, description="The organisation's id, where the caller has several.")
    release_previous: bool = Field(default=False, description="End this holder's sessions on this machine first.")
    client: ClientInfo | None = None


class RenewBody(BaseModel):
    """A request for a new lease."""

    machine_id: str = _MACHINE_ID
    nonce: str = _NONCE


class ReleasePreviousBody(BaseModel):
    """Which sessions to end."""

    product: str = _PRODUCT
    machine_id: str = _MACHINE_ID


class Signature(BaseModel):
    """A signature over the lease."""

    keyid: str
    sig: str


class LeaseEnvelope(BaseModel):
    """The lease: a DSSE envelope, to be verified against the client's own trust bundle."""

    payloadType: str  # noqa: N815 - DSSE's name
    payload: str
    signatures: list[Signature]


class SessionAnswer(BaseModel):
    """A session and its lease. Instants are RFC 3339 in UTC, in whole seconds."""

    session_id: str
    lease: LeaseEnvelope
    renew_after: str
    expires_at: str
    server_time: str


class Released(BaseModel):
    """How many sessions were ended."""

    released: int


class LeanRoute(APIRoute):
    """A route whose handler works on the bytes of the request: no validation by the framework, no serialisation."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint as it is."""
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(request)
            return response

        return handle


def add_session_routes(app: FastAPI, lanes: tuple[Lane, ...]) -> None:
    """Add the twins of the lanes, which describe them and answer where no frame stands in front."""
    described = {(lane.method, lane.template): lane.handler for lane in lanes}
    acquire = described["POST", BASE]
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "pattern": patterns.whole(patterns.IDEMPOTENCY_KEY)},
        "description": "A new one for every new request; the same one gets the same session.",
    }
    session_id = {
        "name": "session_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    _add(
        app,
        "POST",
        BASE,
        acquire,
        "Acquire a session",
        status=201,
        answer=SessionAnswer,
        extra={"parameters": [key], "requestBody": _body(AcquireBody)},
        responses={200: {"model": SessionAnswer, "description": "The session existed"}, **problems(403, 404, 409, 410)},
    )
    _add(
        app,
        "POST",
        BASE + "/release-previous",
        described["POST", BASE + "/release-previous"],
        "End this holder's sessions on a machine",
        answer=Released,
        extra={"requestBody": _body(ReleasePreviousBody)},
        responses=problems(403),
    )
    _add(
        app,
        "POST",
        BASE + "/{session_id}/renew",
        described["POST", BASE + "/{id}/renew"],
        "Renew a session's lease",
        answer=SessionAnswer,
        extra={"parameters": [session_id], "requestBody": _body(RenewBody)},
        responses=problems(403, 404, 409, 410),
    )
    _add(
        app,
        "DELETE",
        BASE + "/{session_id}",
        described["DELETE", BASE + "/{id}"],
        "Release a session",
        status=204,
        answer=None,
        extra={"parameters": [session_id]},
        responses=problems(403, 404),
    )
    for model in (AcquireBody, RenewBody, ReleasePreviousBody):
        app.state.extra_models.append(model)


def _add(
    app: FastAPI,
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    *,
    answer: type[BaseModel] | None,
    extra: dict[str, Any],
    responses: dict[int | str, dict[str, Any]],
    status: int = 200,
) -> None:
    async def endpoint(request: Request) -> Response:
        call = Call(request.scope, await request.body(), request.path_params.get("session_id", ""))
        found = await handler(call)
        response = Response(found.body, found.status)
        response.raw_headers = [*found.headers, (b"content-length", b"%d" % len(found.body))]
        return response

    endpoint.__doc__ = handler.__doc__
    route = LeanRoute(
        path,
        endpoint,
        methods=[method],
        response_model=answer,
        status_code=status,
        summary=summary,
        tags=["sessions"],
        operation_id=f"sessions_{handler.__name__}",
        responses={**responses, **problems(*ALWAYS)},
        openapi_extra={**extra, "security": [{"bearer": []}]},
    )
    app.router.routes.append(route)


def _body(model: type[BaseModel]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": reference}}}
