"""Organisations, seats, online sessions and machines over the administration API."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

import offline_shop
import shop
from activation import Clock, make_key, problem
from administration import ADA, BILLING, BOB, EVE, OWNER, Office, administered, found, key_with
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import Allocation, Lease, Pool, SessionEnding
from vendor import MACHINE, OTHER_MACHINE


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    with administered(found()) as running:
        yield running


def holders(product: str = "KSE") -> set[str]:
    rows = Allocation.objects.filter(pool__product=product, released_at__isnull=True)
    return set(rows.values_list("holder", flat=True))


class TestOrganizations:
    @pytest.mark.both_databases
    def test_of_a_person_are_listed_with_the_role_in_each(self, office: Office) -> None:
        found("Another Organisation")

        listed = office.site.call("GET", "/api/v1/organizations", key="billing").json()["organizations"]

        assert [("Another Organisation", "billing"), ("Example Organisation", "billing")] == [
            (entry["name"], entry["role"]) for entry in listed
        ]
        assert [] == office.site.call("GET", "/api/v1/organizations", key="eve").json()["organizations"]

    def test_of_an_api_key_is_its_own(self, office: Office) -> None:
        found("Another Organisation")
        key = make_key(office.organization)

        listed = office.site.call("GET", "/api/v1/organizations", key=key).json()["organizations"]

        assert [("Example Organisation", None)] == [(entry["name"], entry["role"]) for entry in listed]

    def test_say_whether_offline_licences_are_still_generated(self, office: Office) -> None:
        before = office.get("", who="ada")["offline"]
        office.clock.now = offline_shop.SUNSET
        after = office.get("", who="ada")["offline"]

        assert (True, None) == (before["generating"], before["next"])
        assert (False, "2024-01-17T00:00:00Z") == (after["generating"], after["sunset"])
        assert "Activate online" in after["next"]

    def test_show_billing_managers_what_was_bought(self, office: Office) -> None:
        [bought] = office.get("/subscriptions", who="billing")["subscriptions"]

        assert ("annual", "active", "2024-06-01T00:00:00Z") == (bought["term"], bought["state"], bought["ends_at"])
        assert [("KRE", 2), ("KSE", 3)] == [(pool["product"], pool["available"]) for pool in bought["pools"]]


class TestOwnSeat:
    def test_shows_a_member_what_is_held_and_nothing_of_others(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA, BOB)
        office.site.acquire("KSE", key="ada")
        offline_shop.issue(user=BOB)

        mine = office.get("/me", who="ada")

        assert (ADA, "member") == (mine["email"], mine["role"])
        assert [("named", ADA), ("online", ADA)] == [(seat["kind"], seat["holder"]) for seat in mine["seats"]]
        [locked] = office.get("/me", who="bob")["seats"]
        assert ("offline", str(MACHINE)) == (locked["kind"], locked["machine_id"])


class TestSeats:
    def test_are_listed_with_quota_and_who_holds_none(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)

        listed = office.get("/seats?product=KSE")

        assert [("KSE", ADA, "named")] == [(s["product"], s["holder"], s["kind"]) for s in listed["seats"]]
        assert 4 == listed["unlicensed"]
        without = office.get("/members?licensed=false")["members"]
        assert {OWNER, BOB, BILLING, "admin@example.com"} == {member["email"] for member in without}
        assert [ADA] == [member["email"] for member in office.get("/members?licensed=true")["members"]]
        figures = {pool["product"]: (pool["used"], pool["available"]) for pool in listed["subscriptions"][0]["pools"]}
        assert {"KSE": (1, 2), "KRE": (0, 2)} == figures

    @pytest.mark.both_databases
    def test_are_assigned_to_many_with_a_line_for_each(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)

        answer = office.call("POST", "/seats/KSE/assign", {"emails": [ADA, BOB.upper()]}, who="admin")

        assert [(ADA, "already assigned"), (BOB, "assigned")] == [
            (line["email"], line["status"]) for line in answer.json()["lines"]
        ]
        assert {ADA, BOB} == holders()

    def test_are_assigned_to_all_or_none_and_the_report_says_who_is_in_the_way(self, office: Office) -> None:
        answer = office.call("POST", "/seats/KSE/assign", {"emails": [ADA, EVE]})

        assert (403, "NOT_A_MEMBER", None) == problem(answer)
        assert ["OK", "NOT_A_MEMBER"] == [line["code"] for line in answer.json()["details"]["lines"]]
        assert "Invite" in answer.json()["next"]
        assert set() == holders()

    def test_do_not_go_beyond_the_quota(self, office: Office) -> None:
        emails = [ADA, BOB, OWNER, BILLING]

        assert (409, "QUOTA_EXCEEDED", None) == problem(office.call("POST", "/seats/KSE/assign", {"emails": emails}))
        assert set() == holders()

    @pytest.mark.both_databases
    def test_are_taken_back(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA, BOB)

        answer = office.call(
            "POST", "/seats/KSE/unassign", {"emails": [ADA]}, who=key_with(office.organization, "seats:write")
        )

        assert [{"email": ADA, "status": "unassigned", "code": "OK", "note": ""}] == answer.json()["lines"]
        assert {BOB} == holders()

    def test_bound_to_an_offline_licence_are_not_taken_back_or_moved(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)
        offline_shop.issue()

        for path, body in [
            ("/seats/KSE/unassign", {"emails": [ADA]}),
            ("/seats/KSE/transfer", {"from_email": ADA, "to_email": BOB}),
        ]:
            answer = office.call("POST", path, body)
            assert (409, "SEAT_LOCKED_OFFLINE", None) == problem(answer)
            assert "2024-06-01T00:00:00Z" == answer.json()["details"]["until"]

    @pytest.mark.both_databases
    def test_move_to_another_member_and_the_first_client_hears_it(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)
        session = office.site.acquire("KSE", key="ada").json()["session_id"]

        answer = office.call("POST", "/seats/KSE/transfer", {"from_email": ADA, "to_email": BOB})

        assert [BOB] == [line["email"] for line in answer.json()["lines"]]
        assert {BOB} == holders()
        assert (410, "LEASE_ENDED", "SEAT_MOVED") == problem(office.site.renew(session, key="ada"))

    def test_of_products_that_do_not_exist_are_not_found(self, office: Office) -> None:
        answer = office.call("POST", "/seats/KSX/assign", {"emails": [ADA]})

        assert (404, "NOT_FOUND", None) == problem(answer)
        assert ["KSE"] == answer.json()["details"]["did_you_mean"]


class TestSessions:
    @pytest.mark.both_databases
    def test_are_listed_and_ended_by_force(self, office: Office) -> None:
        key = make_key(office.organization)
        sessions = [office.site.acquire(key=key).json()["session_id"] for _ in range(2)]

        listed = office.get("/sessions?product=KRE")["sessions"]
        ended = office.call("POST", "/sessions/end", {"session_ids": sessions[:1]})

        assert set(sessions) == {entry["session_id"] for entry in listed}
        assert {f"key:{key[4:12]}"} == {entry["holder"] for entry in listed}
        assert {"ended": 1} == ended.json()
        assert (410, "LEASE_ENDED", "FORCED") == problem(office.site.renew(sessions[0], key=key))
        assert 201 == office.site.acquire(key=key).status_code

    def test_that_are_over_stay_over(self, office: Office) -> None:
        session = office.site.acquire(key=make_key(office.organization)).json()["session_id"]

        counts = [office.call("POST", "/sessions/end", {"session_ids": [session]}).json()["ended"] for _ in range(2)]

        assert [1, 0] == counts

    def test_of_another_organisation_end_none(self, office: Office) -> None:
        foreign = found("Another Organisation")
        mine = office.site.acquire(key=make_key(office.organization)).json()["session_id"]
        theirs = office.site.acquire(key=make_key(foreign)).json()["session_id"]

        answer = office.call("POST", "/sessions/end", {"session_ids": [mine, theirs]})

        assert (404, "NOT_FOUND", None) == problem(answer)
        assert 2 == Lease.objects.filter(ended_at__isnull=True).count()


class TestMachines:
    @pytest.mark.both_databases
    def test_are_those_that_hold_something_now(self, office: Office) -> None:
        key = make_key(office.organization)
        office.site.acquire(key=key)
        office.site.acquire(machine=OTHER_MACHINE, key=key)
        made = offline_shop.issue()

        listed = {entry["machine_id"]: entry for entry in office.get("/machines")["machines"]}

        assert {str(MACHINE): (1, 1), str(OTHER_MACHINE): (1, 0)} == {
            machine: (len(entry["sessions"]), len(entry["offline_licenses"])) for machine, entry in listed.items()
        }
        assert str(made.license_id) == listed[str(MACHINE)]["offline_licenses"][0]["license_id"]
        office.clock.advance(days=1)
        assert [str(MACHINE)] == [entry["machine_id"] for entry in office.get("/machines")["machines"]]

    def test_that_are_removed_lose_their_sessions_and_keep_offline_licences(self, office: Office) -> None:
        key = make_key(office.organization)
        session = office.site.acquire(key=key).json()["session_id"]
        other = office.site.acquire(machine=OTHER_MACHINE, key=key).json()["session_id"]
        used = Pool.objects.get(product="KRE").used
        offline_shop.issue()

        removed = office.call("DELETE", f"/machines/{MACHINE}")

        assert {"sessions_ended": 1, "offline_until": ["2024-06-01T00:00:00Z"]} == removed.json()
        assert (410, "LEASE_ENDED", "MACHINE_REMOVED") == problem(office.site.renew(session, key=key))
        assert 200 == office.site.renew(other, machine=OTHER_MACHINE, key=key).status_code
        assert used - 1 == Pool.objects.get(product="KRE").used
        assert verify().ok

    def test_that_hold_nothing_here_are_not_found(self, office: Office) -> None:
        foreign = found("Another Organisation")
        office.site.acquire(key=make_key(foreign))

        assert (404, "NOT_FOUND", None) == problem(office.call("DELETE", f"/machines/{MACHINE}"))
        assert not Lease.objects.filter(ending=SessionEnding.MACHINE_REMOVED).exists()


def test_a_seat_that_was_taken_back_counts_as_free_once_its_session_has_ended(ledger: Ledger) -> None:
    with administered(found(kre=1), clock=Clock(shop.NOW + timedelta(hours=1))) as office:
        key = make_key(office.organization)
        office.site.acquire(key=key)
        office.clock.advance(days=2)

        [bought] = office.get("/subscriptions")["subscriptions"]

    assert 1 == next(pool["available"] for pool in bought["pools"] if pool["product"] == "KRE")
