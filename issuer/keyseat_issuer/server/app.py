"""The ASGI application: the frame around the API, the API's routes and description, and how errors are answered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware

from keyseat_issuer.api.admin import audit, keys, members, offline, organizations, seats
from keyseat_issuer.api.admin.access import access_of
from keyseat_issuer.api.calls import REFUSAL, App
from keyseat_issuer.api.client import own_licenses, trust
from keyseat_issuer.api.client.session_docs import add_session_routes
from keyseat_issuer.api.client.sessions import SessionRoutes
from keyseat_issuer.api.problems import (
    MEDIA_TYPE,
    ApiError,
    headers_of,
    internal_error,
    not_found,
    problem_body,
    status_of,
)
from keyseat_issuer.api.roles import check_routes
from keyseat_issuer.api.routing import Problem, caller_of, request_id_of
from keyseat_issuer.api.service import Service
from keyseat_issuer.server import health
from keyseat_issuer.server.frame import Frame
from keyseat_shared import __version__
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

ROUTERS: tuple[APIRouter, ...] = (
    trust.router,
    own_licenses.router,
    organizations.router,
    members.router,
    seats.router,
    offline.router,
    keys.router,
    audit.router,
    health.router,
)
"""The routers of ordinary routes."""

_DESCRIPTION = """Activation of licences: floating sessions, named seats, the trust bundle.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Every call but those marked otherwise needs
`Authorization: Bearer`; cookies are never looked at."""


def create_app(
    service: Service, *, web: Callable[[], App] | None = None, routers: Sequence[APIRouter] = ROUTERS
) -> App:
    """Return the application of one process; ``web`` makes the one that answers pages."""
    api = create_api(service, routers)
    lanes = SessionRoutes(service.desk, service.authenticator).lanes()
    add_session_routes(api, lanes)
    check_routes(api, (caller_of, access_of))
    frame = Frame(api, lanes=lanes, metrics=service.metrics, trusted_proxies=service.trusted_proxies, web=web)
    # Outside the frame: whatever goes wrong inside, the client gets a problem document and the log a traceback.
    return ServerErrorMiddleware(frame, handler=_on_bug)


def create_api(service: Service, routers: Sequence[APIRouter]) -> FastAPI:
    """Return the API without its frame."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(service.follow())
        yield
        following.cancel()
        await service.close()

    api = FastAPI(
        title="keyseat activation service",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers={
            KeyseatError: _on_refusal,
            HTTPException: _on_http,
            RequestValidationError: _on_invalid,
            Exception: _on_bug,
        },
    )
    api.state.service = service
    api.state.extra_models = [Problem]
    for router in routers:
        api.include_router(router)
    describe = api.openapi
    api.openapi = lambda: _described(api, describe)  # type: ignore[method-assign] # FastAPI's documented hook
    return api


def _described(api: FastAPI, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Add the schemas that only lean routes name, and say that errors are problems, not FastAPI's default."""
    if api.openapi_schema is None:
        document = describe()
        models: list[type[BaseModel]] = api.state.extra_models
        _, found = models_json_schema(
            [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(found.get("$defs", {}))
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        api.openapi_schema = document
    return api.openapi_schema


def respond(error: KeyseatError, request: Request) -> Response:
    """Return a refusal as a response of the framework."""
    status = status_of(error)
    request.scope[REFUSAL] = error
    body = problem_body(error, status, request_id_of(request))
    return Response(body, status, headers_of(error, status), MEDIA_TYPE)


async def _on_refusal(request: Request, error: Exception) -> Response:
    return respond(_as(KeyseatError, error), request)


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: unknown paths, wrong methods, bodies it cannot read."""
    failure = _as(HTTPException, error)
    if failure.status_code == HTTPStatus.NOT_FOUND:
        return respond(not_found(request.scope["path"]), request)
    what = HTTPStatus(failure.status_code).phrase.lower()
    code = ReasonCode.MALFORMED if failure.status_code == HTTPStatus.BAD_REQUEST else ReasonCode.INVALID_INPUT
    refusal = ApiError(
        code,
        f"the request was refused: {what}",
        status=failure.status_code,
        headers=failure.headers,
        next_step="/openapi.json describes every route.",
    )
    return respond(refusal, request)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Answer a request whose fields are wrong; the values stay out, they may be secrets."""
    failure = _as(RequestValidationError, error)
    wrong = [
        {"field": ".".join(str(part) for part in entry["loc"][1:]), "message": entry["msg"]}
        for entry in failure.errors()
    ]
    unreadable = any(entry["type"] == "json_invalid" for entry in failure.errors())
    if unreadable:
        refusal = ApiError(ReasonCode.MALFORMED, "the request body is not JSON", status=HTTPStatus.BAD_REQUEST)
    else:
        named = ", ".join(entry["field"] for entry in wrong if entry["field"])
        refusal = ApiError(
            ReasonCode.INVALID_INPUT,
            f"not right: {named or 'the request body'}",
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            details={"errors": wrong},
            next_step=None if _is_json(request) else "Send the body with `Content-Type: application/json`.",
        )
    return respond(refusal, request)


def _is_json(request: Request) -> bool:
    """Tell whether a body, if there is one, is declared as JSON; another one is not even looked at."""
    declared = request.headers.get("content-type", "")
    return request.method in {"GET", "DELETE"} or declared.partition(";")[0].strip().lower() == "application/json"


async def _on_bug(request: Request, _error: Exception) -> Response:
    return respond(internal_error(), request)


def _as(kind: type[Any], error: Exception) -> Any:  # noqa: ANN401 - the kind that the handler is registered for
    if not isinstance(error, kind):
        raise error
    return error
