"""The mail that carries an invitation's link."""

import contextlib
import logging
import smtplib
import threading
from collections.abc import Sequence
from urllib.parse import urlencode

from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.urls import reverse

from keyseat_issuer.ledger.customers.invitations import Invited
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.web.mail import run_later
from keyseat_issuer.web.origin import origin_of
from keyseat_shared.instants import format_instant

PATIENCE = 4.0
"""Seconds that a page waits for the mail server before it says that the mails are on their way."""

_log = logging.getLogger(__name__)


def link(invited: Invited, origin: str | None = None) -> str:
    """Return the link to accept an invitation at.

    The token stands in the query, which our request log leaves out, and never in the path.
    """
    return f"{origin or origin_of()}{reverse('invitation_link')}?{urlencode({'token': invited.token})}"


def send(organization: Organization, invited: Sequence[Invited], origin: str | None = None) -> list[str]:
    """Mail everybody their link. Return the addresses whose mail could not be sent: their links must go another way.

    A mail server that is away is waited for once, not once for each of several hundred mails.
    """
    failed = []
    connection = get_connection()
    for index, entry in enumerate(invited):
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
            if not _is_taken(connection, message):
                failed.append(entry.email)
        except OSError:
            failed += [later.email for later in invited[index:]]
            break
    _hang_up(connection)
    return failed


def send_from_a_page(organization: Organization, invited: Sequence[Invited], origin: str) -> list[str] | None:
    """Mail everybody their link as ``send`` does, but wait for a slow mail server for ``PATIENCE`` only.

    Returns:
        The addresses whose mail could not be sent, or ``None`` where it goes on: failures are logged then, as a number.
    """
    failed: list[str] = []
    done = threading.Event()

    def work() -> None:
        failed.extend(send(organization, invited, origin))
        done.set()
        if failed:
            _log.error("%d of %d invitations were not sent", len(failed), len(invited))

    if not run_later(work):
        return [entry.email for entry in invited]
    return failed if done.wait(PATIENCE) else None


def _is_taken(connection: BaseEmailBackend, message: EmailMessage) -> bool:
    """Send a mail; False where the server answers, and does not want this one.

    Raises:
        OSError: the server is away (SMTP's errors are OSErrors).
    """
    is_new = connection.open()  # does nothing while it is open: one connection for all
    try:
        message.send()
    except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused):
        return False
    except OSError:
        _hang_up(connection)
        if is_new is False:  # servers hang up after some hundred mails
            return _is_taken(connection, message)
        raise
    return True


def _hang_up(connection: BaseEmailBackend) -> None:
    with contextlib.suppress(OSError):
        connection.close()


_BODY = """Hello,

you are invited to join {organization} as {role}. Open this link to accept:

{link}

It works once, until {until}. If you did not expect it, ignore this mail: nothing happens.
"""
