"""Who may do what in an organisation: the roles for each kind of act (docs/spec/admin-api.md), for all faces."""

from collections.abc import Collection

from keyseat_issuer.ledger.models import Role
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

EVERYBODY = frozenset(Role)
OWNERS = frozenset({Role.OWNER})
MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
"""Who may see and change seats, sessions, offline licences and members."""
BUYERS = frozenset({Role.OWNER, Role.ADMIN, Role.BILLING})
"""Who may see what was bought."""

_MANAGEABLE = frozenset({Role.BILLING, Role.MEMBER})
"""The roles that an admin may give, change and take."""

PRIVILEGED = EVERYBODY - _MANAGEABLE
"""The roles that are given, changed and taken only by who has proved a short while ago who they are."""


def require_role(roles: Collection[Role], role: Role) -> None:
    """Require one of these roles.

    Raises:
        KeyseatError: ``NOT_ALLOWED`` with ``details["roles"]``.
    """
    if role not in roles:
        wanted = [str(allowed) for allowed in Role if allowed in roles]
        raise KeyseatError(
            ReasonCode.NOT_ALLOWED,
            f"a {role} may not do this",
            details={"role": str(role), "roles": wanted},
            next_step=f"Ask an {' or '.join(wanted)} of the organisation.",
        )


def manageable_by(actor: Role | None) -> frozenset[Role]:
    """Return the roles that somebody may give, change and take: owners all, admins and API keys the lower two."""
    return EVERYBODY if actor is Role.OWNER else _MANAGEABLE


def gives_more(role: Role, *, than: Role) -> bool:
    """Tell whether a role gives rights that another does not."""
    order = list(Role)  # from the most to the least
    return order.index(role) < order.index(than)


def may_invite_as(role: Role | None) -> frozenset[Role]:
    """Return the roles that a member of this role may give in an invitation; ``None``: no longer a member."""
    return manageable_by(role) if role in MANAGERS else frozenset()


def require_manageable(actor: Role | None, *roles: str) -> None:
    """Require the right to change members with these roles.

    Raises:
        KeyseatError: ``NOT_ALLOWED``.
    """
    if manageable_by(actor).issuperset(roles):
        return
    raise KeyseatError(
        ReasonCode.NOT_ALLOWED,
        "only an owner may give, change or take the roles of owners and admins",
        details={"roles": [str(Role.OWNER)]},
        next_step="Ask an owner of the organisation.",
    )
