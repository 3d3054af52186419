from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

import shop
from databases import Ledger
from keyseat_issuer.ledger.customers import members, subscriptions
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    ApiKey,
    AuditEvent,
    Ending,
    Lease,
    OfflineLicense,
    Organization,
    Pool,
    Role,
    Term,
)
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.seats.rules import Line
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    """An organisation with an owner and three members, two named seats and two floating ones."""
    made = shop.organization("Example Organisation", ADA, BOB, EVE)
    shop.subscribe(made, {"KSE": 2, "KRE": 2})
    return made


def pool(customer: Organization, product: str = "KSE") -> Pool:
    """Return the pool of a product as it is now."""
    return Pool.objects.get(subscription__organization=customer, product=product)


def go_offline(customer: Organization, email: str) -> None:
    """Bind a seat to an offline licence (its file is of no interest here), converting an assigned one."""
    with transaction.atomic():
        locked = pools.lock_pool(pool(customer).pk)
        named = Allocation.objects.filter(pool=locked, holder=email, released_at__isnull=True).first()
        if named is not None:
            pools.give_back(locked, named, shop.NOW, Ending.CONVERTED)
        license_id = new_id(shop.NOW)
        held = pools.take(locked, AllocationKind.OFFLINE, str(license_id), expires_at=shop.END, now=shop.NOW)
        OfflineLicense.objects.create(
            license_id=license_id,
            pool=locked,
            allocation=held,
            organization=customer,
            product="KSE",
            user=email,
            machine_id="mid1test",
            sessions=1,
            issued_at=shop.NOW,
            expires_at=shop.END,
            file=b"{}",
            file_sha256="0" * 64,
        )


def take_back(customer: Organization, *emails: str, product: str = "KSE") -> list[Line]:
    """Unassign seats."""
    return seats.unassign(customer, product, emails, actor=shop.ACTOR, now=shop.NOW)


def move(customer: Organization, giver: str, receiver: str) -> Allocation:
    """Transfer a KSE seat."""
    return seats.transfer(customer, "KSE", giver, receiver, actor=shop.ACTOR, now=shop.NOW)


class TestAssigning:
    def test_each_member_gets_a_seat_and_an_audit_row(self, customer: Organization) -> None:
        lines = shop.assign(customer, "KSE", ADA, "BOB@Example.com ")

        assert [Line(ADA, "assigned"), Line(BOB, "assigned")] == lines
        assert 2 == pool(customer).used
        assert [ADA, BOB] == list(AuditEvent.objects.filter(action="seat.assigned").values_list("subject", flat=True))

    def test_one_who_holds_a_seat_keeps_it_and_takes_no_other(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)

        assert ["already assigned", "assigned"] == [line.status for line in shop.assign(customer, "KSE", ADA, BOB, ADA)]
        assert 2 == pool(customer).used

    def test_one_stranger_stops_all_and_is_named(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError) as refused:
            shop.assign(customer, "KSE", ADA, "nobody@example.com")

        assert ReasonCode.NOT_A_MEMBER is refused.value.code
        assert ["nobody@example.com"] == refused.value.details["emails"]
        assert [
            {"email": ADA, "status": "could be assigned", "code": "OK", "note": ""},
            {"email": "nobody@example.com", "status": "not a member", "code": "NOT_A_MEMBER", "note": ""},
        ] == refused.value.details["lines"]
        assert 0 == pool(customer).used

    def test_what_is_no_address_stops_all(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError) as refused:
            shop.assign(customer, "KSE", ADA, "ada at example")

        assert ReasonCode.INVALID_INPUT is refused.value.code
        assert 0 == pool(customer).used

    def test_more_than_are_free_are_refused_whole(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError) as refused:
            shop.assign(customer, "KSE", ADA, BOB, EVE)

        assert ReasonCode.QUOTA_EXCEEDED is refused.value.code
        assert (2, 0, 3) == tuple(refused.value.details[name] for name in ("quota", "used", "wanted"))
        assert 0 == pool(customer).used

    def test_a_refusal_leaves_an_audit_row_with_its_code(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError):
            shop.assign(customer, "KSE", ADA, BOB, EVE)

        newest = AuditEvent.objects.order_by("-seq")[0]
        assert "seat.assigned.refused" == newest.action
        assert '"code":"QUOTA_EXCEEDED"' in newest.details

    def test_seats_of_several_subscriptions_are_used_up_the_longest_first(self, customer: Organization) -> None:
        later = shop.subscribe(customer, {"KSE": 1}, ends_at=shop.END.replace(year=2025))["KSE"]

        shop.assign(customer, "KSE", ADA, BOB, EVE)

        assert 1 == Pool.objects.get(pk=later.pk).used
        assert 2 == Pool.objects.exclude(pk=later.pk).get(product="KSE").used

    def test_licensed_users_of_a_floating_product_count_apart_from_its_sessions(self, customer: Organization) -> None:
        shop.assign(customer, "KRE", ADA, BOB)

        assert (0, 2) == (pool(customer, "KRE").used, pool(customer, "KRE").assigned)

    def test_licensed_users_of_a_floating_product_never_exceed_its_quota(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError, match="QUOTA_EXCEEDED"):
            shop.assign(customer, "KRE", ADA, BOB, EVE)

    def test_unlimited_users_may_be_assigned_where_the_policy_says_so(self, customer: Organization) -> None:
        product = shop.POLICY.products["KRE"]._replace(assigned_users="unlimited")
        policy = shop.POLICY._replace(products={"KRE": product})

        seats.assign(customer, "KRE", [ADA, BOB, EVE], policy=policy, actor=shop.ACTOR, now=shop.NOW)

        assert 3 == pool(customer, "KRE").assigned

    def test_an_unknown_product_is_not_found_and_the_known_ones_are_told(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError) as refused:
            shop.assign(customer, "KSF", ADA)

        assert ReasonCode.NOT_FOUND is refused.value.code
        assert "KSE" in refused.value.details["did_you_mean"]

    def test_nothing_is_assigned_after_the_subscription_ended(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError) as refused:
            shop.assign(customer, "KSE", ADA, now=shop.END)

        assert ReasonCode.SUBSCRIPTION_ENDED is refused.value.code

    def test_nothing_is_assigned_before_the_subscription_starts(self, ledger: Ledger) -> None:
        customer = shop.organization("Example Organisation", ADA)
        shop.subscribe(customer, {"KSE": 1}, starts_at=shop.NOW + timedelta(seconds=1), term=Term.TRIAL)

        with pytest.raises(KeyseatError) as refused:
            shop.assign(customer, "KSE", ADA)

        assert ReasonCode.NOT_YET_VALID is refused.value.code

    def test_one_with_an_offline_licence_gets_a_second_seat_and_a_note(self, customer: Organization) -> None:
        go_offline(customer, ADA)

        (line,) = shop.assign(customer, "KSE", ADA)

        assert "also holds an offline licence until 2024-06-01T00:00:00Z" == line.note
        assert 2 == pool(customer).used


