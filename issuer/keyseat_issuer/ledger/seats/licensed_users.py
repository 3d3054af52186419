"""Licensed users of a product: who is assigned a seat, whose seat an offline licence binds, and who is online."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from keyseat_issuer.ledger.models import Allocation, AllocationKind, OfflineLicense, Organization, Pool
from keyseat_issuer.ledger.sessions import admin
from keyseat_issuer.ledger.tools import paging


class LicensedUser(NamedTuple):
    """Somebody who holds a seat. ``offline_until``: an offline licence locks it; ``online``: a session is live."""

    email: str
    since: datetime
    assigned: bool
    offline_until: datetime | None
    online: bool


def addresses(organization: Organization, product: str, now: datetime, part: str = "") -> paging.Values:
    """Return the addresses of the licensed users, in order, page by page; ``part``: only those with this text."""
    pools = Pool.objects.filter(subscription__organization=organization, product=product).order_by("pk")
    columns: list[tuple[QuerySet[Any], str]] = [
        (_assigned().filter(pool_id=pool), "holder") for pool in pools.values_list("pk", flat=True)
    ]
    columns.append((_bound(organization, product, now), "user"))
    found = [(rows.filter(**{f"{column}__contains": part}) if part else rows, column) for rows, column in columns]
    return paging.Values("users", tuple(found))


def licensed(organization: Organization, product: str, now: datetime, emails: Collection[str]) -> list[LicensedUser]:
    """Return those of these addresses that hold a seat of the product, in the order given."""
    online = {row.email for row in admin.of_people(organization, now, emails) if row.product == product}
    found: dict[str, LicensedUser] = {}
    for row in _bound(organization, product, now).filter(user__in=emails).defer("file").order_by("expires_at", "pk"):
        found[row.user] = LicensedUser(
            row.user, row.issued_at, assigned=False, offline_until=row.expires_at, online=row.user in online
        )
    assigned = _assigned().filter(
        pool__subscription__organization=organization, pool__product=product, holder__in=emails
    )
    for email, since in assigned.order_by("holder", "pk").values_list("holder", "created_at"):
        until = found[email].offline_until if email in found else None
        found[email] = LicensedUser(email, since, assigned=True, offline_until=until, online=email in online)
    return [found[email] for email in emails if email in found]


def _assigned() -> QuerySet[Allocation]:
    return Allocation.objects.filter(kind=AllocationKind.NAMED, released_at__isnull=True)


def _bound(organization: Organization, product: str, now: datetime) -> QuerySet[OfflineLicense]:
    rows = OfflineLicense.objects.filter(organization=organization, product=product, expires_at__gt=now)
    return rows.exclude(user="")
