"""Offline licences of an organisation: preview, confirmation, issuing, the list, files, and test licences."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from keyseat_issuer.api.admin.access import BASE, Access, AccessDep, act, no_such
from keyseat_issuer.api.admin.pages import Next, PageDep, read_page
from keyseat_issuer.api.admin.values import Body, Email, ProductCode, ProductFilter, TypedInstant, typed
from keyseat_issuer.api.licensing import unavailable
from keyseat_issuer.api.problems import next_of
from keyseat_issuer.api.routing import ALWAYS, ServiceDep, problems
from keyseat_issuer.api.service import Service
from keyseat_issuer.ledger.customers.member_guards import manages_still
from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.offline import confirmations
from keyseat_issuer.ledger.offline import licenses as offline
from keyseat_issuer.ledger.offline.files import SUFFIX, file_stem
from keyseat_issuer.ledger.offline.machine_test import make_test_license
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_issuer.ledger.offline.values import IssuedLicense, Terms
from keyseat_shared import rules
from keyseat_shared.instants import format_instant
from keyseat_shared.payloads import MAX_SESSIONS

router = APIRouter(prefix=BASE + "/offline-licenses", tags=["offline licences of an organisation"])

MachineIDText = Annotated[
    str,
    Field(
        min_length=10,
        max_length=200,
        description="As `keyseat machine-id` prints it; case, spaces and dashes do not matter.",
    ),
]


class PreviewBody(Body):
    """What to issue. Named products need `user`; floating ones have none, and may take several `sessions`."""

    product: ProductCode
    machine_id: MachineIDText
    user: Email | None = None
    expires_at: TypedInstant | None = None
    sessions: int = Field(default=1, ge=1, le=MAX_SESSIONS)
    accept_weak: bool = False
    subscription: UUID | None = None


class SubscriptionPart(BaseModel):
    """The subscription whose seat is converted."""

    id: str
    term: str
    starts_at: str
    ends_at: str


class ConflictItem(BaseModel):
    """An active licence of this organisation on the same machine."""

    license_id: str
    product: str
    user: str | None
    sessions: int
    expires_at: str
    relation: str


class PreviewAnswer(BaseModel):
    """What issuing would do. It cannot be undone: no licence can be revoked or moved before `locked_until`.

    `confirmation` issues exactly this, once, until `confirmation_expires_at`; it is `null` where this server does not
    sign licences, and `next` then says who does.
    """

    product: str
    user: str | None
    sessions: int
    subscription: SubscriptionPart
    machine_id: str
    grade: str
    grade_reasons: list[str]
    evidence: list[str]
    instance_source: str | None
    locked_until: str
    quota: int
    used_before: int
    used_after: int
    converts_named_seat: bool
    sessions_on_machine: int
    conflicts: list[ConflictItem]
    bound_elsewhere: bool
    warnings: list[str]
    confirmation: str | None
    confirmation_expires_at: str | None
    next: str


class ConfirmBody(Body):
    """The confirmation of a preview that a person has read."""

    confirmation: str = Field(min_length=20, max_length=100)


class LicenseItem(BaseModel):
    """An offline licence."""

    license_id: str
    product: str
    user: str | None
    machine_id: str
    sessions: int
    issued_at: str
    expires_at: str
    active: bool
    file_name: str


class Licenses(BaseModel):
    """Offline licences, the one that ends first first."""

    licenses: list[LicenseItem]
    next: Next


class TestBody(Body):
    """For which machine."""

    __test__ = False

    product: ProductCode
    machine_id: MachineIDText


_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, byte for byte", "content": {"application/json": {}}}
}


@router.get("", operation_id="offline_list", summary="Offline licences", responses=problems(403, 404, *ALWAYS))
async def list_licenses(
    service: ServiceDep,
    access: AccessDep,
    page: PageDep,
    product: ProductFilter = None,
    everything: Annotated[bool, Query(description="Also those that have ended.")] = False,  # noqa: FBT002 - a query
) -> Licenses:
    """Return the organisation's offline licences."""
    now = service.clock()
    listed = offline.listed(access.organization, now, product, everything=everything)
    found = await read_page(service, page, listed)
    return Licenses(licenses=[_of_row(row, now) for row in found.rows], next=found.next)


