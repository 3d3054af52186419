from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

import shop
from databases import Ledger
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    AuditEvent,
    AuditHead,
    Ending,
    Membership,
    OfflineLicense,
    Pool,
    Subscription,
)
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.tools.append_only import AppendOnlyError
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

SOON = shop.NOW + timedelta(days=10)
LATER = shop.NOW + timedelta(days=20)


@pytest.fixture
def pool(ledger: Ledger) -> Pool:
    """A pool of three floating seats."""
    return shop.subscribe(shop.organization(), {"KRE": 3})["KRE"]


def take(pool: Pool, holder: str, *, until: datetime = SOON, now: datetime = shop.NOW, count: int = 1) -> Allocation:
    """Take seats as an offline licence does, in a transaction of its own."""
    with transaction.atomic():
        locked = pools.lock_pool(pool.pk)
        pools.reclaim_expired(locked, now)
        return pools.take(locked, AllocationKind.OFFLINE, holder, expires_at=until, now=now, count=count)


def used(pool: Pool) -> int:
    """Read the counter."""
    return Pool.objects.get(pk=pool.pk).used


def test_a_taken_seat_counts_until_the_instant_at_which_it_expires(pool: Pool) -> None:
    take(pool, "a", count=2)

    assert 2 == pools.availability(Pool.objects.get(pk=pool.pk), SOON - timedelta(seconds=1)).used
    assert 0 == pools.availability(Pool.objects.get(pk=pool.pk), SOON).used


def test_a_full_pool_refuses_and_tells_quota_use_and_when_the_next_seat_comes_back(pool: Pool) -> None:
    take(pool, "a", until=LATER)
    take(pool, "b", until=SOON, count=2)

    with pytest.raises(KeyseatError) as refused:
        take(pool, "c")

    assert ReasonCode.QUOTA_EXCEEDED is refused.value.code
    assert {
        "product": "KRE",
        "quota": 3,
        "used": 3,
        "available": 0,
        "wanted": 1,
        "next_expiry": "2023-06-11T12:00:00Z",
    } == refused.value.details
    assert 3 == used(pool)


def test_expired_seats_are_taken_back_by_whoever_needs_one_next(pool: Pool) -> None:
    first = take(pool, "a", count=3)

    take(pool, "b", until=LATER, now=SOON, count=2)

    first.refresh_from_db()
    assert (SOON, Ending.EXPIRED) == (first.released_at, first.ending)
    assert 2 == used(pool)


def test_more_seats_than_are_free_are_refused_whole(pool: Pool) -> None:
    take(pool, "a", count=2)

    with pytest.raises(KeyseatError, match="2 of 3 KRE seats are taken; 2 more are asked for"):
        take(pool, "b", count=2)

    assert 2 == used(pool)


def test_an_offline_seat_cannot_be_given_back_before_it_expires(pool: Pool) -> None:
    allocation = take(pool, "a")

    with pytest.raises(KeyseatError) as refused, transaction.atomic():
        pools.give_back(pools.lock_pool(pool.pk), allocation, SOON - timedelta(seconds=1), Ending.UNASSIGNED)

    assert ReasonCode.SEAT_LOCKED_OFFLINE is refused.value.code
    assert {"until": "2023-06-11T12:00:00Z"} == refused.value.details


def test_giving_a_seat_back_twice_frees_it_once(pool: Pool) -> None:
    take(pool, "a", until=LATER)
    ended = take(pool, "b", until=SOON)

    for _ in range(2):
        with transaction.atomic():
            pools.give_back(pools.lock_pool(pool.pk), ended, SOON, Ending.EXPIRED)

    assert 1 == used(pool)


def test_availability_tells_offline_seats_and_the_next_one_to_come_back(pool: Pool) -> None:
    take(pool, "a", until=LATER)
    take(pool, "b", until=SOON)

    figures = pools.availability(Pool.objects.get(pk=pool.pk), shop.NOW)

    assert pools.Availability(quota=3, used=2, available=1, assigned=0, offline=2, next_expiry=SOON) == figures


def test_a_pool_that_does_not_exist_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(KeyseatError) as refused, transaction.atomic():
        pools.lock_pool(uuid4())

    assert ReasonCode.NOT_FOUND is refused.value.code


