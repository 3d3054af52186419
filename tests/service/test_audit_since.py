"""`audit verify --from` checks what has happened since an anchor, reads nothing else, and says what it left out."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.checks.since import UNCHECKED, verify_from
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import api_keys, invitations, members, organizations
from keyseat_issuer.ledger.models import ApiKey, AuditEvent, AuditHead, OfflineLicense, Organization, Role, Subscription
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from offline_shop import numbered_machine

ADA, BOB, CY = (f"{name}@example.com" for name in ("ada", "bob", "cy"))
START = f"0:{'0' * 64}"
LATER = shop.NOW + timedelta(minutes=1)


def sql(statement: str, *values: object) -> None:
    """Change the database behind the ledger's back."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def found(anchor: str) -> set[tuple[str, str]]:
    """Return the findings since an anchor: the first word of the place, and what is wrong."""
    return {(finding.place.split()[0], finding.what) for finding in verify_from(anchor).findings}


@pytest.fixture
def lived(ledger: Ledger) -> Organization:
    """An organisation in which everything has happened at one instant."""
    made = shop.organization(offline_shop.NAME, ADA, BOB)
    members.set_role(made, BOB, Role.ADMIN, actor=shop.ACTOR, now=shop.NOW)
    members.transfer_ownership(made, "owner@example.com", ADA, actor=shop.ACTOR, now=shop.NOW)
    members.remove_member(made, BOB, actor=shop.ACTOR, now=shop.NOW)
    shop.subscribe(made, {"KSE": 5, "KRE": 5})
    offline_shop.issue("KRE", machine_id=numbered_machine(0))
    for email in (CY, BOB):
        [sent] = invitations.invite(
            made, [email], Role.BILLING, with_account=lambda _emails: set(), actor=shop.ACTOR, now=shop.NOW
        )
    invitations.accept(invitations.look_up(sent.token, shop.NOW).pk, BOB, now=shop.NOW)
    for name in ("kept", "gone"):
        api_keys.create_key(made, ["sessions"], name=name, expires_at=None, actor=shop.ACTOR, now=shop.NOW)
    api_keys.revoke_key(made, ApiKey.objects.get(name="gone").prefix, actor=shop.ACTOR, now=shop.NOW)
    shop.subscribe(made, {"KRE": 1})
    offline_shop.issue("KRE", machine_id=numbered_machine(1))
    return made


def anchors() -> list[str]:
    return [
        START,
        *[f"{seq}:{digest}" for seq, digest in AuditEvent.objects.order_by("seq").values_list("seq", "digest")],
    ]


def test_from_every_row_on_an_untouched_ledger_agrees_with_itself(lived: Organization) -> None:
    whole = verify()
    for seq, anchor in enumerate(anchors()):
        report = verify_from(anchor)
        assert ((), whole.events - seq, whole.anchor) == (report.findings, report.events, report.anchor)
        assert (f"audit rows 1 to {seq}", *UNCHECKED) == report.unchecked
    assert (0, ()) == (report.licenses, whole.unchecked)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "ledger_membership SET role = 'owner' WHERE email = 'bob@example.com'",
            ("member", "is owner, but the audit log says billing: changed"),
        ),
        (
            "ledger_invitation SET role = 'owner' WHERE email = 'cy@example.com'",
            ("invitation", "it is for owner, but the audit log says billing: changed or inserted"),
        ),
        (
            "ledger_apikey SET scopes = 'members:write' WHERE name = 'kept'",
            ("API", "it is not what the audit log tells of: changed"),
        ),
        ("ledger_organization SET name = 'Other'", ("organisation", "its name or account is not that of the row")),
        (
            "ledger_pool SET quota = 99",
            ("subscription", "it is not what the audit row that added it tells of: changed"),
        ),
        (
            "ledger_offlinelicense SET sessions = 2",
            ("licence", "its number of sessions differs from what its file says"),
        ),
        (
            "ledger_auditevent SET actor = 'x' WHERE seq = 9",
            ("audit", "its content does not match its digest: changed"),
        ),
        (
            "ledger_audithead SET at = '2020-01-01 00:00:00+00:00'",
            ("audit", "it is dated otherwise than the newest row"),
        ),
    ],
)
def test_what_was_changed_by_sql_since_is_found(lived: Organization, statement: str, expected: tuple[str, str]) -> None:
    sql(f"UPDATE {statement}")

    assert [what for place, what in found(START) if place == expected[0] and what.startswith(expected[1])]


def test_what_is_told_of_in_front_of_the_anchor_is_not_looked_at(lived: Organization) -> None:
    anchor = verify().anchor
    sql("UPDATE ledger_membership SET role = 'owner' WHERE email = 'bob@example.com'")
    sql("UPDATE ledger_auditevent SET actor = 'x' WHERE seq = 2")
    organizations.add_organization("Another", actor=shop.ACTOR, now=LATER)

    assert set() == found(anchor)
    assert 2 == len(verify().findings)


