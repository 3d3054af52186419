"""Members, roles, ownership and invitations over the administration API."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail

import shop
from activation import problem
from administration import ADA, ADMIN, BILLING, BOB, EVE, OWNER, Office, administered, found, key_with
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.customers import api_keys, invitations, members
from keyseat_issuer.ledger.customers.member_guards import may_change, may_invite
from keyseat_issuer.ledger.models import AuditEvent, Invitation, Membership, Role
from keyseat_issuer.web.accounts import with_account
from keyseat_shared.errors import KeyseatError
from web_server import make_account


@pytest.fixture(autouse=True)
def mailing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends mail; the test runner keeps what it sends."""
    monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1")


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    with administered(found()) as running:
        yield running


def proved() -> None:
    """Who asks has just given a password."""


def role_of(office: Office, email: str) -> str | None:
    return (
        Membership.objects.filter(organization=office.organization, email=email).values_list("role", flat=True).first()
    )


class TestMembers:
    def test_are_listed_owners_first_with_who_holds_no_paid_seat(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)

        listed = office.get("/members")

        assert [
            (OWNER, "owner", False),
            (ADMIN, "admin", False),
            (BILLING, "billing", False),
            (ADA, "member", True),
        ] == [(member["email"], member["role"], member["licensed"]) for member in listed["members"]][:4]
        assert listed["warning"].startswith("4 of 5 members hold no paid seat")

    def test_get_no_warning_where_nobody_or_everybody_is_licensed(self, office: Office) -> None:
        assert office.get("/members")["warning"] is None

    @pytest.mark.both_databases
    def test_that_are_removed_lose_seat_and_session_and_the_client_hears_why(self, office: Office) -> None:
        shop.assign(office.organization, "KSE", ADA)
        session = office.site.acquire("KSE", key="ada")
        assert 201 == session.status_code

        removed = office.call("DELETE", f"/members/{office.member(ADA)}")

        assert {
            "email": ADA,
            "seats_freed": 1,
            "offline_until": [],
            "invitations": [],
            "api_keys": [],
        } == removed.json()
        renewed = office.site.renew(session.json()["session_id"], key="ada")
        assert (410, "LEASE_ENDED", "MEMBER_REMOVED") == problem(renewed)

    def test_of_another_organisation_cannot_be_named_by_their_id(self, office: Office) -> None:
        foreign = found("Another Organisation")
        stranger = Membership.objects.get(organization=foreign, email=ADA)

        for method, path, body in [
            ("PATCH", f"/members/{stranger.pk}", {"role": "member"}),
            ("DELETE", f"/members/{stranger.pk}", None),
            ("POST", "/ownership", {"member_id": str(stranger.pk)}),
        ]:
            assert (404, "NOT_FOUND", None) == problem(office.call(method, path, body))
        assert Membership.objects.filter(pk=stranger.pk, role=Role.MEMBER).exists()


@pytest.mark.both_databases
class TestApiKeysOfAMember:
    def test_who_leaves_go_on_and_are_named_so_that_they_can_be_revoked(self, office: Office) -> None:
        body = {"name": "build farm", "scopes": ["seats:read"]}
        made = [office.call("POST", "/api-keys", body, who=who).json() for who in ("admin", "admin", "owner")]
        office.call("DELETE", f"/api-keys/{made[0]['api_key']['id']}")

        removed = office.call("DELETE", f"/members/{office.member(ADMIN)}").json()

        assert [made[1]["api_key"]["prefix"]] == removed["api_keys"]
        assert 200 == office.call("GET", "/seats", who=made[1]["key"]).status_code
        assert removed["api_keys"] == office.get("/audit")["events"][0]["details"]["api_keys"]

    def test_with_the_longest_address_can_be_made(self, office: Office) -> None:
        longest = f"{'a' * 64}@{'.'.join(['b' * 59] * 3)}.example"
        assert 252 == len(longest)
        members.add_members(office.organization, [longest], Role.ADMIN, actor="test", now=shop.NOW)

        made = api_keys.create_key(
            office.organization, ["sessions"], name="ci", expires_at=None, actor=f"user:{longest}", now=shop.NOW
        )
        removed = members.remove_member(office.organization, longest, actor="test", now=shop.NOW)

        assert (made.row.prefix,) == removed.api_keys


