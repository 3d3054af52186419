"""Sessions as an administrator sees them: the list of live ones, and ending some by force."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import subscriptions
from keyseat_issuer.ledger.models import Lease, Organization, SessionEnding
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.pools.endings import end_for
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


def listed(organization: Organization, now: datetime, product: str | None = None) -> paging.Source[Lease]:
    """Return the live sessions of one product or of all, the one that started last first, to be read page by page."""
    # Product by product: that is how an index has them in order.
    products = subscriptions.products(organization) if product is None else [product]
    rows, *others = [live(organization, now).filter(product=code) for code in products or [""]]
    keys = (paging.Key("started_at", paging.instant, down=True), paging.Key("pk", paging.uuid))
    return paging.Source("sessions", rows, keys, lambda row: row, tuple(others))


def live(organization: Organization, now: datetime) -> QuerySet[Lease]:
    """Return the live sessions of an organisation, in no order."""
    return Lease.objects.filter(organization=organization, ended_at__isnull=True, expires_at__gt=now)


def of_people(organization: Organization, now: datetime, emails: Collection[str]) -> list[Lease]:
    """Return the live sessions that these people have in an organisation, in no order."""
    # Found by whose they are: told the organisation too, SQLite would look through all of its sessions instead.
    rows = Lease.objects.filter(holder__in=emails, ended_at__isnull=True, expires_at__gt=now)
    return [row for row in rows if row.organization_id == organization.pk]


def force_release(organization: Organization, session_ids: Sequence[UUID], *, actor: str, now: datetime) -> list[Lease]:
    """End sessions at once, of any holder; all of them or none.

    The seats are free when this returns. A client learns it at its next renewal; until its lease runs out it may go on.

    Raises:
        KeyseatError: ``NOT_FOUND`` where one is not a session of this organisation. Sessions that are over stay so.
    """
    wanted = sorted(set(session_ids))
    subject = ", ".join(str(pk) for pk in wanted)
    with log.act("session.ended", actor=actor, organization=organization, subject=subject, now=now) as at:
        rows = Lease.objects.filter(organization=organization, pk__in=wanted)
        pool_ids = list(rows.values_list("pool_id", flat=True))
        if len(pool_ids) != len(wanted):
            raise KeyseatError(ReasonCode.NOT_FOUND, "there is no such session in this organisation")
        ended = end_for(organization, SessionEnding.FORCED, pools.lock_pools(set(pool_ids)), at, session_ids=wanted)
        log.append_many(
            [ended_event(row) for row in ended],
            actor=actor,
            now=at,
        )
    return ended


def ended_event(row: Lease) -> log.NewEvent:
    """Return the audit event of a session that ended."""
    return log.NewEvent(
        "session.ended",
        str(row.pk),
        {"product": row.product, "holder": row.holder, "reason": row.ending},
        row.organization_id,
    )
