"""The usage report of an organisation as the file that the API and the console hand out."""

from datetime import datetime, timedelta

from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.seats import utilisation
from keyseat_shared.instants import format_instant

BYTE_ORDER_MARK = "\ufeff"
"""Without it the usual spreadsheet reads UTF-8 as something else, and names lose their letters."""


class UsageReport:
    """The usage report as a file: its ``name``, and its text part by part, each of up to ``utilisation.PAGE`` lines."""

    def __init__(
        self, organization: Organization, since: datetime, until: datetime, *, now: datetime, names: utilisation.Names
    ) -> None:
        """Begin before the first session; ``names`` knows who the people are."""
        last = until - timedelta(seconds=1)  # the end is no part of the period: the day asked for is the one before
        self.name = f"usage_{format_instant(since)[:10]}_{format_instant(max(since, last))[:10]}.csv"
        self._report = utilisation.Report(organization, since, until, now=now, names=names)
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