class TestTakingBack:
    def test_a_seat_taken_back_is_free(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA, BOB)

        take_back(customer, ADA, BOB)

        assert 0 == pool(customer).used

    def test_a_licensed_user_of_a_floating_product_is_counted_off(self, customer: Organization) -> None:
        shop.assign(customer, "KRE", ADA)

        take_back(customer, ADA, product="KRE")

        assert 0 == pool(customer, "KRE").assigned

    def test_one_without_a_seat_stops_all(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)

        with pytest.raises(KeyseatError) as refused:
            take_back(customer, ADA, BOB)

        assert ReasonCode.NOT_ASSIGNED is refused.value.code
        assert 1 == pool(customer).used

    def test_a_seat_bound_offline_is_refused_with_its_end(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)
        go_offline(customer, ADA)

        with pytest.raises(KeyseatError) as refused:
            take_back(customer, ADA)

        assert ReasonCode.SEAT_LOCKED_OFFLINE is refused.value.code
        assert {"until": "2024-06-01T00:00:00Z"} == refused.value.details
        assert 1 == pool(customer).used

    def test_a_seat_of_an_ended_subscription_can_still_be_taken_back(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)

        seats.unassign(customer, "KSE", [ADA], actor=shop.ACTOR, now=shop.END)

        assert 0 == pool(customer).used


class TestTransferring:
    def test_the_seat_goes_to_the_receiver_and_the_pool_stays_as_full(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA, BOB)

        move(customer, ADA, EVE)

        held = {seat.holder for seat in shop.held(customer, shop.NOW, "KSE")}
        assert {BOB, EVE} == held
        assert 2 == pool(customer).used

    def test_to_one_who_is_no_member_is_refused(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)

        with pytest.raises(KeyseatError) as refused:
            move(customer, ADA, "nobody@example.com")

        assert ReasonCode.NOT_A_MEMBER is refused.value.code

    def test_to_one_who_holds_a_seat_is_refused(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA, BOB)

        with pytest.raises(KeyseatError) as refused:
            move(customer, ADA, BOB)

        assert ReasonCode.ALREADY_EXISTS is refused.value.code

    def test_to_one_whose_own_seat_was_left_behind_beside_it_is_refused(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA, BOB)
        shop.subscribe(customer, {"KSE": 1}, starts_at=shop.END, ends_at=shop.END.replace(year=2025), now=shop.END)

        for receiver in (ADA, BOB):
            with pytest.raises(KeyseatError) as refused:
                seats.transfer(customer, "KSE", ADA, receiver, actor=shop.ACTOR, now=shop.END)

            assert ReasonCode.ALREADY_EXISTS is refused.value.code

    def test_of_a_seat_bound_offline_is_refused(self, customer: Organization) -> None:
        go_offline(customer, ADA)

        with pytest.raises(KeyseatError) as refused:
            move(customer, ADA, BOB)

        assert ReasonCode.SEAT_LOCKED_OFFLINE is refused.value.code


