"""Members and invitations in the browser: roles, removal, handing over, and what becomes of each address invited."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.core import mail
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, ADMIN, BILLING, BOB, EVE, OWNER, found
from console_site import Desk, Shown
from keyseat_issuer.checks import check
from keyseat_issuer.ledger.customers import api_keys, invitations, members
from keyseat_issuer.ledger.models import AuditEvent, Invitation, Lease, Membership, Organization, Role
from keyseat_issuer.web import invitation_mail
from keyseat_issuer.web.accounts import with_account
from keyseat_issuer.web.models import User
from mail_server import mail_server
from vendor import MACHINE
from web_server import PASSWORD, make_account

NOTHING = "0190b6a0-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def mailing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends mail; the test runner keeps what it sends."""
    monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1")


pages_only = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def row(org: Organization, email: str) -> Membership:
    return Membership.objects.get(organization=org, email=email)


def role_of(org: Organization, email: str) -> str | None:
    return org.memberships.filter(email=email).values_list("role", flat=True).first()


def act(desk: Desk, org: Organization, email: str, what: str, **form: object) -> Shown:
    return desk.post(f"members/{row(org, email).pk}/{what}", form, page="members")


def confirm(desk: Desk) -> Desk:
    """Type the password again, as acts that outlast an open browser ask for."""
    desk.post("/account/confirm?next=/", {"password": PASSWORD, "next": "/"}, page="/account/confirm")
    return desk


def waiting(org: Organization) -> list[tuple[str, str]]:
    return [(found.email, found.role) for found in invitations.waiting(org, shop.NOW)]


@pages_only
class TestTheList:
    def test_shows_who_is_a_member_as_what_and_what_they_hold(self, org: Organization) -> None:
        make_account(ADA, name="Ada <b>Lovelace</b>")
        shop.assign(org, "KSE", ADA)
        offline_shop.issue("KSE", organization=org.name, user=BOB)
        shop.session(org, MACHINE, ADA)

        shown = Desk(OWNER, org).get("members")

        told = shown.section("members")
        assert told.startswith("5 members")
        assert "ada@example.com Ada <b>Lovelace</b> member yes KSE: assigned KSE: online 1 June 2023" in told
        assert re.search(r"bob@example.com \S member no KSE: offline licence, through 31 May 2024 1 June 2023", told)
        assert "<b>" not in shown.html

    def test_says_that_the_vendor_shut_an_account_off(self, org: Organization) -> None:
        make_account(ADA)
        User.objects.filter(email=ADA).update(is_active=False)
        desk = Desk(OWNER, org)
        assert "ada@example.com Ada member shut off" in desk.get("members").section("members")
        assert "your vendor has shut it off" in desk.get(f"members/{row(org, ADA).pk}").text

    def test_finds_by_address_and_name(self, org: Organization) -> None:
        make_account(ADA, name="Countess")
        desk = Desk(OWNER, org)
        assert "ada@example.com" in desk.get("members?q=COUNT").section("members")
        assert "ada@example.com" not in desk.get("members?q=bob").section("members")
        assert "holds “<b>”" in desk.get("members?q=<b>").section("members")

    def test_is_shown_in_pages(self, org: Organization) -> None:
        emails = [f"user{number:03}@example.com" for number in range(60)]
        members.add_members(org, emails, Role.MEMBER, actor="test", now=shop.NOW)
        desk = Desk(OWNER, org)
        assert "1 to 50 of 65 Next" in desk.get("members").section("members")
        assert "user059@example.com" in desk.get("members?members=2").section("members")

    def test_is_reached_from_every_page_by_who_may_use_it(self, org: Organization) -> None:
        link = f'href="/organizations/{org.pk}/members"'
        assert [True, True, False] == [
            link in Desk(email, org).get("licenses/KSE").html for email in (OWNER, ADMIN, BILLING)
        ]


