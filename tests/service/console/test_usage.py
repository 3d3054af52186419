"""Usage and records in the browser: the chart of a product, the usage report as a file, the audit log."""

import asyncio
import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from django.db import connection, transaction
from django.test import AsyncClient
from freezegun import freeze_time

import offline_shop
import shop
from administration import ADA, ADMIN, BILLING, BOB, OWNER, found
from console_site import Desk
from databases import Ledger
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_issuer.ledger.seats import concurrency, utilisation
from keyseat_issuer.ledger.sessions import admin
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared.errors import KeyseatError
from vendor import MACHINE

LATER = shop.NOW + timedelta(days=10)
ONE_DATABASE = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with freeze_time(LATER):
        yield


def lease(organization: Organization, start: datetime, hours: int, email: str = ADA, product: str = "KRE") -> Lease:
    """Add a session that ran for some hours, as the service leaves it."""
    end = start + timedelta(hours=hours)
    return Lease.objects.create(
        id=new_id(start),
        pool=Pool.objects.filter(subscription__organization=organization, product=product).first(),
        organization=organization,
        product=product,
        holder=email,
        email=email,
        machine_id=str(MACHINE),
        seats=0,
        started_at=start,
        renewed_at=start,
        expires_at=end,
        ended_at=end,
        ending="RELEASED",
    )


def drawing(html: str) -> ET.Element:
    """Return the chart of a page; it is well-formed XML."""
    found_svg = re.search(r"<svg class=\"chart\".*?</svg>", html, re.DOTALL)
    assert found_svg
    return ET.fromstring(found_svg.group())  # noqa: S314 - our own page


@pytest.mark.both_databases
class TestDailyPeaks:
    def test_count_live_sessions_and_seats_bound_offline(self, org: Organization) -> None:
        lease(org, shop.NOW, 2)
        lease(org, shop.NOW + timedelta(hours=1), 2, BOB)
        lease(org, shop.NOW + timedelta(hours=3), 30)
        offline_shop.issue(
            "KRE",
            shop.NOW + timedelta(days=2),
            organization=org.name,
            machine_id=str(MACHINE),
        )
        days = concurrency.daily_peaks(org, "KRE", date(2023, 5, 31), date(2023, 6, 4), LATER)

        assert [
            (0, 0, 0, 0, False),
            (2, 0, 2, 2, True),
            (1, 0, 1, 2, False),
            (0, 1, 1, 2, False),
            (0, 1, 1, 2, False),
        ] == [day[1:6] for day in days]

    def test_count_the_leases_that_run_on_after_their_sessions(self, org: Organization) -> None:
        held = shop.session(org, MACHINE)
        admin.force_release(org, [held.pk], actor=shop.ACTOR, now=shop.NOW + timedelta(minutes=10))
        day = shop.NOW.date()

        [peak] = concurrency.daily_peaks(org, "KRE", day, day, LATER)

        assert (1, 1) == (peak.online, peak.lingering)
        assert held.expires_at == Lease.objects.get().lingers_until

    def test_let_a_live_session_count_until_now_and_a_dead_one_until_its_lease_ended(self, org: Organization) -> None:
        live = shop.session(org, MACHINE)
        day = shop.NOW.date()
        assert 1 == concurrency.daily_peaks(org, "KRE", day, day, shop.NOW)[0].online
        after = concurrency.daily_peaks(org, "KRE", day, day + timedelta(days=2), live.expires_at)
        assert [1, 0, 0] == [each.online for each in after]

    def test_leave_out_other_products_and_organisations(self, org: Organization) -> None:
        lease(org, shop.NOW, 2, product="KSE")
        lease(found("Another Organisation"), shop.NOW, 2)
        [day] = concurrency.daily_peaks(org, "KRE", shop.NOW.date(), shop.NOW.date(), LATER)
        assert (0, 0, 2) == (day.online, day.together, day.quota)

    def test_are_of_a_year_at_most(self, org: Organization) -> None:
        first = date(2023, 1, 1)
        assert 366 == len(concurrency.daily_peaks(org, "KRE", first, first + timedelta(days=365), LATER))
        for days in (-1, 366):
            with pytest.raises(KeyseatError, match="cannot be shown") as refused:
                concurrency.daily_peaks(org, "KRE", first, first + timedelta(days=days), LATER)
            assert "INVALID_INPUT" == refused.value.code

    @ONE_DATABASE
    def test_are_read_in_the_order_of_an_index(self, org: Organization) -> None:
        lease(org, shop.NOW, 2)
        plans: dict[str, list[str]] = {}

        def noted(execute: object, sql: str, params: object, many: object, context: object) -> object:
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"EXPLAIN QUERY PLAN {sql % tuple('?' for _ in params)}", params)
                plans[sql] = [row[3] for row in cursor.cursor.fetchall()]
            return execute(sql, params, many, context)

        with connection.execute_wrapper(noted):
            concurrency.daily_peaks(org, "KRE", shop.NOW.date(), shop.NOW.date(), LATER)
        steps = [
            step for found in plans.values() for step in found if "ledger_lease" in step or "offlinelicense" in step
        ]
        # The changes are summed up from what the look-ups gave; nothing else is read from end to end.
        assert not [step for found in plans.values() for step in found if step.startswith("SCAN ledger")]
        for index in ("lease_in_order", "lease_by_end", "lease_by_linger_end", "lease_live_by_expiry"):
            assert [step for step in steps if f"INDEX {index} (" in step], index


