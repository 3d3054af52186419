"""Who may do what: one table of all routes. What is not in it is refused, and the service does not start.

A route is named by its operation id. Four questions are answered here and nowhere else: which roles of a user, which
scope of an API key, and which scope of a user's sign-in a route needs, and whether its person must have proved a short
while ago who they are: a stolen token, or a browser left open, must not give away what outlasts it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.routing import APIRoute

from keyseat_issuer.api.auth import Caller
from keyseat_issuer.api.problems import too_old
from keyseat_issuer.ledger.customers import rights
from keyseat_issuer.ledger.customers.rights import BUYERS, EVERYBODY, MANAGERS, OWNERS
from keyseat_issuer.ledger.models import Role
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

ANY_SCOPE = "*"
"""Any good API key may, whatever its scopes."""


class Reach(Enum):
    """Whose things a route shows or changes."""

    OPEN = "open"
    """Nobody's: no token is needed."""
    OWN = "own"
    """The caller's own."""
    ORGANIZATION = "organization"
    """Those of the organisation in the path."""


class Rule(NamedTuple):
    """What a route needs.

    ``key_scope`` ``None``: no API key may. ``sign_in``: one of these scopes of a user token. ``recent``: who calls has
    proved within ``RECENT`` who they are; where it depends on whose role it is, ``member_guards`` asks.
    """

    reach: Reach
    roles: frozenset[Role] = frozenset()
    key_scope: str | None = None
    sign_in: frozenset[str] = frozenset()
    recent: bool = False


RECENT = timedelta(minutes=15)
"""How long a password or second factor counts as given just now, for a program."""


_ADMIN = frozenset({"admin"})
_EITHER = frozenset({"admin", "sessions"})

_OPEN = Rule(Reach.OPEN)
_SESSION = Rule(Reach.OWN, EVERYBODY, "sessions", frozenset({"sessions"}))


def _of(
    roles: frozenset[Role], key_scope: str | None = None, sign_in: frozenset[str] = _ADMIN, *, recent: bool = False
) -> Rule:
    return Rule(Reach.ORGANIZATION, roles, key_scope, sign_in, recent)


MATRIX: dict[str, Rule] = {
    # operation
    "healthz": _OPEN,
    "readyz": _OPEN,
    "metrics": _OPEN,
    "trust_get": _OPEN,
    "trust_version_get": _OPEN,
    # the client's own
    "sessions_acquire": _SESSION,
    "sessions_renew": _SESSION,
    "sessions_release": _SESSION,
    "sessions_release_previous": _SESSION,
    "own_licenses_list": _SESSION,
    "own_licenses_file": _SESSION,
    "organizations_list": Rule(Reach.OWN, EVERYBODY, ANY_SCOPE, _EITHER),
    # an organisation
    "organization_get": _of(EVERYBODY, ANY_SCOPE, _EITHER),
    "own_seat_get": _of(EVERYBODY, None, _EITHER),
    "subscriptions_list": _of(BUYERS, "seats:read"),
    "ownership_transfer": _of(OWNERS, recent=True),
    "members_list": _of(MANAGERS, "members:read"),
    "member_set_role": _of(MANAGERS, "members:write"),
    "member_remove": _of(MANAGERS, "members:write"),
    "invitations_list": _of(MANAGERS, "members:read"),
    "invitations_create": _of(MANAGERS, "members:write"),
    "invitation_withdraw": _of(MANAGERS, "members:write"),
    "seats_list": _of(MANAGERS, "seats:read"),
    "seats_assign": _of(MANAGERS, "seats:write"),
    "seats_unassign": _of(MANAGERS, "seats:write"),
    "seat_transfer": _of(MANAGERS, "seats:write"),
    "online_sessions_list": _of(MANAGERS, "seats:read"),
    "online_sessions_end": _of(MANAGERS, "seats:write"),
    "machines_list": _of(MANAGERS, "seats:read"),
    "machine_remove": _of(MANAGERS, "seats:write"),
    "offline_list": _of(MANAGERS, "offline:read"),
    "offline_file": _of(MANAGERS, "offline:read"),
    "offline_preview": _of(MANAGERS, "offline:write"),
    "offline_issue": _of(MANAGERS, "offline:write"),
    "offline_test": _of(MANAGERS, "offline:write"),
    "audit_list": _of(MANAGERS, "audit:read"),
    "usage_report": _of(MANAGERS, "audit:read"),
    # A key that makes keys would outlive its own revocation.
    "api_keys_list": _of(MANAGERS),
    "api_keys_create": _of(MANAGERS, recent=True),
    "api_key_revoke": _of(MANAGERS),
}
"""Every route of the service and what it needs."""

