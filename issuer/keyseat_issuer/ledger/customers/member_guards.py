"""Rights on members, checked again under the locks of the act itself: one rule for API and console."""

from collections.abc import Callable, Collection

from keyseat_issuer.ledger.customers import invitations, members
from keyseat_issuer.ledger.customers.guards import Guard
from keyseat_issuer.ledger.customers.rights import MANAGERS, PRIVILEGED, require_manageable, require_role
from keyseat_issuer.ledger.models import Membership, Organization, Role
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

Proof = Callable[[], None]
"""Raises where who asks has not proved a short while ago who they are."""


def may_change(organization: Organization, email: str | None, *given: str, proof: Proof) -> members.Guard:
    """Return the check that somebody may change a member, and give these roles.

    Args:
        organization: the organisation.
        email: the caller's; ``None`` for an API key of the organisation.
        given: the roles that the member would get.
        proof: asked where it is about an owner or admin.
    """

    def check(member: Membership) -> None:
        _require(organization, email, {member.role, *given}, proof)

    return check


def may_invite(organization: Organization, email: str | None, *, proof: Proof) -> invitations.Guard:
    """Return the check that somebody may give out, replace and take back invitations; arguments as ``may_change``."""

    def check(roles: Collection[str]) -> None:
        _require(organization, email, roles, proof)

    return check


def manages_still(organization: Organization, email: str | None) -> Guard:
    """Return the check that somebody is still an owner or admin; arguments as ``may_change``."""

    def check() -> None:
        _role_now(organization, email)

    return check


def _require(organization: Organization, email: str | None, roles: Collection[str], proof: Proof) -> None:
    require_manageable(_role_now(organization, email), *roles)
    # After the role: a caller without the right is not asked for a password first.
    if not PRIVILEGED.isdisjoint(roles):
        proof()


def _role_now(organization: Organization, email: str | None) -> Role | None:
    """Return the caller's role now: it may have changed since the request arrived.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``NOT_ALLOWED``.
    """
    if email is None:
        return None
    found = organization.memberships.filter(email=email).values_list("role", flat=True).first()
    if found is None:
        raise KeyseatError(
            ReasonCode.NOT_FOUND,
            "you have no such organisation",
            next_step="Look at the list of your organisations.",
        )
    require_role(MANAGERS, Role(found))
    return Role(found)
