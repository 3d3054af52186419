"""What an organisation sees of its records, in the API and the console alike: its audit log and the usage report."""

from collections.abc import Collection, Mapping
from datetime import datetime

from django.apps import apps

from keyseat_issuer.ledger.models import AuditEvent, Organization
from keyseat_issuer.ledger.seats import utilisation
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.instants import format_instant

BYTE_ORDER_MARK = "\ufeff"
"""Without it the usual spreadsheet reads UTF-8 as something else, and names lose their letters."""


def shown_actor(actor: str) -> str:
    """Return who acted, as customers see it: accounts of the vendor's staff are the vendor's business."""
    return "vendor" if actor.startswith("cli:") else actor


def newest_events(
    organization: Organization, *, most: int, before: int | None = None, action: str = "", subject: str = ""
) -> tuple[list[AuditEvent], int | None]:
    """Return up to ``most`` events of an organisation, newest first, and the ``before`` of the next page if any.

    ``before``: only events with a lower ``seq``; ``action``: only those that begin so; ``subject``: only those whose
    subject holds this text, in capitals or not.
    """
    source = listed_events(organization, action=action, subject=subject)
    rows = source.rows.order_by(*[key.order for key in source.keys])
    if before is not None:
        rows = rows.filter(seq__lt=before)
    # One more than asked for, to know whether there is a next page.
    found = list(rows[: most + 1])
    return found[:most], found[most - 1].seq if len(found) > most else None


def listed_events(organization: Organization, *, action: str = "", subject: str = "") -> paging.Source[AuditEvent]:
    """Return the events of an organisation, newest first, to be read page by page; filters as above."""
    rows = AuditEvent.objects.filter(organization=organization)
    if action:
        rows = rows.filter(action__startswith=action)
    if subject:
        rows = rows.filter(subject__icontains=subject)
    return paging.Source("audit", rows, (paging.Key("seq", paging.number, down=True),), lambda row: row)


class UsageReport:
    """The usage report as a file: its ``name``, and its text part by part, each of up to ``utilisation.PAGE`` lines."""

    def __init__(self, organization: Organization, since: datetime, until: datetime, now: datetime) -> None:
        self.name = f"usage_{format_instant(since)[:10]}_{format_instant(until)[:10]}.csv"
        self._report = utilisation.Report(organization, since, until, now=now, names=_names)
        self._begun = False

    def next_part(self) -> str:
        """Return the next part, the first with the head of the table; empty when there are no more.

        Raises:
            django.db.Error: where the database fails.
        """
        page = self._report.next_page()
        if self._begun:
            return page
        self._begun = True
        return BYTE_ORDER_MARK + utilisation.header() + page


def _names(emails: Collection[str]) -> Mapping[str, str]:
    if not emails or not apps.is_installed("keyseat_issuer.web"):
        return {}
    from keyseat_issuer.web.models import User  # noqa: PLC0415 - needs the pages' settings, which tests may lack

    return dict(User.objects.filter(email__in=emails).values_list("email", "name"))