LANES = frozenset({"sessions_acquire", "sessions_renew", "sessions_release", "sessions_release_previous"})
"""The routes that the frame answers itself (``keyseat_issuer.api.client.sessions``)."""


def rule_of(name: str | None) -> Rule:
    """Return the rule of a route. A route that is not in the table is refused.

    Raises:
        KeyseatError: ``NOT_ALLOWED``.
    """
    rule = MATRIX.get(name or "")
    if rule is None:
        raise KeyseatError(ReasonCode.NOT_ALLOWED, "nobody may do this")
    return rule


def require_scope(rule: Rule, caller: Caller) -> None:
    """Require that a token has the scope of the route. Roles and rows are checked later.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` with ``details["scope"]``.
    """
    if rule.reach is Reach.OPEN:
        return
    if caller.is_user:
        if caller.scopes.isdisjoint(rule.sign_in):
            wanted = "admin" if "admin" in rule.sign_in else min(rule.sign_in)
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"this sign-in lacks the scope {wanted!r}",
                details={"scope": wanted},
                next_step=f"Sign in again with the scope {wanted!r}.",
            )
    elif rule.key_scope is None:
        raise KeyseatError(
            ReasonCode.NOT_ALLOWED,
            "API keys may not do this",
            details={"scope": None},
            next_step="Sign in as an owner or admin of the organisation.",
        )
    elif rule.key_scope != ANY_SCOPE and rule.key_scope not in caller.scopes:
        raise KeyseatError(
            ReasonCode.NOT_ALLOWED,
            f"the API key lacks the scope {rule.key_scope!r}",
            details={"scope": rule.key_scope},
            next_step="Use an API key with that scope.",
        )


def require_role(rule: Rule, role: Role) -> None:
    """Require one of the roles that a route is for.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` with ``details["roles"]``.
    """
    rights.require_role(rule.roles, role)


def require_recent(caller: Caller, now: datetime) -> None:
    """Require that the person behind a sign-in proved within ``RECENT`` who they are; renewing a token is no proof.

    Raises:
        ApiError: ``SIGN_IN_TOO_OLD`` (401).
    """
    if caller.authenticated_at is None or now - caller.authenticated_at > RECENT:
        raise too_old(int(RECENT.total_seconds()))


def check_routes(api: FastAPI, guards: Iterable[Any]) -> None:
    """Make sure that each route stands in the table and asks one of ``guards`` who calls, and that no row is left over.

    Raises:
        RuntimeError: naming the routes; the service must not start then.
    """
    wanted = set(guards)
    faults = []
    named = set()
    for route in routes_of(api.routes):
        if not isinstance(route, APIRoute):
            if getattr(route, "path", None) != api.openapi_url:
                faults.append(f"{route} is no route of the API")
            continue
        name = route.operation_id or route.path
        named.add(name)
        rule = MATRIX.get(name)
        if rule is None:
            faults.append(f"{name} is not in the table")
        elif rule.reach is Reach.ORGANIZATION and "{organization_id}" not in route.path:
            faults.append(f"{name} names no organisation in its path")
        # Session routes have no dependencies: the frame answers them, and their handlers ask by themselves.
        elif rule.reach is not Reach.OPEN and name not in LANES and wanted.isdisjoint(_calls(route.dependant)):
            faults.append(f"{name} asks nobody who calls")
    faults += [f"{name} is in the table and nowhere else" for name in MATRIX if name not in named]
    if faults:
        raise RuntimeError("routes and roles do not agree: " + "; ".join(faults))


def routes_of(routes: Iterable[object]) -> Iterator[object]:
    """Yield all routes, those of included routers as well."""
    for route in routes:
        # FastAPI since 0.16x keeps an included router as one entry of its own.
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from routes_of(inner.routes)


def _calls(dependant: Any) -> set[Any]:  # noqa: ANN401 - FastAPI's tree of dependencies
    found = {dependant.call}
    for inner in dependant.dependencies:
        found |= _calls(inner)
    return found
