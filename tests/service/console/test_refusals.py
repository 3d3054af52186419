"""A bad day in the console: what fails is told in words for whoever reads them, with a next step of their own."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, ADMIN, OWNER
from console_site import Desk
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Organization

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)

THEIRS = "tell whoever runs this server"


@pytest.mark.parametrize("path", ["licenses/KSE/assign", "licenses/KSE/offline/new"])
def test_a_clock_set_back_is_not_the_visitors_to_set(org: Organization, path: str) -> None:
    form = {"emails": ADMIN, "confirmed": "yes", "machine_id": str(offline_shop.MACHINE), "user": ADA}
    with freeze_time(shop.NOW - timedelta(hours=1)):
        shown = Desk(OWNER, org).post(path, form, page="/account/password")

    assert "newest audit row" in shown.text
    assert (True, False) == (THEIRS in shown.text, "clock of this machine" in shown.text)


def test_a_database_that_fails_sends_nobody_to_a_command_line(org: Organization) -> None:
    desk = Desk(OWNER, org)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_lease RENAME TO ledger_gone")

    shown = desk.get("licenses/KSE")

    assert (503, True, False) == (shown.status, THEIRS in shown.text, "keyseat-issuer" in shown.text)


def test_a_list_that_is_far_too_long_is_told_so_by_its_form(org: Organization) -> None:
    emails = "\n".join(f"user{number}@example.com" for number in range(20_000))
    shown = Desk(OWNER, org).post("licenses/KSE/assign", {"emails": emails})

    assert 400 == shown.status
    assert "larger than 64 KiB together. Send it in parts." in shown.text


def test_instants_in_lists_of_the_audit_log_are_read_as_such(org: Organization) -> None:
    offline_shop.issue("KSE", organization=org.name, user=ADA)
    members.remove_member(org, ADA, actor="test", now=shop.NOW)

    shown = Desk(OWNER, org).get("audit")

    assert re.search(r"offline until 1 June 2024, 00:00:00 UTC", shown.text)
    assert "&lt;time" not in shown.html
