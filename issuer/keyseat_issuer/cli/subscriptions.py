"""`keyseat-issuer subscription`: add and list what organisations bought."""

from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.listing import Columns, Part, part_options, show
from keyseat_issuer.cli.output import Output, Styled, json_option, pass_output
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc, parse_typed

if TYPE_CHECKING:
    from keyseat_issuer.ledger.customers.subscriptions import SubscriptionView

_DIGITS = 9
"""More digits than any quota has."""

_STYLES = {"active": "green", "ended": "red", "upcoming": "yellow"}


@click.group()
def subscription() -> None:
    """Add and list subscriptions."""


@subscription.command("add")
@click.argument("org")
@click.option("--term", type=click.Choice(("annual", "monthly", "trial")), required=True)
@click.option("--starts", metavar="DATE", required=True, help="The first day (YYYY-MM-DD, UTC).")
@click.option("--years", type=click.IntRange(1, 100), help="Length of an annual one; default 1.")
@click.option("--months", type=click.IntRange(1, 1200), help="Length of a monthly or trial one; default 1.")
@click.option("--ends", metavar="DATE", help="The last day instead (through the end of that day, UTC).")
@click.option("--product", "products", metavar="CODE=N", multiple=True, required=True, help="Seats; may be repeated.")
@json_option
@pass_output
def add(
    output: Output,
    org: str,
    *,
    term: str,
    starts: str,
    years: int | None,
    months: int | None,
    ends: str | None,
    products: tuple[str, ...],
) -> None:
    """Add a subscription to ORG. Example: `--term annual --starts 2023-06-01 --product KSE=25 --product KRE=5`."""
    if term == "annual" and months is not None:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "an annual subscription is measured in --years")
    if term != "annual" and years is not None:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"a {term} subscription is measured in --months")
    starts_at = parse_typed(starts, end_of_day=False)
    ends_at = None if ends is None else parse_typed(ends, end_of_day=True)
    quotas = _quotas(products)
    from keyseat_issuer.home import issuer_home
    from keyseat_issuer.ledger import database
    from keyseat_issuer.trust.history import current_trust

    policy = current_trust(issuer_home()).policy
    from keyseat_issuer.ledger.audit import log
    from keyseat_issuer.ledger.customers import organizations, subscriptions
    from keyseat_issuer.ledger.models import Term

    now = now_utc()
    end = subscriptions.period_end(Term(term), starts_at, periods=years or months, ends_at=ends_at, policy=policy)
    with database.ledger_errors():
        organization = organizations.find(org)
    added = subscriptions.add_subscription(
        organization,
        term=Term(term),
        starts_at=starts_at,
        ends_at=end,
        products=quotas,
        policy=policy,
        actor=log.cli_actor(),
        now=now,
    )

    def human() -> None:
        bought = ", ".join(f"{quota} {product}" for product, quota in quotas.items())
        output.print(
            f"Added {term} subscription {added.pk} to {organization.name!r}: {bought},"
            f" from {format_instant(starts_at)[:10]} through {subscriptions.last_day(end)} (UTC)."
        )
        if end <= now:
            output.warn("this period is over already")

    output.emit(
        {
            "subscription": {
                "id": str(added.pk),
                "organization": organization.name,
                "term": term,
                "starts_at": format_instant(starts_at),
                "ends_at": format_instant(end),
                "products": quotas,
            }
        },
        human,
    )


@subscription.command("list")
@click.argument("org", required=False)
@part_options
@json_option
@pass_output
def list_(output: Output, org: str | None, part: Part) -> None:
    """List subscriptions with quota, used and available seats: of ORG, or of all organisations, 1,000 at a time."""
    from keyseat_issuer.ledger import database

    database.require_ready()
    from keyseat_issuer.ledger.customers import organizations, subscriptions
    from keyseat_issuer.ledger.tools import paging

    now = now_utc()
    with database.ledger_errors():
        organization = None if org is None else organizations.find(org)

        def read(limit: int, cursor: str | None) -> "paging.Page[SubscriptionView]":
            if organization is None:
                return subscriptions.page_of_all(now, limit, cursor)
            return paging.Page(subscriptions.list_subscriptions(organization, now), None)

        show(output, part, read, _columns())


def _quotas(products: tuple[str, ...]) -> dict[str, int]:
    quotas: dict[str, int] = {}
    for typed in products:
        code, equals, number = typed.partition("=")
        if not equals or not code or not (number.isascii() and number.isdigit()) or len(number) > _DIGITS:
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"{typed[:60]!r} is not CODE=NUMBER",
                next_step="Write the product and its number of seats as KSE=25.",
            )
        if code in quotas:
            raise KeyseatError(ReasonCode.INVALID_INPUT, f"the product {code[:32]!r} is given twice")
        quotas[code] = int(number)
    return quotas


def _as_dict(view: "SubscriptionView") -> dict[str, object]:
    bought = view.subscription
    return {
        "id": str(bought.pk),
        "organization": bought.organization.name,
        "account": bought.organization.account.name,
        "term": bought.term,
        "state": view.state,
        "starts_at": bought.starts_at,
        "ends_at": bought.ends_at,
        "products": [
            {
                "product": entry.pool.product,
                "seats": entry.pool.seats,
                "quota": entry.figures.quota,
                "used": entry.figures.used,
                "offline": entry.figures.offline,
                "available": entry.figures.available,
                "assigned": entry.figures.assigned,
                "next_offline_expiry": entry.figures.next_expiry,
                "lingering": entry.figures.lingering,
            }
            for entry in view.pools
        ],
    }


def _columns() -> "Columns[SubscriptionView]":
    from keyseat_issuer.ledger.customers.subscriptions import last_day

    def rows(view: "SubscriptionView") -> list[list[object]]:
        return [
            [
                view.subscription.organization.name,
                entry.pool.product,
                view.subscription.term,
                Styled(view.state, _STYLES[view.state]),
                format_instant(view.subscription.starts_at)[:10],
                last_day(view.subscription.ends_at),
                entry.figures.quota,
                entry.figures.used,
                entry.figures.offline,
                entry.figures.available,
                view.subscription.pk,
            ]
            for entry in view.pools
        ]

    return Columns(
        "subscriptions",
        "Subscriptions",
        ["Organisation", "Product", "Term", "State", "From", "Through", "Quota", "Used", "Offline", "Free", "Id"],
        rows,
        _as_dict,
    )
