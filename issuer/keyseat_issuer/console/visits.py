"""A visit to a page of the console: who, in which organisation and role; and how refusals are answered."""

import functools
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Concatenate, NamedTuple, ParamSpec, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from keyseat_issuer.console import vendor
from keyseat_issuer.ledger.customers.rights import BUYERS, MANAGERS, OWNERS, require_role
from keyseat_issuer.ledger.models import Membership, Organization, Role
from keyseat_issuer.web.models import User
from keyseat_issuer.web.steps import STEPS
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc
from keyseat_shared.policy import Policy

P = ParamSpec("P")

RIGHTS: dict[str, frozenset[Role]] = {
    "console_licenses": BUYERS,
    "console_product": BUYERS,
    "console_assign": MANAGERS,
    "console_unassign": MANAGERS,
    "console_transfer": MANAGERS,
    "console_sessions_end": MANAGERS,
    "console_machine_remove": MANAGERS,
    "console_offline_new": MANAGERS,
    "console_offline_issue": MANAGERS,
    "console_offline_test": MANAGERS,
    "console_offline_license": MANAGERS,
    "console_offline_file": MANAGERS,
    "console_usage": MANAGERS,
    "console_usage_csv": MANAGERS,
    "console_audit": MANAGERS,
    "console_members": MANAGERS,
    "console_member": MANAGERS,
    "console_member_role": MANAGERS,
    "console_member_remove": MANAGERS,
    "console_ownership": OWNERS,
    "console_invite": MANAGERS,
    "console_invitation_again": MANAGERS,
    "console_invitation_withdraw": MANAGERS,
    "console_api_keys": MANAGERS,
    "console_api_key_new": MANAGERS,
    "console_api_key_revoke": MANAGERS,
}
"""Every page of the console by its name, and the roles that it is for. No page can be made that is not in it."""


class Visit(NamedTuple):
    """A signed-in member who may use the page, at an instant in whole seconds."""

    user: User
    organization: Organization
    role: Role
    now: datetime

    @property
    def actor(self) -> str:
        """The name for the audit log."""
        return f"user:{self.user.email}"

    @property
    def manages(self) -> bool:
        """Whether the member may see and change who holds what."""
        return self.role in MANAGERS

    @property
    def policy(self) -> Policy:
        """The vendor's policy in force."""
        return vendor.in_use().trust.policy()


View = Callable[Concatenate[HttpRequest, Visit, P], HttpResponseBase]


def page(name: str, *methods: str) -> Callable[[View[P]], Callable[..., HttpResponseBase]]:
    """Make a view of a function of the request and a ``Visit``, for these methods and the roles that ``RIGHTS`` names.

    Who is no member is told that there is no such page, whether the organisation exists or not.
    """
    roles = RIGHTS[name]

    def wrap(view: View[P]) -> Callable[..., HttpResponseBase]:
        @login_required
        @require_http_methods(methods)
        @functools.wraps(view)
        def answer(
            request: HttpRequest, organization_id: UUID, *arguments: P.args, **options: P.kwargs
        ) -> HttpResponseBase:
            visit = _visit(request, organization_id)
            try:
                require_role(roles, visit.role)
            except KeyseatError as error:
                return refused(request, error, HTTPStatus.FORBIDDEN)
            return view(request, visit, *arguments, **options)  # the web's own layer answers for failures

        return answer

    return wrap


def common(visit: Visit, here: str) -> dict[str, Any]:
    """Return what every page of the console shows. ``here``: its place in the organisation's navigation."""
    return {"visit": visit, "organization": visit.organization, "here": here, "now": visit.now}


def refused(request: HttpRequest, error: KeyseatError, status: HTTPStatus) -> HttpResponse:
    """Answer with the page that tells a refusal and the next step."""
    context = {"message": error.message, "next": STEPS.of(error), "code": str(error.code)}
    return render(request, "web/refused.html", context, status=status)


def told(error: KeyseatError) -> str:
    """Return a refusal as a sentence or two for people, with the pages' next step."""
    return f"{sentence(error)} {STEPS.of(error)}".strip()


def sentence(error: KeyseatError) -> str:
    """Return a refusal's message as a sentence; an address at its beginning stays as it is."""
    first, blank, rest = error.message.partition(" ")
    return f"{first if '@' in first else first[:1].upper() + first[1:]}{blank}{rest}."


def _visit(request: HttpRequest, organization_id: UUID) -> Visit:
    user = cast("User", request.user)
    rows = Membership.objects.select_related("organization__account")
    member = rows.filter(organization_id=organization_id, email=user.email).first()
    if member is None:
        raise Http404
    return Visit(user, member.organization, Role(member.role), now_utc())
