"""Offline licences in the console: servers without keys, the time after the sunset, files, and test licences."""

import re
from datetime import timedelta

import pytest
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, BOB, OWNER, found
from console_site import Counter, Desk
from databases import Ledger
from keyseat_issuer.ledger.models import AuditEvent, OfflineLicense, Organization, Pool
from keyseat_shared.policy import default_policy
from keyseat_verifier.verify.verifier import Verifier
from offline_desk import FORM, ISSUE, NEW, TEST, WEAK, confirm, hidden, request_file
from offline_shop import SUNSET
from vendor import MACHINE, OTHER_MACHINE, Vendor

NOTHING = "0190b6a0-0000-7000-8000-000000000000"

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


class TestWithoutTheLicenceKeys:
    @pytest.fixture
    def desk(self, org: Organization) -> Desk:
        return Desk(OWNER, org, Counter(signs=False))

    def test_the_pages_say_who_issues_and_make_the_text_to_send(self, org: Organization, desk: Desk) -> None:
        assert "Customer Success team issues offline licences" in desk.get("licenses/KSE").section("offline")
        assert "Fill them in here: they are checked, and you get the text to send." in desk.get(NEW).text

        shown = desk.post(NEW, FORM | {"last_day": "2023-12-31"})

        assert (200, True) == (shown.status, "Ready to send to Customer Success" in shown.text)
        assert f"User: {ADA} Machine ID: {MACHINE} (strong) Valid: through 31 December 2023 (UTC)" in shown.text
        assert "confirmation" not in hidden(shown)
        assert "Issue the licence" not in shown.text

    def test_mistakes_are_told_all_the_same(self, desk: Desk) -> None:
        assert 409 == desk.post(NEW, FORM | {"last_day": "2024-06-01"}).status

    def test_nothing_is_issued(self, org: Organization) -> None:
        shown = Desk(OWNER, org).post(NEW, FORM)
        desk = Desk(OWNER, org, Counter(signs=False))

        answers = [confirm(desk, shown), desk.post(TEST, {"machine_id": str(MACHINE)})]

        assert [409, 409] == [answer.status for answer in answers]
        assert all("Customer Success team issues offline licences" in answer.text for answer in answers)
        assert "<textarea" not in desk.get(TEST).html
        assert not OfflineLicense.objects.exists()

    def test_after_the_sunset_the_sunset_is_the_reason(self, org: Organization) -> None:
        with freeze_time(SUNSET):
            desk = Desk(OWNER, org, Counter(signs=False))
            assert [410] * 3 == [desk.post(path, FORM | {"read": "yes"}).status for path in (NEW, ISSUE, TEST)]


class TestAfterTheSunset:
    def test_every_way_to_a_new_licence_leads_to_the_notice(self, org: Organization) -> None:
        with freeze_time(SUNSET):
            desk = Desk(OWNER, org)
            answers = [desk.get(NEW), desk.get(TEST), desk.post(NEW, FORM), desk.post(NEW, {"change": "yes"})]
            answers += [desk.post(TEST, {"machine_id": str(MACHINE)}), desk.post(ISSUE, FORM | {"read": "yes"})]
            page = desk.get("licenses/KSE")
        assert [410] * 6 == [answer.status for answer in answers]
        assert all("The generation of offline licences ended on 17 January 2024." in answer.text for answer in answers)
        assert all("nobody is left without a licence" in answer.text for answer in answers)
        assert not OfflineLicense.objects.exists()
        assert "offline/new" not in page.html

    def test_those_who_have_no_seat_to_go_on_with_are_listed(self, org: Organization) -> None:
        for user, mid in ((ADA, MACHINE), (BOB, OTHER_MACHINE)):
            offline_shop.issue(organization=org.name, user=user, machine_id=str(mid))
        with freeze_time(SUNSET):
            assert "These users have no seat" not in Desk(OWNER, org).get("licenses/KSE").text
        soon = shop.END - timedelta(days=59)
        with freeze_time(soon):
            shop.assign(org, "KSE", BOB, now=soon)
            desk = Desk(OWNER, org)
            seen = [desk.get("licenses/KSE").section("offline"), desk.get(NEW).text]
        for text in seen:
            listed = text.partition("These users have no seat to go on with")[2]
            assert "within 60 days" in listed
            assert re.search(r"User Machine Offline licence ada@example.com mid1\w+… through 31 May 2024", listed)
        assert "bob@example.com" not in seen[1]

    def test_machines_of_a_floating_product_are_listed(self, org: Organization) -> None:
        offline_shop.issue("KRE", organization=org.name)
        with freeze_time(shop.END - timedelta(days=1)):
            told = Desk(OWNER, org).get("licenses/KRE").section("offline")
        assert "These machines go online next" in told

    def test_a_vendor_without_one_goes_on(self, org: Organization) -> None:
        with freeze_time(SUNSET):
            desk = Desk(OWNER, org, Counter(Vendor(policy=default_policy(sunset=None))))
            confirm(desk, desk.post(NEW, FORM))
        assert 1 == OfflineLicense.objects.count()


