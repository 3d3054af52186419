"""Invitations end when their inviter loses the right to give them; each leaves a row in the audit log.

A removed owner could otherwise have invited an accomplice, and own the organisation again an hour later.
"""

from collections.abc import Collection
from datetime import datetime

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.models import Organization


def of_user(email: str) -> str:
    """Return the inviter's name of somebody who signed in."""
    return f"user:{email}"


def of_key(prefix: str) -> str:
    """Return the inviter's name of an API key."""
    return f"key:{prefix}"


def end_of(
    organization: Organization,
    inviter: str,
    *,
    because: str,
    actor: str,
    now: datetime,
    may_give: Collection[str] = (),
) -> tuple[str, ...]:
    """End what ``inviter`` gave out as other roles than ``may_give``, under the organisation's lock.

    Call it after the act's own row was appended: the rows of these follow from that one.

    Returns:
        The addresses whose invitation waited.
    """
    rows = organization.invitations.filter(invited_by=inviter, accepted_at__isnull=True).exclude(role__in=may_give)
    ended = tuple(rows.filter(expires_at__gt=now).order_by("email").values_list("email", flat=True))
    rows.delete()
    events = [
        log.NewEvent("invitation.withdrawn", email, {"because": because, "invited_by": inviter}, organization.pk)
        for email in ended
    ]
    if events:
        log.append_many(events, actor=actor, now=now)
    return ended


def end_everywhere(inviter: str, *, because: str, actor: str, now: datetime) -> None:
    """End what ``inviter`` gave out in any organisation, each under its lock."""
    waiting = Organization.objects.filter(invitations__invited_by=inviter, invitations__accepted_at__isnull=True)
    for organization in waiting.distinct().order_by("pk"):
        lock_organization(organization)
        end_of(organization, inviter, because=because, actor=actor, now=now)