@ONE_DATABASE
class TestTheUsageSection:
    def test_tells_the_highest_day_and_how_often_the_quota_was_reached(self, org: Organization) -> None:
        for day in range(3):
            lease(org, shop.NOW + timedelta(days=day), 2)
            lease(org, shop.NOW + timedelta(days=day, hours=1), 2)
        lease(org, shop.NOW + timedelta(days=4), 2)
        told = Desk(ADMIN, org).get("licenses/KRE").section("usage")

        assert "Most at once in the last 30 days: 2 on 3 June 2023 (2 online, 0 bound offline)." in told
        assert "The quota of 2 was reached on 3 of 30 days." in told
        assert "While it is reached, no further session can begin." in told

    def test_says_that_nothing_was_used(self, org: Organization) -> None:
        told = Desk(ADMIN, org).get("licenses/KRE").section("usage")
        assert "Nothing was online or bound offline in the last 30 days. The quota of 2 was reached on 0 of" in told

    def test_says_what_the_quota_of_a_named_product_limits(self, org: Organization) -> None:
        told = Desk(ADMIN, org).get("licenses/KSE").section("usage")
        assert "The quota of 3 limits how many people hold a seat, not how many are online." in told

    def test_says_that_nothing_was_bought(self, ledger: Ledger) -> None:
        told = Desk(OWNER, shop.organization("Poor")).get("licenses/KRE").section("usage")
        assert "There was no subscription to KRE." in told

    def test_draws_as_many_days_as_were_asked_for(self, org: Organization) -> None:
        desk = Desk(OWNER, org)
        shown = {days: desk.get(f"licenses/KRE?days={days}") for days in ("", "30", "90", "365", "7", "x")}
        assert {"": 30, "30": 30, "90": 90, "365": 365, "7": 30, "x": 30} == {
            days: page.html.partition('aria-label="Usage by day"')[2].partition("</table>")[0].count('<th scope="row">')
            for days, page in shown.items()
        }
        assert ">90 days</a>" in shown["90"].html.partition('aria-current="true"')[2][:20]

    def test_draws_what_the_table_tells(self, org: Organization) -> None:
        lease(org, shop.NOW, 2)
        shown = Desk(OWNER, org).get("licenses/KRE")
        picture = drawing(shown.html)

        assert ("img", "chart-title chart-desc") == (picture.get("role"), picture.get("aria-labelledby"))
        assert ["1 June 2023: 1 online, 0 bound offline"] == [each.text for each in picture.findall("g/title")]
        assert [0.0, 126.0] == sorted(float(each.get("height", "")) for each in picture.findall("g/rect"))
        assert "1 June 2023 1 0 1 0 2" in shown.section("usage")
        assert " style=" not in shown.html

    def test_keeps_the_line_of_the_quota_in_step_with_subscriptions(self, org: Organization) -> None:
        shop.subscribe(
            org, {"KRE": 1}, starts_at=shop.START + timedelta(days=4), ends_at=datetime(2024, 6, 5, tzinfo=UTC)
        )
        lease(org, shop.NOW, 2)
        shown = Desk(OWNER, org).get("licenses/KRE")
        path = drawing(shown.html).find("path")
        assert path is not None
        assert 1 == path.get("d", "").count("V")
        assert "The quota of 2, then 3 was" in shown.section("usage")

    def test_says_that_a_large_quota_is_not_drawn(self, org: Organization) -> None:
        shop.subscribe(org, {"KRE": 100_000})
        lease(org, shop.NOW, 2)
        assert "A quota far above the use is not drawn." in Desk(OWNER, org).get("licenses/KRE").section("usage")

    def test_is_not_for_a_billing_manager(self, org: Organization) -> None:
        assert "" == Desk(BILLING, org).get("licenses/KRE").section("usage")


