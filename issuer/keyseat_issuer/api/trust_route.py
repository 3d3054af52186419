"""The newest trust bundle, for everybody: it is public, and clients adopt it by the update rule only."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

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
    data, etag = service.trust.bundle(service.clock())
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    offered = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    if etag in offered or "*" in offered:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="application/json")
