"""What an organisation sees of the audit log: its own events, and who acted in words that are its business."""

from keyseat_issuer.ledger.models import AuditEvent, Organization
from keyseat_issuer.ledger.tools import paging


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