class TestRoles:
    @pytest.mark.parametrize(
        ("who", "target", "role", "allowed"),
        [
            ("owner", ADA, "admin", True),
            ("owner", ADA, "owner", True),
            ("owner", ADMIN, "member", True),
            ("admin", ADA, "billing", True),
            ("admin", BILLING, "member", True),
            ("admin", ADA, "admin", False),
            ("admin", ADA, "owner", False),
            ("admin", ADMIN, "member", False),
            ("admin", OWNER, "member", False),
            ("key", ADA, "billing", True),
            ("key", ADA, "admin", False),
            ("key", OWNER, "member", False),
        ],
    )
    def test_of_owners_and_admins_are_changed_by_owners_only(
        self, office: Office, who: str, target: str, role: str, *, allowed: bool
    ) -> None:
        before = role_of(office, target)
        token = key_with(office.organization, "members:write") if who == "key" else who

        answer = office.call("PATCH", f"/members/{office.member(target)}", {"role": role}, who=token)

        assert (200 if allowed else 403) == answer.status_code
        assert (role if allowed else before) == role_of(office, target)

    @pytest.mark.parametrize(("target", "status"), [(ADA, 200), (BILLING, 200), (OWNER, 403), (ADMIN, 403)])
    def test_decide_whom_an_admin_may_remove(self, office: Office, target: str, status: int) -> None:
        assert status == office.call("DELETE", f"/members/{office.member(target)}", who="admin").status_code

    def test_that_do_not_exist_are_refused(self, office: Office) -> None:
        answer = office.call("PATCH", f"/members/{office.member(ADA)}", {"role": "king"})

        assert (422, "INVALID_INPUT", None) == problem(answer)

    def test_leave_one_owner_at_least(self, office: Office) -> None:
        demoted = office.call("PATCH", f"/members/{office.member(OWNER)}", {"role": "member"})
        removed = office.call("DELETE", f"/members/{office.member(OWNER)}")

        assert [(403, "NOT_ALLOWED", None)] * 2 == [problem(demoted), problem(removed)]
        assert "keyseat-issuer" not in demoted.json()["next"]

    @pytest.mark.both_databases
    def test_are_read_again_under_the_lock(self, office: Office) -> None:
        """An owner who was demoted between the door and the act changes nothing any more."""
        guard = may_change(office.organization, ADMIN, Role.ADMIN, proof=proved)

        with pytest.raises(KeyseatError, match="only an owner"):
            members.set_role(office.organization, ADA, Role.ADMIN, actor="test", now=shop.NOW, guard=guard)

    @pytest.mark.both_databases
    @pytest.mark.parametrize("now", [Role.MEMBER, Role.BILLING, None])
    def test_of_one_who_manages_no_more_or_was_removed_change_nothing(self, office: Office, now: Role | None) -> None:
        """An admin who lost the role between the door and the act is no admin, and no API key either."""
        org = office.organization
        if now is None:
            members.remove_member(org, ADMIN, actor="test", now=shop.NOW)
        else:
            members.set_role(org, ADMIN, now, actor="test", now=shop.NOW)

        with pytest.raises(KeyseatError, match=r"may not do this|no such organisation"):
            members.remove_member(org, ADA, actor="test", now=shop.NOW, guard=may_change(org, ADMIN, proof=proved))
        with pytest.raises(KeyseatError, match=r"may not do this|no such organisation"):
            invitations.invite(
                org,
                [EVE],
                Role.MEMBER,
                with_account=with_account,
                actor="test",
                now=shop.NOW,
                guard=may_invite(org, ADMIN, proof=proved),
            )
        assert ("member", False) == (role_of(office, ADA), Invitation.objects.exists())


class TestOwnership:
    @pytest.mark.both_databases
    def test_goes_to_another_member_in_one_act(self, office: Office) -> None:
        answer = office.call("POST", "/ownership", {"member_id": office.member(ADA)})

        assert (ADA, OWNER) == (answer.json()["owner"]["email"], answer.json()["former"]["email"])
        assert ("owner", "admin") == (role_of(office, ADA), role_of(office, OWNER))
        assert ["ownership.transferred"] == [
            event["action"] for event in office.get("/audit?limit=1", who="ada")["events"]
        ]

    def test_is_not_taken_by_admins(self, office: Office) -> None:
        assert (403, "NOT_ALLOWED", None) == problem(
            office.call("POST", "/ownership", {"member_id": office.member(ADMIN)}, who="admin")
        )

    def test_does_not_go_to_who_has_it(self, office: Office) -> None:
        answer = office.call("POST", "/ownership", {"member_id": office.member(OWNER)})

        assert (409, "ALREADY_EXISTS", None) == problem(answer)


