"""An account made by a link that somebody was shown gets no rights from those who did not hand that link out."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from allauth.mfa.models import Authenticator
from click.testing import CliRunner, Result
from django.db import connections
from django.test import Client
from freezegun import freeze_time

import shop
from databases import Ledger
from keyseat_issuer.checks import check
from keyseat_issuer.cli import main
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.ledger.customers import api_keys, invitations, members
from keyseat_issuer.ledger.models import AuditEvent, Membership, Organization, Role
from keyseat_issuer.web import accounts, invitation_links, invitation_mail
from keyseat_issuer.web.accounts import with_account
from keyseat_issuer.web.models import User
from keyseat_shared.errors import KeyseatError
from web_server import PASSWORD, make_account

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CEO = "ceo@newco.test"
EVIL_OWNER, EVIL_ADMIN = "owner@example.com", "admin@evil.test"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
HOST = "http://testserver"


@pytest.fixture
def evil(ledger: Ledger) -> Organization:
    made = shop.organization("Evil", now=NOW - timedelta(days=1))
    members.add_members(made, [EVIL_ADMIN], Role.ADMIN, actor="cli:vendor", now=NOW - timedelta(days=1))
    return made


@pytest.fixture
def newco(evil: Organization) -> Organization:
    return shop.organization("NewCo", now=NOW - timedelta(days=1))


@pytest.fixture(autouse=True)
def at_noon() -> Iterator[None]:
    with freeze_time(NOW):
        yield


def shown(org: Organization, email: str, role: Role = Role.MEMBER, *, by: str = EVIL_OWNER) -> str:
    """Invite somebody, and return the link that the inviter is shown where no mail is sent."""
    inviter = Role(org.memberships.get(email=by).role)
    made = invitations.invite(org, [email], role, with_account=with_account, actor=f"user:{by}", now=NOW)
    seen = invitation_links.show(org, made, origin=HOST, role=inviter, actor=f"user:{by}", now=NOW)
    return seen.links[email]


def shown_to_a_key(org: Organization, email: str) -> tuple[str, str]:
    """Invite somebody by an API key, and return the link that it is shown, and the key's prefix."""
    made = api_keys.create_key(org, {"members:write"}, name="ci", expires_at=None, actor="test", now=NOW)
    actor = f"key:{made.row.prefix}"
    invited = invitations.invite(org, [email], Role.MEMBER, with_account=with_account, actor=actor, now=NOW)
    seen = invitation_links.show(org, invited, origin=HOST, role=None, actor=actor, now=NOW)
    return seen.links[email], made.row.prefix


def handed_out(org: Organization, email: str, role: Role = Role.MEMBER) -> str:
    """Invite somebody as the vendor's command does, and return the link."""
    [made] = invitations.invite(org, [email], role, with_account=with_account, actor="cli:vendor", now=NOW)
    return invitation_mail.link(made, HOST)


def fill_in(browser: Client, page: str, form: dict[str, str], *, to: str = "") -> None:
    token = CSRF.findall(browser.get(page).content.decode())[0]
    browser.post(to or page, {**form, "csrfmiddlewaretoken": token})


def open_link(link: str) -> Client:
    """Open a link, and choose a password where it makes an account; returns the browser."""
    browser = Client(enforce_csrf_checks=True)
    browser.get(link.removeprefix(HOST))
    fill_in(browser, "/invitation/accept", {"name": "Somebody", "password": PASSWORD, "again": PASSWORD})
    return browser


def join(browser: Client, link: str) -> None:
    """Open a link in a browser that is signed in, and join."""
    browser.get(link.removeprefix(HOST))
    fill_in(browser, "/invitation/accept", {})


def home(browser: Client) -> str:
    return browser.get("/").content.decode()


def role_of(org: Organization, email: str = CEO) -> str | None:
    return org.memberships.filter(email=email).values_list("role", flat=True).first()


def refused_code(caught: "pytest.ExceptionInfo[KeyseatError]") -> str:
    return str(caught.value.code)


