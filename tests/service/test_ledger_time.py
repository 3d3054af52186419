"""One wrong clock does not move the ledger's time: the database's clock, or the machine's uptime, has a word in it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection

import offline_shop
import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.audit import clock_correction, ledger_time, log
from keyseat_issuer.ledger.audit.ledger_time import Uptime
from keyseat_issuer.ledger.customers import organizations
from keyseat_issuer.ledger.models import AuditEvent, AuditHead, Lease
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, KeyseatError
from keyseat_shared.instants import add_years, now_utc
from vendor import MACHINE

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the second clock counts, as it does outside of tests."""
    monkeypatch.setattr(ledger_time, "_watched", True)


def add(name: str, now: datetime) -> None:
    """Act once at an instant."""
    organizations.add_organization(name, actor=shop.ACTOR, now=now)


def head() -> AuditHead:
    """Return the head of the audit log."""
    return AuditHead.objects.get()


def refusal(act: str, now: datetime) -> ClockError:
    """Return how an act at an instant is refused for its clock."""
    with pytest.raises(ClockError) as refused:
        add(act, now)
    return refused.value


class TestBothDatabases:
    @pytest.fixture(autouse=True)
    def _one(self, ledger: Ledger) -> None:
        add("One", now_utc())

    def test_an_act_by_a_clock_half_an_hour_ahead_is_refused_and_says_what_to_do(self) -> None:
        error = refusal("Two", now_utc() + 30 * MINUTE)

        assert ReasonCode.CLOCK_AHEAD is error.code
        assert error.next_step.startswith("Set the clock of this machine to the right time")

    def test_its_refusal_is_on_record_and_moves_no_time(self) -> None:
        refusal("Two", now_utc() + 30 * MINUTE)

        assert "organization.added.refused" == AuditEvent.objects.order_by("-seq")[0].action
        assert head().at < now_utc() + MINUTE
        add("Three", now_utc())
        assert verify().ok

    def test_an_act_that_is_refused_for_something_else_moves_no_time_either(self) -> None:
        with pytest.raises(KeyseatError):
            add("One", now_utc() + 30 * MINUTE)

        assert head().at < now_utc() + MINUTE

    def test_four_minutes_ahead_are_within_the_tolerance(self) -> None:
        add("Two", now_utc() + 4 * MINUTE)

        assert head().at < now_utc() + 5 * MINUTE

    def test_acts_within_the_tolerance_do_not_add_up(self) -> None:
        add("Two", now_utc() + 4 * MINUTE)

        assert ReasonCode.CLOCK_AHEAD is refusal("Three", now_utc() + 8 * MINUTE).code

    def test_a_probe_tells_of_it(self) -> None:
        clock_correction.require_right(now_utc())
        with pytest.raises(ClockError):
            clock_correction.require_right(now_utc() + 30 * MINUTE)


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
class TestDatabasesClock:
    def test_it_dates_the_act(self, ledger: Ledger) -> None:
        add("One", now_utc() - 4 * MINUTE)

        assert head().at > now_utc() - MINUTE

    def test_a_clock_behind_it_is_refused_also_where_nobody_acted_since(self, ledger: Ledger) -> None:
        error = refusal("One", now_utc() - 30 * MINUTE)

        assert (ReasonCode.CLOCK_ROLLED_BACK, ledger_time.DATABASE) == (error.code, error.details["evidence"])

    def test_the_end_of_a_long_act_is_not_taken_for_a_clock_behind(self, ledger: Ledger) -> None:
        add("One", now_utc())
        with log.transaction.atomic():
            [row] = log.append_many(
                [log.NewEvent("tested", "x", {})], actor=shop.ACTOR, now=now_utc() - timedelta(seconds=299)
            )
        assert "tested" == row.action

    def test_a_server_ahead_ends_no_session_and_grants_none(self, ledger: Ledger) -> None:
        now = now_utc()
        starts_at = now.replace(hour=0, minute=0, second=0, microsecond=0)
        customer = shop.organization("Customer", now=now)
        shop.subscribe(customer, {"KRE": 1}, starts_at=starts_at, ends_at=add_years(starts_at, 1), now=now)
        shop.session(customer, MACHINE, now=now)

        with pytest.raises(ClockError):
            shop.session(customer, MACHINE, now=now + timedelta(hours=2))

        assert [None] == list(Lease.objects.values_list("ended_at", flat=True))


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestUptime:
    @pytest.fixture
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Uptime | None]]:
        """A machine that has been up for an hour."""
        here: dict[str, Uptime | None] = {"up": Uptime("boot 1", 3600)}
        monkeypatch.setattr(ledger_time, "uptime", lambda: here["up"])
        return here

    def test_a_day_may_pass_in_a_day(self, ledger: Ledger, machine: dict[str, Uptime | None]) -> None:
        add("One", shop.NOW)
        machine["up"] = Uptime("boot 1", 3600 + 86400)

        add("Two", shop.NOW + timedelta(days=1, minutes=4))

        assert ReasonCode.CLOCK_AHEAD is refusal("Three", shop.NOW + timedelta(days=1, minutes=10)).code

    def test_another_boot_says_nothing_about_the_time_between(
        self, ledger: Ledger, machine: dict[str, Uptime | None]
    ) -> None:
        add("One", shop.NOW)
        machine["up"] = Uptime("boot 2", 10)

        add("Two", shop.NOW + timedelta(days=400))

        assert ("boot 2", 10) == (head().boot, head().anchor_uptime)

    def test_small_steps_of_an_honest_clock_do_not_add_up_for_ever(
        self, ledger: Ledger, machine: dict[str, Uptime | None]
    ) -> None:
        for day in range(30):  # two minutes a day: an hour in a month
            machine["up"] = Uptime("boot 1", 3600 + day * 86400)
            add(f"Day {day}", shop.NOW + timedelta(days=day, minutes=2 * day))

        assert shop.NOW + timedelta(days=29, minutes=58) == head().at

    def test_where_no_uptime_is_told_only_the_rows_count(
        self, ledger: Ledger, machine: dict[str, Uptime | None]
    ) -> None:
        machine["up"] = None
        add("One", shop.NOW)
        add("Two", shop.NOW + timedelta(days=1))

        assert "" == head().boot

    def test_this_machine_tells_its_uptime(self, ledger: Ledger) -> None:
        found = ledger_time.uptime()

        assert found is not None
        assert found.boot
        assert found.seconds > 0


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestCorrection:
    @pytest.fixture(autouse=True)
    def _ahead(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """A ledger whose time a wrong clock has moved two hours ahead, at a start of the machine."""
        monkeypatch.setattr(ledger_time, "uptime", lambda: Uptime("boot 1", 3600))
        add("One", shop.NOW + timedelta(hours=2))
        assert ReasonCode.CLOCK_ROLLED_BACK is refusal("Two", shop.NOW).code

    def test_the_ledger_goes_on_from_the_right_time_and_agrees_with_itself(self) -> None:
        clock_correction.accept(shop.NOW, actor=shop.ACTOR)
        add("Two", shop.NOW + MINUTE)

        assert shop.NOW + MINUTE == head().at
        assert () == verify().findings

    def test_it_is_on_record_with_both_times(self) -> None:
        clock_correction.accept(shop.NOW, actor=shop.ACTOR)

        row = AuditEvent.objects.get(action="clock.accepted")
        assert '{"from":"2023-06-01T14:00:00Z","to":"2023-06-01T12:00:00Z"}' == row.details

    def test_a_row_that_only_looks_like_it_is_found(self) -> None:
        clock_correction.accept(shop.NOW, actor=shop.ACTOR)
        row = AuditEvent.objects.get(action="clock.accepted")
        row.details = row.details.replace("14:00", "13:00")
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE ledger_auditevent SET details = %s, digest = %s WHERE seq = %s",
                [row.details, log.row_digest(row), row.seq],
            )

        assert "it is dated before the row before it" in {finding.what for finding in verify().findings}

    def test_what_the_sunset_has_ended_stays_ended(self) -> None:
        with ledger_time.story_time():
            add("After the sunset", offline_shop.SUNSET)
        clock_correction.accept(shop.NOW + MINUTE, actor=shop.ACTOR)
        with ledger_time.story_time():
            after = shop.NOW + 2 * MINUTE
            customer = shop.organization(offline_shop.NAME, offline_shop.ADA, now=after)
            shop.subscribe(customer, {"KSE": 1}, now=after)
            with pytest.raises(KeyseatError) as refused:
                offline_shop.issue(now=after)

        assert ReasonCode.ISSUED_AFTER_SUNSET is refused.value.code

    def test_it_never_goes_back_before_a_licence_that_was_issued(self) -> None:
        with ledger_time.story_time():
            later = shop.NOW + timedelta(hours=3)
            customer = shop.organization(offline_shop.NAME, offline_shop.ADA, now=later)
            shop.subscribe(customer, {"KSE": 1}, now=later)
            offline_shop.issue(now=later)

        with pytest.raises(ClockError) as refused:
            clock_correction.accept(shop.NOW, actor=shop.ACTOR)

        assert "an offline licence was issued at 2023-06-01T15:00:00Z" in refused.value.message
        assert later == head().at

    def test_a_time_that_needs_no_correction_gets_none(self) -> None:
        with pytest.raises(KeyseatError) as refused:
            clock_correction.accept(shop.NOW + timedelta(hours=2), actor=shop.ACTOR)

        assert ReasonCode.ALREADY_EXISTS is refused.value.code

    def test_an_honest_clock_that_was_set_right_by_a_jump_is_accepted(self) -> None:
        jumped = shop.NOW + timedelta(hours=5)
        assert ReasonCode.CLOCK_AHEAD is refusal("Two", jumped).code

        clock_correction.accept(jumped, actor=shop.ACTOR)

        add("Two", jumped)
        assert jumped == head().at


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_only_the_databases_own_time_is_accepted(ledger: Ledger) -> None:
    with ledger_time.story_time():
        add("One", now_utc() + timedelta(hours=2))

    for wrong in (now_utc() - 30 * MINUTE, now_utc() + 30 * MINUTE):
        with pytest.raises(ClockError):
            clock_correction.accept(wrong, actor=shop.ACTOR)
    clock_correction.accept(now_utc(), actor=shop.ACTOR)

    add("Two", now_utc())
    assert () == verify().findings
