"""Converting seats over the administration API: preview, confirmation, licence file, and what is refused."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import offline_shop
import shop
from activation import Clock, problem
from administration import ADA, ADMIN, BOB, Office, administered, found, key_with
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import AuditEvent, Confirmation, OfflineLicense, Pool
from keyseat_shared.policy import default_policy
from keyseat_verifier.verify.verifier import Verifier
from offline_shop import LAST_SECOND, SUNSET
from vendor import MACHINE, OTHER_MACHINE, Vendor, machine


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    with administered(found()) as running:
        yield running


def ask(office: Office, product: str = "KSE", *, who: str = "owner", **more: Any) -> httpx.Response:  # noqa: ANN401 - JSON
    """Ask for a preview: of a licence for Ada's laptop, or of a floating one for it."""
    body = {"product": product, "machine_id": str(MACHINE)} | ({"user": ADA} if product == "KSE" else {}) | more
    return office.call("POST", "/offline-licenses/preview", body, who=who)


def confirm(office: Office, shown: httpx.Response | str, *, who: str = "owner") -> httpx.Response:
    """Confirm a preview."""
    token = shown if isinstance(shown, str) else shown.json()["confirmation"]
    return office.call("POST", "/offline-licenses", {"confirmation": token}, who=who)


class TestPreview:
    def test_shows_what_issuing_would_do_and_changes_nothing(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)

        shown = ask(office).json()

        assert (ADA, "2024-06-01T00:00:00Z", 3, 1, 1, True) == tuple(
            shown[field]
            for field in ("user", "locked_until", "quota", "used_before", "used_after", "converts_named_seat")
        )
        assert ("strong", str(MACHINE), "annual") == (
            shown["grade"],
            shown["machine_id"],
            shown["subscription"]["term"],
        )
        assert "2023-06-01T12:10:00Z" == shown["confirmation_expires_at"]
        assert not OfflineLicense.objects.exists()
        assert shown["confirmation"] not in "".join(Confirmation.objects.values_list("request", "token_sha256").get())

    def test_takes_an_earlier_expiry_and_a_typed_machine_id(self, office: Office) -> None:
        typed = str(MACHINE).upper()

        shown = ask(office, machine_id=f" {typed[:20]} {typed[20:]}", expires_at="2023-12-31").json()

        assert (str(MACHINE), "2024-01-01T00:00:00Z") == (shown["machine_id"], shown["locked_until"])

    def test_warns_about_the_organisations_own_licences_on_the_machine(self, office: Office) -> None:
        made = offline_shop.issue("KRE", sessions=2)

        shown = ask(office).json()

        assert [str(made.license_id)] == [conflict["license_id"] for conflict in shown["conflicts"]]
        assert any("The machine ID is bound already" in warning for warning in shown["warnings"])

    def test_tells_nothing_of_another_organisation_but_that_there_is_something(self, office: Office) -> None:
        found("Secret Customer")
        made = offline_shop.issue(organization="Secret Customer")

        answer = ask(office)

        assert answer.json()["bound_elsewhere"] is True
        assert [] == answer.json()["conflicts"]
        assert "another organisation" in answer.json()["warnings"][-1]
        assert not [secret for secret in ("Secret", str(made.license_id)) if secret in answer.text]

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"machine_id": str(MACHINE)[:-1] + "q"}, 400, "MALFORMED"),
            ({"expires_at": "2024-06-02"}, 409, "EXPIRY_AFTER_SUBSCRIPTION"),
            ({"expires_at": "2023-05-01"}, 409, "EXPIRY_IN_PAST"),
            ({"user": "eve@example.org"}, 403, "NOT_A_MEMBER"),
            ({"user": None}, 422, "INVALID_INPUT"),
            ({"product": "KSX"}, 404, "NOT_FOUND"),
            ({"subscription": "01890a5d-ac96-774b-bcce-b302099a8057"}, 404, "NOT_FOUND"),
            ({"sessions": 0}, 422, "INVALID_INPUT"),
            ({"organization": "Another Organisation"}, 422, "INVALID_INPUT"),
        ],
    )
    def test_meets_the_refusal_that_issuing_would(
        self, office: Office, change: dict[str, object], status: int, code: str
    ) -> None:
        answer = ask(office, **change)

        assert (status, code) == problem(answer)[:2]
        assert not [word for word in ("--", "keyseat-issuer") if word in answer.json()["next"]]

    def test_of_a_weak_machine_asks_to_accept_it(self, office: Office) -> None:
        weak = str(machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[]))

        refused = ask(office, machine_id=weak)
        accepted = ask(office, machine_id=weak, accept_weak=True)

        assert (409, "MACHINE_WEAK", None) == problem(refused)
        assert "accept_weak" in refused.json()["next"]
        assert "weak" == accepted.json()["grade"]

    @pytest.mark.both_databases
    def test_that_is_refused_leaves_an_audit_row(self, office: Office) -> None:
        ask(office, expires_at="2024-06-02", who="admin")

        row = AuditEvent.objects.order_by("-seq")[0]
        assert ("offline.issue.refused", f"user:{ADMIN}") == (row.action, row.actor)