class TestFiles:
    def test_are_handed_out_from_the_table_and_each_time_is_recorded(self, org: Organization, desk: Desk) -> None:
        made = offline_shop.issue(organization=org.name)
        path = f"licenses/KSE/offline/{made.license_id}/file"
        assert f'href="{desk.base}{path}"' in desk.get("licenses/KSE").html

        assert [made.file] * 2 == [desk.get(path).body for _ in range(2)]
        assert 2 == AuditEvent.objects.filter(action="offline.exported", actor=f"user:{OWNER}").count()

    @pytest.mark.parametrize("tail", ["", "/file"])
    def test_of_another_organisation_or_product_are_not_there(self, org: Organization, desk: Desk, tail: str) -> None:
        other = found("Another Organisation")
        theirs = offline_shop.issue(organization=other.name)
        floating = offline_shop.issue("KRE", organization=org.name)

        for license_id in (theirs.license_id, floating.license_id, NOTHING):
            answer = desk.client.get(f"{desk.base}licenses/KSE/offline/{license_id}{tail}", follow=True)
            assert "There is no such offline licence here." in answer.content.decode()
            assert f"{desk.base}licenses/KSE" == answer.redirect_chain[-1][0]
        assert not AuditEvent.objects.filter(action="offline.exported").exists()

    def test_of_ended_licences_are_listed_on_request(self, org: Organization) -> None:
        made = offline_shop.issue(organization=org.name, expires_at=shop.NOW + timedelta(days=1))
        with freeze_time(shop.NOW + timedelta(days=1, seconds=1)):
            desk = Desk(OWNER, org)
            active, every = desk.get("licenses/KSE"), desk.get("licenses/KSE?ended=1")
            one = desk.get(f"licenses/KSE/offline/{made.license_id}")
            assert made.file == desk.get(f"licenses/KSE/offline/{made.license_id}/file").body
        assert "No active KSE offline licence. Show those that have ended, too" in active.section("offline")
        assert "(ended)" in every.section("offline")
        assert ADA not in every.section("users")
        assert "This licence has ended." in one.text

    def test_of_ended_licences_stay_asked_for_on_the_next_page(self, ledger: Ledger) -> None:
        org = found("Large", kre=60)
        for number in range(51):
            offline_shop.issue("KRE", organization=org.name, machine_id=offline_shop.numbered_machine(number))
        shown = Desk(OWNER, org).get("licenses/KRE?ended=1")
        assert "?offline=last&amp;ended=1&amp;days=30#offline" in shown.html
        assert re.search(r"\?offline=51a\.[A-Za-z0-9_-]+&amp;ended=1&amp;days=30#offline", shown.html)


class TestTestLicences:
    @pytest.mark.parametrize("given", [{"machine_id": str(MACHINE)}, {"request": None}])
    def test_verify_on_their_machine_and_take_no_seat(self, desk: Desk, given: dict[str, object]) -> None:
        file = desk.post(TEST, {name: value or request_file() for name, value in given.items()})

        assert f'attachment; filename="KSE_{str(MACHINE)[4:14]}_test.lic"' == file.headers["Content-Disposition"]
        checked = Verifier(Vendor().bundle, product="KSE").verify_test(file.body, machine=MACHINE, now=shop.NOW)
        assert str(MACHINE) == checked.machine_id
        assert [0, 0] == list(Pool.objects.values_list("used", flat=True))
        assert "offline.tested" == AuditEvent.objects.order_by("-seq")[0].action

    def test_are_made_for_weak_ids_and_not_for_mistyped_ones(self, desk: Desk) -> None:
        assert 200 == desk.post(TEST, {"machine_id": str(WEAK)}).status
        answers = [desk.post(TEST, {"machine_id": text}) for text in ("", f"{MACHINE}x")]
        assert [400, 400] == [answer.status for answer in answers]
        assert "The machine ID is mistyped" in answers[1].text
