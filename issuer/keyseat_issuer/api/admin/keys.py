"""API keys of an organisation: made (and shown once), listed, revoked."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from keyseat_issuer.api.admin.access import BASE, AccessDep, act, no_such
from keyseat_issuer.api.admin.pages import Next, PageDep, read_page
from keyseat_issuer.api.admin.values import Body, TypedInstant, instant, typed
from keyseat_issuer.api.routing import ALWAYS, ServiceDep, problems
from keyseat_issuer.ledger.audit.listing import shown_actor
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.customers.member_guards import manages_still
from keyseat_issuer.ledger.models import ApiKey
from keyseat_shared.instants import format_instant

router = APIRouter(prefix=BASE + "/api-keys", tags=["API keys"])


class KeyBody(Body):
    """A key to make."""

    name: str = Field(min_length=1, max_length=200)
    scopes: list[str] = Field(
        min_length=1, max_length=len(api_keys.SCOPES), description=f"Of {', '.join(api_keys.SCOPES)}."
    )
    expires_at: TypedInstant | None = None


class KeyItem(BaseModel):
    """A key. `prefix` names it in lists and logs; `state`: `active`, `expired` or `revoked`."""

    id: str
    prefix: str
    name: str
    scopes: list[str]
    state: str
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class Keys(BaseModel):
    """The organisation's keys, newest first."""

    api_keys: list[KeyItem]
    next: Next


class NewKey(BaseModel):
    """A key that was just made. `key` is shown here and never again."""

    key: str
    api_key: KeyItem


@router.get("", operation_id="api_keys_list", summary="API keys", responses=problems(403, 404, *ALWAYS))
async def list_keys(service: ServiceDep, access: AccessDep, page: PageDep) -> Keys:
    """Return the organisation's keys, without their secrets."""
    found = await read_page(service, page, api_keys.listed(access.organization))
    now = service.clock()
    return Keys(api_keys=[_item(row, now) for row in found.rows], next=found.next)


@router.post(
    "",
    operation_id="api_keys_create",
    summary="Make an API key",
    status_code=201,
    responses=problems(403, 404, 409, *ALWAYS),
)
async def create_key(service: ServiceDep, access: AccessDep, body: KeyBody) -> NewKey:
    """Make a key. Keep what is shown: only its hash is stored."""
    now = service.clock()
    made = await act(
        service,
        api_keys.create_key,
        access.organization,
        body.scopes,
        name=body.name,
        expires_at=typed(body.expires_at),
        actor=access.actor,
        now=now,
        guard=manages_still(access.organization, access.email),
    )
    return NewKey(key=made.text, api_key=_item(made.row, now))


@router.delete(
    "/{key_id}", operation_id="api_key_revoke", summary="Revoke an API key", responses=problems(403, 404, *ALWAYS)
)
async def revoke_key(service: ServiceDep, access: AccessDep, key_id: UUID) -> KeyItem:
    """Revoke a key: it is refused within seconds. Its sessions run until their leases end, or are ended by force."""

    def revoke() -> ApiKey:
        row = ApiKey.objects.filter(organization=access.organization, pk=key_id).first()
        if row is None:
            raise no_such("API key")
        return api_keys.revoke_key(access.organization, row.prefix, actor=access.actor, now=service.clock())

    return _item(await act(service, revoke), service.clock())


def _item(row: ApiKey, now: datetime) -> KeyItem:
    return KeyItem(
        id=str(row.pk),
        prefix=row.prefix,
        name=row.name,
        scopes=row.scopes.split(),
        state=api_keys.state(row, now),
        created_at=format_instant(row.created_at),
        created_by=shown_actor(row.created_by),
        expires_at=instant(row.expires_at),
        revoked_at=instant(row.revoked_at),
        last_used_at=instant(row.last_used_at),
    )
