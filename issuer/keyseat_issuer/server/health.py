"""Liveness, readiness and figures: for the operator's probes, not for clients."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from keyseat_issuer.api.calls import CLIENT, find_header
from keyseat_issuer.api.metrics import CONTENT_TYPE
from keyseat_issuer.api.problems import ApiError
from keyseat_issuer.api.routing import ServiceDep, problems
from keyseat_issuer.ledger.audit.clock_correction import require_right
from keyseat_issuer.ledger.database import require_ready
from keyseat_issuer.ledger.patience import call_ends
from keyseat_issuer.ledger.seats.state import Seats, require_writable, seats
from keyseat_issuer.server.limits import DOOR, Door
from keyseat_issuer.trust.freshness import RENEW, warning
from keyseat_issuer.web.public_url import is_loopback
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

router = APIRouter(tags=["operation"])

_PATIENCE = 4.0
"""Seconds that probes and figures wait for the ledger, all in all; a scrape has ten by default."""
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")


class Health(BaseModel):
    """The answer of a probe."""

    status: str


class Readiness(Health):
    """The answer of ``/readyz``: ``lacks`` names what this host should have, and does its work without.

    ``warnings`` are for the operator, and stop nothing yet.
    """

    lacks: list[str]
    warnings: list[str]


@router.get("/healthz", operation_id="healthz", summary="The process runs")
async def healthz() -> Health:
    """Answer as long as the event loop turns. Needs no token."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readyz", summary="The service can do its work", responses=problems(503))
async def readyz(request: Request, service: ServiceDep) -> Readiness:
    """Answer 200 where the ledger can be used, the clock is right and a lease key is open. Needs no token.

    A trust bundle that is stale or soon will be is warned of, and takes no server away: none has a newer one.
    """
    door = _door(request)
    if door is not None and door.draining:
        raise ApiError(
            ReasonCode.NOT_ALLOWED,
            "the service is about to stop",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            details={"reason": "draining"},
            next_step="Send requests to another server.",
        )
    end = call_ends(_PATIENCE)
    await service.threads.run_until(end, require_ready)
    await service.threads.run_until(end, require_right, service.clock())
    await service.threads.run_until(end, require_writable, service.clock())
    await service.threads.run_until(end, service.trust.authority, service.clock())
    now = service.clock()
    told = warning(service.trust.trust(), now)
    return Readiness(
        status="ready",
        lacks=[f"lease key {keyid}" for keyid in service.trust.lacks(now)],
        warnings=[f"{told} {RENEW}"] if told else [],
    )


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}, **problems(403, 503)},
)
async def metrics(request: Request, service: ServiceDep) -> Response:
    """Return the figures of this process, to callers on this machine only: they tell how many seats are sold."""
    if not _is_local(request):
        raise KeyseatError(
            ReasonCode.NOT_ALLOWED,
            "figures are given to this machine only",
            next_step="Scrape /metrics over loopback, not through a proxy.",
        )
    door = _door(request)
    if door is not None:
        service.metrics.connections(door.open, door.ended)
    service.metrics.trust(service.trust.trust())
    service.metrics.ledger(await _seats(service))
    text = service.metrics.exposition(turns=service.desk.turns, waiting=service.desk.waiting)
    return Response(text, media_type=CONTENT_TYPE)


async def _seats(service: ServiceDep) -> list[Seats] | None:
    """Return the seats, or ``None`` where the ledger does not answer: the other figures are wanted most just then."""
    try:
        return await service.threads.run_until(call_ends(_PATIENCE), seats, service.clock())
    except KeyseatError:
        return None


def _door(request: Request) -> Door | None:
    """Return the door of the server, or ``None`` behind another server."""
    found: Door | None = request.scope.get("state", {}).get(DOOR)
    return found


def _is_local(request: Request) -> bool:
    """Tell whether a program on this machine asks: by the connection's peer, and without any proxy's mark."""
    if any(find_header(request.scope["headers"], name) is not None for name in _FORWARDED):
        return False
    peer = request.scope.get("client")
    if not peer or request.scope[CLIENT] == "unknown":
        return False
    return is_loopback(peer[0])
