"""What needs a recent proof of who calls, and what ends with the right to invite, over the administration API."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core import mail

import shop
from activation import problem
from administration import ADA, ADMIN, BOB, EVE, OWNER, Office, administered, found, key_with
from databases import Ledger
from keyseat_issuer.checks import check
from keyseat_issuer.ledger.customers import api_keys, invitations, members
from keyseat_issuer.ledger.models import ApiKey, AuditEvent, Invitation, Membership, Role
from keyseat_issuer.web.accounts import deactivate, with_account
from web_server import make_account


@pytest.fixture(autouse=True)
def mailing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends mail; the test runner keeps what it sends."""
    monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1")


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    with administered(found()) as running:
        yield running


class TestAnOldSignIn:
    """A token that was stolen, or made long ago, must not give away what outlasts it (RFC 9470)."""

    def attempts(self, office: Office) -> dict[str, tuple[str, str, object]]:
        """Return every call that needs a recent proof of who calls."""
        eve = {"emails": [EVE]}
        return {
            "key": ("POST", "/api-keys", {"name": "ci", "scopes": ["seats:read"]}),
            "ownership": ("POST", "/ownership", {"member_id": office.member(ADA)}),
            "make an owner": ("PATCH", f"/members/{office.member(ADA)}", {"role": "owner"}),
            "make an admin": ("PATCH", f"/members/{office.member(ADA)}", {"role": "admin"}),
            "demote an admin": ("PATCH", f"/members/{office.member(ADMIN)}", {"role": "member"}),
            "remove an admin": ("DELETE", f"/members/{office.member(ADMIN)}", None),
            "invite an owner": ("POST", "/invitations", eve | {"role": "owner"}),
            "invite an admin": ("POST", "/invitations", eve | {"role": "admin"}),
        }

    @pytest.mark.parametrize(("who", "minutes"), [("owner", 16), ("owner-unproved", 0)])
    def test_is_asked_to_prove_who_it_is_by_all_that_outlasts_it(self, office: Office, who: str, minutes: int) -> None:
        office.clock.advance(minutes=minutes)
        before = list(Membership.objects.order_by("pk").values_list("email", "role"))

        for name, (method, path, body) in self.attempts(office).items():
            answer = office.call(method, path, body, who=who)
            assert (401, "SIGN_IN_TOO_OLD", "authentication") == problem(answer), name
            challenge = answer.headers["WWW-Authenticate"]
            assert 'error="insufficient_user_authentication"' in challenge
            assert 'max_age="900"' in challenge
            assert 900 == answer.json()["details"]["max_age"]
            assert "Renewing the old one is not enough" in answer.json()["next"]
        assert before == list(Membership.objects.order_by("pk").values_list("email", "role"))
        assert (False, False) == (Invitation.objects.exists(), ApiKey.objects.exists())

    def test_does_all_of_it_within_a_quarter_of_an_hour(self, office: Office) -> None:
        office.clock.advance(minutes=15)
        for name in ("key", "make an owner", "make an admin", "invite an owner", "demote an admin"):
            method, path, body = self.attempts(office)[name]
            assert office.call(method, path, body).status_code in {200, 201}, name
        assert 200 == office.call(*self.attempts(office)["ownership"]).status_code

    def test_goes_on_with_everything_else(self, office: Office) -> None:
        office.clock.advance(hours=3)

        assert 200 == office.call("PATCH", f"/members/{office.member(ADA)}", {"role": "billing"}).status_code
        assert 201 == office.call("POST", "/invitations", {"emails": [EVE]}).status_code
        assert 200 == office.call("DELETE", f"/members/{office.member(BOB)}").status_code
        assert 200 == office.call("GET", "/api-keys").status_code

    def test_of_who_may_not_do_it_at_all_is_told_that(self, office: Office) -> None:
        office.clock.advance(hours=3)
        for name in ("ownership", "make an admin", "demote an admin", "invite an owner"):
            method, path, body = self.attempts(office)[name]
            assert (403, "NOT_ALLOWED", None) == problem(office.call(method, path, body, who="admin")), name


