"""The administration API's way in: whose organisation, in which role, and how acts of the services are run."""

from collections.abc import Callable
from typing import Annotated, NamedTuple, ParamSpec, TypeVar
from uuid import UUID

from fastapi import Depends, Request

from keyseat_issuer.api.auth import Caller
from keyseat_issuer.api.roles import require_recent, require_role, rule_of
from keyseat_issuer.api.routing import CallerDep, ServiceDep, require_strict_json, route_name
from keyseat_issuer.api.service import Service
from keyseat_issuer.ledger.customers.member_guards import Proof
from keyseat_issuer.ledger.models import Membership, Organization, Role
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

P = ParamSpec("P")
T = TypeVar("T")

BASE = "/api/v1/organizations/{organization_id}"


class Access(NamedTuple):
    """A caller who may do what the route does, in an organisation. ``role`` is ``None`` for its API keys."""

    caller: Caller
    organization: Organization
    role: Role | None

    @property
    def actor(self) -> str:
        """The name for the audit log."""
        return f"user:{self.caller.email}" if self.caller.is_user else self.caller.actor

    @property
    def email(self) -> str | None:
        """Whose role counts; ``None`` for API keys."""
        return self.caller.email if self.caller.is_user else None


async def access_of(request: Request, service: ServiceDep, caller: CallerDep, organization_id: UUID) -> Access:
    """Return the caller's access to the organisation in the path.

    Raises:
        KeyseatError: ``NOT_FOUND`` for those outside of it, whether it exists or not; ``NOT_ALLOWED``;
            ``SIGN_IN_TOO_OLD``; ``MALFORMED`` and ``INVALID_INPUT`` for the body.
    """
    access = await service.threads.run(_find, caller, organization_id)
    rule = rule_of(route_name(request))
    if access.role is not None:
        require_role(rule, access.role)
    if rule.recent:
        require_recent(caller, service.clock())
    await require_strict_json(request)
    return access


AccessDep = Annotated[Access, Depends(access_of)]


def _find(caller: Caller, organization_id: UUID) -> Access:
    if caller.is_user:
        rows = Membership.objects.select_related("organization__account")
        member = rows.filter(organization_id=organization_id, email=caller.email).first()
        if member is not None:
            return Access(caller, member.organization, Role(member.role))
    elif caller.organization_id == organization_id:
        found = Organization.objects.select_related("account").filter(pk=organization_id).first()
        if found is not None:
            return Access(caller, found, None)
    raise _no_organization()


def _no_organization() -> KeyseatError:
    return KeyseatError(
        ReasonCode.NOT_FOUND,
        "you have no such organisation",
        next_step="GET /api/v1/organizations lists yours.",
    )


def proof_of(service: Service, access: Access) -> Proof:
    """Return what asks whether the caller has proved a short while ago who they are."""
    return lambda: require_recent(access.caller, service.clock())


async def act(service: Service, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Return what a service's function does, called off the event loop.

    Raises:
        KeyseatError: what the function refuses.
    """
    return await service.threads.run(function, *arguments, **options)


def no_such(what: str) -> KeyseatError:
    """Return the refusal of an id that names nothing in this organisation."""
    return KeyseatError(ReasonCode.NOT_FOUND, f"there is no such {what} in this organisation")