class TestRoles:
    @pytest.mark.parametrize(
        ("who", "target", "role", "allowed"),
        [
            (OWNER, ADA, "admin", True),
            (OWNER, ADA, "owner", True),
            (OWNER, ADMIN, "member", True),
            (ADMIN, ADA, "billing", True),
            (ADMIN, BILLING, "member", True),
            (ADMIN, ADA, "admin", False),
            (ADMIN, ADA, "owner", False),
            (ADMIN, OWNER, "member", False),
            (BILLING, ADA, "billing", False),
            (ADA, ADA, "admin", False),
        ],
    )
    def test_of_owners_and_admins_are_changed_by_owners_only(
        self, org: Organization, who: str, target: str, role: str, *, allowed: bool
    ) -> None:
        before = role_of(org, target)
        told = act(confirm(Desk(who, org)), org, target, "role", role=role)

        assert (role if allowed else before) == role_of(org, target)
        assert allowed == (f"{target} is now {role}." in told.text)
        assert check.verify().ok

    @pages_only
    def test_are_offered_as_far_as_one_may_give_them(self, org: Organization) -> None:
        def offered(who: str, target: str) -> list[str]:
            return re.findall(r'name="role" value="(\w+)"', Desk(who, org).get(f"members/{row(org, target).pk}").html)

        assert ["member", "billing", "admin", "owner"] == offered(OWNER, ADMIN)
        assert ["member", "billing"] == offered(ADMIN, ADA)
        assert [] == offered(ADMIN, OWNER)
        assert [] == offered(OWNER, OWNER)

    @pages_only
    @pytest.mark.parametrize("role", ["", "king"])
    def test_that_do_not_exist_are_refused_on_the_form(self, org: Organization, role: str) -> None:
        told = act(Desk(OWNER, org), org, ADA, "role", role=role)
        assert (400, True) == (told.status, "Choose a role." in told.text)

    @pages_only
    def test_leave_one_owner_at_least(self, org: Organization) -> None:
        desk = confirm(Desk(OWNER, org))
        assert "The last owner stays owner." in desk.get(f"members/{row(org, OWNER).pk}").text
        demoted = act(desk, org, OWNER, "role", role="admin", confirmed="yes")
        removed = act(desk, org, OWNER, "remove", confirmed="yes")
        for told in (demoted, removed):
            assert "This is the last owner of 'Example Organisation'. Make somebody else an owner first." in told.text
            assert "keyseat-issuer" not in told.text
        assert "owner" == role_of(org, OWNER)

    @pages_only
    def test_that_one_gives_away_oneself_are_asked_about_first(self, org: Organization) -> None:
        members.set_role(org, ADA, Role.OWNER, actor="test", now=shop.NOW)
        desk = confirm(Desk(OWNER, org))
        asked = act(desk, org, OWNER, "role", role="member")
        assert ("Become member yourself?" in asked.text, "owner") == (True, role_of(org, OWNER))
        done = act(desk, org, OWNER, "role", role="member", confirmed="yes")
        assert ("/", "member") == (done.path, role_of(org, OWNER))

    @pages_only
    def test_that_stay_the_same_are_no_act(self, org: Organization) -> None:
        before = AuditEvent.objects.count()
        assert "ada@example.com is member already." in act(Desk(OWNER, org), org, ADA, "role", role="member").text
        assert before == AuditEvent.objects.count()

    @pages_only
    @pytest.mark.parametrize(
        ("target", "what", "form", "after"),
        [
            (ADA, "role", {"role": "owner"}, "owner"),
            (ADA, "role", {"role": "admin"}, "admin"),
            (ADMIN, "role", {"role": "member"}, "member"),
            (ADMIN, "remove", {"confirmed": "yes"}, None),
        ],
    )
    def test_of_owners_and_admins_are_given_and_taken_after_the_password_only(
        self, org: Organization, target: str, what: str, form: dict[str, object], after: str | None
    ) -> None:
        desk, before = Desk(OWNER, org), role_of(org, target)
        events = AuditEvent.objects.count()
        asked = act(desk, org, target, what, **form)
        assert ("Confirm that it is you" in asked.text, before) == (True, role_of(org, target))
        assert events == AuditEvent.objects.count()
        path = f"{desk.base}members/{row(org, target).pk}/{what}"
        done = desk.post(f"/account/confirm?next={path}", {"password": PASSWORD, "next": path})
        assert (200, after) == (done.status, role_of(org, target))
        assert check.verify().ok

    @pages_only
    @pytest.mark.parametrize("role", ["owner", "admin"])
    def test_of_owners_and_admins_are_invited_to_after_the_password_only(self, org: Organization, role: str) -> None:
        asked = Desk(OWNER, org).post("members/invite", {"emails": EVE, "role": role})
        assert ("Confirm that it is you" in asked.text, []) == (True, waiting(org))
        assert [] == mail.outbox