class TestListing:
    def test_assignments_and_offline_licences_are_listed_with_their_holders(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", BOB)
        go_offline(customer, ADA)

        listed = shop.held(customer, shop.NOW)

        assert [(BOB, "named", None), (ADA, "offline", shop.END)] == [(s.holder, s.kind, s.until) for s in listed]

    def test_an_expired_offline_licence_holds_no_seat_any_more(self, customer: Organization) -> None:
        go_offline(customer, ADA)

        assert [] == shop.held(customer, shop.END)
        assert 0 == pools.availability(pool(customer), shop.END).used

    def test_live_online_sessions_are_listed_last_and_ended_ones_are_not(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", BOB)
        key = ApiKey.objects.create(
            id=new_id(shop.NOW),
            organization=customer,
            prefix="abc",
            key_sha256="0" * 64,
            name="CI",
            scopes="sessions",
            created_at=shop.NOW,
            created_by="owner@example.com",
        )
        for ended_at, ending in ((None, ""), (shop.NOW, "RELEASED")):
            Lease.objects.create(
                id=new_id(shop.NOW),
                pool=pool(customer, "KRE"),
                organization=customer,
                api_key=key,
                product="KRE",
                holder="key:abc",
                machine_id="mid1test",
                seats=1,
                started_at=shop.NOW,
                renewed_at=shop.NOW,
                expires_at=shop.NOW + timedelta(hours=1),
                ended_at=ended_at,
                ending=ending,
            )

        listed = shop.held(customer, shop.NOW)

        assert [(BOB, "named", 1), ("key:abc", "online", 1)] == [(s.holder, s.kind, s.seats) for s in listed]
        assert [(BOB, "named")] == [(s.holder, s.kind) for s in shop.held(customer, shop.NOW + timedelta(hours=1))]

    def test_figures_of_many_subscriptions_take_as_many_statements_as_of_one(self, customer: Organization) -> None:
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as captured:
                subscriptions.page_of_all(shop.NOW, 100, None)
            counts.append(len(captured))
            for _ in range(5):
                shop.subscribe(customer, {"KSE": 2, "KRE": 1})

        assert counts[0] == counts[1]

    def test_members_without_a_paid_seat_are_told(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", BOB)
        go_offline(customer, ADA)

        assert [EVE, "owner@example.com"] == seats.unlicensed_members(customer, shop.NOW)

    def test_an_organisation_that_pays_for_nothing_has_no_mixed_licences(self, ledger: Ledger) -> None:
        customer = shop.organization("Example Organisation", ADA)
        shop.subscribe(customer, {"KSE": 1}, term=Term.TRIAL)

        assert [] == seats.unlicensed_members(customer, shop.NOW)

    def test_figures_of_a_subscription_count_offline_and_free_seats(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", BOB)
        go_offline(customer, ADA)

        (view,) = subscriptions.list_subscriptions(customer, shop.NOW)

        figures = {entry.pool.product: entry.figures for entry in view.pools}
        assert "active" == view.state
        assert (2, 2, 0, 1) == (
            figures["KSE"].quota,
            figures["KSE"].used,
            figures["KSE"].available,
            figures["KSE"].offline,
        )


class TestRemovingAMember:
    def test_assigned_seats_become_free_and_the_offline_one_stays(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", BOB)
        shop.assign(customer, "KRE", ADA)
        go_offline(customer, ADA)

        removed = members.remove_member(customer, ADA, actor=shop.ACTOR, now=shop.NOW)

        assert members.Removal(ADA, 1, (shop.END,)) == removed
        assert (2, 0) == (pool(customer).used, pool(customer, "KRE").assigned)

    def test_of_the_last_owner_is_refused(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError) as refused:
            members.remove_member(customer, "owner@example.com", actor=shop.ACTOR, now=shop.NOW)

        assert ReasonCode.NOT_ALLOWED is refused.value.code

    def test_ownership_is_handed_over_by_making_another_owner_first(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError, match="last owner"):
            members.set_role(customer, "owner@example.com", Role.MEMBER, actor=shop.ACTOR, now=shop.NOW)

        members.set_role(customer, ADA, Role.OWNER, actor=shop.ACTOR, now=shop.NOW)
        members.set_role(customer, "owner@example.com", Role.MEMBER, actor=shop.ACTOR, now=shop.NOW)

        assert [(ADA, "owner")] == [(m.email, m.role) for m in members.list_members(customer) if m.role == "owner"]
