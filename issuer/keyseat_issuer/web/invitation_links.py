"""Invitation links shown to the inviter, where this server sends no mail and only they can hand them over.

A link makes an account in the invited person's name. So it is shown only where the inviter could give away as much
anyhow. It is never shown for a person without an account who is in another organisation, is invited to one, or has a
role here that the inviter may not give. Those people get their link from the vendor. The same
is asked again as the link is used, and the account that it makes has an unproven address (``customers.claims``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import claims
from keyseat_issuer.ledger.customers.invitations import Invited
from keyseat_issuer.ledger.customers.rights import manageable_by
from keyseat_issuer.ledger.models import Organization, Role
from keyseat_issuer.web import invitation_mail
from keyseat_issuer.web.accounts import with_account


class Shown(NamedTuple):
    """The links by address, and the addresses whose link only the vendor may hand over."""

    links: dict[str, str]
    withheld: list[str]


def show(
    organization: Organization,
    made: Sequence[Invited],
    *,
    origin: str,
    role: Role | None,
    actor: str,
    now: datetime,
) -> Shown:
    """Return the links of fresh invitations for their inviter, and record that they were shown.

    Args:
        organization: the organisation that invites.
        made: the invitations.
        origin: where people reach the server.
        role: the inviter's; ``None`` for an API key.
        actor: who invites.
        now: the present.
    """
    known = claims.known_elsewhere(organization, [entry.email for entry in made], now)
    strangers = known - with_account(known)
    given = manageable_by(role)
    links = {
        entry.email: invitation_mail.link(entry, origin)
        for entry in made
        if entry.email not in strangers and Role(entry.role) in given
    }
    if links:
        subject = ", ".join(links)
        action = "invitation.link_shown"
        with log.act(action, actor=actor, organization=organization, subject=subject, now=now) as at:
            # In one act with its row, before anybody sees a link: what it makes proves nothing (``claims``).
            organization.invitations.filter(email__in=links, accepted_at__isnull=True).update(link_shown=True)
            events = [log.NewEvent(action, email, {}, organization.pk) for email in links]
            log.append_many(events, actor=actor, now=at)
    return Shown(links, [entry.email for entry in made if entry.email not in links])
