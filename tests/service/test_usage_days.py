"""The roll-up of usage: what is stored, by whose clock, and what a correction of the ledger's time does to it."""

from datetime import datetime, timedelta

import pytest
from django.db import connection

import shop
from administration import found
from databases import Ledger
from keyseat_issuer.ledger.audit import clock_correction, ledger_time
from keyseat_issuer.ledger.models import Lease, Organization, UsageDay
from keyseat_issuer.ledger.seats import concurrency, usage_days
from keyseat_issuer.ledger.seats.usage_events import Place
from vendor import MACHINE

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_days, "WORTH", 1)


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    """An organisation with a session since ``shop.NOW``."""
    made = found()
    shop.session(made, MACHINE)
    return made


def look(org: Organization, now: datetime, days: int = 1) -> list[int]:
    """Return the peaks of the last days."""
    first = now.date() - timedelta(days=days - 1)
    return [day.online for day in concurrency.daily_peaks(org, "KRE", first, now.date(), now)]


def stored() -> list[tuple[int, datetime]]:
    return list(UsageDay.objects.order_by("day").values_list("online", "through"))


def act(org: Organization, at: datetime) -> None:
    """Let something happen in the ledger."""
    shop.assign(org, "KSE", "ada@example.com", now=at)


@pytest.fixture
def no_second_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_time, "second_clock", lambda _head: None)


@pytest.mark.usefixtures("no_second_clock")
class TestWhatIsStored:
    def test_is_settled(self, org: Organization) -> None:
        act(org, shop.NOW + HOUR)

        assert [1] == look(org, shop.NOW + HOUR)
        assert [(1, shop.NOW + HOUR - usage_days.SETTLED)] == stored()

    def test_goes_no_further_than_the_ledger_whatever_clock_who_looks_has(self, org: Organization) -> None:
        act(org, shop.NOW + HOUR)

        assert [1, 0, 0] == look(org, shop.NOW + timedelta(days=2), 3)
        assert [(1, shop.NOW + HOUR - usage_days.SETTLED)] == stored()

    def test_goes_no_further_than_the_clock_of_who_looks(self, org: Organization) -> None:
        act(org, shop.NOW + 3 * HOUR)
        look(org, shop.NOW + HOUR)

        assert [(1, shop.NOW + HOUR - usage_days.SETTLED)] == stored()

    def test_follows_the_second_clock_where_nothing_happens(
        self, org: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledger_time, "second_clock", lambda _head: shop.NOW + 5 * HOUR)
        look(org, shop.NOW + 9 * HOUR)

        assert [(1, shop.NOW + 5 * HOUR - usage_days.SETTLED)] == stored()

    def test_is_little_where_little_has_happened(self, org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(usage_days, "WORTH", 1000)
        act(org, shop.NOW + HOUR)

        assert [1] == look(org, shop.NOW + HOUR)
        assert [] == stored()

    def test_is_what_another_has_stored_who_went_further(self, org: Organization) -> None:
        act(org, shop.NOW + 2 * HOUR)
        known, place = usage_days._corrections(), Place(org.pk, "KRE")
        slow = usage_days._counted(place, shop.NOW + HOUR, known)
        look(org, shop.NOW + 2 * HOUR)
        before = stored()
        usage_days._roll_up(place, slow, shop.NOW + HOUR, known)

        assert before == stored()

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_is_nothing_where_the_ledger_cannot_be_written(self, org: Organization) -> None:
        act(org, shop.NOW + HOUR)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
            assert [1] == look(org, shop.NOW + HOUR)
            cursor.execute("PRAGMA query_only = OFF")
        assert [] == stored()

    def test_can_be_all_of_it_before_anybody_looks(self, org: Organization) -> None:
        act(org, shop.NOW + timedelta(days=2))
        assert [Place(org.pk, "KRE")] == usage_days.large(1)
        assert [] == usage_days.large()
        usage_days.fill(Place(org.pk, "KRE"), shop.NOW + timedelta(days=3))

        assert [1, 0, 0] == [online for online, _ in stored()]


def test_a_session_that_ended_before_it_began_counts_nothing(org: Organization) -> None:
    Lease.objects.update(ended_at=shop.NOW - HOUR, ending="FORCED", lingers_until=shop.NOW + HOUR)
    day = concurrency.daily_peaks(org, "KRE", shop.NOW.date(), shop.NOW.date(), shop.NOW + HOUR)[0]

    assert (0, 0) == (day.online, day.lingering)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("no_second_clock")
class TestAfterACorrection:
    def corrected(self, org: Organization) -> None:
        """Let a wrong clock move the ledger's time ahead, somebody look then, and set it right."""
        with ledger_time.story_time():
            act(org, shop.NOW + timedelta(days=2))
        assert [1, 0, 0] == look(org, shop.NOW + timedelta(days=2), 3)
        clock_correction.accept(shop.NOW + HOUR / 2, actor=shop.ACTOR)

    def test_what_was_stored_behind_it_counts_no_more(self, org: Organization) -> None:
        self.corrected(org)
        assert 3 == len(stored())
        shop.session(org, MACHINE, now=shop.NOW + HOUR / 2)

        assert [2] == look(org, shop.NOW + HOUR)
        assert [2, 0] == look(org, shop.NOW + timedelta(days=1), 2)

    def test_what_was_stored_before_it_counts(self, org: Organization) -> None:
        act(org, shop.NOW + timedelta(days=1))
        look(org, shop.NOW + timedelta(days=1), 2)
        [(_, first_day), _] = stored()
        UsageDay.objects.filter(through=first_day).update(online=7)
        with ledger_time.story_time():
            shop.assign(org, "KSE", "bob@example.com", now=shop.NOW + timedelta(days=4))
        clock_correction.accept(shop.NOW + timedelta(days=1), actor=shop.ACTOR)

        assert [7, 0] == look(org, shop.NOW + timedelta(days=1), 2)

    def test_of_a_time_that_nobody_can_read_nothing_stored_counts(self, org: Organization) -> None:
        act(org, shop.NOW + HOUR)
        look(org, shop.NOW + HOUR)
        UsageDay.objects.update(online=7)
        assert [7] == look(org, shop.NOW + HOUR)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE ledger_auditevent SET action = 'clock.accepted', details = '{}'"
                " WHERE seq = (SELECT MAX(seq) FROM ledger_auditevent)"
            )

        assert [1] == look(org, shop.NOW + HOUR)