@pytest.mark.both_databases
class TestInvitationsOfWhoMayInviteNoMore:
    def invite(self, office: Office, email: str, role: str, who: str = "admin") -> None:
        assert 201 == office.call("POST", "/invitations", {"emails": [email], "role": role}, who=who).status_code

    def waiting(self, office: Office) -> list[str]:
        return [row.email for row in invitations.waiting(office.organization, shop.NOW)]

    def actions(self, office: Office) -> list[tuple[str, str, object]]:
        rows = AuditEvent.objects.filter(action="invitation.withdrawn").order_by("seq")
        return [(row.actor, row.subject, json.loads(row.details)["because"]) for row in rows]

    def test_end_with_a_removal(self, office: Office) -> None:
        self.invite(office, EVE, "billing")
        self.invite(office, "kept@example.com", "member", who="owner")

        removed = office.call("DELETE", f"/members/{office.member(ADMIN)}").json()

        assert ([EVE], ["kept@example.com"]) == (removed["invitations"], self.waiting(office))
        assert [(f"user:{OWNER}", EVE, "member removed")] == self.actions(office)
        assert check.verify().ok

    @pytest.mark.parametrize(("role", "ends"), [("admin", False), ("billing", True), ("member", True)])
    def test_end_with_the_role_as_far_as_it_was_needed(self, office: Office, role: str, *, ends: bool) -> None:
        members.set_role(office.organization, ADMIN, Role.OWNER, actor="test", now=shop.NOW)
        self.invite(office, EVE, "admin")
        self.invite(office, "new@example.com", "member")
        key = office.call("POST", "/api-keys", {"name": "ci", "scopes": ["seats:read"]}, who="admin").json()

        changed = office.call("PATCH", f"/members/{office.member(ADMIN)}", {"role": role}).json()

        both = [EVE, "new@example.com"]
        assert (both if ends else [EVE]) == changed["invitations"]
        assert ([] if ends else ["new@example.com"]) == self.waiting(office)
        assert ([key["api_key"]["prefix"]] if ends else []) == changed["api_keys"]
        assert check.verify().ok

    def test_of_who_hands_the_organisation_over_end_where_they_are_an_owners(self, office: Office) -> None:
        self.invite(office, EVE, "owner", who="owner")
        self.invite(office, "new@example.com", "billing", who="owner")

        office.call("POST", "/ownership", {"member_id": office.member(ADA)})

        assert ["new@example.com"] == self.waiting(office)
        assert [(f"user:{OWNER}", EVE, "role lost")] == self.actions(office)

    def test_of_an_api_key_end_with_the_key(self, office: Office) -> None:
        key = key_with(office.organization, "members:write")
        self.invite(office, EVE, "member", who=key)

        api_keys.revoke_key(office.organization, key, actor="test", now=shop.NOW)

        assert [] == self.waiting(office)
        assert [("test", EVE, "API key revoked")] == self.actions(office)

    def test_end_when_the_account_is_shut_off(self, office: Office) -> None:
        make_account(ADMIN)
        self.invite(office, EVE, "member")
        other = found("Another Organisation")
        invitations.invite(other, [EVE], Role.MEMBER, with_account=with_account, actor=f"user:{ADMIN}", now=shop.NOW)

        deactivate(ADMIN, actor="test", now=shop.NOW)

        assert not Invitation.objects.exists()
        assert [("test", EVE, "account shut off")] * 2 == self.actions(office)
        assert check.verify().ok

    def test_that_were_accepted_or_have_ended_are_no_matter_any_more(self, office: Office) -> None:
        self.invite(office, EVE, "member")
        token = mail.outbox[0].body.partition("token=")[2].split()[0]
        invitations.accept(invitations.look_up(token, shop.NOW).pk, EVE, now=shop.NOW)
        self.invite(office, "late@example.com", "member")
        later = shop.NOW + timedelta(days=2)

        removed = members.remove_member(office.organization, ADMIN, actor="test", now=later)

        assert ((), []) == (removed.invitations, self.actions(office))
        assert Membership.objects.filter(email=EVE, role=Role.MEMBER).exists()