class TestConfirmation:
    @pytest.mark.both_databases
    def test_issues_a_licence_that_its_client_accepts(self, office: Office) -> None:
        issued = confirm(office, ask(office))

        assert 201 == issued.status_code
        name = f"KSE_{str(MACHINE)[4:14]}.lic"
        assert (ADA, True, name) == tuple(issued.json()[field] for field in ("user", "active", "file_name"))
        file = office.call("GET", f"/offline-licenses/{issued.json()['license_id']}/file")
        assert f'attachment; filename="{name}"' == file.headers["content-disposition"]
        license_ = Verifier(office.site.vendor.bundle, product="KSE").verify(
            file.content, machine=MACHINE, now=shop.NOW
        )
        assert ADA == license_.user
        assert bytes(OfflineLicense.objects.get().file) == file.content
        assert ["offline.exported", "offline.issued"] == [
            event["action"] for event in office.get("/audit?limit=2")["events"]
        ]
        assert verify().ok

    @pytest.mark.both_databases
    def test_counts_once(self, office: Office) -> None:
        shown = ask(office, "KRE")
        issued = confirm(office, shown)

        again = confirm(office, shown)

        assert (409, "ALREADY_EXISTS", None) == problem(again)
        assert issued.json()["license_id"] == again.json()["details"]["license_id"]
        assert 1 == OfflineLicense.objects.count()

    @pytest.mark.both_databases
    def test_counts_once_in_a_race(self, office: Office) -> None:
        token = ask(office, "KRE").json()["confirmation"]

        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda _: confirm(office, token), range(8)))

        assert [201] + [409] * 7 == sorted(answer.status_code for answer in answers)
        assert (1, 1) == (OfflineLicense.objects.count(), Pool.objects.get(product="KRE").used)

    def test_ends_after_ten_minutes(self, office: Office) -> None:
        shown = ask(office)
        office.clock.advance(minutes=9, seconds=59)
        fresh = ask(office, "KRE")
        office.clock.advance(seconds=1)

        late = confirm(office, shown)

        assert (409, "NOT_CONFIRMED", None) == problem(late)
        assert "preview" in late.json()["next"]
        assert 201 == confirm(office, fresh).status_code

    @pytest.mark.parametrize("who", ["admin", "key"])
    def test_counts_for_who_got_it(self, office: Office, who: str) -> None:
        shown = ask(office)

        stolen = confirm(office, shown, who=key_with(office.organization, "offline:write") if who == "key" else who)

        assert (409, "NOT_CONFIRMED", None) == problem(stolen)
        assert 201 == confirm(office, shown).status_code

    def test_counts_in_its_organisation(self, office: Office) -> None:
        other = found("Another Organisation")
        shown = ask(office)

        answer = office.call("POST", "/offline-licenses", {"confirmation": shown.json()["confirmation"]}, of=other)

        assert (409, "NOT_CONFIRMED", None) == problem(answer)

    def test_that_is_made_up_issues_nothing(self, office: Office) -> None:
        assert (409, "NOT_CONFIRMED", None) == problem(confirm(office, "A" * 43))

    def test_does_not_count_when_something_else_would_happen_than_was_shown(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)
        shown = ask(office)
        assert shown.json()["converts_named_seat"]
        office.call("POST", "/seats/KSE/unassign", {"emails": [ADA]})

        answer = confirm(office, shown)

        assert (409, "NOT_CONFIRMED", None) == problem(answer)
        assert not OfflineLicense.objects.exists()

    @pytest.mark.both_databases
    def test_does_not_count_when_the_machine_was_bound_meanwhile(self, office: Office) -> None:
        shown = ask(office, "KRE")
        offline_shop.issue()

        assert (409, "NOT_CONFIRMED", None) == problem(confirm(office, shown))

    def test_goes_on_counting_while_others_come_and_go(self, office: Office) -> None:
        shown = ask(office)
        shop.assign(office.organization, "KSE", BOB)

        assert 201 == confirm(office, shown).status_code

    @pytest.mark.both_databases
    def test_does_not_get_past_a_quota_that_is_gone(self, office: Office) -> None:
        shown = ask(office, "KRE", sessions=2)
        offline_shop.issue("KRE", machine_id=str(OTHER_MACHINE))

        assert (409, "QUOTA_EXCEEDED", None) == problem(confirm(office, shown))
        assert verify().ok

    def test_works_with_an_api_key_of_the_right_scope(self, office: Office) -> None:
        key = key_with(office.organization, "offline:write")

        assert 201 == confirm(office, ask(office, "KRE", who=key), who=key).status_code


