"""`audit verify` follows what the rows say of assigned seats, and finds whose seat was changed by SQL."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.checks.seats import Seats
from keyseat_issuer.checks.since import verify_from
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Allocation, AuditEvent, Organization, Pool, Role
from keyseat_issuer.ledger.seats import renewals, seats
from keyseat_issuer.ledger.tools.identifiers import new_id
from offline_shop import ADA, BOB, numbered_machine

CY, DEE, EVE, FAY, GUS, HAL = (f"{name}@example.com" for name in ("cy", "dee", "eve", "fay", "gus", "hal"))
ACT = {"actor": shop.ACTOR, "now": shop.NOW}
ENDED = shop.END + timedelta(days=1)
START = f"0:{'0' * 64}"
INSERTED = "no audit row gave it to them: inserted or changed"
REMOVED = "the audit log says that they hold it, but the ledger does not: removed or changed"
STRANGER = "its holder is no member of the organisation: changed"


@pytest.fixture
def lived(ledger: Ledger) -> Organization:
    """An organisation through whose seats every kind of change has gone; Ada, Bob, Fay and Gus hold some."""
    made = shop.organization(offline_shop.NAME, ADA, BOB, CY, DEE, FAY, GUS, HAL)
    shop.subscribe(made, {"KSE": 9, "KRE": 9})
    shop.assign(made, "KSE", ADA, BOB, CY, DEE, HAL)
    shop.assign(made, "KRE", ADA, BOB)
    seats.unassign(made, "KSE", [BOB], **ACT)
    shop.assign(made, "KSE", BOB)
    seats.transfer(made, "KSE", CY, FAY, **ACT)
    offline_shop.issue(user=DEE)
    offline_shop.issue(user=HAL, machine_id=str(numbered_machine(2)))
    offline_shop.issue("KRE")  # converts nobody's seat
    members.remove_member(made, CY, **ACT)
    shop.assign(made, "KRE", DEE)
    members.remove_member(made, DEE, **ACT)
    members.add_members(made, [CY], Role.MEMBER, **ACT)
    shop.assign(made, "KSE", GUS)
    return made


@pytest.fixture
def renewed(lived: Organization) -> Organization:
    """The same a year later: all seats but one were carried over, and Ada had a new one already."""
    shop.subscribe(lived, {"KSE": 9}, starts_at=shop.END, ends_at=shop.END.replace(year=2025))
    shop.assign(lived, "KSE", ADA, now=ENDED)
    renewals.carry_over(lived, "KSE", policy=shop.POLICY, actor=shop.ACTOR, now=ENDED)
    return lived


def sql(statement: str, *values: object) -> None:
    """Change the database behind the ledger's back."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def whole() -> list[tuple[str, str]]:
    """Return the findings on seats, by holder."""
    return [_short(finding.place, finding.what) for finding in verify().findings]


def since(anchor: str) -> list[tuple[str, str]]:
    """Return those of a check from an anchor on."""
    return [_short(finding.place, finding.what) for finding in verify_from(anchor).findings]


def _short(place: str, what: str) -> tuple[str, str]:
    words = place.split()
    return (words[2] if words[0] == "seat" else words[0], what)


def rename(old: str, new: str) -> None:
    sql(
        "UPDATE ledger_allocation SET holder = %s WHERE kind = 'named' AND released_at IS NULL AND holder = %s",
        new,
        old,
    )


def insert(pool: Pool, holder: str) -> None:
    """Put a seat there with a counter to match."""
    Allocation.objects.create(id=new_id(shop.NOW), pool=pool, kind="named", holder=holder, created_at=shop.NOW)
    Pool.objects.filter(pk=pool.pk).update(used=pool.used + 1)


def kse() -> Pool:
    return Pool.objects.get(product="KSE", subscription__ends_at=shop.END)


def anchors() -> list[str]:
    rows = AuditEvent.objects.order_by("seq").values_list("seq", "digest")
    return [START, *[f"{seq}:{digest}" for seq, digest in rows]]