class TestRemoval:
    def test_says_what_ends_and_what_stays_before_it_is_done(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA)
        session = shop.session(org, MACHINE, ADA)
        desk = Desk(ADMIN, org)

        asked = act(desk, org, ADA, "remove")

        assert "Remove ada@example.com?" in asked.text
        assert "KSE seat: free for somebody else at once." in asked.text
        assert re.search(r"KSE session on mid1\w+…: ends at once\.", asked.text)
        assert "member" == role_of(org, ADA)

        done = act(desk, org, ADA, "remove", confirmed="yes")
        assert "ada@example.com is no member any more. Seats that are free again: 1." in done.text
        assert role_of(org, ADA) is None
        assert "MEMBER_REMOVED" == Lease.objects.get(pk=session.pk).ending
        assert f"user:{ADMIN}" == AuditEvent.objects.order_by("-seq").first().actor

    @pages_only
    def test_leaves_an_offline_licence_and_says_until_when(self, org: Organization) -> None:
        offline_shop.issue("KSE", organization=org.name, user=ADA)
        desk = Desk(ADMIN, org)
        asked = act(desk, org, ADA, "remove")
        stays = r"KSE offline licence on mid1\w+…: stays, and keeps its seat, through 31 May 2024\."
        assert re.search(stays, asked.text)
        done = act(desk, org, ADA, "remove", confirmed="yes")
        assert "An offline licence stays valid, and keeps its seat, through 31 May 2024." in done.text
        assert "They hold no licence here, and have made no API key." in act(desk, org, BOB, "remove").text

    @pages_only
    @pytest.mark.parametrize(
        ("who", "target", "allowed"),
        [
            (OWNER, ADMIN, True),
            (ADMIN, ADA, True),
            (ADMIN, BILLING, True),
            (ADMIN, OWNER, False),
            (ADMIN, ADMIN, False),
            (BILLING, ADA, False),
            (ADA, BOB, False),
        ],
    )
    @pytest.mark.parametrize("form", [{}, {"confirmed": "yes"}])
    def test_of_owners_and_admins_is_the_owners_right(
        self, org: Organization, who: str, target: str, form: dict[str, object], *, allowed: bool
    ) -> None:
        told = act(confirm(Desk(who, org)), org, target, "remove", **form)
        assert (allowed and bool(form)) == (role_of(org, target) is None)
        assert allowed == ("is no member any more" in told.text or "Remove " + target in told.text)

    @pages_only
    def test_tells_of_the_api_keys_that_stay(self, org: Organization) -> None:
        options = {"expires_at": None, "actor": f"user:{ADMIN}", "now": shop.NOW}
        old, new = (api_keys.create_key(org, ["sessions"], name=name, **options).row.prefix for name in ("old", "<b>"))
        api_keys.revoke_key(org, old, actor="test", now=shop.NOW)
        desk = confirm(Desk(OWNER, org))
        asked = act(desk, org, ADMIN, "remove")
        done = act(desk, org, ADMIN, "remove", confirmed="yes")
        assert f"API key “<b>” ({new}): goes on working." in asked.text
        assert f"API keys that they made go on working: “<b>” ({new}). Revoke those that they may know." in done.text
        assert [False] * 4 == [unwanted in shown.html for unwanted in (old, "<b>") for shown in (asked, done)]

    @pages_only
    def test_ends_the_invitations_that_the_member_gave_out_and_tells_so(self, org: Organization) -> None:
        Desk(ADMIN, org).post("members/invite", {"emails": EVE, "role": "member"})
        desk = confirm(Desk(OWNER, org))
        assert "Invitations that they gave out" in act(desk, org, ADMIN, "remove").text
        done = act(desk, org, ADMIN, "remove", confirmed="yes")
        assert (True, []) == (f"Invitations that they gave out work no more: {EVE}." in done.text, waiting(org))

    @pages_only
    def test_of_a_role_ends_and_names_the_same(self, org: Organization) -> None:
        Desk(ADMIN, org).post("members/invite", {"emails": EVE, "role": "member"})
        options = {"expires_at": None, "actor": f"user:{ADMIN}", "now": shop.NOW}
        key = api_keys.create_key(org, ["sessions"], name="ci", **options).row.prefix
        done = act(confirm(Desk(OWNER, org)), org, ADMIN, "role", role="billing")
        assert f"Invitations that they gave out work no more: {EVE}." in done.text
        assert f"API keys that they made go on working: “ci” ({key})." in done.text

    @pages_only
    def test_of_oneself_leads_home(self, org: Organization) -> None:
        members.set_role(org, ADA, Role.OWNER, actor="test", now=shop.NOW)
        assert "/" == act(confirm(Desk(OWNER, org)), org, OWNER, "remove", confirmed="yes").path

    @pages_only
    def test_does_not_reach_another_organisation(self, org: Organization) -> None:
        other = found("Another Organisation")
        desk = confirm(Desk(OWNER, org))
        for member in (str(row(other, ADA).pk), NOTHING):
            for what in ("role", "remove", "ownership"):
                told = desk.post(f"members/{member}/{what}", {"confirmed": "yes", "role": "billing"}, page="members")
                assert "That is no member of this organisation, or no more." in told.text
        assert "member" == role_of(other, ADA)

    @pages_only
    def test_takes_no_post_without_its_token(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        for what in ("role", "remove", "ownership"):
            path = f"{desk.base}members/{row(org, ADA).pk}/{what}"
            assert 403 == desk.client.post(path, {"confirmed": "yes", "role": "billing"}).status_code
        assert "member" == role_of(org, ADA)


class TestOwnership:
    @pytest.mark.both_databases
    def test_is_handed_over_after_password_and_a_look(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        path = f"members/{row(org, ADA).pk}/ownership"
        assert desk.client.get(desk.base + path).headers["Location"].startswith("/account/confirm?next=")
        confirm(desk)
        assert "Hand Example Organisation over to ada@example.com?" in desk.get(path).text

        done = desk.post(path, {"confirmed": "yes"})

        assert "ada@example.com is now owner of Example Organisation; you are admin." in done.text
        assert ("owner", "admin") == (role_of(org, ADA), role_of(org, OWNER))

    @pages_only
    def test_is_the_owners_to_give(self, org: Organization) -> None:
        desk = confirm(Desk(ADMIN, org))
        path = f"members/{row(org, ADA).pk}/ownership"
        assert 403 == desk.post(path, {"confirmed": "yes"}, page="members").status
        assert "ownership" not in desk.get(f"members/{row(org, ADA).pk}").html
        assert "owner" == role_of(org, OWNER)

    @pages_only
    def test_does_not_go_to_who_has_it(self, org: Organization) -> None:
        told = confirm(Desk(OWNER, org)).post(f"members/{row(org, OWNER).pk}/ownership", {"confirmed": "yes"})
        assert "wner@example.com is an owner of 'Example Organisation' already." in told.text


def test_a_person_is_shown_by_what_the_ledger_says_not_by_the_address_bar(org: Organization) -> None:
    assert 404 == Desk(OWNER, org).get("members/x").status


class TestInviting:
    def invite(self, org: Organization, who: str, emails: str, role: str = "member") -> Shown:
        return confirm(Desk(who, org)).post("members/invite", {"emails": emails, "role": role})

    @pytest.mark.both_databases
    def test_sends_each_address_a_link_that_works(self, org: Organization) -> None:
        told = self.invite(org, ADMIN, f"Eve <{EVE}>, new@example.com\nthird@example.com", "billing")

        everybody = [EVE, "new@example.com", "third@example.com"]
        assert f"Invited as billing: {', '.join(everybody)}. A link works once, for 24 hours." in told.text
        assert set(everybody) == {message.to[0] for message in mail.outbox}
        assert [(email, "billing") for email in everybody] == waiting(org)
        body = next(message.body for message in mail.outbox if message.to == [EVE])
        assert "http://testserver/invitation?token=" in body or "/invitation?token=" in body
        token = body.partition("token=")[2].split()[0]
        assert token not in told.html
        assert (EVE, "billing") == (
            (got := invitations.accept(invitations.look_up(token, shop.NOW).pk, EVE, now=shop.NOW)).email,
            got.role,
        )

    @pages_only
    def test_tells_about_every_address_in_the_way_and_invites_nobody(self, org: Organization) -> None:
        make_account(ADA)
        typed = f"{EVE}\n{ADA}\n<script>alert(1)</script>"
        told = self.invite(org, OWNER, typed)

        assert 400 == told.status
        assert "ada@example.com: is a member already, as member, and has an account" in told.text
        assert "is not an e-mail address" in told.text
        assert (True, False) == (EVE in told.html, "<script>" in told.html)
        assert [] == waiting(org)
        assert 409 == self.invite(org, OWNER, ADA).status
        assert 400 == self.invite(org, OWNER, " ").status

    @pages_only
    @pytest.mark.parametrize(
        ("who", "role", "status"),
        [
            (OWNER, "owner", 200),
            (OWNER, "admin", 200),
            (ADMIN, "admin", 403),
            (ADMIN, "owner", 403),
            (ADMIN, "billing", 200),
            (ADMIN, "king", 400),
            (BILLING, "member", 403),
            (ADA, "member", 403),
        ],
    )
    def test_gives_only_roles_that_the_inviter_may_give(
        self, org: Organization, who: str, role: str, status: int
    ) -> None:
        desk = confirm(Desk(who, org))
        assert status == desk.post("members/invite", {"emails": EVE, "role": role}, page="/").status
        assert ([(EVE, role)] if status == 200 else []) == waiting(org)

    @pages_only
    def test_as_an_owner_goes_on_after_the_password(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        page = desk.base + "members/invite"
        asked = desk.post("members/invite", {"emails": EVE, "role": "owner"})
        assert ("Confirm that it is you" in asked.text, []) == (True, waiting(org))
        done = desk.post(f"/account/confirm?next={page}", {"password": PASSWORD, "next": page})
        assert "Invited as owner: eve@example.org." in done.text
        assert [(EVE, "owner")] == waiting(org)

    @pages_only
    def test_keeps_the_role_of_a_member_without_an_account(self, org: Organization) -> None:
        told = self.invite(org, ADMIN, f"{BOB} {BILLING}")
        assert "Invited as member: bob@example.com." in told.text
        assert "billing@example.com is billing already and stays so" in told.text

    @pages_only
    def test_shows_the_links_where_the_server_sends_no_mail(
        self, org: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("EMAIL_URL")
        other = found("Another Organisation")
        members.add_members(other, ["known@example.org"], Role.OWNER, actor="test", now=shop.NOW)

        told = self.invite(org, ADMIN, f"{EVE}, known@example.org, <b>@example.com")
        assert 400 == told.status
        told = self.invite(org, ADMIN, f"{EVE}, known@example.org")

        assert "This server sends no mail." in told.text
        assert "Only your vendor can hand over the links of known@example.org" in told.text
        assert ("no-store", False) == (told.headers["Cache-Control"], "keyseat-issuer" in told.text)
        [link] = re.findall(r'value="(http://127\.0\.0\.1:80/invitation\?token=[^"]+)"', told.html)
        token = link.partition("token=")[2]
        assert EVE == invitations.accept(invitations.look_up(token, shop.NOW).pk, EVE, now=shop.NOW).email
        assert [] == mail.outbox
        assert "invitation.link_shown" == AuditEvent.objects.filter(subject=EVE).order_by("-seq")[1].action

    @pages_only
    def test_tells_whom_the_mail_server_refused_and_that_a_slow_one_is_not_waited_for(
        self, org: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
        monkeypatch.setattr(invitation_mail, "PATIENCE", 60)
        with mail_server(EVE) as server:
            monkeypatch.setattr(settings, "EMAIL_PORT", server.port)
            told = self.invite(org, OWNER, f"{EVE}, new@example.com")
            assert "No mail could be sent to eve@example.org. Try “Send again” later." in told.text
            assert ["new@example.com"] == server.taken
        monkeypatch.setattr(invitation_mail, "PATIENCE", 0)
        with mail_server(slow=True) as server:
            monkeypatch.setattr(settings, "EMAIL_PORT", server.port)
            assert "The mails are on their way." in self.invite(org, OWNER, EVE).text


@pages_only
class TestInvitations:
    @pytest.fixture
    def eve(self, org: Organization) -> Invitation:
        return self.made(org, Role.MEMBER)

    def made(self, org: Organization, role: Role) -> Invitation:
        [made] = invitations.invite(org, [EVE], role, with_account=with_account, actor="test", now=shop.NOW)
        return Invitation.objects.get(organization=org, email=made.email)

    def act(self, who: str, org: Organization, row: Invitation, what: str) -> Shown:
        return Desk(who, org).post(f"invitations/{row.pk}/{what}", {}, page="members")

    def test_that_wait_are_listed(self, org: Organization, eve: Invitation) -> None:
        listed = Desk(ADMIN, org).get("members").section("invitations")
        assert "eve@example.org member until 2 June 2023, 12:00 UTC" in listed
        with freeze_time(shop.NOW + timedelta(hours=24)):
            assert "eve@example.org" not in Desk(ADMIN, org).get("members").text

    def test_are_sent_again_with_a_new_link(self, org: Organization, eve: Invitation) -> None:
        told = self.act(ADMIN, org, eve, "again")
        assert "Invited as member: eve@example.org." in told.text
        assert [EVE] == mail.outbox[-1].to
        assert eve.token_sha256 != Invitation.objects.get(email=EVE).token_sha256

    def test_are_withdrawn(self, org: Organization, eve: Invitation) -> None:
        assert "The invitation of eve@example.org was taken back" in self.act(ADMIN, org, eve, "withdraw").text
        assert [] == waiting(org)
        for what in ("again", "withdraw"):
            assert "That invitation waits no more" in self.act(ADMIN, org, eve, what).text

    def test_of_an_owner_are_neither_sent_again_nor_taken_back_by_an_admin(self, org: Organization) -> None:
        owner = self.made(org, Role.OWNER)
        assert "an owner's to change" in Desk(ADMIN, org).get("members").section("invitations")
        for what in ("again", "withdraw"):
            assert "Only an owner may give, change or take" in self.act(ADMIN, org, owner, what).text
        assert 403 == Desk(ADMIN, org).post("members/invite", {"emails": EVE, "role": "member"}).status
        assert owner == Invitation.objects.get(email=EVE)

    def test_of_who_became_a_member_otherwise_are_told_so(self, org: Organization, eve: Invitation) -> None:
        make_account(EVE)
        members.add_members(org, [EVE], Role.BILLING, actor="test", now=shop.NOW)
        told = self.act(OWNER, org, eve, "again")
        assert "eve@example.org is a member already, as billing, and has an account." in told.text

    def test_of_another_organisation_are_not_touched(self, org: Organization) -> None:
        other = found("Another Organisation")
        foreign = self.made(other, Role.MEMBER)
        for what in ("again", "withdraw"):
            assert "That invitation waits no more" in self.act(OWNER, org, foreign, what).text
        assert foreign == Invitation.objects.get(email=EVE)

    def test_take_no_post_without_its_token(self, org: Organization, eve: Invitation) -> None:
        desk = Desk(OWNER, org)
        paths = [f"invitations/{eve.pk}/again", f"invitations/{eve.pk}/withdraw", "members/invite"]
        assert [403] * 3 == [desk.client.post(desk.base + path, {"emails": BOB}).status_code for path in paths]
