"""A look ahead at assigning and transferring: it tells what the acts then do, and writes nothing."""

from datetime import timedelta

import pytest

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Allocation, AuditEvent, Organization, Pool
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.seats.preview import Preview, preview_assign, receivers
from keyseat_issuer.ledger.seats.rules import ALREADY, ASSIGNABLE, Line
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from vendor import MACHINE, OTHER_MACHINE

ADA, BOB, EVE, OWNER = "ada@example.com", "bob@example.com", "eve@example.com", "owner@example.com"
LATER = shop.END + timedelta(days=1)


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    """An organisation with an owner and three members, two seats of each product."""
    made = shop.organization("Example Organisation", ADA, BOB, EVE)
    shop.subscribe(made, {"KSE": 2, "KRE": 2})
    return made


def look(customer: Organization, product: str, *emails: str, now: object = shop.NOW) -> Preview:
    return preview_assign(customer, product, emails, policy=shop.POLICY, now=now)


class TestAssigning:
    @pytest.mark.parametrize("product", ["KSE", "KRE"])
    @pytest.mark.parametrize(
        "emails",
        [(ADA,), (ADA, BOB), (ADA, BOB, EVE), (OWNER,), (OWNER, ADA), (OWNER, ADA, BOB), (ADA, "x"), ("y@z.example",)],
    )
    def test_is_told_as_it_then_happens(self, customer: Organization, product: str, emails: tuple[str, ...]) -> None:
        shop.assign(customer, product, OWNER)
        seen = look(customer, product, *emails)
        in_the_way = [line.code for line in seen.lines if line.code != ReasonCode.OK]
        in_the_way += [seen.refusal.code] if seen.refusal else []
        if in_the_way:
            with pytest.raises(KeyseatError, match=in_the_way[0]):
                shop.assign(customer, product, *emails)
        else:
            done = shop.assign(customer, product, *emails)
            assert [line.email for line in done if line.status == seats.ASSIGNED] == seen.assignable
        assert (seen.free if in_the_way else seen.free_after) == look(customer, product).free

    def test_writes_nothing(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)
        before = (Allocation.objects.count(), AuditEvent.objects.count(), list(Pool.objects.values()))
        assert [Line(ADA, ALREADY), Line(BOB, ASSIGNABLE)] == look(customer, "KSE", ADA, BOB).lines
        assert before == (Allocation.objects.count(), AuditEvent.objects.count(), list(Pool.objects.values()))

    def test_tells_how_many_seats_are_missing(self, customer: Organization) -> None:
        seen = look(customer, "KSE", ADA, BOB, EVE)
        assert (2, 0, 1) == (seen.free, seen.free_after, seen.missing)
        assert ReasonCode.QUOTA_EXCEEDED is seen.refusal.code

    def test_counts_offline_seats_as_free_from_their_expiry_on(self, customer: Organization) -> None:
        until = shop.NOW + timedelta(days=30)
        offline_shop.issue("KSE", organization=customer.name, user=ADA, expires_at=until)
        before = look(customer, "KSE", ADA, now=until - timedelta(seconds=1))
        assert (1, {ADA: until}) == (before.free, before.offline)
        assert "also holds an offline licence until 2023-07-01T12:00:00Z" == before.lines[0].note
        after = look(customer, "KSE", ADA, now=until)
        assert (2, {}) == (after.free, after.offline)

    def test_of_a_floating_product_does_not_count_its_sessions(self, customer: Organization) -> None:
        for machine in (MACHINE, OTHER_MACHINE):
            shop.session(customer, machine)
        assert 2 == look(customer, "KRE", ADA).free

    def test_is_refused_without_a_running_subscription(self, customer: Organization) -> None:
        with pytest.raises(KeyseatError, match="SUBSCRIPTION_ENDED"):
            look(customer, "KSE", ADA, now=shop.END)


class TestTransferring:
    def test_goes_to_members_without_a_seat(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA, BOB)
        assert [EVE, OWNER] == receivers(customer, "KSE", ADA.upper(), shop.NOW)

    def test_passes_over_who_was_left_behind_in_the_givers_subscription(self, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA, BOB)
        shop.subscribe(customer, {"KSE": 2}, starts_at=shop.END, ends_at=shop.END.replace(year=2025))
        shop.assign(customer, "KSE", EVE, now=LATER)
        assert [OWNER] == receivers(customer, "KSE", ADA, LATER)
        for receiver in (BOB, EVE):
            with pytest.raises(KeyseatError, match="ALREADY_EXISTS"):
                seats.transfer(customer, "KSE", ADA, receiver, actor="test", now=LATER)
        seats.transfer(customer, "KSE", ADA, OWNER, actor="test", now=LATER)

    def test_is_refused_where_nothing_can_be_moved(self, customer: Organization) -> None:
        offline_shop.issue("KSE", organization=customer.name, user=ADA)
        members.remove_member(customer, EVE, actor="test", now=shop.NOW)
        for giver, code in ((ADA, "SEAT_LOCKED_OFFLINE"), (EVE, "NOT_ASSIGNED"), ("x", "INVALID_INPUT")):
            with pytest.raises(KeyseatError, match=code):
                receivers(customer, "KSE", giver, shop.NOW)