class TestInvitations:
    def invite(self, office: Office, *emails: str, who: str = "owner", **more: Any) -> Any:  # noqa: ANN401 - an answer
        return office.call("POST", "/invitations", {"emails": list(emails), **more}, who=who)

    @pytest.mark.both_databases
    def test_go_out_by_mail_with_a_link_that_works(self, office: Office) -> None:
        answer = self.invite(office, EVE, "new@example.com")

        assert 201 == answer.status_code
        assert [EVE, "new@example.com"] == [entry["email"] for entry in answer.json()["invitations"]]
        assert {EVE, "new@example.com"} == {message.to[0] for message in mail.outbox}
        body = next(message.body for message in mail.outbox if message.to == [EVE])
        token = body.partition("token=")[2].split()[0]
        accepted = invitations.accept(invitations.look_up(token, shop.NOW).pk, EVE, now=shop.NOW)
        assert (EVE, Role.MEMBER) == (accepted.email, accepted.role)

    def test_do_not_show_the_link_to_who_invites(self, office: Office) -> None:
        answer = self.invite(office, EVE)

        token = mail.outbox[0].body.partition("token=")[2].split()[0]
        assert token not in answer.text
        assert token not in office.call("GET", "/invitations").text

    def test_show_the_link_where_the_server_sends_no_mail(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("EMAIL_URL")

        [entry] = self.invite(office, EVE).json()["invitations"]

        assert (False, []) == (entry["mailed"], mail.outbox)
        token = entry["link"].partition("token=")[2]
        assert EVE == invitations.accept(invitations.look_up(token, shop.NOW).pk, EVE, now=shop.NOW).email
        row = AuditEvent.objects.get(action="invitation.link_shown")
        assert (f"user:{OWNER}", EVE) == (row.actor, row.subject)
        assert verify().ok

    def test_show_no_link_that_makes_an_account_with_more_than_the_inviter_may_give(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would be their account everywhere: in other organisations, and as the owner that they are here."""
        monkeypatch.delenv("EMAIL_URL")
        other = found("Another Organisation")
        known, invited, settled = "known@example.org", "invited@example.org", "settled@example.org"
        members.add_members(other, [known, settled], Role.OWNER, actor="test", now=shop.NOW)
        members.add_members(office.organization, ["second@example.com"], Role.OWNER, actor="test", now=shop.NOW)
        members.add_members(office.organization, ["here@example.com"], Role.MEMBER, actor="test", now=shop.NOW)
        invitations.invite(other, [invited], Role.OWNER, with_account=with_account, actor="test", now=shop.NOW)
        make_account(settled)

        answer = self.invite(
            office, known, invited, settled, "second@example.com", "here@example.com", BOB, EVE, who="admin"
        )

        links = {entry["email"]: entry["link"] is not None for entry in answer.json()["invitations"]}
        withheld = {known, invited, "second@example.com", BOB}  # Bob is a member of both
        assert dict.fromkeys(withheld, False) | {settled: True, "here@example.com": True, EVE: True} == links

    def test_tell_about_every_address_in_the_way_and_invite_nobody(self, office: Office) -> None:
        make_account(ADA)

        answer = self.invite(office, EVE, ADA, "no address")

        assert (422, "INVALID_INPUT", None) == problem(answer)
        assert {ADA, "no address"} == {line["email"] for line in answer.json()["details"]["lines"]}
        assert not Invitation.objects.exists()

    @pytest.mark.parametrize(
        ("who", "role", "status"), [("owner", "owner", 201), ("admin", "admin", 403), ("admin", "billing", 201)]
    )
    def test_give_only_roles_that_the_inviter_may_give(self, office: Office, who: str, role: str, status: int) -> None:
        assert status == self.invite(office, EVE, who=who, role=role).status_code

    def test_of_an_owner_are_neither_replaced_nor_taken_back_by_an_admin(self, office: Office) -> None:
        waiting = self.invite(office, EVE, role="owner").json()["invitations"][0]

        replaced = self.invite(office, EVE.upper(), who="admin")
        withdrawn = office.call("DELETE", f"/invitations/{waiting['id']}", who="admin")

        assert [403, 403] == [replaced.status_code, withdrawn.status_code]
        assert ["owner"] == [entry["role"] for entry in office.get("/invitations")["invitations"]]

    @pytest.mark.both_databases
    def test_are_five_an_hour_for_one_address_of_an_organisation(self, office: Office) -> None:
        """Whoever may invite must not have us fill somebody's mailbox."""
        foreign = found("Another Organisation")
        assert [201] * 5 == [self.invite(office, EVE).status_code for _ in range(5)]

        late = self.invite(office, "new@example.com", EVE)

        assert (429, "NOT_ALLOWED", "rate") == problem(late)
        assert 3500 < int(late.headers["Retry-After"]) <= 3600
        assert ["eve@example.org"] == [entry["email"] for entry in office.get("/invitations")["invitations"]]
        body = {"emails": [EVE], "role": "member"}
        assert 201 == office.call("POST", "/invitations", body, of=foreign).status_code

    def test_that_were_sent_as_another_kind_of_body_are_told_how(self, office: Office) -> None:
        path = f"/api/v1/organizations/{office.organization.pk}/invitations"
        answer = office.site.call(
            "POST", path, b'{"emails": ["eve@example.org"]}', key="owner", Content_Type="text/plain"
        )

        assert (422, "INVALID_INPUT", None) == problem(answer)
        assert "application/json" in answer.json()["next"]

    def test_can_be_taken_back(self, office: Office) -> None:
        waiting = self.invite(office, EVE).json()["invitations"][0]

        assert {"email": EVE} == office.call("DELETE", f"/invitations/{waiting['id']}").json()
        assert [] == office.get("/invitations")["invitations"]
        assert 404 == office.call("DELETE", f"/invitations/{waiting['id']}").status_code

    def test_of_another_organisation_are_not_found(self, office: Office) -> None:
        foreign = found("Another Organisation")
        [made] = invitations.invite(foreign, [EVE], Role.MEMBER, with_account=with_account, actor="test", now=shop.NOW)
        row = Invitation.objects.get(email=made.email)

        assert (404, "NOT_FOUND", None) == problem(office.call("DELETE", f"/invitations/{row.pk}"))
        assert Invitation.objects.filter(pk=row.pk).exists()


def test_every_act_names_who_did_it(office: Office) -> None:
    office.call("PATCH", f"/members/{office.member(ADA)}", {"role": "billing"}, who="admin")
    key = key_with(office.organization, "members:write")
    office.call("PATCH", f"/members/{office.member(BOB)}", {"role": "billing"}, who=key)

    assert [f"user:{ADMIN}", f"key:{key[4:12]}"] == list(
        AuditEvent.objects.filter(action="member.role_changed").order_by("seq").values_list("actor", flat=True)
    )
    assert verify().ok


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "media_type"),
        [
            (b'{"role": "billing", "role": "member"}', "application/json"),
            (b'\xef\xbb\xbf{"role": "billing"}', "application/json"),
            ('{"role": "billing"}'.encode("utf-16"), "application/json"),
            (b'{"role": "billing"}', "application/problem+json"),
            (b'{"role": "billing"}', "text/plain"),
        ],
    )
    def test_that_two_readers_could_understand_differently_are_refused(
        self, office: Office, body: bytes, media_type: str
    ) -> None:
        path = f"/api/v1/organizations/{office.organization.pk}/members/{office.member(ADA)}"
        answer = office.site.call("PATCH", path, body, key="owner", Content_Type=media_type)

        wrong = (400, "MALFORMED", None) if media_type == "application/json" else (422, "INVALID_INPUT", None)
        assert wrong == problem(answer)
        assert "member" == role_of(office, ADA)

    @pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
    def test_of_strict_json_are_read(self, office: Office, media_type: str) -> None:
        path = f"/api/v1/organizations/{office.organization.pk}/members/{office.member(ADA)}"
        answer = office.site.call("PATCH", path, b'{"role": "billing"}', key="owner", Content_Type=media_type)

        assert (200, "billing") == (answer.status_code, role_of(office, ADA))

    def test_are_no_matter_where_a_route_takes_none(self, office: Office) -> None:
        path = f"/api/v1/organizations/{office.organization.pk}/members"
        assert 200 == office.site.call("GET", path, b"junk", key="owner").status_code

    def test_of_who_may_not_call_are_not_looked_at(self, office: Office) -> None:
        path = f"/api/v1/organizations/{office.organization.pk}/members/{office.member(ADA)}"
        for body in (b'{"role": "billing", "role": "member"}', b'{"role": "billing"}'):
            answer = office.site.call("PATCH", path, body, key="nobody", Content_Type="application/json")
            assert 401 == answer.status_code