class TestAnotherOrganisationsFutureOwner:
    def test_is_not_added_over_an_account_that_somebody_made_for_them(
        self, evil: Organization, newco: Organization
    ) -> None:
        browser = open_link(shown(evil, CEO))

        with pytest.raises(KeyseatError) as caught:
            members.add_members(newco, ["new@newco.test", CEO], Role.OWNER, actor="cli:vendor", now=NOW)

        assert "ADDRESS_UNPROVEN" == refused_code(caught)
        assert {"emails": [CEO]} == caught.value.details
        assert "Evil" not in caught.value.message  # customers hear it, too
        for part in ("in Evil.", "keyseat-issuer account reset-password", "--yes"):
            assert part in STEPS.of(caught.value)
        assert (None, None) == (role_of(newco), role_of(newco, "new@newco.test"))
        assert "NewCo" not in home(browser)
        assert "member.added.refused" == AuditEvent.objects.latest("seq").action

    @pytest.mark.parametrize("known", ["member", "invited"])
    def test_is_not_taken_over_by_an_older_link(self, evil: Organization, newco: Organization, known: str) -> None:
        link = shown(evil, CEO)
        if known == "member":
            members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)
        handed_out(newco, CEO, Role.OWNER)

        browser = open_link(link)

        assert not User.objects.exists()
        assert 302 == browser.get("/").status_code
        assert role_of(evil) is None
        newest = AuditEvent.objects.latest("seq")
        assert ("invitation.accepted.refused", "ADDRESS_UNPROVEN" in newest.details) == (newest.action, True)

    def test_who_was_invited_there_once_does_not_bar_the_link(self, evil: Organization, newco: Organization) -> None:
        link = shown(evil, CEO)
        handed_out(newco, CEO)
        with freeze_time(NOW + timedelta(hours=1)):
            invitations.withdraw(newco, CEO, actor="cli:vendor", now=NOW)

            assert "Evil" in home(open_link(link))

    def test_is_added_where_the_vendor_answers_for_it(self, evil: Organization, newco: Organization) -> None:
        open_link(shown(evil, CEO))

        members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW, vouched=True)

        assert "owner" == role_of(newco)

    def test_is_no_staff_of_the_vendors(self, evil: Organization) -> None:
        open_link(shown(evil, "alice@vendor.test"))

        with pytest.raises(KeyseatError) as caught:
            accounts.set_staff("alice@vendor.test", staff=True, actor="cli:vendor", now=NOW)
        assert "ADDRESS_UNPROVEN" == refused_code(caught)
        assert not User.objects.get(email="alice@vendor.test").is_staff

        accounts.set_staff("alice@vendor.test", staff=True, actor="cli:vendor", now=NOW, vouched=True)
        assert User.objects.get(email="alice@vendor.test").is_staff
        accounts.set_staff("alice@vendor.test", staff=False, actor="cli:vendor", now=NOW)

    def test_may_be_asked_in_and_gets_no_more_than_that_link_gives(
        self, evil: Organization, newco: Organization
    ) -> None:
        browser = open_link(shown(evil, CEO))
        join(browser, shown(newco, CEO))

        assert "member" == role_of(newco)
        for role in (Role.BILLING, Role.ADMIN, Role.OWNER):
            with pytest.raises(KeyseatError) as caught:
                members.set_role(newco, CEO, role, actor="cli:vendor", now=NOW)
            assert "ADDRESS_UNPROVEN" == refused_code(caught)
        with pytest.raises(KeyseatError) as caught:
            members.transfer_ownership(newco, "owner@example.com", CEO, actor="user:owner@example.com", now=NOW)
        assert "ADDRESS_UNPROVEN" == refused_code(caught)
        members.set_role(newco, CEO, Role.OWNER, actor="cli:vendor", now=NOW, vouched=True)
        assert "owner" == role_of(newco)
        members.set_role(newco, CEO, Role.MEMBER, actor="cli:vendor", now=NOW)
        assert "member" == role_of(newco)


