"""The trust bundle, for everybody: it is public, and clients adopt it by the update rule only.

Older versions are for clients whose root keys have not signed the newest one: they go from one to the next.
"""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response

from keyseat_issuer.api.routing import ServiceDep, client_of, problems

router = APIRouter(prefix="/api/v1", tags=["trust"])


@router.get(
    "/trust",
    operation_id="trust_get",
    summary="The newest trust bundle",
    response_class=Response,
    responses={
        200: {"description": "The bundle, a DSSE envelope", "content": {"application/json": {}}},
        304: {"description": "It is the one you have"},
        **problems(422, 429, 503),
    },
)
async def get_trust(
    request: Request, service: ServiceDep, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return the bundle's bytes with an `ETag`. Needs no token."""
    service.throttle.count_open_call(client_of(request))
    await service.threads.run(service.trust.look, service.clock())
    return _answer(*service.trust.bundle(), "no-cache", if_none_match)


@router.get(
    "/trust/{version}",
    operation_id="trust_version_get",
    summary="A version of the trust bundle",
    response_class=Response,
    responses={
        200: {"description": "The bundle, a DSSE envelope", "content": {"application/json": {}}},
        304: {"description": "It is the one you have"},
        **problems(404, 422, 429, 503),
    },
)
async def get_version(
    request: Request,
    service: ServiceDep,
    version: Annotated[int, Path(ge=1, le=2**53)],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the bytes of this version, which never change; `404` where there is none. Needs no token."""
    service.throttle.count_open_call(client_of(request))
    await service.threads.run(service.trust.look, service.clock())
    found = await service.threads.run(service.trust.version, version)
    return _answer(*found, "public, max-age=86400", if_none_match)


def _answer(data: bytes, etag: str, caching: str, if_none_match: str | None) -> Response:
    headers = {"ETag": etag, "Cache-Control": caching}
    offered = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    if etag in offered or "*" in offered:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="application/json")
