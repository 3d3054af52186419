"""The console of a big organisation: nothing is left out of the lists, and pages read what they show."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import shop
from administration import OWNER, found
from console_site import Desk
from databases import Ledger
from keyseat_issuer.ledger.models import Lease, Organization
from vendor import MACHINE

MANY = 1100

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    """An organisation with one session, and many that began after it, each on a machine of its own."""
    made = found(kre=2 * MANY)
    first = shop.session(made, MACHINE)
    first.pool.used = MANY + 1
    first.pool.save()
    later = []
    for number in range(MANY):
        row = Lease.objects.get(pk=first.pk)
        row.pk, row.machine_id, row.idempotency = UUID(int=number), f"mid1{number:020}", None
        row.started_at += timedelta(seconds=1)
        later.append(row)
    Lease.objects.bulk_create(later)
    return made


def test_every_session_is_listed_and_can_be_ended(org: Organization) -> None:
    desk = Desk(OWNER, org)
    oldest = Lease.objects.order_by("started_at")[0]

    assert f"1 to 50 of {MANY + 1}" in desk.get("licenses/KRE").section("sessions")
    assert str(oldest.pk) in desk.get("licenses/KRE?sessions=last").html
    form: dict[str, object] = {"session": [str(oldest.pk), "-" * 36, "\0"], "confirmed": "yes"}
    assert "Ended 1 session." in desk.post("licenses/KRE/sessions/end", form, page="usage").text


def test_every_machine_is_listed_and_can_be_removed(org: Organization) -> None:
    desk = Desk(OWNER, org)

    assert f"1 to 50 of {MANY + 1}" in desk.get("licenses/KRE").section("machines")
    form: dict[str, object] = {"machine": str(MACHINE), "confirmed": "yes"}
    assert "Sessions ended on the machine: 1." in desk.post("licenses/KRE/machines/remove", form, page="usage").text
    assert "holds nothing" in desk.post("licenses/KRE/machines/remove", {"machine": "a\0"}, page="usage").text


@pytest.mark.parametrize("path", ["licenses/KSE", "licenses/KRE", "members", "members/{member}"])
def test_a_page_makes_no_objects_of_sessions_that_it_does_not_show(
    org: Organization, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(OWNER, org)
    member = org.memberships.get(email=OWNER).pk
    made = []
    read = Lease.from_db.__func__
    monkeypatch.setattr(Lease, "from_db", classmethod(lambda kind, *row: made.append(1) or read(kind, *row)))

    assert 200 == desk.get(path.format(member=member)).status
    assert len(made) <= 2 * 50 + 1  # a page of sessions and whether there is another, and a page of machines


def test_the_number_of_queries_does_not_grow_with_what_is_listed(org: Organization) -> None:
    desk = Desk(OWNER, org)
    with CaptureQueriesContext(connection) as many:
        desk.get("licenses/KRE")
    kept = Lease.objects.order_by("pk").values_list("pk", flat=True)[:60]
    Lease.objects.exclude(pk__in=list(kept)).delete()
    with CaptureQueriesContext(connection) as few:
        desk.get("licenses/KRE")
    assert len(few) == len(many)