class TestTheFutureOwnerOfTheirOwn:
    def test_is_made_by_who_handed_the_link_out_if_they_may_give_that_role(self, evil: Organization) -> None:
        open_link(shown(evil, "boss@evil.test"))

        members.set_role(evil, "boss@evil.test", Role.ADMIN, actor="cli:vendor", now=NOW)
        members.transfer_ownership(evil, EVIL_OWNER, "boss@evil.test", actor=f"user:{EVIL_OWNER}", now=NOW)

        assert "owner" == role_of(evil, "boss@evil.test")

    def test_is_not_somebody_whose_link_an_admin_was_shown(self, evil: Organization) -> None:
        open_link(shown(evil, "boss@evil.test", by=EVIL_ADMIN))

        members.set_role(evil, "boss@evil.test", Role.BILLING, actor="cli:vendor", now=NOW)
        for role in (Role.ADMIN, Role.OWNER):
            with pytest.raises(KeyseatError) as caught:
                members.set_role(evil, "boss@evil.test", role, actor=f"user:{EVIL_OWNER}", now=NOW)
            assert "ADDRESS_UNPROVEN" == refused_code(caught)
        with pytest.raises(KeyseatError):
            members.transfer_ownership(evil, EVIL_OWNER, "boss@evil.test", actor=f"user:{EVIL_OWNER}", now=NOW)
        assert "billing" == role_of(evil, "boss@evil.test")

    def test_is_told_in_the_console_what_to_ask_for(self, evil: Organization) -> None:
        open_link(shown(evil, "boss@evil.test", by=EVIL_ADMIN))
        make_account(EVIL_OWNER)
        owner = Client(enforce_csrf_checks=True)
        fill_in(owner, "/sign-in", {"login": EVIL_OWNER, "password": PASSWORD})
        page = f"/organizations/{evil.pk}/members/{evil.memberships.get(email='boss@evil.test').pk}"
        fill_in(owner, page, {"role": "admin"}, to=f"{page}/role")
        text = " ".join(unescape(owner.get(page).content.decode()).split())

        assert "Nobody has proven to be boss@evil.test" in text
        assert "Ask Customer Success for a link to a new password" in text
        assert "keyseat-issuer" not in text
        assert "member" == role_of(evil, "boss@evil.test")

    def test_who_handed_the_link_out_and_may_give_it_no_more_does_not_count(self, evil: Organization) -> None:
        members.add_members(evil, ["second@evil.test"], Role.OWNER, actor="cli:vendor", now=NOW)
        open_link(shown(evil, "boss@evil.test", by="second@evil.test"))
        members.remove_member(evil, "second@evil.test", actor="cli:vendor", now=NOW)

        with pytest.raises(KeyseatError):
            members.set_role(evil, "boss@evil.test", Role.BILLING, actor=f"user:{EVIL_OWNER}", now=NOW)

    def test_an_api_key_that_was_shown_the_link_counts_for_the_lower_roles_until_it_is_revoked(
        self, evil: Organization
    ) -> None:
        link, prefix = shown_to_a_key(evil, "boss@evil.test")
        open_link(link)

        with pytest.raises(KeyseatError):
            members.set_role(evil, "boss@evil.test", Role.ADMIN, actor=f"user:{EVIL_OWNER}", now=NOW)
        members.set_role(evil, "boss@evil.test", Role.BILLING, actor=f"user:{EVIL_OWNER}", now=NOW)
        members.set_role(evil, "boss@evil.test", Role.MEMBER, actor=f"user:{EVIL_OWNER}", now=NOW)
        api_keys.revoke_key(evil, prefix, actor=f"user:{EVIL_OWNER}", now=NOW)
        with pytest.raises(KeyseatError):
            members.set_role(evil, "boss@evil.test", Role.BILLING, actor=f"user:{EVIL_OWNER}", now=NOW)

    @pytest.mark.parametrize(("standing", "joined"), [(Role.OWNER, []), (Role.BILLING, ["boss@evil.test"])])
    def test_a_role_given_meanwhile_is_not_had_by_the_older_link(
        self, evil: Organization, standing: Role, joined: list[str]
    ) -> None:
        link = shown(evil, "boss@evil.test", by=EVIL_ADMIN)
        members.add_members(evil, ["boss@evil.test"], standing, actor="cli:vendor", now=NOW)

        open_link(link)

        assert joined == [user.email for user in User.objects.all()]