def test_taking_a_seat_costs_as_many_statements_with_a_thousand_holders_as_with_one(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk).update(quota=5000)
    counts = []
    for holders in (1, 1000):
        with transaction.atomic():
            locked = pools.lock_pool(pool.pk)
            for number in range(holders):
                pools.charge(locked, AllocationKind.OFFLINE, shop.NOW)
                pools.new_allocation(
                    locked, AllocationKind.OFFLINE, f"{holders} {number}", expires_at=SOON, now=shop.NOW
                ).save(force_insert=True)
            pools.save_counters(locked)
        connection.force_debug_cursor = True
        connection.queries_log.clear()
        take(pool, "next")
        counts.append(len(connection.queries_log))
        connection.force_debug_cursor = False

    assert counts[0] == counts[1]


class TestNonsenseIsNotStored:
    def test_a_counter_above_the_quota(self, pool: Pool) -> None:
        with pytest.raises(IntegrityError):
            Pool.objects.filter(pk=pool.pk).update(used=4)

    def test_a_counter_below_zero(self, pool: Pool) -> None:
        with pytest.raises(IntegrityError):
            Pool.objects.filter(pk=pool.pk).update(used=-1)

    def test_a_quota_of_zero(self, pool: Pool) -> None:
        with pytest.raises(IntegrityError):
            Pool.objects.filter(pk=pool.pk).update(quota=0)

    def test_a_second_pool_of_the_product_in_a_subscription(self, pool: Pool) -> None:
        with pytest.raises(IntegrityError):
            Pool.objects.create(
                id=new_id(shop.NOW), subscription_id=pool.subscription_id, product="KRE", seats="floating", quota=1
            )

    def test_a_subscription_that_ends_before_it_starts(self, pool: Pool) -> None:
        with pytest.raises(IntegrityError):
            Subscription.objects.filter(pk=pool.subscription_id).update(ends_at=shop.START)

    def test_a_member_twice_in_another_spelling(self, pool: Pool) -> None:
        with pytest.raises(IntegrityError):
            Membership.objects.create(
                id=new_id(shop.NOW),
                organization=pool.subscription.organization,
                email="Owner@Example.com",
                role="member",
                created_at=shop.NOW,
            )

    def test_an_offline_seat_freed_before_it_expires(self, pool: Pool) -> None:
        allocation = take(pool, "a")

        with pytest.raises(IntegrityError):
            Allocation.objects.filter(pk=allocation.pk).update(released_at=shop.NOW, ending=Ending.UNASSIGNED)

    def test_a_second_audit_head(self, ledger: Ledger) -> None:
        with pytest.raises(IntegrityError):
            AuditHead.objects.create(id=2, seq=0, digest="0" * 64, at=shop.NOW)


class TestWhatIsWrittenStays:
    def test_an_audit_row_is_not_saved_again(self, pool: Pool) -> None:
        row = AuditEvent.objects.order_by("seq")[0]
        row.actor = "somebody else"

        with pytest.raises(AppendOnlyError):
            row.save()

    def test_an_audit_row_is_not_deleted(self, pool: Pool) -> None:
        with pytest.raises(AppendOnlyError):
            AuditEvent.objects.order_by("seq")[0].delete()

    def test_audit_rows_are_neither_updated_nor_deleted_in_bulk(self, pool: Pool) -> None:
        with pytest.raises(AppendOnlyError):
            AuditEvent.objects.all().update(actor="somebody else")
        with pytest.raises(AppendOnlyError):
            AuditEvent.objects.bulk_update(AuditEvent.objects.all(), ["actor"])
        with pytest.raises(AppendOnlyError):
            AuditEvent.objects.filter(seq=1).delete()

    def test_licences_are_neither_updated_nor_deleted_through_their_organisation(self, pool: Pool) -> None:
        licenses = pool.subscription.organization.offline_licenses

        with pytest.raises(AppendOnlyError):
            licenses.all().delete()
        with pytest.raises(AppendOnlyError):
            licenses.update(user="")
        with pytest.raises(AppendOnlyError):
            OfflineLicense.objects.all().delete()
