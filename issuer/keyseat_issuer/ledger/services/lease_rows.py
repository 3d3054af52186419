"""The rows that a renewal reads and writes, with plain SQL: two statements for all renewals of a turn."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.ledger.plain_sql import fetch, instant_in, instant_out, lock_clause, places, run, uuid_in, uuids_out


class LeaseRow(NamedTuple):
    """A session as a renewal needs it; ``ending`` is empty and ``ended_at`` ``None`` while it lives."""

    pk: UUID
    organization_id: UUID
    organization_name: str
    product: str
    email: str
    by_key: bool
    machine_id: str
    expires_at: datetime
    ended_at: datetime | None
    ending: str
    subscription_ends_at: datetime


_SELECT = """
SELECT lease.id, lease.organization_id, organization.name, lease.product, lease.email,
       lease.api_key_id IS NOT NULL, lease.machine_id, lease.expires_at, lease.ended_at, lease.ending,
       subscription.ends_at
  FROM ledger_lease lease
  JOIN ledger_organization organization ON organization.id = lease.organization_id
  JOIN ledger_pool pool ON pool.id = lease.pool_id
  JOIN ledger_subscription subscription ON subscription.id = pool.subscription_id
 WHERE lease.id IN ({}) ORDER BY lease.id"""


def lock_rows(ids: Collection[UUID]) -> dict[UUID, LeaseRow]:
    """Lock these sessions until the transaction ends, in the order of their ids, and return those that exist."""
    statement = _SELECT.format(places(len(ids))) + lock_clause("lease")
    found = {}
    for row in fetch(statement, uuids_out(ids)):
        pk, organization_id, name, product, email, by_key, machine_id, expires_at, ended_at, ending, ends_at = row
        lease = LeaseRow(
            uuid_in(pk),
            uuid_in(organization_id),
            str(name),
            str(product),
            str(email),
            bool(by_key),
            str(machine_id),
            instant_in(expires_at),
            None if ended_at is None else instant_in(ended_at),
            str(ending),
            instant_in(ends_at),
        )
        found[lease.pk] = lease
    return found


def extend(ids: Collection[UUID], now: datetime, expires_at: datetime) -> None:
    """Write the new end of locked, live sessions."""
    run(
        f"UPDATE ledger_lease SET renewed_at = %s, expires_at = %s WHERE id IN ({places(len(ids))})",  # noqa: S608 - marks
        [instant_out(now), instant_out(expires_at), *uuids_out(ids)],
    )