class TestTheUsageReport:
    def test_is_what_the_form_asks_for(self, org: Organization) -> None:
        lease(org, shop.NOW, 2)
        lease(org, shop.NOW + timedelta(days=1), 1)
        desk = Desk(ADMIN, org)
        form = desk.get("usage")
        assert ("2023-05-13", "2023-06-11") == tuple(re.findall(r'type="date" value="([^"]*)"', form.html))
        answer = desk.get("usage.csv?from=2023-06-01&to=2023-06-01")

        assert ("text/csv", 'attachment; filename="usage_2023-06-01_2023-06-01.csv"', "\ufeff") == (
            answer.headers["Content-Type"],
            answer.headers["Content-Disposition"],
            answer.html[0],
        )
        [head, row] = csv.reader(io.StringIO(answer.html[1:]))
        assert (list(utilisation.COLUMNS), [ADA, "KRE", "2023-06-01T12:00:00Z", "2:00:00"]) == (
            head,
            [row[1], *row[4:]],
        )

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("query", "fault"),
        [
            ("from=2023-06-02&to=2023-05-01", "The period of the report ends before it begins."),
            ("from=2021-06-02&to=2023-05-01", "Choose 1 June 2022 or a day before as the last one"),
            ("from=<never>", "'<never>' is not a date. Write a date as YYYY-MM-DD"),
        ],
    )
    def test_of_a_period_that_cannot_be_is_asked_for_again(self, org: Organization, query: str, fault: str) -> None:
        answer = Desk(ADMIN, org).get(f"usage.csv?{query}")
        assert (400, True) == (answer.status, fault in answer.text), answer.text
        assert (
            f'value="{query.partition("=")[2].partition("&")[0].replace("<", "&lt;").replace(">", "&gt;")}"'
            in answer.html
        )

    @ONE_DATABASE
    def test_comes_in_parts_however_it_is_served(self, org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(utilisation, "PAGE", 2)
        made = [str(lease(org, shop.NOW + timedelta(hours=hour), 1).pk) for hour in range(5)]
        desk = Desk(ADMIN, org)
        client = AsyncClient()
        client.cookies = desk.client.cookies

        async def parts() -> list[str]:
            answer = await client.get(desk.base + "usage.csv")
            return [part.decode() async for part in answer]

        later = asyncio.run(parts())
        assert ([2, 2, 1], made) == (
            [part.count("KRE") for part in later],
            [row[2] for row in csv.reader(io.StringIO("".join(later)[1:]))][1:],
        )
        assert "".join(later) == desk.get("usage.csv").html


class TestTheAuditLog:
    def test_tells_who_did_what_and_on_what(self, org: Organization) -> None:
        shop.session(org, MACHINE, now=LATER)
        [live] = Lease.objects.all()
        admin.force_release(org, [live.pk], actor=f"user:{ADMIN}", now=LATER)
        newest = Desk(OWNER, org).get("audit").text.partition("Details ")[2]
        assert newest.startswith(
            f"11 June 2023, 12:00:00 admin@example.com session.ended {live.pk} "
            f"product KRE holder {live.holder} reason FORCED"
        )
        assert "11 June 2023, 12:00:00 API key " in newest
        assert "expires at 11 June 2023, 13:00:00 UTC" in newest
        assert "products KSE 3, KRE 2" in newest

    def test_shows_the_vendors_staff_as_the_vendor(self, org: Organization) -> None:
        members.add_members(org, ["mary@example.com"], members.Role.MEMBER, actor="cli:root@host", now=LATER)
        shown = Desk(OWNER, org).get("audit")
        assert "11 June 2023, 12:00:00 vendor member.added mary@example.com" in shown.text
        assert "root@host" not in shown.html

    def test_tells_of_refusals_and_of_no_other_organisation(self, org: Organization) -> None:
        other = found("Another Organisation")
        with pytest.raises(KeyseatError):
            admin.force_release(other, [lease(org, shop.NOW, 1).pk], actor="user:eve@example.org", now=LATER)
        assert "session.ended.refused" in Desk(OWNER, other).get("audit").text
        assert "eve@example.org" not in Desk(OWNER, org).get("audit").text

    @pytest.mark.both_databases
    def test_can_be_narrowed_down(self, org: Organization) -> None:
        shop.assign(org, "KSE", ADA, BOB, now=LATER)
        desk = Desk(OWNER, org)

        def acts(query: str) -> list[str]:
            return re.findall(r"<code>([^<]*)</code>", desk.get(f"audit?{query}").html)

        assert ["seat.assigned", "seat.assigned"] == acts("action=seat.")
        assert ["seat.assigned"] == acts("action=seat.&q=BOB%40")
        assert ["seat.assigned", "member.added"] == acts("q=ada@")
        assert [] == acts("q=%00nobody")
        assert [] == acts("action=%25")
        assert "No event is like that." in desk.get("audit?action=none").text
        assert '<option value="none" selected>none</option>' in desk.get("audit?action=none").html

    @ONE_DATABASE
    def test_comes_in_pages_by_the_number_of_the_event(self, org: Organization) -> None:
        with transaction.atomic():
            log.append_many(
                [log.NewEvent("seat.test", f"<s{number}>", {}, org.pk) for number in range(60)],
                actor="service",
                now=LATER,
            )
        desk = Desk(OWNER, org)
        first = desk.get("audit?action=seat.&q=s")
        link = re.search(r'href="(\?[^"]*before[^"]*)">Older', first.html)
        assert link
        second = desk.get("audit" + link.group(1).replace("&amp;", "&"))

        assert (50, 10) == (first.html.count("seat.test"), second.html.count("seat.test"))
        assert ("Newest" in first.text, "Older" in second.text, "Newest" in second.text) == (False, False, True)
        assert 50 == desk.get("audit?action=seat.&before=x").html.count("seat.test")
        assert 50 == desk.get(f"audit?action=seat.&before={'9' * 19}").html.count("seat.test")

    @ONE_DATABASE
    def test_and_the_report_are_linked_from_license_management(self, org: Organization) -> None:
        html = Desk(OWNER, org).get("licenses/KSE").html
        assert [True, True] == [f'href="/organizations/{org.pk}/{page}"' in html for page in ("usage", "audit")]