@pytest.mark.parametrize("world", ["lived", "renewed"])
def test_every_kind_of_act_agrees_with_the_seats_from_every_row_on(
    ledger: Ledger, world: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(world)

    assert [] == whole()
    assert [[]] * len(anchors()) == [since(anchor) for anchor in anchors()]


def test_a_renewal_leaves_a_row_for_the_seat_that_it_only_frees(renewed: Organization) -> None:
    [row] = AuditEvent.objects.filter(action="seat.unassigned", at=ENDED)

    assert (ADA, str(kse().pk)) == (row.subject, json.loads(row.details)["pool"])


@pytest.mark.parametrize("check", [whole, lambda: since(START)], ids=["whole", "since"])
def test_a_holder_changed_by_sql_is_found_at_both(lived: Organization, check: Callable[[], list[object]]) -> None:
    rename(FAY, CY)

    assert [(CY, INSERTED), (FAY, REMOVED)] == check()


def test_a_seat_inserted_by_sql_is_found_with_a_counter_to_match(lived: Organization) -> None:
    anchor = verify().anchor
    insert(kse(), EVE)

    assert [(EVE, INSERTED), (EVE, STRANGER)] == whole()
    # Dated as late as the anchor: that is enough for a check from there on.
    assert [(EVE, INSERTED)] == since(anchor)


def test_a_seat_removed_by_sql_is_found_with_a_counter_to_match(lived: Organization) -> None:
    pool = kse()
    sql("DELETE FROM ledger_allocation WHERE kind = 'named' AND holder = %s", FAY)
    Pool.objects.filter(pk=pool.pk).update(used=pool.used - 1)

    assert [(FAY, REMOVED)] == whole() == since(START)


def test_a_seat_that_was_put_in_anothers_place_is_found(lived: Organization) -> None:
    row = Allocation.objects.get(holder=FAY)
    Allocation.objects.filter(pk=row.pk).delete()
    Allocation.objects.create(id=new_id(shop.NOW), pool=row.pool, kind="named", holder=FAY, created_at=shop.NOW)

    assert [(FAY, "it is not the seat that the audit log tells of: changed")] == whole() == since(START)


def test_a_seat_that_an_act_has_ended_is_found_when_sql_revives_it(lived: Organization) -> None:
    anchor = verify().anchor
    seats.unassign(lived, "KSE", [GUS], **ACT)
    members.remove_member(lived, ADA, **ACT)
    revived = "UPDATE ledger_allocation SET released_at = NULL, ending = '' WHERE holder = %s"
    used = kse().used
    sql(revived, GUS)
    sql(revived, ADA)
    Pool.objects.filter(product="KSE").update(used=used + 2)
    Pool.objects.filter(product="KRE").update(assigned=2)

    assert [(ADA, INSERTED), (ADA, INSERTED), (GUS, INSERTED)] == sorted(since(anchor))
    assert {(ADA, INSERTED), (GUS, INSERTED), (ADA, STRANGER)} == set(whole())


def test_a_seat_that_sql_gave_away_is_found_after_a_later_act_has_ended_it(lived: Organization) -> None:
    rename(FAY, CY)
    seats.unassign(lived, "KSE", [CY], **ACT)

    assert [("audit", f"it ends a seat of {CY}, but no row before it gave it"), (FAY, REMOVED)] == whole()


def test_in_front_of_the_anchor_nothing_is_looked_at(lived: Organization) -> None:
    seats.unassign(lived, "KSE", [GUS], actor=shop.ACTOR, now=shop.NOW + timedelta(minutes=1))
    anchor = verify().anchor
    rename(FAY, CY)

    assert [] == since(anchor)


def test_a_ledger_whose_renewals_left_no_row_for_a_seat_agrees(
    lived: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append_many
    monkeypatch.setattr(
        log,
        "append_many",
        lambda events, **more: append([one for one in events if one.action != "seat.unassigned"], **more),
    )
    shop.subscribe(lived, {"KSE": 9}, starts_at=shop.END, ends_at=shop.END.replace(year=2025))
    shop.assign(lived, "KSE", ADA, now=ENDED)
    renewals.carry_over(lived, "KSE", policy=shop.POLICY, actor=shop.ACTOR, now=ENDED)

    assert [] == whole() == since(START)
    assert not AuditEvent.objects.filter(action="seat.unassigned", at=ENDED).exists()
    # Only in a subscription that has ended.
    Allocation.objects.filter(holder=GUS, released_at__isnull=True).update(released_at=ENDED, ending="transferred")
    assert (GUS, REMOVED) in whole()


def test_a_row_that_does_not_say_which_seat_is_found(lived: Organization) -> None:
    sql("UPDATE ledger_auditevent SET details = '[]' WHERE action = 'seat.transferred'")

    assert ("audit", "it does not say what its act on a seat needs: changed") in whole()


def test_many_seats_take_few_statements(ledger: Ledger) -> None:
    people = [f"user{number}@example.com" for number in range(60)]
    made = shop.organization(offline_shop.NAME, *people)
    shop.subscribe(made, {"KSE": 60})
    asked = []
    for part in (people[:5], people[5:]):
        shop.assign(made, "KSE", *part)
        with CaptureQueriesContext(connection) as captured:
            assert () == verify().findings
        asked.append(len(captured))
    assert asked[0] == asked[1]


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_one_large_organisation_costs_no_more_for_each_seat_than_a_small_one(ledger: Ledger) -> None:
    costs = []
    for number in (100, 800):
        people = [f"user{number}x{each}@example.com" for each in range(number)]
        made = shop.organization(f"Of {number}", *people)
        shop.subscribe(made, {"KSE": number})
        shop.assign(made, "KSE", *people)
        costs.append(_steps_of_a_check())

    assert costs[1] < 15 * costs[0]  # nine times the seats; were each compared with each, sixty times the work


def _steps_of_a_check() -> int:
    """Return how many hundreds of its instructions SQLite carries out for a check of the seats."""
    steps = []
    connection.ensure_connection()
    connection.connection.set_progress_handler(lambda: steps.append(1), 100)
    try:
        list(Seats().compare())
    finally:
        connection.connection.set_progress_handler(None, 0)
    return len(steps)
