"""The mail that carries an invitation's link."""

import smtplib
from collections.abc import Sequence
from urllib.parse import urlencode

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.urls import reverse

from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.services.invitations import Invited
from keyseat_shared.instants import format_instant

DEFAULT_ORIGIN = "http://127.0.0.1:8000"
"""Where `keyseat-issuer serve` listens unless told otherwise; right on this machine only."""


def link(invited: Invited, origin: str | None = None) -> str:
    """Return the link to accept an invitation at.

    The token stands in the query, which our request log leaves out, and never in the path.
    """
    base = settings.KEYSEAT_PUBLIC_ORIGIN or origin or DEFAULT_ORIGIN
    return f"{base}{reverse('invitation_link')}?{urlencode({'token': invited.token})}"


def send(organization: Organization, invited: Sequence[Invited], origin: str | None = None) -> list[str]:
    """Mail everybody their link. Return the addresses whose mail could not be sent: their links must go another way."""
    failed = []
    connection = get_connection()
    for entry in invited:
        message = EmailMessage(
            subject=f"Join {organization.name}",
            body=_BODY.format(
                organization=organization.name,
                role=entry.role,
                link=link(entry, origin),
                until=format_instant(entry.expires_at),
            ),
            to=[entry.email],
            connection=connection,
        )
        try:
            message.send()
        except (OSError, smtplib.SMTPException):
            failed.append(entry.email)
    return failed


_BODY = """Hello,

you are invited to join {organization} as {role}. Open this link to accept:

{link}

It works once, until {until}. If you did not expect it, ignore this mail: nothing happens.
"""
