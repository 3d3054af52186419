"""Subscriptions: what an organisation bought, for which period, and what of it is taken."""

import calendar
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers.naming import unknown
from keyseat_issuer.ledger.models import Organization, Pool, Subscription, Term
from keyseat_issuer.ledger.models.seats import MAX_QUOTA
from keyseat_issuer.ledger.pools.pools import Availability, availabilities
from keyseat_issuer.ledger.tools import paging
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, RuleError
from keyseat_shared.instants import add_years, format_instant, whole_years
from keyseat_shared.policy import Policy

_OWNER_KEYS = (paging.Key("folded", paging.text), paging.Key("pk", paging.uuid))

ADDED = "subscription.added"
"""The row that adds a subscription: ``subject`` is its id, ``details`` are its ``terms_of``, which never change."""


class PoolView(NamedTuple):
    """A pool with its figures at an instant."""

    pool: Pool
    figures: Availability


class SubscriptionView(NamedTuple):
    """A subscription with its pools at an instant. ``state``: ``upcoming``, ``active`` or ``ended``."""

    subscription: Subscription
    state: str
    pools: tuple[PoolView, ...]


def period_end(
    term: Term, starts_at: datetime, *, periods: int | None, ends_at: datetime | None, policy: Policy
) -> datetime:
    """Return the exclusive end of a period of ``periods`` years (annual) or months, or the one given; default one.

    Raises:
        KeyseatError: ``INVALID_INPUT`` that names the right date where an annual period is not whole years, or the
            latest one where the period is longer than the policy allows.
    """
    if periods is not None and ends_at is not None:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "give the length or the end of the period, not both")
    if periods is not None and periods < 1:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"a period has at least one {_unit(term)}")
    try:
        end = ends_at or (add_years if term is Term.ANNUAL else add_months)(starts_at, periods or 1)
    except (ValueError, OverflowError):
        raise _beyond() from None
    _check_period(term, starts_at, end, policy)
    return end


def _check_period(term: Term, starts_at: datetime, ends_at: datetime, policy: Policy) -> None:
    if ends_at <= starts_at:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"the period ends ({format_instant(ends_at)}) before it starts ({format_instant(starts_at)})",
        )
    try:
        rules.check_length(starts_at, ends_at, policy)
    except RuleError as error:
        latest = last_day(add_years(starts_at, policy.max_years))
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            error.message,
            details={**error.details, "ends": [latest]},
            cause=Cause.ENDS_TOO_LATE,
        ) from None
    if term is Term.ANNUAL and not whole_years(starts_at, ends_at):
        shorter = max(
            1, ends_at.year - starts_at.year - (add_years(starts_at, ends_at.year - starts_at.year) > ends_at)
        )
        try:
            choices = [last_day(add_years(starts_at, years)) for years in (shorter, shorter + 1)]
        except (ValueError, OverflowError):
            raise _beyond() from None
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"an annual subscription runs for whole years; one through {last_day(ends_at)} does not",
            details={"ends": choices},
            cause=Cause.ENDS_NOT_WHOLE_YEARS,
        )


def _beyond() -> KeyseatError:
    return KeyseatError(ReasonCode.INVALID_INPUT, "the period reaches beyond the year 9999")


def add_months(start: datetime, months: int) -> datetime:
    """Return the same day ``months`` later, or the last day of a month that is too short for it."""
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))


def last_day(ends_at: datetime) -> str:
    """Return an exclusive end as people write it: the last day that counts (or the instant, within a day)."""
    if (ends_at.hour, ends_at.minute, ends_at.second) == (0, 0, 0):
        return (ends_at - timedelta(days=1)).date().isoformat()
    return format_instant(ends_at)


def add_subscription(
    organization: Organization,
    *,
    term: Term,
    starts_at: datetime,
    ends_at: datetime,
    products: Mapping[str, int],
    policy: Policy,
    actor: str,
    now: datetime,
) -> Subscription:
    """Add a subscription with a pool of seats for each product (code -> quota, 1 to 1,000,000).

    Raises:
        KeyseatError: ``INVALID_INPUT``; ``NOT_FOUND`` for a product that is not in the policy's catalogue.
    """
    _check_period(term, starts_at, ends_at, policy)
    if not products:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "a subscription has one product at least")
    subject = ", ".join(f"{product}={quota}" for product, quota in products.items())
    with log.act(ADDED, actor=actor, organization=organization, subject=subject, now=now) as at:
        for product, quota in products.items():
            check_product(product, policy)
            if not 1 <= quota <= MAX_QUOTA:
                raise KeyseatError(ReasonCode.INVALID_INPUT, f"the quota of {product} must be 1 to {MAX_QUOTA:,}")
        added = Subscription.objects.create(
            id=new_id(at), organization=organization, term=term, starts_at=starts_at, ends_at=ends_at, created_at=at
        )
        Pool.objects.bulk_create(
            [
                Pool(
                    id=new_id(at),
                    subscription=added,
                    product=product,
                    seats=policy.products[product].seats,
                    quota=quota,
                )
                for product, quota in products.items()
            ]
        )
        log.append(
            actor=actor,
            action=ADDED,
            organization=organization,
            subject=str(added.pk),
            details=terms_of(added, products),
            now=at,
        )
    return added


