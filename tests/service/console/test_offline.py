"""Offline licences in the console: form, preview, confirmation, files, test licences, the sunset."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test import Client
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, ADMIN, BOB, OWNER, found
from console_site import Desk
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import AuditEvent, Confirmation, OfflineLicense, Organization, Pool, Term
from keyseat_verifier.verify.verifier import Verifier
from offline_desk import FLOATING, FORM, ISSUE, NEW, WEAK, confirm, hidden, kept, request_file
from offline_shop import LAST_SECOND, SUNSET
from vendor import MACHINE, OTHER_MACHINE, Vendor
from web_server import PASSWORD

sqlite_only = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


class TestIssuing:
    @pytest.mark.both_databases
    def test_goes_from_the_form_over_the_preview_to_a_file_that_verifies(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA)
        shown = desk.post(NEW, FORM)
        assert (200, 0) == (shown.status, OfflineLicense.objects.count())

        done = confirm(desk, shown)

        row = OfflineLicense.objects.get()
        assert (ADA, str(MACHINE), shop.END) == (row.user, row.machine_id, row.expires_at)
        assert f"/organizations/{org.pk}/licenses/KSE/offline/{row.pk}" == done.path
        assert "The offline licence is issued." in done.text
        file = desk.get(f"licenses/KSE/offline/{row.pk}/file")
        assert f'attachment; filename="KSE_{str(MACHINE)[4:14]}.lic"' == file.headers["Content-Disposition"]
        assert f"{file.headers['Content-Disposition'].partition('=')[2]}".strip('"') in done.text
        assert bytes(row.file) == file.body
        assert ADA == Verifier(Vendor().bundle, product="KSE").verify(file.body, machine=MACHINE, now=shop.NOW).user
        acts = AuditEvent.objects.filter(action__startswith="offline.").order_by("seq").values_list("action", "actor")
        assert [("offline.issued", f"user:{OWNER}"), ("offline.exported", f"user:{OWNER}")] == list(acts)
        assert verify().ok

    def test_of_a_floating_product_takes_sessions_and_no_user(self, desk: Desk) -> None:
        assert ("sessions", None) == tuple(
            found_name and found_name[1]
            for found_name in (re.search(f'name="({name})"', desk.get(FLOATING).html) for name in ("sessions", "user"))
        )
        shown = desk.post(FLOATING, {"machine_id": str(MACHINE), "sessions": "2", "last_day": "2023-12-31"})
        assert "2 at the same time on this machine" in shown.text
        confirm(desk, shown, "licenses/KRE/offline/issue")

        row = OfflineLicense.objects.get()
        assert (2, "", "2024-01-01T00:00:00+00:00") == (row.sessions, row.user, row.expires_at.isoformat())
        assert 2 == Pool.objects.get(product="KRE").used

    def test_counts_once(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        first = confirm(desk, shown)

        again = confirm(desk, shown)

        assert (200, first.path) == (again.status, again.path)
        assert "had issued its licence already" in again.text
        assert 1 == OfflineLicense.objects.count()

    @pytest.mark.both_databases
    def test_counts_once_in_a_race(self, org: Organization, desk: Desk) -> None:
        shown = desk.post(FLOATING, {"machine_id": str(MACHINE), "sessions": "1"})
        form = hidden(shown) | {"read": "yes"}
        browsers = [Client() for _ in range(4)]
        for browser in browsers:
            assert browser.login(email=OWNER, password=PASSWORD)

        def press(browser: Client) -> tuple[int, str]:
            try:
                answer = browser.post(f"{desk.base}licenses/KRE/offline/issue", form)
                return answer.status_code, answer.headers["Location"]
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(browsers)) as pool:
            answers = set(pool.map(press, browsers))

        row = OfflineLicense.objects.get()
        assert {(302, f"{desk.base}licenses/KRE/offline/{row.pk}")} == answers
        assert 1 == Pool.objects.get(product="KRE").used
        assert verify().ok

    def test_confirms_what_was_shown_whatever_the_other_fields_say(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        confirm(
            desk, shown, machine_id=str(OTHER_MACHINE), user=BOB, last_day="2023-07-01", sessions="9", product="KRE"
        )

        row = OfflineLicense.objects.get()
        assert (ADA, str(MACHINE), shop.END, 1) == (row.user, row.machine_id, row.expires_at, row.sessions)

    def test_does_not_get_past_a_quota_that_is_gone(self, org: Organization, desk: Desk) -> None:
        shown = desk.post(FLOATING, {"machine_id": str(MACHINE), "sessions": "2"})
        offline_shop.issue("KRE", organization=org.name, machine_id=str(OTHER_MACHINE))

        late = confirm(desk, shown, "licenses/KRE/offline/issue")

        assert (409, 1) == (late.status, OfflineLicense.objects.count())
        assert {"machine_id": str(MACHINE), "sessions": "2", "last_day": ""} == kept(late)
        assert "Free a seat" in late.text

    def test_works_to_the_last_second_before_the_sunset_and_not_at_it(self, org: Organization) -> None:
        with freeze_time(LAST_SECOND):
            desk = Desk(OWNER, org)
            confirm(desk, desk.post(NEW, FORM))
            shown = desk.post(FLOATING, {"machine_id": str(MACHINE), "sessions": "1"})
        assert 1 == OfflineLicense.objects.count()
        with freeze_time(SUNSET):
            late = confirm(desk, shown, "licenses/KRE/offline/issue")

        assert (410, 1) == (late.status, OfflineLicense.objects.count())
        assert "Offline licences are no longer generated" in late.text
        assert "offline.issue.refused" == AuditEvent.objects.order_by("-seq")[0].action


@sqlite_only
class TestPreview:
    def test_tells_all_that_a_person_decides_upon(self, org: Organization, desk: Desk) -> None:
        shop.assign(org, "KSE", ADA, BOB)
        told = desk.post(NEW, FORM).text

        for sentence in (
            "Product Katalon Studio Enterprise (KSE)",
            f"User {ADA}",
            "Subscription annual, through 31 May 2024",
            "Locked through 31 May 2024 (UTC)",
            f"2 now, 2 afterwards, of 3 The assigned seat of {ADA} becomes the offline one",
            f"Machine ID {MACHINE}",
            "firmware UUID, firmware serial, network adapters, system disk, operating system",
            "Grade strong It rests on hardware:",
            "cannot be transferred to another machine or person, it cannot be revoked",
            "This preview counts until 1 June 2023, 12:10 UTC, for you, once.",
        ):
            assert sentence in told
        assert Confirmation.objects.get().token_sha256 not in told

    def test_counts_a_seat_that_nobody_held(self, desk: Desk) -> None:
        assert "0 now, 1 afterwards, of 3" in desk.post(NEW, FORM).text

    def test_warns_of_licences_on_the_machine(self, org: Organization, desk: Desk) -> None:
        offline_shop.issue("KRE", organization=org.name, sessions=2)
        found("Secret Customer")
        offline_shop.issue(organization="Secret Customer")

        shown = desk.post(NEW, FORM)
        floating = desk.post(FLOATING, {"machine_id": str(MACHINE), "sessions": "1"})

        assert "is bound already: an active KRE licence of 2 sessions holds it, through 31 May 2024." in shown.text
        assert "an active licence in another organisation holds it" in shown.text
        assert "Secret" not in shown.text
        assert "All seats" not in floating.text
        assert 409 == floating.status

    def test_counts_the_sessions_that_the_machine_has(self, ledger: Ledger) -> None:
        org = found("Large", kre=9)
        offline_shop.issue("KRE", organization=org.name, sessions=2)
        shown = Desk(OWNER, org).post(FLOATING, {"machine_id": str(MACHINE), "sessions": "3"})
        assert "3 at the same time on this machine, besides 2 of licences that it has already" in shown.text

    def test_can_be_gone_back_from_with_all_that_was_typed(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM | {"last_day": "2023-12-31", "machine_id": str(WEAK), "accept_weak": "on"})
        again = desk.post(NEW, hidden(shown) | {"change": "yes"})

        assert (200, {"machine_id": str(WEAK), "user": ADA, "last_day": "2023-12-31"}) == (again.status, kept(again))
        assert re.search(r'name="accept_weak"[^>]* checked', again.html)
        assert 'role="alert"' not in again.html

    def test_must_be_read(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        unread = desk.post(ISSUE, hidden(shown))

        assert (400, 0) == (unread.status, OfflineLicense.objects.count())
        assert "tick the box that you have read this" in unread.text
        assert f"/licenses/KSE/offline/{OfflineLicense.objects.count()}" not in unread.path
        confirm(desk, unread)
        assert 1 == OfflineLicense.objects.count()


@sqlite_only
class TestAConfirmation:
    def test_of_somebody_else_issues_nothing(self, org: Organization, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        admin = Desk(ADMIN, org)
        stolen = confirm(admin, shown)

        assert (409, 0) == (stolen.status, OfflineLicense.objects.count())
        assert "somebody else's preview; nothing was issued. Read the new preview" in stolen.text
        assert hidden(shown)["confirmation"] != hidden(stolen)["confirmation"]
        confirm(admin, stolen)
        assert f"user:{ADMIN}" == AuditEvent.objects.order_by("-seq")[0].actor

    def test_ends_after_ten_minutes_and_a_new_preview_is_shown(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        with freeze_time(shop.NOW + timedelta(minutes=10)):
            late = confirm(desk, shown)
            assert (409, 0) == (late.status, OfflineLicense.objects.count())
            assert "The confirmation ended at 2023-06-01T12:10:00Z; nothing was issued." in late.text
            confirm(desk, late)
        assert 1 == OfflineLicense.objects.count()

    def test_that_is_late_and_tampered_with_leads_to_a_preview_of_what_was_tampered(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        with freeze_time(shop.NOW + timedelta(minutes=10)):
            late = confirm(desk, shown, user=BOB)
        assert f"User {BOB}" in late.text
        assert not OfflineLicense.objects.exists()

    @pytest.mark.parametrize(
        "token", ["", "A" * 43, "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace")]
    )
    def test_that_is_made_up_issues_nothing(self, desk: Desk, token: str) -> None:
        answer = desk.post(ISSUE, FORM | {"read": "yes", "confirmation": token})
        assert (409, 0) == (answer.status, OfflineLicense.objects.count())

    def test_without_the_other_fields_leads_to_the_form_or_the_notice(self, org: Organization, desk: Desk) -> None:
        answer = desk.post(ISSUE, {"read": "yes"})
        unread = desk.post(ISSUE, {})
        assert [409, 400] == [answer.status, unread.status]
        assert all("Type the machine ID" in shown.text for shown in (answer, unread))
        assert "tick the box" in unread.text
        with freeze_time(SUNSET):
            assert [410, 410] == [Desk(OWNER, org).post(ISSUE, form).status for form in ({"read": "yes"}, {})]

    def test_does_not_count_when_something_else_would_happen(self, org: Organization, desk: Desk) -> None:
        shown = desk.post(NEW, FORM)
        shop.assign(org, "KSE", ADA)
        changed = confirm(desk, shown)
        assert (409, 0) == (changed.status, OfflineLicense.objects.count())
        assert "no longer what the preview said" in changed.text
        assert "becomes the offline one" in changed.text


@sqlite_only
class TestTheForm:
    @pytest.mark.parametrize(
        ("change", "status", "told"),
        [
            ({"machine_id": ""}, 400, "Type the machine ID, or choose the request file."),
            ({"machine_id": f"{str(MACHINE)[:19]}b{str(MACHINE)[20:]}"}, 400, "look at character 20 'b'"),
            ({"machine_id": "mid1" + "q" * 500}, 400, "it is far too long"),
            ({"machine_id": str(WEAK)}, 409, "The machine ID is weak: It rests on the operating system's id alone"),
            ({"user": ""}, 400, "Say whose seat is converted."),
            ({"user": "ada@exmple.com"}, 409, "ada@exmple.com"),
            ({"user": "no address"}, 400, "address"),
            ({"last_day": "2024-06-01"}, 409, "is after the end of the subscription"),
            ({"last_day": "2023-05-31"}, 409, "Choose an expiry in the future."),
            ({"last_day": "31.12.2023"}, 400, "This is not a date. Write it as YYYY-MM-DD."),
            ({"last_day": "9999-12-31"}, 400, "is not a date"),
        ],
    )
    def test_tells_every_refusal_with_what_was_typed(
        self, desk: Desk, change: dict[str, str], status: int, told: str
    ) -> None:
        answer = desk.post(NEW, FORM | change)

        assert status == answer.status
        assert told in answer.text
        assert FORM | change == kept(answer)
        assert not [word for word in ("keyseat-issuer", "--accept", "--user") if word in answer.text]
        assert 'role="alert"' in answer.html
        assert not Confirmation.objects.exists()

    @pytest.mark.parametrize("sessions", ["", "0", "x", "1000001"])
    def test_takes_a_number_of_sessions(self, desk: Desk, sessions: str) -> None:
        answer = desk.post(FLOATING, {"machine_id": str(MACHINE), "sessions": sessions})
        assert (400, sessions) == (answer.status, kept(answer)["sessions"])

    def test_takes_the_last_day_of_the_subscription_and_a_weak_id_that_is_accepted(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM | {"last_day": "2024-05-31", "machine_id": str(WEAK), "accept_weak": "on"})
        assert "Locked through 31 May 2024" in shown.text
        assert "Grade weak" in shown.text

    def test_takes_a_machine_id_as_people_type_it(self, desk: Desk) -> None:
        text = str(MACHINE).upper()
        shown = desk.post(NEW, FORM | {"machine_id": f" {text[:20]}\n{text[20:]} "})
        assert f"Machine ID {MACHINE}" in shown.text

    def test_takes_the_machines_request_file(self, desk: Desk) -> None:
        shown = desk.post(NEW, FORM | {"machine_id": "", "request": request_file()})
        assert f"Machine ID {MACHINE}" in shown.text
        assert str(MACHINE) == hidden(shown)["machine_id"]

    def test_keeps_the_id_of_a_request_file_when_something_else_is_wrong(self, desk: Desk) -> None:
        answer = desk.post(NEW, FORM | {"machine_id": "", "request": request_file(), "last_day": "2024-06-01"})
        assert (409, str(MACHINE)) == (answer.status, kept(answer)["machine_id"])

    @pytest.mark.parametrize(
        ("typed", "file", "told"),
        [
            ("", SimpleUploadedFile("x.lic", b"{}"), "This is not a usable request file"),
            ("", SimpleUploadedFile("x.json", b"x" * 100_000), "it is too large"),
            ("", SimpleUploadedFile("x.json", b""), "The submitted file is empty."),
            (str(OTHER_MACHINE), request_file(), "This file is of another machine ID than the one typed."),
            (f"{MACHINE}x", request_file(), "The machine ID is mistyped"),
        ],
    )
    def test_tells_what_is_wrong_with_a_file(self, desk: Desk, typed: str, file: SimpleUploadedFile, told: str) -> None:
        file.seek(0)
        answer = desk.post(NEW, FORM | {"machine_id": typed, "request": file})
        assert 400 == answer.status
        assert told in answer.text
        assert ADA == kept(answer)["user"]

    def test_leads_to_the_licence_that_the_user_has_on_the_machine(self, org: Organization, desk: Desk) -> None:
        made = offline_shop.issue(organization=org.name)
        answer = desk.post(NEW, FORM)
        assert (409, True) == (answer.status, "has an active licence on this machine" in answer.text)
        assert f'href="{desk.base}licenses/KSE/offline/{made.license_id}"' in answer.html

    def test_suggests_the_members_and_takes_the_user_whose_seat_is_converted(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA)
        desk = Desk(ADMIN, org)
        link = f'href="{desk.base}licenses/KSE/offline/new?user=ada%40example.com"'
        assert link in desk.get("licenses/KSE").html
        form = desk.get(f"{NEW}?user=ada%40example.com")
        assert ADA == kept(form)["user"]
        assert f'<option value="{BOB}">' in form.html

    def test_says_why_nothing_can_be_converted(self, ledger: Ledger) -> None:
        org = shop.organization("Monthly")
        desk = Desk(OWNER, org)
        assert "There is no active subscription to KSE." in desk.get(NEW).text
        shop.subscribe(org, {"KSE": 3}, term=Term.MONTHLY, ends_at=shop.START + timedelta(days=30))
        shown = desk.get(NEW)
        assert "A monthly subscription cannot be converted to an offline licence" in shown.text
        assert "<textarea" not in shown.html
        posted = desk.post(NEW, FORM | {"user": OWNER})
        assert (409, True) == (posted.status, "Nothing can be converted." in posted.text)

    def test_does_not_speak_of_the_servers_clock_as_something_to_type(self, org: Organization) -> None:
        with freeze_time(shop.NOW - timedelta(days=1)):
            answer = Desk(OWNER, org).post(NEW, FORM)
        assert (503, True) == (answer.status, "CLOCK_ROLLED_BACK" in answer.text)
