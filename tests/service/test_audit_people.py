"""`audit verify` follows what the rows say of people and API keys, and finds what was changed by SQL."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.customers import api_keys, invitations, members, organizations
from keyseat_issuer.ledger.models import ApiKey, Organization, Role

ADA, BOB, CY, DEE = (f"{name}@example.com" for name in ("ada", "bob", "cy", "dee"))


def sql(statement: str, *values: object) -> None:
    """Change the database behind the ledger's back."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def found() -> list[tuple[str, str]]:
    """Return the findings: the first word of the place, and what is wrong."""
    return [(finding.place.split()[0], finding.what) for finding in verify().findings]


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    """An organisation through whose people every kind of change has gone."""
    org = organizations.add_organization("Analytical Engines", actor=shop.ACTOR, now=shop.NOW)
    members.add_members(org, [ADA], Role.OWNER, actor=shop.ACTOR, now=shop.NOW)
    members.add_members(org, [BOB, CY], Role.MEMBER, actor=shop.ACTOR, now=shop.NOW)
    members.set_role(org, BOB, Role.ADMIN, actor=shop.ACTOR, now=shop.NOW)
    members.transfer_ownership(org, ADA, CY, actor=shop.ACTOR, now=shop.NOW)
    members.transfer_ownership(org, CY, ADA, actor=shop.ACTOR, now=shop.NOW)
    members.remove_member(org, CY, actor=shop.ACTOR, now=shop.NOW)
    [sent] = invitations.invite(
        org, [DEE], Role.BILLING, with_account=lambda _emails: set(), actor=shop.ACTOR, now=shop.NOW
    )
    invited = invitations.look_up(sent.token, shop.NOW)
    invitations.accept(invited.pk, DEE, now=shop.NOW)
    invitations.invite(org, [CY], Role.MEMBER, with_account=lambda _emails: set(), actor=shop.ACTOR, now=shop.NOW)
    for name in ("kept", "revoked"):
        api_keys.create_key(
            org, ["sessions"], name=name, expires_at=shop.NOW + timedelta(days=9), actor=shop.ACTOR, now=shop.NOW
        )
    gone = ApiKey.objects.get(name="revoked")
    api_keys.revoke_key(org, gone.prefix, actor=shop.ACTOR, now=shop.NOW)
    return org


def test_every_kind_of_act_agrees_with_the_tables(org: Organization) -> None:
    assert [] == found()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE ledger_membership SET role = 'owner' WHERE email = 'bob@example.com'",
            ("member", "is owner, but the audit log says admin: changed"),
        ),
        (
            "UPDATE ledger_membership SET email = 'eve@example.com' WHERE email = 'bob@example.com'",
            ("member", "no audit row made them a member: inserted"),
        ),
        (
            "DELETE FROM ledger_membership WHERE email = 'bob@example.com'",
            ("member", "the audit log has no removal: removed"),
        ),
        (
            "UPDATE ledger_invitation SET role = 'owner' WHERE email = 'cy@example.com'",
            ("invitation", "it is for owner, but the audit log says member: changed or inserted"),
        ),
        (
            "UPDATE ledger_invitation SET email = 'eve@example.com' WHERE email = 'cy@example.com'",
            ("invitation", "it is for member, but the audit log knows of none: changed or inserted"),
        ),
        (
            "UPDATE ledger_apikey SET scopes = 'members:write' WHERE name = 'kept'",
            ("API", "it is not what the audit log tells of: changed"),
        ),
        (
            "UPDATE ledger_apikey SET expires_at = NULL WHERE name = 'kept'",
            ("API", "it is not what the audit log tells of: changed"),
        ),
        (
            "UPDATE ledger_apikey SET revoked_at = NULL WHERE name = 'revoked'",
            ("API", "it is not what the audit log tells of: changed"),
        ),
        (
            "UPDATE ledger_apikey SET key_sha256 = 'ff' WHERE name = 'kept'",
            ("API", "it is not what the audit log tells of: changed"),
        ),
        (
            "UPDATE ledger_apikey SET prefix = 'AAAAAAAA' WHERE name = 'kept'",
            ("API", "no audit row made it: inserted"),
        ),
        (
            "DELETE FROM ledger_apikey WHERE name = 'kept'",
            ("API", "an audit row made it, but the ledger does not hold it: removed"),
        ),
        (
            "UPDATE ledger_organization SET name = 'Other Engines'",
            ("organisation", "its name or account is not that of the row that added it: changed"),
        ),
        (
            "UPDATE ledger_organization SET folded = 'other engines'",
            ("organisation", "it is looked up by another name than its own: changed"),
        ),
        (
            "UPDATE ledger_account SET folded = 'other engines'",
            ("organisation", "it is looked up by another name than its own: changed"),
        ),
        (
            "UPDATE ledger_account SET name = 'Other Engines'",
            ("organisation", "its name or account is not that of the row that added it: changed"),
        ),
    ],
)
def test_what_was_changed_by_sql_is_found(org: Organization, statement: str, expected: tuple[str, str]) -> None:
    sql(statement)

    assert expected in found()


def test_an_invitation_whose_role_was_changed_by_sql_is_found_after_it_was_accepted(org: Organization) -> None:
    [sent] = invitations.invite(
        org, ["eve@example.com"], Role.MEMBER, with_account=lambda _emails: set(), actor=shop.ACTOR, now=shop.NOW
    )
    sql("UPDATE ledger_invitation SET role = 'owner' WHERE email = 'eve@example.com'")
    invitations.accept(invitations.look_up(sent.token, shop.NOW).pk, "eve@example.com", now=shop.NOW)

    assert [("audit", "somebody joined as owner, but was invited as member")] == found()


def test_a_role_changed_by_sql_is_found_after_a_later_act_has_changed_it_again(org: Organization) -> None:
    sql("UPDATE ledger_membership SET role = 'owner' WHERE email = 'bob@example.com'")
    members.set_role(org, BOB, Role.ADMIN, actor=shop.ACTOR, now=shop.NOW)

    assert [("audit", "it changes a role from owner, but the rows before it say admin")] == found()


def test_a_key_made_by_a_former_version_has_no_fingerprint_and_agrees(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = organizations.add_organization("Analytical Engines", actor=shop.ACTOR, now=shop.NOW)
    create: Callable[..., object] = api_keys.log.append

    def as_before(**event: object) -> object:
        details = {key: value for key, value in dict(event["details"]).items() if key != api_keys.FINGERPRINT}  # type: ignore[call-overload]
        return create(**event | {"details": details})

    monkeypatch.setattr(api_keys.log, "append", as_before)
    api_keys.create_key(org, ["sessions"], name="old", expires_at=None, actor=shop.ACTOR, now=shop.NOW)

    assert [] == found()
