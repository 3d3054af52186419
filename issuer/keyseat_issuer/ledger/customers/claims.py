"""Claimed addresses: those of accounts that were made by a link which the inviter was shown (ADR 59).

Such a link does not prove who holds the address: the inviter could have opened it. The account has only rights that the
inviter may give, in that organisation, until the address is proven: by a link that was mailed to it or that the vendor
handed over.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from keyseat_issuer.causes import Cause, DiscreetError
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.inviters import of_key, of_user
from keyseat_issuer.ledger.customers.rights import manageable_by, may_invite_as
from keyseat_issuer.ledger.models import Invitation, Membership, Organization, Role
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_USER, _KEY = of_user(""), of_key("")


def unproven(emails: Collection[str] | None = None) -> set[str]:
    """Return the claimed, unproven ones of these addresses, or of all."""
    rows = Invitation.objects.filter(account_unproven=True)
    if emails is not None:
        rows = rows.filter(email__in=emails)
    return set(rows.values_list("email", flat=True))


def known_elsewhere(organization: Organization, emails: Collection[str], now: datetime) -> set[str]:
    """Return the addresses that are members of other organisations, or are invited to one."""
    others = Membership.objects.filter(email__in=emails).exclude(organization=organization)
    waiting = Invitation.objects.filter(email__in=emails, accepted_at__isnull=True, expires_at__gt=now)
    found = {*others.values_list("email", flat=True)}
    return found | {*waiting.exclude(organization=organization).values_list("email", flat=True)}


def require_proven(emails: Sequence[str], role: Role | None, organization: Organization | None) -> None:
    """Refuse to give a role to accounts with an unproven address, unless their inviter may give it anyhow.

    Args:
        emails: the addresses that get it.
        role: the role; ``None`` for the vendor's staff.
        organization: the organisation; ``None`` for the vendor's staff.

    Raises:
        KeyseatError: ``ADDRESS_UNPROVEN``, with the addresses.
    """
    rows = Invitation.objects.filter(email__in=emails, account_unproven=True).select_related("organization")
    in_doubt = [row for row in rows.order_by("email") if not _may_give(row, role, organization)]
    if in_doubt:
        claimed = list(dict.fromkeys(row.email for row in in_doubt))
        raise _unproven(claimed, sorted({row.organization.name for row in in_doubt}))


def require_harmless(invitation: Invitation, standing: str, now: datetime) -> None:
    """Refuse to make an account by a link that its inviter was shown, where it would get more than they may give.

    Called when the link is used: the address may have got roles since the link was shown.

    Args:
        invitation: the link's.
        standing: the role that the account would have here.
        now: the present.

    Raises:
        KeyseatError: ``ADDRESS_UNPROVEN``.
    """
    if not invitation.link_shown:
        return
    elsewhere = known_elsewhere(invitation.organization, [invitation.email], now)
    if elsewhere or not _may_give(invitation, Role(standing), invitation.organization):
        raise KeyseatError(
            ReasonCode.ADDRESS_UNPROVEN,
            f"{invitation.email} has got a role since that needs a link from elsewhere",
            next_step="Ask Customer Success for a link of your own.",
        )


def prove(email: str, *, actor: str, now: datetime) -> bool:
    """Record that an address is proven, in the caller's transaction; tell whether it was not before."""
    if not Invitation.objects.filter(email=email, account_unproven=True).update(account_unproven=False):
        return False
    log.append(actor=actor, action="account.address_proven", organization=None, subject=email, details={}, now=now)
    return True


def prove_by_reset(email: str, now: datetime) -> None:
    """Record a used link of a reset as proof: it was mailed, or handed over by the vendor."""
    if unproven([email]):
        actor = of_user(email)
        with log.act("account.address_proven", actor=actor, organization=None, subject=email, now=now) as at:
            prove(email, actor=actor, now=at)


def _may_give(invitation: Invitation, role: Role | None, organization: Organization | None) -> bool:
    """Tell whether the person who was shown the link may give this role now: the link then gave them nothing new."""
    if role is None or organization is None or invitation.organization_id != organization.pk:
        return False
    if not invitation.invited_by.startswith(_USER):
        key = organization.api_keys.filter(prefix=invitation.invited_by.removeprefix(_KEY), revoked_at__isnull=True)
        return role in manageable_by(None) and key.exists()
    inviter = invitation.invited_by.removeprefix(_USER)
    found = organization.memberships.filter(email=inviter).values_list("role", flat=True).first()
    return role in may_invite_as(None if found is None else Role(found))


def _unproven(emails: list[str], organizations: list[str]) -> KeyseatError:
    # The organisations are for the vendor's own words only: one customer hears nothing of another.
    return DiscreetError(
        ReasonCode.ADDRESS_UNPROVEN,
        f"nobody has proven to be {', '.join(emails)}: somebody else was shown the link that made the account",
        Cause.ADDRESS_CLAIMED,
        details={"emails": emails},
        facts={"organizations": organizations},
    )