@router.post(
    "/preview",
    operation_id="offline_preview",
    summary="Preview a conversion",
    responses=problems(403, 404, 409, *ALWAYS),
)
async def preview(service: ServiceDep, access: AccessDep, body: PreviewBody) -> PreviewAnswer:
    """Apply every rule and return what issuing would do, with the token that confirms it. Nothing is issued."""
    request = OfflineRequest(
        str(access.organization.pk),
        body.product,
        body.machine_id,
        user=body.user,
        expires_at=typed(body.expires_at),
        sessions=body.sessions,
        accept_weak=body.accept_weak,
        subscription=None if body.subscription is None else str(body.subscription),
    )

    def look() -> confirmations.Shown:
        return confirmations.preview(access.organization, request, _reading_terms(service, access, service.clock()))

    shown = await act(service, look)
    signs = service.licensing is not None
    return PreviewAnswer.model_validate(
        shown.preview
        | {
            "confirmation": shown.token if signs else None,
            "confirmation_expires_at": format_instant(shown.expires_at) if signs else None,
            "next": "Read it, then POST the confirmation." if signs else next_of(unavailable()),
        }
    )


@router.post(
    "",
    operation_id="offline_issue",
    summary="Issue a confirmed licence",
    status_code=201,
    responses=problems(403, 404, 409, *ALWAYS),
)
async def issue(service: ServiceDep, access: AccessDep, body: ConfirmBody) -> LicenseItem:
    """Issue the licence of a preview. It exists from here on; its file can be downloaded again at any time.

    A token counts for the caller who got it, once. `ALREADY_EXISTS` names the licence that it issued before.
    """

    def confirm() -> IssuedLicense:
        now = service.clock()
        terms = _signing_terms(service, access, now)
        guard = manages_still(access.organization, access.email)
        return confirmations.confirm(access.organization, body.confirmation, terms, guard=guard)

    made = await act(service, confirm)
    return LicenseItem(
        license_id=str(made.license_id),
        product=made.product,
        user=made.user,
        machine_id=made.machine_id,
        sessions=made.sessions,
        issued_at=format_instant(made.issued_at),
        expires_at=format_instant(made.expires_at),
        active=True,
        file_name=_file_name(made.product, made.machine_id),
    )


@router.post(
    "/test",
    operation_id="offline_test",
    summary="Make a test licence",
    response_class=Response,
    responses={**_FILE, **problems(403, 404, 409, *ALWAYS)},
)
async def make_test(service: ServiceDep, access: AccessDep, body: TestBody) -> Response:
    """Return a file that tells a machine whether its ID is right, valid for 7 days. It takes no seat."""

    def make() -> tuple[str, bytes]:
        terms = _signing_terms(service, access, service.clock())
        made = make_test_license(str(access.organization.pk), body.product, body.machine_id, terms)
        return f"{file_stem(made.product, made.machine_id)}_test{SUFFIX}", made.file

    return _download(*await act(service, make))


@router.get(
    "/{license_id}/file",
    operation_id="offline_file",
    summary="Download a licence",
    response_class=Response,
    responses={**_FILE, **problems(403, 404, *ALWAYS)},
)
async def get_file(service: ServiceDep, access: AccessDep, license_id: UUID) -> Response:
    """Return the exact bytes of a licence, as often as wanted; each time is recorded."""

    def export() -> tuple[str, bytes]:
        if not OfflineLicense.objects.filter(organization=access.organization, pk=license_id).exists():
            raise no_such("offline licence")
        exported = offline.export(str(license_id), actor=access.actor, now=service.clock())
        return _file_name(exported.product, exported.machine_id), exported.file

    return _download(*await act(service, export))


def _reading_terms(service: Service, access: Access, now: datetime) -> Terms:
    return Terms(service.trust.trust(), access.actor, now)


def _signing_terms(service: Service, access: Access, now: datetime) -> Terms:
    # First: after the sunset nothing is issued, with or without keys.
    rules.check_sunset(now, service.trust.policy())
    if service.licensing is None:
        raise unavailable()
    return service.licensing.terms(access.actor, now)


def _of_row(row: OfflineLicense, now: datetime) -> LicenseItem:
    return LicenseItem(
        license_id=str(row.pk),
        product=row.product,
        user=row.user or None,
        machine_id=row.machine_id,
        sessions=row.sessions,
        issued_at=format_instant(row.issued_at),
        expires_at=format_instant(row.expires_at),
        active=now < row.expires_at,
        file_name=_file_name(row.product, row.machine_id),
    )


def _file_name(product: str, machine_id: str) -> str:
    return file_stem(product, machine_id) + SUFFIX


def _download(name: str, data: bytes) -> Response:
    return Response(
        data, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
