"""One's own offline licences: the list of the active ones, and the exact bytes of a file."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.db.models import QuerySet
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from keyseat_issuer.api import patterns
from keyseat_issuer.api.auth import Caller
from keyseat_issuer.api.routing import ALWAYS, CallerDep, ServiceDep, problems
from keyseat_issuer.ledger.models import Membership, OfflineLicense
from keyseat_issuer.ledger.offline import licenses as offline
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

router = APIRouter(prefix="/api/v1/offline-licenses", tags=["offline licences"])

_MOST = 200


class OwnLicense(BaseModel):
    """An active offline licence. Instants are RFC 3339 in UTC."""

    license_id: str
    product: str
    machine_id: str
    sessions: int
    issued_at: str
    expires_at: str
    file_name: str


class OwnLicenses(BaseModel):
    """The caller's active offline licences, at most 200."""

    licenses: list[OwnLicense]


@router.get("", operation_id="own_licenses_list", summary="One's own licences", responses=problems(403, *ALWAYS))
async def list_own(
    service: ServiceDep,
    caller: CallerDep,
    machine_id: Annotated[
        str | None,
        Query(pattern=patterns.whole(patterns.MACHINE_ID), description="Only those bound to this machine ID."),
    ] = None,
) -> OwnLicenses:
    """Return the active licences of a user, or the floating ones of an API key's organisation."""
    rows = await service.threads.run(_list, caller, machine_id, service.clock())
    return OwnLicenses(licenses=rows)


@router.get(
    "/{license_id}/file",
    operation_id="own_licenses_file",
    summary="The file of one licence",
    response_class=Response,
    responses={
        200: {"description": "The licence file, byte for byte", "content": {"application/json": {}}},
        **problems(403, 404, *ALWAYS),
    },
)
async def get_file(service: ServiceDep, caller: CallerDep, license_id: UUID) -> Response:
    """Return the exact bytes of one of the caller's active licences."""
    name, data = await service.threads.run(_export, caller, license_id, service.clock())
    return Response(
        data, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _own(caller: Caller, now: datetime) -> QuerySet[OfflineLicense]:
    active = OfflineLicense.objects.filter(expires_at__gt=now)
    if caller.organization_id is not None:
        return active.filter(organization_id=caller.organization_id, user="")
    memberships = Membership.objects.filter(email=caller.email)
    return active.filter(organization__in=memberships.values("organization"), user=caller.email)


def _list(caller: Caller, machine_id: str | None, now: datetime) -> list[OwnLicense]:
    rows = _own(caller, now)
    if machine_id is not None:
        rows = rows.filter(machine_id=machine_id)
    return [
        OwnLicense(
            license_id=str(row.pk),
            product=row.product,
            machine_id=row.machine_id,
            sessions=row.sessions,
            issued_at=format_instant(row.issued_at),
            expires_at=format_instant(row.expires_at),
            file_name=_file_name(row),
        )
        for row in rows.defer("file").order_by("-issued_at")[:_MOST]
    ]


def _export(caller: Caller, license_id: UUID, now: datetime) -> tuple[str, bytes]:
    row = _own(caller, now).filter(pk=license_id).defer("file").first()
    if row is None:
        raise KeyseatError(
            ReasonCode.NOT_FOUND, "you have no such active licence", next_step="GET /offline-licenses lists yours."
        )
    exported = offline.export(str(row.pk), actor=caller.actor, now=now)
    return _file_name(row), exported.file


def _file_name(row: OfflineLicense) -> str:
    return f"{row.product}_{row.machine_id.removeprefix('mid1')[:10]}.lic"