def terms_of(subscription: Subscription, products: Mapping[str, int]) -> dict[str, object]:
    """Return what was bought, as its audit row tells it: term, period, and quotas by product."""
    return {
        "term": str(subscription.term),
        "starts_at": format_instant(subscription.starts_at),
        "ends_at": format_instant(subscription.ends_at),
        "products": dict(products),
    }


def check_product(product: str, policy: Policy) -> None:
    """Require that a product is in the catalogue.

    Raises:
        KeyseatError: ``NOT_FOUND`` with ``did_you_mean``.
    """
    if product not in policy.products:
        raise unknown("product", product, policy.products, f"The catalogue holds {', '.join(policy.products)}.")


def list_subscriptions(organization: Organization, now: datetime) -> list[SubscriptionView]:
    """Return the subscriptions of an organisation, newest end first, with their figures."""
    return _views(Subscription.objects.filter(organization=organization), now)


def page_of_all(now: datetime, limit: int, cursor: str | None) -> paging.Page[SubscriptionView]:
    """Return a page of the subscriptions of all organisations, by the organisation's name, newest end first.

    A page ends with the last subscription of an organisation, so it can have some more than ``limit``.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for a text that is no cursor of this list.
    """
    found: list[SubscriptionView] = []
    owners = paging.Source("subscriptions", Organization.objects.all(), _OWNER_KEYS, lambda row: row)
    while True:
        page = paging.read([owners], limit, cursor)
        bought = Subscription.objects.filter(organization__in=[row.pk for row in page.rows])
        by_owner: dict[UUID, list[SubscriptionView]] = {row.pk: [] for row in page.rows}
        for view in _views(bought, now):
            by_owner[view.subscription.organization_id].append(view)
        for row in page.rows:
            if len(found) >= limit:
                return paging.Page(found, cursor)
            found += by_owner[row.pk]
            cursor = paging.write_cursor("subscriptions", [key.value(row) for key in _OWNER_KEYS])
        if page.next is None or len(found) >= limit:
            return paging.Page(found, page.next)


def products(organization: Organization) -> list[str]:
    """Return the codes of the products that an organisation has or had subscriptions to."""
    pools = Pool.objects.filter(subscription__organization=organization)
    return sorted(set(pools.order_by().values_list("product", flat=True)))


def _views(rows: QuerySet[Subscription], now: datetime) -> list[SubscriptionView]:
    listed = list(
        rows.select_related("organization", "organization__account")
        .prefetch_related("pools")
        .order_by("-ends_at", "id")
    )
    figures = availabilities([pool for subscription in listed for pool in subscription.pools.all()], now)
    return [
        SubscriptionView(
            subscription,
            state(subscription, now),
            tuple(
                PoolView(pool, figures[pool.pk])
                for pool in sorted(subscription.pools.all(), key=lambda pool: pool.product)
            ),
        )
        for subscription in listed
    ]


def state(subscription: Subscription, now: datetime) -> str:
    """Return ``upcoming``, ``active`` or ``ended``."""
    if now < subscription.starts_at:
        return "upcoming"
    return "active" if now < subscription.ends_at else "ended"


def active_pools(organization: Organization, product: str, now: datetime) -> list[Pool]:
    """Return the pools of a product in subscriptions active at ``now``, the one that ends last first.

    Raises:
        KeyseatError: ``NOT_FOUND`` where the organisation never had the product, ``NOT_YET_VALID`` or
            ``SUBSCRIPTION_ENDED``.
    """
    every = Pool.objects.select_related("subscription").filter(subscription__organization=organization)
    found = list(every.filter(product=product).order_by("-subscription__ends_at", "pk"))
    if not found:
        known = sorted(set(every.values_list("product", flat=True)))
        raise unknown(
            f"subscription of {organization.name!r} to the product",
            product,
            known,
            f"It has {', '.join(known)}." if known else None,
            cause="" if known else Cause.PRODUCT_NEVER_BOUGHT,
        )
    active = [pool for pool in found if state(pool.subscription, now) == "active"]
    if active:
        return active
    upcoming = [pool.subscription.starts_at for pool in found if now < pool.subscription.starts_at]
    if upcoming:
        starts = format_instant(min(upcoming))
        raise KeyseatError(
            ReasonCode.NOT_YET_VALID,
            f"the {product} subscription of {organization.name!r} starts at {starts}",
            details={"starts_at": starts},
            next_step="Wait until then.",
        )
    ended = format_instant(found[0].subscription.ends_at)
    raise KeyseatError(
        ReasonCode.SUBSCRIPTION_ENDED,
        f"the {product} subscription of {organization.name!r} ended at {ended}",
        details={"ends_at": ended},
    )


def _unit(term: Term) -> str:
    return "year" if term is Term.ANNUAL else "month"
