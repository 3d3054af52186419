"""A customer in a test's ledger: an organisation with members and a subscription, made through the services."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

from django.db import transaction

from keyseat_issuer.ledger.customers import api_keys, members, organizations, subscriptions
from keyseat_issuer.ledger.models import Lease, Organization, Pool, Role, Term
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.seats.rules import Line
from keyseat_issuer.ledger.sessions import turn
from keyseat_issuer.ledger.sessions.values import Acquire, Grant, Holder
from keyseat_issuer.ledger.tools import paging
from keyseat_shared.policy import Policy, default_policy

START = datetime(2023, 6, 1, tzinfo=UTC)
END = datetime(2024, 6, 1, tzinfo=UTC)
NOW = datetime(2023, 6, 1, 12, tzinfo=UTC)
ACTOR = "test"
POLICY = default_policy()


def organization(name: str = "Example Organisation", *emails: str, now: datetime = NOW) -> Organization:
    """Add an organisation with an owner and these members."""
    made = organizations.add_organization(name, actor=ACTOR, now=now)
    members.add_members(made, ["owner@example.com"], Role.OWNER, actor=ACTOR, now=now)
    if emails:
        members.add_members(made, emails, Role.MEMBER, actor=ACTOR, now=now)
    return made


def subscribe(
    customer: Organization,
    products: Mapping[str, int],
    *,
    term: Term = Term.ANNUAL,
    starts_at: datetime = START,
    ends_at: datetime = END,
    policy: Policy = POLICY,
    now: datetime = NOW,
) -> dict[str, Pool]:
    """Add a subscription and return its pools by product."""
    bought = subscriptions.add_subscription(
        customer,
        term=term,
        starts_at=starts_at,
        ends_at=ends_at,
        products=products,
        policy=policy,
        actor=ACTOR,
        now=now,
    )
    return {pool.product: pool for pool in bought.pools.all()}


def assign(customer: Organization, product: str, *emails: str, now: datetime = NOW) -> list[Line]:
    """Assign seats."""
    return seats.assign(customer, product, emails, policy=POLICY, actor=ACTOR, now=now)


def session(customer: Organization, machine: object, email: str = "", *, now: datetime = NOW) -> Lease:
    """Begin an online session: a KSE one of a member, or a KRE one with a new API key."""
    if email:
        holder, product = Holder(email, email=email), "KSE"
    else:
        made = api_keys.create_key(customer, ["sessions"], name="ci", expires_at=None, actor=ACTOR, now=now)
        row = made.row
        holder, product = Holder(f"key:{row.prefix}", key_id=row.pk, organization_id=customer.pk), "KRE"
    name = uuid4().hex
    with transaction.atomic(durable=True):
        [granted] = turn.process(
            [Acquire(holder, product, str(machine), "n" * 22, name, name, customer.pk)], POLICY, now
        )
    assert isinstance(granted, Grant), granted
    return Lease.objects.get(pk=granted.session_id)


def held(customer: Organization, now: datetime, product: str | None = None) -> list[seats.Seat]:
    """Return everything that is held."""
    return paging.read(seats.listed(customer, now, product), 10_000, None).rows
