"""License Management in the browser: who gets in, what the page of a product tells, ending sessions, machines."""

import re
from datetime import timedelta

import pytest
from django.urls import get_resolver
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, ADMIN, BILLING, BOB, EVE, OWNER, ROLES, found
from console_site import Desk, Shown
from databases import Ledger
from keyseat_issuer.console.visits import RIGHTS
from keyseat_issuer.ledger.models import AuditEvent, Lease, Organization
from keyseat_issuer.web.models import User
from vendor import MACHINE, OTHER_MACHINE, Vendor
from web_server import make_account

NOTHING = "0190b6a0-0000-7000-8000-000000000000"


def console_paths() -> dict[str, str]:
    """Return the path of every page of the console by its name, below the organisation."""
    parts = dict.fromkeys(("license_id", "member_id", "invitation_id", "key_id"), NOTHING) | {"product": "KSE"}
    paths = {}
    for name in get_resolver().reverse_dict:
        if isinstance(name, str) and name.startswith("console_"):
            [(template, _names), *_more] = get_resolver().reverse_dict.getlist(name)[0][0]
            paths[name] = template.partition("%(organization_id)s/")[2] % parts
    return paths


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestEveryPage:
    def test_has_a_row_in_the_table_of_rights(self, org: Organization) -> None:
        assert set(RIGHTS) == set(console_paths())

    def test_lets_in_whom_the_table_names_and_nobody_else(self, org: Organization) -> None:
        desks = {email: Desk(email, org) for email in (OWNER, ADMIN, BILLING, ADA, EVE)}
        seen = {}
        for name, path in console_paths().items():
            for email, desk in desks.items():
                status = desk.get(path).status
                # 405: let in, and told that the page takes posts only.
                seen[name, email] = {404: "outside", 403: "refused"}.get(status, "in")
                if status == 405:
                    seen[name, email] = {404: "outside", 403: "refused"}.get(desk.post(path, {}).status, "in")

        def expected(name: str, email: str) -> str:
            if email not in ROLES:
                return "outside"
            return "in" if ROLES[email] in RIGHTS[name] else "refused"

        assert {case: expected(*case) for case in seen} == seen

    def test_asks_to_sign_in_first(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        desk.client.logout()
        for path in console_paths().values():
            answer = desk.client.get(desk.base + path)
            assert (302, True) == (answer.status_code, answer.headers["Location"].startswith("/sign-in?next="))

    def test_of_another_organisation_looks_like_one_that_does_not_exist(self, org: Organization) -> None:
        other = found("Another Organisation")
        other.memberships.all().delete()
        desk = Desk(OWNER, org)

        foreign = desk.get(f"/organizations/{other.pk}/licenses/KSE")
        nowhere = desk.get(f"/organizations/{NOTHING}/licenses/KSE")
        assert (404, 404, foreign.text) == (foreign.status, nowhere.status, nowhere.text)

    def test_takes_no_post_without_its_token(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        assert 403 == desk.client.post(desk.base + "licenses/KRE/sessions/end", {"session": NOTHING}).status_code


def place(page: Shown, table: str, link: str) -> str:
    """Return what a link of a table says about the place that it leads to."""
    [found] = re.findall(rf'href="\?{table}=([^"&#]+)[^"]*">{link}<', page.html)
    return found


class TestTheProductPage:
    def test_is_reached_from_home_by_who_may_use_it(self, org: Organization) -> None:
        link = f'href="/organizations/{org.pk}/licenses"'
        assert [True, True, True, False] == [
            link in Desk(email, org).get("/").html for email in (OWNER, ADMIN, BILLING, ADA)
        ]
        assert Desk(OWNER, org).client.get(f"/organizations/{org.pk}/licenses").headers["Location"].endswith("/KSE")

    def test_has_a_tab_for_each_product_named_ones_first(self, org: Organization) -> None:
        for product in ("KSE", "KRE"):
            assert "KSE (per User) KRE (Floating)" in Desk(OWNER, org).get(f"licenses/{product}").text

    def test_tells_what_was_bought_and_what_is_left(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA)
        told = Desk(OWNER, org).get("licenses/KSE").section("subscription")

        assert "Subscribed 3 In use 1 Available 2" in told
        assert "annual active 1 June 2023 through 31 May 2024 3 1 2" in told

    def test_says_that_all_seats_are_taken_and_when_the_next_comes_back(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA, BOB)
        offline_shop.issue("KSE", organization=org.name, user=ADMIN)

        told = Desk(OWNER, org).get("licenses/KSE").section("subscription")
        assert "All seats are taken. The next offline seat comes back on 1 June 2024, 00:00 UTC." in told

    def test_says_that_a_subscription_ends_soon_or_has_ended(self, org: Organization) -> None:
        with freeze_time(shop.END - timedelta(days=30)):
            assert "active (ends soon)" in Desk(OWNER, org).get("licenses/KSE").section("subscription")
        with freeze_time(shop.END):
            told = Desk(OWNER, org).get("licenses/KSE").section("subscription")
        assert "There is no active subscription to KSE." in told
        assert "annual ended" in told

    def test_warns_of_members_without_a_paid_seat(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA, BOB)
        shown = Desk(OWNER, org).get("licenses/KSE").text
        assert "3 members of this organisation hold no paid seat." in shown
        assert "admin@example.com, billing@example.com, owner@example.com" in shown

    @pytest.mark.both_databases
    def test_lists_who_holds_a_seat_and_finds_them(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA, BOB)
        desk = Desk(OWNER, org)
        told = desk.get("licenses/KSE").section("users")
        assert re.search(r"ada@example.com assigned 1 June 2023 \S .*bob@example.com assigned", told)
        assert "ada@example.com" not in desk.get("licenses/KSE?q=bob").section("users")
        assert "No licensed user's address holds “<b>”." in desk.get("licenses/KSE?q=<B>").section("users")

    def test_lists_offline_licences_and_the_machines_they_are_bound_to(self, org: Organization) -> None:
        offline_shop.issue("KSE", organization=org.name, user=ADA)
        shown = Desk(OWNER, org).get("licenses/KSE")
        assert "ada@example.com offline licence, through 31 May 2024" in shown.section("users")
        assert "ada@example.com" in shown.section("offline")
        assert "ada@example.com, through 31 May 2024" in shown.section("machines")
        assert "No machine holds a KRE session" in Desk(OWNER, org).get("licenses/KRE").section("machines")

    def test_shows_a_billing_manager_what_was_bought_and_no_more(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA)
        shown = Desk(BILLING, org).get("licenses/KSE")
        assert "Subscribed 3 In use 1" in shown.section("subscription")
        assert [""] * 4 == [shown.section(name) for name in ("users", "sessions", "offline", "machines")]
        assert ADA not in shown.text

    def test_says_that_generation_has_ended_from_the_sunset_on(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        assert "has ended" not in desk.get("licenses/KSE").section("offline")
        sunset = Vendor().policy.sunset
        with freeze_time(sunset - timedelta(seconds=1)):
            assert "ended on" not in Desk(OWNER, org).get("licenses/KSE").section("offline")
        with freeze_time(sunset):
            told = Desk(OWNER, org).get("licenses/KSE").section("offline")
        assert "The generation of offline licences ended on 17 January 2024." in told

    def test_does_not_exist_for_a_product_that_is_not_in_the_catalogue(self, org: Organization) -> None:
        assert [404, 404] == [Desk(OWNER, org).get(f"licenses/{name}").status for name in ("XYZ", "kse")]

    @pytest.mark.both_databases
    def test_shows_long_tables_in_pages(self, ledger: Ledger) -> None:
        org = shop.organization("Long", *[f"user{number:03}@example.com" for number in range(60)])
        shop.subscribe(org, {"KSE": 60})
        shop.assign(org, "KSE", *[f"user{number:03}@example.com" for number in range(60)])
        desk = Desk(OWNER, org)
        first = desk.get("licenses/KSE")
        second = desk.get(f"licenses/KSE?users={place(first, 'users', 'Next')}")
        again = desk.get(f"licenses/KSE?users={place(second, 'users', 'Previous')}")
        assert ("user000@", "1 to 50 of 60 Next Last") == (
            first.section("users").partition("user000@")[1],
            first.section("users")[-23:],
        )
        assert "user059@example.com" in second.section("users")
        assert "Previous 51 to 60 of 60" == second.section("users")[-23:]
        assert again.section("users") == first.section("users")
        assert "user059@example.com" in desk.get("licenses/KSE?users=last").section("users")
        for nowhere in ("-x", "99999999", "51a.x", "51a.W10"):
            assert first.section("users") == desk.get(f"licenses/KSE?users={nowhere}").section("users")


class TestSessions:
    @pytest.fixture
    def live(self, org: Organization) -> list[Lease]:
        return [shop.session(org, machine) for machine in (MACHINE, OTHER_MACHINE)]

    @pytest.mark.both_databases
    def test_end_after_a_look_at_them(self, org: Organization, live: list[Lease]) -> None:
        desk = Desk(ADMIN, org)
        asked = desk.post("licenses/KRE/sessions/end", {"session": [str(live[0].pk)]}, page="licenses/KRE")
        assert "End this session?" in asked.text
        assert Lease.objects.filter(ended_at__isnull=True).count() == 2
        done = desk.post(
            "licenses/KRE/sessions/end", {"session": [str(live[0].pk)], "confirmed": "yes"}, page="licenses/KRE"
        )

        assert "Ended 1 session." in done.text
        assert [live[1].pk] == list(Lease.objects.filter(ended_at__isnull=True).values_list("pk", flat=True))
        assert f"user:{ADMIN}" == AuditEvent.objects.order_by("-seq").first().actor

    @pytest.mark.parametrize("chosen", [[], [NOTHING], ["x"]])
    def test_that_are_none_are_not_ended(self, org: Organization, live: list[Lease], chosen: list[str]) -> None:
        desk = Desk(OWNER, org)
        done = desk.post("licenses/KRE/sessions/end", {"session": chosen, "confirmed": "yes"}, page="licenses/KRE")
        assert "No live session was chosen" in done.text

    def test_of_another_organisation_are_not_touched(self, org: Organization, live: list[Lease]) -> None:
        other = found("Another Organisation")
        desk = Desk(OWNER, other)
        desk.post("licenses/KRE/sessions/end", {"session": [str(live[0].pk)], "confirmed": "yes"}, page="licenses/KRE")
        assert Lease.objects.filter(ended_at__isnull=True).count() == 2

    def test_end_with_their_machine(self, org: Organization, live: list[Lease]) -> None:
        desk = Desk(OWNER, org)
        form = {"machine": str(MACHINE)}
        asked = desk.post("licenses/KRE/machines/remove", form, page="licenses/KRE")
        assert f"KRE session of {live[0].holder}: ends" in asked.text
        done = desk.post("licenses/KRE/machines/remove", form | {"confirmed": "yes"}, page="licenses/KRE")
        assert "Sessions ended on the machine: 1." in done.text
        again = desk.post("licenses/KRE/machines/remove", form | {"confirmed": "yes"}, page="licenses/KRE")
        assert "That machine holds nothing any more." in again.text

    def test_leave_offline_licences_where_they_are(self, org: Organization) -> None:
        shop.session(org, MACHINE)
        offline_shop.issue("KRE", organization=org.name, machine_id=str(MACHINE))
        form = {"machine": str(MACHINE), "confirmed": "yes"}
        done = Desk(OWNER, org).post("licenses/KRE/machines/remove", form, page="licenses/KRE")
        assert "1 offline licence on it stays until expiry." in done.text


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_an_account_without_a_name_is_no_problem(ledger: Ledger) -> None:
    org = found()
    make_account(OWNER, name="")
    assert User.objects.get(email=OWNER).name == ""
    assert 200 == Desk(OWNER, org).get("licenses/KSE").status