def test_it_takes_as_many_statements_however_much_was_before(lived: Organization) -> None:
    asked = []
    for number in (1, 30):
        for more in range(number):
            organizations.add_organization(f"More {number} {more}", actor=shop.ACTOR, now=LATER)
        anchor = verify().anchor
        with CaptureQueriesContext(connection) as captured:
            assert () == verify_from(anchor).findings
        asked.append(len(captured))
    assert asked[0] == asked[1]


def rewritten() -> None:
    digest = AuditEvent.objects.get(seq=2).digest
    for row in AuditEvent.objects.filter(seq__gt=2).order_by("seq"):
        row.actor, row.previous = "somebody else", digest
        digest = log.row_digest(row)
        sql(
            "UPDATE ledger_auditevent SET actor = %s, previous = %s, digest = %s WHERE seq = %s",
            *(row.actor, row.previous, digest, row.seq),
        )
    AuditHead.objects.update(digest=digest)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (rewritten, "it is not the row of the anchor: the chain was rewritten"),
        (lambda: sql("DELETE FROM ledger_auditevent WHERE seq = 5"), "the row of the anchor is not there: removed"),
        (
            lambda: sql("UPDATE ledger_auditevent SET actor = 'x' WHERE seq = 5"),
            "its content does not match its digest: changed",
        ),
    ],
)
def test_the_row_of_the_anchor_is_as_it_was(lived: Organization, change: Callable[[], None], what: str) -> None:
    anchor = anchors()[5]
    change()

    assert ("audit", what) in found(anchor)


def test_rows_removed_at_the_end_and_an_anchor_beyond_it_are_found(lived: Organization) -> None:
    known = anchors()
    last = AuditEvent.objects.order_by("-seq").first()
    sql("DELETE FROM ledger_auditevent WHERE seq = %s", last.seq)

    assert found(known[3])
    assert ("audit", "the row of the anchor is not there: removed") in found(known[-1])


def test_what_was_put_there_by_sql_since_is_found(lived: Organization) -> None:
    anchor = verify().anchor
    Subscription.objects.create(
        id=new_id(LATER), organization=lived, term="annual", starts_at=shop.START, ends_at=shop.END, created_at=LATER
    )
    row = OfflineLicense.objects.order_by("license_id").first()
    sql(
        "UPDATE ledger_offlinelicense SET license_id = %s WHERE license_id = %s",
        _as_stored(new_id(LATER)),
        _as_stored(row.pk),
    )

    assert {
        ("subscription", "no audit row added it: inserted"),
        ("licence", "no audit row issued it: inserted"),
    } <= found(anchor)


def _as_stored(pk: object) -> object:
    return pk if connection.vendor == "postgresql" else pk.hex  # type: ignore[attr-defined]


def test_what_was_removed_since_is_found(lived: Organization) -> None:
    sql("DELETE FROM ledger_membership WHERE email = 'bob@example.com'")
    sql("DELETE FROM ledger_apikey WHERE name = 'kept'")
    sql("DELETE FROM ledger_offlinelicense")

    assert {
        ("member", "the audit log has no removal: removed"),
        ("API", "an audit row made it, but the ledger does not hold it: removed"),
        ("licence", "an audit row issued it, but the ledger does not hold it: removed"),
    } <= found(START)


def test_who_was_removed_since_and_is_there_again_is_found(lived: Organization) -> None:
    anchor = verify().anchor
    members.remove_member(lived, BOB, actor=shop.ACTOR, now=LATER)
    assert set() == found(anchor)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_membership SET email = 'bob@example.com' WHERE email = 'owner@example.com'")

    assert ("member", "no audit row made them a member: inserted") in found(anchor)


def test_a_key_that_was_revoked_since_and_works_again_is_found(lived: Organization) -> None:
    anchor = verify().anchor
    key = ApiKey.objects.get(name="kept")
    api_keys.revoke_key(lived, key.prefix, actor=shop.ACTOR, now=LATER)
    assert set() == found(anchor)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=None)

    assert {("API", "an audit row revoked it, but it works: changed")} == found(anchor)


def test_a_licence_that_is_issued_again_by_a_row_since_is_found(lived: Organization) -> None:
    anchor = verify().anchor
    row = AuditEvent.objects.filter(action=log.OFFLINE_ISSUED).first()
    event = log.NewEvent(row.action, row.subject, {log.FILE_DIGEST: "0" * 64}, lived.pk)
    with transaction.atomic():
        log.append_many([event], actor=shop.ACTOR, now=LATER)

    assert ("licence", "it was issued before the anchor and behind it: issued twice") in found(anchor)


def test_an_anchor_that_is_none_is_refused(ledger: Ledger) -> None:
    with pytest.raises(KeyseatError) as refused:
        verify_from("x")

    assert ReasonCode.INVALID_INPUT is refused.value.code