class TestSunset:
    def test_ends_conversion_to_the_second_and_says_what_to_do(self, ledger: Ledger) -> None:
        with administered(found(), clock=Clock(LAST_SECOND)) as office:
            issued = confirm(office, ask(office))
            shown = ask(office, "KRE")
            office.clock.now = SUNSET
            late = [ask(office, "KRE"), confirm(office, shown)]
            test = office.call("POST", "/offline-licenses/test", {"product": "KRE", "machine_id": str(MACHINE)})
            file = office.call("GET", f"/offline-licenses/{issued.json()['license_id']}/file")

        assert 201 == issued.status_code
        assert [(409, "ISSUED_AFTER_SUNSET", None)] * 3 == [problem(answer) for answer in [*late, test]]
        assert all("Activate online" in answer.json()["next"] for answer in late)
        assert 200 == file.status_code

    def test_does_not_bind_a_vendor_without_one(self, ledger: Ledger) -> None:
        with administered(found(), vendor=Vendor(policy=default_policy(sunset=None)), clock=Clock(SUNSET)) as office:
            assert 201 == confirm(office, ask(office)).status_code


class TestWithoutTheLicenceKeys:
    @pytest.fixture
    def office(self, ledger: Ledger) -> Iterator[Office]:
        with administered(found(), signs=False) as running:
            yield running

    def test_a_preview_says_who_issues(self, office: Office) -> None:
        shown = ask(office)

        assert (200, None) == (shown.status_code, shown.json()["confirmation"])
        assert "Customer Success" in shown.json()["next"]

    def test_nothing_is_signed(self, office: Office) -> None:
        answers = [
            confirm(office, "A" * 43),
            office.call("POST", "/offline-licenses/test", {"product": "KSE", "machine_id": str(MACHINE)}),
        ]

        assert [(503, "KEY_UNAVAILABLE", None)] * 2 == [problem(answer) for answer in answers]
        assert all("Customer Success" in answer.json()["next"] for answer in answers)

    def test_after_the_sunset_the_sunset_is_the_reason(self, office: Office) -> None:
        office.clock.now = SUNSET

        assert (409, "ISSUED_AFTER_SUNSET", None) == problem(confirm(office, "A" * 43))


class TestLicences:
    @pytest.mark.both_databases
    def test_are_listed_while_they_are_active_or_all(self, office: Office) -> None:
        short = offline_shop.issue(expires_at=shop.NOW.replace(month=7))
        offline_shop.issue("KRE")
        office.clock.now = shop.NOW.replace(month=8)

        assert ["KRE"] == [entry["product"] for entry in office.get("/offline-licenses")["licenses"]]
        every = office.get("/offline-licenses?everything=true")["licenses"]
        assert [(str(short.license_id), False), ("KRE", True)] == [
            (every[0]["license_id"], every[0]["active"]),
            (every[1]["product"], every[1]["active"]),
        ]
        assert [] == office.get("/offline-licenses?product=KSE")["licenses"]

    def test_of_another_organisation_are_not_found(self, office: Office) -> None:
        found("Another Organisation")
        theirs = offline_shop.issue(organization="Another Organisation")

        answer = office.call("GET", f"/offline-licenses/{theirs.license_id}/file")

        assert (404, "NOT_FOUND", None) == problem(answer)
        assert [] == office.get("/offline-licenses")["licenses"]

    def test_to_try_a_machine_out_take_no_seat(self, office: Office) -> None:
        answer = office.call("POST", "/offline-licenses/test", {"product": "KSE", "machine_id": str(MACHINE)})

        assert 200 == answer.status_code
        assert answer.headers["content-disposition"].endswith('_test.lic"')
        verifier = Verifier(office.site.vendor.bundle, product="KSE")
        assert str(MACHINE) == verifier.verify_test(answer.content, machine=MACHINE, now=shop.NOW).machine_id
        assert 0 == Pool.objects.get(product="KSE").used
