"""Invitations: made, accepted once by the right person in time, replaced, taken back."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core import mail
from django.db import transaction
from django.test import Client
from freezegun import freeze_time

import shop
from databases import Ledger
from keyseat_issuer.checks import check
from keyseat_issuer.ledger.customers import invitations, members
from keyseat_issuer.ledger.models import AuditEvent, Invitation, Membership, Organization, Role
from keyseat_issuer.web import invitation_mail, invitation_pages
from keyseat_issuer.web.accounts import with_account
from keyseat_issuer.web.mail import MAIL_THREAD
from keyseat_issuer.web.models import User
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from mail_server import mail_server
from web_server import PASSWORD, make_account

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
SECOND = timedelta(seconds=1)
ADA = "ada@example.com"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    return shop.organization("Example Organisation", now=NOW - DAY)


def invite(org: Organization, *emails: str, role: Role = Role.MEMBER, now: datetime = NOW) -> list[invitations.Invited]:
    return invitations.invite(org, emails, role, with_account=with_account, actor="test", now=now)


def code_of(error: "pytest.ExceptionInfo[KeyseatError]") -> ReasonCode:
    return error.value.code


class TestInviting:
    def test_makes_a_link_for_each_address_and_keeps_its_hash_only(self, org: Organization) -> None:
        made = invite(org, "Ada@Example.com", "bob@example.com ", role=Role.ADMIN)

        expected = [(ADA, "admin", NOW + DAY), ("bob@example.com", "admin", NOW + DAY)]
        assert expected == [(entry.email, entry.role, entry.expires_at) for entry in made]
        assert [ADA, "bob@example.com"] == [row.email for row in invitations.waiting(org, NOW)]
        stored = str([*Invitation.objects.values(), *AuditEvent.objects.values()])
        assert not any(entry.token in stored for entry in made)

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_invites_nobody_where_one_address_cannot_be(self, org: Organization) -> None:
        make_account("owner@example.com")

        with pytest.raises(KeyseatError) as caught:
            invite(org, ADA, "nonsense", "owner@example.com")

        assert code_of(caught) is ReasonCode.INVALID_INPUT
        assert ["nonsense", "owner@example.com"] == [line["email"] for line in caught.value.details["lines"]]
        assert [] == invitations.waiting(org, NOW)
        assert "invitation.sent.refused" == AuditEvent.objects.latest("seq").action

    def test_a_member_who_was_added_by_hand_is_for_making_an_account_in_the_same_role(self, org: Organization) -> None:
        [made] = invite(org, "owner@example.com", role=Role.MEMBER)

        assert ("owner", "owner") == (made.role, invitations.look_up(made.token, NOW).role)
        accepted = invitations.accept(invitations.look_up(made.token, NOW).pk, "owner@example.com", now=NOW)
        assert Role.OWNER == accepted.role

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_somebody_again_replaces_the_first_link(self, org: Organization) -> None:
        [first] = invite(org, ADA)
        [second] = invite(org, ADA, role=Role.BILLING)

        with pytest.raises(KeyseatError) as caught:
            invitations.look_up(first.token, NOW)
        assert code_of(caught) is ReasonCode.NOT_FOUND
        assert "billing" == invitations.look_up(second.token, NOW).role

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_sends_a_mail_with_link_role_and_end(self, org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mail, "outbox", [], raising=False)
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
        [made] = invite(org, ADA)

        assert [] == invitation_mail.send(org, [made])
        [sent] = mail.outbox
        assert [ADA] == sent.to
        for part in (invitation_mail.link(made), "Example Organisation", "member", "2026-03-02T12:00:00Z"):
            assert part in sent.body

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_tells_whose_mail_could_not_be_sent(self, org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
        monkeypatch.setattr(settings, "EMAIL_PORT", 1)  # nobody listens there
        [made] = invite(org, ADA)

        assert [ADA] == invitation_mail.send(org, [made])

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        ("most", "connections", "failed"),
        [(1000, 1, ["eve@example.com"]), (2, 3, ["eve@example.com"]), (0, 1, "all")],
    )
    def test_waits_once_for_a_mail_server_that_is_away_and_goes_on_where_it_refuses_or_hangs_up(
        self, org: Organization, monkeypatch: pytest.MonkeyPatch, most: int, connections: int, failed: list[str] | str
    ) -> None:
        people = [f"{name}@example.com" for name in ("ada", "bob", "carol", "eve", "fay", "gus")]
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        made = invite(org, *people)
        with mail_server("eve@example.com", most=most) as server:
            monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
            monkeypatch.setattr(settings, "EMAIL_PORT", server.port)
            missed = invitation_mail.send(org, made)

        lost = people if failed == "all" else failed
        assert (lost, [one for one in people if one not in lost]) == (missed, server.taken)
        assert connections == server.connections

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_from_a_page_tells_what_failed_and_does_not_wait_for_a_slow_mail_server(
        self, org: Organization, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = invite(org, ADA, "eve@example.com")
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
        monkeypatch.setattr(invitation_mail, "PATIENCE", 60)
        with mail_server("eve@example.com") as server:
            monkeypatch.setattr(settings, "EMAIL_PORT", server.port)
            assert ["eve@example.com"] == invitation_mail.send_from_a_page(org, made, "http://x")
        monkeypatch.setattr(invitation_mail, "PATIENCE", 0)
        with mail_server("eve@example.com", slow=True) as server:
            monkeypatch.setattr(settings, "EMAIL_PORT", server.port)
            assert invitation_mail.send_from_a_page(org, made, "http://x") is None
            server.gate.set()
            for thread in threading.enumerate():
                if thread.name == MAIL_THREAD:
                    thread.join(60)
            assert [ADA] == server.taken

        assert "1 of 2 invitations were not sent" in caplog.text
        assert "eve@" not in caplog.text


class TestAccepting:
    def test_makes_a_member_once(self, org: Organization) -> None:
        [made] = invite(org, ADA, role=Role.ADMIN)
        found = invitations.look_up(made.token, NOW)

        assert Role.ADMIN == invitations.accept(found.pk, ADA, now=NOW).role
        with pytest.raises(KeyseatError) as caught:
            invitations.accept(found.pk, ADA, now=NOW)
        assert code_of(caught) is ReasonCode.ALREADY_EXISTS
        assert 1 == Membership.objects.filter(organization=org, email=ADA).count()
        assert check.verify().ok

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_is_possible_until_the_last_second_of_24_hours(self, org: Organization) -> None:
        [made] = invite(org, ADA)

        assert ADA == invitations.look_up(made.token, NOW + DAY - SECOND).email
        with pytest.raises(KeyseatError) as caught:
            invitations.look_up(made.token, NOW + DAY)
        assert code_of(caught) is ReasonCode.EXPIRED

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_with_another_account_is_refused_and_recorded(self, org: Organization) -> None:
        [made] = invite(org, ADA)

        with pytest.raises(KeyseatError) as caught:
            invitations.accept(invitations.look_up(made.token, NOW).pk, "eve@example.com", now=NOW)
        assert code_of(caught) is ReasonCode.NOT_ALLOWED
        newest = AuditEvent.objects.latest("seq")
        assert ("invitation.accepted.refused", "user:eve@example.com") == (newest.action, newest.actor)

    def test_what_was_taken_back_is_refused(self, org: Organization) -> None:
        [made] = invite(org, ADA)
        found = invitations.look_up(made.token, NOW)
        assert ADA == invitations.withdraw(org, " ADA@example.com", actor="test", now=NOW)

        with pytest.raises(KeyseatError) as caught:
            invitations.accept(found.pk, ADA, now=NOW)
        assert code_of(caught) is ReasonCode.NOT_FOUND
        with pytest.raises(KeyseatError) as caught:
            invitations.withdraw(org, ADA, actor="test", now=NOW)
        assert code_of(caught) is ReasonCode.NOT_FOUND

    def test_does_not_bring_back_a_member_who_was_removed(self, org: Organization) -> None:
        members.add_members(org, [ADA], Role.ADMIN, actor="test", now=NOW)
        [made] = invite(org, ADA)
        found = invitations.look_up(made.token, NOW)
        members.remove_member(org, ADA, actor="test", now=NOW)

        with pytest.raises(KeyseatError) as caught:
            invitations.accept(found.pk, ADA, now=NOW)
        assert code_of(caught) is ReasonCode.NOT_FOUND
        assert not Membership.objects.filter(email=ADA).exists()

    def test_leaves_neither_account_nor_member_where_the_account_cannot_be_made(self, org: Organization) -> None:
        [made] = invite(org, ADA)

        def fail() -> None:
            User.objects.create_user(ADA, None)
            raise KeyseatError(ReasonCode.INVALID_INPUT, "no")

        with pytest.raises(KeyseatError):
            invitations.accept(invitations.look_up(made.token, NOW).pk, ADA, now=NOW, make_account=fail)
        assert not User.objects.exists()
        assert not Membership.objects.filter(email=ADA).exists()
        assert [ADA] == [row.email for row in invitations.waiting(org, NOW)]


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestTheLink:
    def open(self, org: Organization) -> tuple[Client, str]:
        """Open the link of a new invitation; returns the browser and the page it was led to."""
        [made] = invite(org, ADA)
        browser = Client(enforce_csrf_checks=True)
        led = browser.get(invitation_mail.link(made, "http://testserver").removeprefix("http://testserver"))
        assert (302, "/invitation/accept") == (led.status_code, led.headers["Location"])
        return browser, browser.get("/invitation/accept").content.decode()

    def test_lets_a_newcomer_choose_a_password_and_signs_them_in(self, org: Organization) -> None:
        with freeze_time(NOW):
            browser, page = self.open(org)
            form = {"name": "Ada Lovelace", "password": PASSWORD, "again": PASSWORD}
            answer = browser.post("/invitation/accept", {**form, "csrfmiddlewaretoken": CSRF.findall(page)[0]})
            assert (302, "/") == (answer.status_code, answer.headers["Location"])
            home = browser.get("/").content.decode()

        assert "Hello, Ada Lovelace" in home
        assert "Example Organisation" in home
        assert User.objects.get(email=ADA).password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
        assert Membership.objects.filter(organization=org, email=ADA, role=Role.MEMBER).exists()

    @pytest.mark.parametrize(
        ("password", "again", "complaint"),
        [
            ("short", "short", "too short"),
            ("ada@example.com", "ada@example.com", "too similar"),
            ("passwordpassword", PASSWORD, "differ"),
            ("1234567890123", "1234567890123", "too common"),
        ],
    )
    def test_explains_what_is_wrong_with_a_password(
        self, org: Organization, password: str, again: str, complaint: str
    ) -> None:
        with freeze_time(NOW):
            browser, page = self.open(org)
            form = {"name": "Ada", "password": password, "again": again}
            answer = browser.post("/invitation/accept", {**form, "csrfmiddlewaretoken": CSRF.findall(page)[0]})

        assert answer.status_code == 400
        assert complaint in answer.content.decode()
        assert not User.objects.exists()

    def test_asks_somebody_with_an_account_to_sign_in_then_lets_them_join(self, org: Organization) -> None:
        make_account(ADA)
        with freeze_time(NOW):
            browser, page = self.open(org)
            assert "/sign-in?next=/invitation/accept" in page
            token = CSRF.findall(browser.get("/sign-in?next=/invitation/accept").content.decode())[0]
            form = {"login": ADA, "password": PASSWORD, "next": "/invitation/accept", "csrfmiddlewaretoken": token}
            answer = browser.post("/sign-in", form)
            assert "/invitation/accept" == answer.headers["Location"]
            page = browser.get("/invitation/accept").content.decode()
            assert not Membership.objects.filter(email=ADA).exists()
            browser.post("/invitation/accept", {"csrfmiddlewaretoken": CSRF.findall(page)[-1]})

        assert Membership.objects.filter(organization=org, email=ADA).exists()

    def test_does_nothing_for_another_account(self, org: Organization) -> None:
        make_account("eve@example.com")
        with freeze_time(NOW):
            browser, _ = self.open(org)
            browser.force_login(User.objects.get(email="eve@example.com"))
            [made] = invite(org, ADA)
            browser.get(f"/invitation?token={made.token}")
            page = browser.get("/invitation/accept").content.decode()
            browser.post("/invitation/accept", {"csrfmiddlewaretoken": CSRF.findall(page)[-1]})

        assert "signed in as eve@example.com" in page
        assert not Membership.objects.filter(email__in=[ADA, "eve@example.com"]).exists()

    def test_is_not_blamed_for_the_servers_clock(self, org: Organization) -> None:
        make_account(ADA)
        [made] = invite(org, ADA)
        browser = Client(enforce_csrf_checks=True)
        with freeze_time(NOW - timedelta(hours=1)):
            browser.force_login(User.objects.get(email=ADA))
            browser.get(f"/invitation?token={made.token}")
            page = browser.get("/invitation/accept").content.decode()
            answer = browser.post("/invitation/accept", {"csrfmiddlewaretoken": CSRF.findall(page)[-1]})

        assert (503, "5") == (answer.status_code, answer.headers["Retry-After"])
        assert "CLOCK_ROLLED_BACK" in answer.content.decode()

    def test_that_is_old_or_made_up_says_so(self, org: Organization) -> None:
        [made] = invite(org, ADA)
        with freeze_time(NOW + DAY):
            answers = [Client().get(f"/invitation?token={token}") for token in (made.token, "x" * 43, "")]

        assert [410] * 3 == [answer.status_code for answer in answers]
        assert "This invitation ended at 2026-03-02T12:00:00Z" in answers[0].content.decode()
        assert "is not known" in answers[1].content.decode()


@pytest.mark.usefixtures("org")
def test_an_account_that_was_made_at_the_same_moment_is_told() -> None:
    make_account("ada@example.com")
    with pytest.raises(KeyseatError, match="has an account since a moment ago") as caught, transaction.atomic():
        invitation_pages._create("ada@example.com", "Ada", PASSWORD)
    assert ReasonCode.ALREADY_EXISTS is caught.value.code