class TestTheAddressIsProven:
    def test_by_a_link_that_nobody_was_shown(self, evil: Organization, newco: Organization) -> None:
        browser = open_link(shown(evil, CEO))
        join(browser, handed_out(newco, CEO))

        members.set_role(newco, CEO, Role.OWNER, actor="cli:vendor", now=NOW)

        assert "NewCo" in home(browser)
        proofs = AuditEvent.objects.filter(action="account.address_proven")
        assert [CEO] == [row.subject for row in proofs]
        assert check.verify().ok

    def test_not_by_one_that_their_inviter_was_shown(self, evil: Organization, newco: Organization) -> None:
        browser = open_link(shown(evil, CEO))
        join(browser, shown(newco, CEO))

        assert not AuditEvent.objects.filter(action="account.address_proven").exists()

    def test_from_the_start_where_the_link_was_mailed_or_the_vendors(
        self, evil: Organization, newco: Organization
    ) -> None:
        open_link(handed_out(evil, CEO))

        members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)
        assert not AuditEvent.objects.filter(action="account.address_proven").exists()

    def test_of_somebody_whom_another_organisation_knows_by_the_vendors_link(
        self, evil: Organization, newco: Organization
    ) -> None:
        members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)

        browser = open_link(handed_out(evil, CEO))

        assert ("Evil" in home(browser), "NewCo" in home(browser)) == (True, True)

    def test_by_the_link_of_a_reset_which_ends_what_the_other_one_had(
        self, evil: Organization, newco: Organization
    ) -> None:
        other = open_link(shown(evil, CEO))
        user = User.objects.get(email=CEO)
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
        link = accounts.reset_link(CEO, actor="cli:vendor", now=NOW).split("/account/")[1]
        browser = Client(enforce_csrf_checks=True)
        led = browser.get(f"/account/{link}").headers["Location"]
        fill_in(browser, led, {"password1": PASSWORD + "!", "password2": PASSWORD + "!"})

        members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)

        assert 302 == other.get("/").status_code
        assert not Client().login(email=CEO, password=PASSWORD)
        assert Client().login(email=CEO, password=PASSWORD + "!")
        assert not Authenticator.objects.filter(user=user).exists()
        rows = AuditEvent.objects.order_by("-seq")[:3]
        told = ["member.added", "account.address_proven", "account.second-factor-removed"]
        assert told == [row.action for row in rows]

    def test_is_not_by_a_new_password_that_they_choose_themselves(
        self, evil: Organization, newco: Organization
    ) -> None:
        browser = open_link(shown(evil, CEO))
        new = PASSWORD + "!"
        fill_in(browser, "/account/password", {"oldpassword": PASSWORD, "password1": new, "password2": new})
        assert User.objects.get(email=CEO).check_password(new)

        with pytest.raises(KeyseatError):
            members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)

    def test_of_accounts_that_were_there_before(self, evil: Organization, newco: Organization) -> None:
        make_account(CEO)
        browser = Client(enforce_csrf_checks=True)
        fill_in(browser, "/sign-in", {"login": CEO, "password": PASSWORD})
        join(browser, shown(evil, CEO))

        members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)

        assert 2 == Membership.objects.filter(email=CEO).count()


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
class TestAtTheSameMoment:
    """Each act is stopped where the other has passed its own look-up: the later one sees the earlier."""

    def meanwhile(self, act: Callable[[], object]) -> None:
        def work() -> None:
            try:
                act()
            finally:
                connections.close_all()

        other = threading.Thread(target=work)
        other.start()
        other.join(60)
        assert not other.is_alive()

    def test_an_older_link_does_not_pass_by_who_adds_the_address(self, evil: Organization, newco: Organization) -> None:
        shown(evil, CEO)
        waiting = evil.invitations.get(email=CEO)

        def make_account() -> None:
            User.objects.create_user(CEO, None)
            self.meanwhile(lambda: members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW))

        with pytest.raises(KeyseatError) as caught:
            invitations.accept(waiting.pk, CEO, now=NOW, make_account=make_account)

        assert "ADDRESS_UNPROVEN" == refused_code(caught)
        assert ("owner", False) == (role_of(newco), User.objects.exists())

    def test_who_adds_the_address_does_not_pass_by_an_older_link(
        self, evil: Organization, newco: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = shown(evil, CEO)
        new_id = members.new_id

        def late(at: datetime) -> object:
            monkeypatch.setattr(members, "new_id", new_id)
            self.meanwhile(lambda: open_link(link))
            return new_id(at)

        monkeypatch.setattr(members, "new_id", late)
        with pytest.raises(KeyseatError) as caught:
            members.add_members(newco, [CEO], Role.OWNER, actor="cli:vendor", now=NOW)

        assert "ADDRESS_UNPROVEN" == refused_code(caught)
        assert (None, "member") == (role_of(newco), role_of(evil))


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestCommands:
    def run(self, *args: str) -> Result:
        return CliRunner().invoke(main, list(args), catch_exceptions=False)

    def test_tell_of_the_account_and_give_a_role_with_yes_only(self, evil: Organization, newco: Organization) -> None:
        open_link(shown(evil, CEO))

        told = {entry["email"]: entry for entry in json.loads(self.run("account", "list", "--json").stdout)["accounts"]}
        assert not told[CEO]["address_proven"]
        warned = self.run("invite", "NewCo", CEO, "new@newco.test")
        assert f"nobody has proven the address of these accounts: {CEO}. " in " ".join(warned.stderr.split())
        for command in (("member", "add", "NewCo", CEO), ("account", "staff", CEO)):
            refused = self.run(*command)
            assert (1, True) == (refused.exit_code, "ADDRESS_UNPROVEN" in refused.stderr), command
            assert 0 == self.run(*command, "--yes").exit_code
        assert "ADDRESS_UNPROVEN" in self.run("member", "role", "NewCo", CEO, "owner").stderr
        assert 0 == self.run("member", "role", "NewCo", CEO, "owner", "--yes").exit_code
        assert "owner" == role_of(newco)
