"""The vendor's rules at their exact instants."""

from datetime import UTC, datetime, timedelta

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import ClockError, RuleError
from keyseat_shared.policy import default_policy
from keyseat_shared.rules import (
    check_annual,
    check_current,
    check_evidence,
    check_expiry_bounds,
    check_length,
    check_not_before_floor,
    check_sunset,
    lease_bounds,
)

SECOND = timedelta(seconds=1)
START, END = datetime(2023, 6, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
SUNSET = datetime(2024, 1, 17, tzinfo=UTC)
POLICY = default_policy()


class TestAnnual:
    @pytest.mark.parametrize("end", [END, datetime(2026, 6, 1, tzinfo=UTC)])
    def test_an_annual_subscription_of_whole_years_converts(self, end: datetime) -> None:
        check_annual("annual", START, end, POLICY)

    @pytest.mark.parametrize("term", ["monthly", "trial", "Annual"])
    def test_another_term_is_refused(self, term: str) -> None:
        with pytest.raises(RuleError, match=f"a {term} subscription") as caught:
            check_annual(term, START, END, POLICY)
        assert ReasonCode.NOT_ANNUAL == caught.value.code
        assert {"term": term, "eligible_terms": ["annual"]} == caught.value.details

    @pytest.mark.parametrize("end", [END - SECOND, END + SECOND, START + timedelta(days=31), START])
    def test_a_period_that_is_no_whole_number_of_years_is_refused(self, end: datetime) -> None:
        with pytest.raises(RuleError, match="not a whole number of years") as caught:
            check_annual("annual", START, end, POLICY)
        assert ReasonCode.NOT_ANNUAL == caught.value.code

    def test_another_vendor_may_convert_monthly_subscriptions(self) -> None:
        check_annual("monthly", START, START + timedelta(days=30), POLICY._replace(eligible_terms=("monthly",)))

    def test_a_vendor_may_convert_none(self) -> None:
        with pytest.raises(RuleError, match="eligible: none"):
            check_annual("annual", START, END, POLICY._replace(eligible_terms=()))

    @pytest.mark.parametrize("term", ["annual", "monthly"])
    def test_no_subscription_is_longer_than_the_policy_allows(self, term: str) -> None:
        policy = POLICY._replace(eligible_terms=("annual", "monthly"))
        for years, allowed in ((10, policy), (1, policy._replace(max_years=1)), (7976, POLICY)):
            end = START.replace(year=2023 + years)
            if allowed is not POLICY:
                check_annual(term, START, end, allowed)
                end = end.replace(year=end.year + 1)
            with pytest.raises(RuleError) as caught:
                check_annual(term, START, end, policy if allowed is POLICY else allowed)
            assert ReasonCode.NOT_ANNUAL == caught.value.code
            assert caught.value.details["max_years"] == allowed.max_years

    def test_a_term_that_is_not_in_years_is_measured_to_the_second(self) -> None:
        policy = POLICY._replace(eligible_terms=("monthly",), max_years=1)
        check_annual("monthly", START, END, policy)
        with pytest.raises(RuleError, match="longer than 1 year,"):
            check_annual("monthly", START, END + SECOND, policy)

    def test_ten_years_from_a_leap_day_end_on_28_february(self) -> None:
        leap = datetime(2024, 2, 29, tzinfo=UTC)
        check_annual("annual", leap, datetime(2034, 2, 28, tzinfo=UTC), POLICY)
        with pytest.raises(RuleError, match="longer than 10 years"):
            check_length(leap, datetime(2034, 3, 1, tzinfo=UTC), POLICY)

    def test_at_the_end_of_time_nothing_overflows(self) -> None:
        last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        check_length(last.replace(year=9998), last, POLICY)
        check_length(last, last, POLICY)
        with pytest.raises(RuleError):
            check_length(datetime(1, 1, 1, tzinfo=UTC), last, POLICY)


class TestSunset:
    def test_the_last_second_before_the_sunset_passes(self) -> None:
        check_sunset(datetime(2024, 1, 16, 23, 59, 59, tzinfo=UTC), POLICY)

    @pytest.mark.parametrize("late", [timedelta(0), SECOND, timedelta(days=400)])
    def test_from_the_sunset_nothing_is_generated(self, late: timedelta) -> None:
        with pytest.raises(RuleError, match="ended at 2024-01-17T00:00:00Z") as caught:
            check_sunset(SUNSET + late, POLICY)
        assert ReasonCode.ISSUED_AFTER_SUNSET == caught.value.code
        assert "online" in caught.value.next_step

    def test_without_a_sunset_generation_never_ends(self) -> None:
        check_sunset(datetime(2999, 1, 1, tzinfo=UTC), default_policy(sunset=None))


class TestExpiryBounds:
    @pytest.mark.parametrize("expires_at", [END, END - SECOND, START + SECOND])
    def test_an_expiry_within_the_subscription_passes(self, expires_at: datetime) -> None:
        check_expiry_bounds(expires_at, START, END)

    def test_an_expiry_after_the_subscription_is_refused(self) -> None:
        with pytest.raises(RuleError) as caught:
            check_expiry_bounds(END + SECOND, START, END)
        assert ReasonCode.EXPIRY_AFTER_SUBSCRIPTION == caught.value.code

    @pytest.mark.parametrize("early", [timedelta(0), SECOND, timedelta(days=1)])
    def test_an_expiry_not_after_the_issue_is_refused(self, early: timedelta) -> None:
        with pytest.raises(RuleError) as caught:
            check_expiry_bounds(START - early, START, END)
        assert ReasonCode.EXPIRY_IN_PAST == caught.value.code

    @pytest.mark.parametrize("late", [timedelta(0), SECOND])
    def test_an_ended_subscription_issues_nothing(self, late: timedelta) -> None:
        with pytest.raises(RuleError) as caught:
            check_expiry_bounds(END, END + late, END)
        assert ReasonCode.SUBSCRIPTION_ENDED == caught.value.code


class TestEvidence:
    @pytest.mark.parametrize("source", ["none", "instance-file", "host-id"])
    def test_without_a_ban_every_kind_of_evidence_counts(self, source: str) -> None:
        check_evidence(source, POLICY)

    def test_a_forbidden_kind_of_evidence_is_too_weak(self) -> None:
        strict = POLICY._replace(forbidden_evidence=("instance-file",))
        check_evidence("host-id", strict)
        with pytest.raises(RuleError, match="forbids") as caught:
            check_evidence("instance-file", strict)
        assert ReasonCode.MACHINE_WEAK == caught.value.code


class TestCurrent:
    @pytest.mark.parametrize("now", [START, END - SECOND])
    def test_a_licence_counts_from_its_start_to_its_last_second(self, now: datetime) -> None:
        check_current(START, END, now)

    def test_before_its_start_it_does_not_count_yet(self) -> None:
        with pytest.raises(RuleError) as caught:
            check_current(START, END, START - SECOND)
        assert ReasonCode.NOT_YET_VALID == caught.value.code

    @pytest.mark.parametrize("now", [END, END + SECOND])
    def test_from_its_expiry_it_has_expired(self, now: datetime) -> None:
        with pytest.raises(RuleError, match="expired at 2024-06-01T00:00:00Z") as caught:
            check_current(START, END, now)
        assert ReasonCode.EXPIRED == caught.value.code


class TestClockFloor:
    @pytest.mark.parametrize("lag", [timedelta(0), timedelta(minutes=5), -timedelta(days=1)])
    def test_a_clock_may_lag_five_minutes(self, lag: timedelta) -> None:
        check_not_before_floor(START - lag, START, "the licence")

    def test_the_first_instant_of_all_is_a_floor_like_any_other(self) -> None:
        first = datetime.min.replace(tzinfo=UTC)
        check_not_before_floor(first, first, "the licence")

    def test_a_clock_that_lags_more_was_set_back(self) -> None:
        with pytest.raises(ClockError, match="but the licence is from 2023-06-01T00:00:00Z") as caught:
            check_not_before_floor(START - timedelta(minutes=5) - SECOND, START, "the licence")
        assert ReasonCode.CLOCK_ROLLED_BACK == caught.value.code
        assert caught.value.details["evidence"] == "the licence"


class TestLeaseBounds:
    @pytest.mark.parametrize(
        ("renewed", "lasts", "expected"),
        [
            (1200, 3600, (1200, 3600)),
            (1201, 3601, (1200, 3600)),
            (0, 0, (0, 0)),
            (7, 90 * 86400, (7, 3600)),
            (3600, 3600, (1200, 3600)),
        ],
    )
    def test_a_lease_is_as_long_as_the_policy_lets_it_be(
        self, renewed: int, lasts: int, expected: tuple[int, int]
    ) -> None:
        found = lease_bounds(START, START + timedelta(seconds=renewed), START + timedelta(seconds=lasts), POLICY)
        assert expected == tuple([(instant - START).total_seconds() for instant in found])

    def test_at_the_end_of_time_nothing_overflows(self) -> None:
        last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        assert (last, last) == lease_bounds(last, last, last, POLICY)
