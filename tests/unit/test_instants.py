"""Instants: one way to write them, ends exclusive, and what people type."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from freezegun import freeze_time

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import add_years, format_instant, now_utc, parse_instant, parse_typed, shifted, whole_years


def day(text: str) -> datetime:
    return datetime.fromisoformat(text + "T00:00:00+00:00")


class TestTimestamps:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2024-01-16T23:59:59Z", datetime(2024, 1, 16, 23, 59, 59, tzinfo=UTC)),
            ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
            ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
            ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_a_timestamp_is_read_and_written_back(self, text: str, expected: datetime) -> None:
        assert expected == parse_instant(text)
        assert text == format_instant(expected)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("2023-W01-1T00:00:00Z", id="ISO week date of 20 characters"),
            pytest.param("2023-06-01T24:00:00Z", id="hour 24"),
            pytest.param("2016-12-31T23:59:60Z", id="leap second"),
            pytest.param("2023-06-01T00:60:00Z", id="minute 60"),
            pytest.param("2023-02-29T00:00:00Z", id="29 February of a common year"),
            pytest.param("1900-02-29T00:00:00Z", id="29 February of 1900"),
            pytest.param("2023-04-31T00:00:00Z", id="31 April"),
            pytest.param("2023-13-01T00:00:00Z", id="month 13"),
            pytest.param("2023-00-01T00:00:00Z", id="month 0"),
            pytest.param("2023-01-00T00:00:00Z", id="day 0"),
            pytest.param("0000-01-01T00:00:00Z", id="year 0"),
            pytest.param("10000-01-01T00:00:00Z", id="year 10000"),
            pytest.param("2023-06-01T00:00:00", id="no zone"),
            pytest.param("2023-06-01T00:00:00+00:00", id="offset instead of Z"),
            pytest.param("2023-06-01t00:00:00z", id="lower case"),
            pytest.param("2023-06-01 00:00:00Z", id="space instead of T"),
            pytest.param("2023-06-01T00:00:00.5Z", id="fraction"),
            pytest.param("2023-06-01T00:00:00Z\n", id="line break at the end"),
            pytest.param("20230601T000000Z", id="basic format"),
            pytest.param("٢٠٢٣-06-01T00:00:00Z", id="digits of another script"),
            pytest.param("", id="empty"),
        ],
    )
    def test_another_form_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"timestamp|month|day|year|minute|second"):
            parse_instant(text)

    def test_another_zone_is_written_as_utc_and_fractions_are_cut(self) -> None:
        local = datetime(2024, 1, 17, 1, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=2)))
        expected = "2024-01-16T23:59:59Z"
        assert expected == format_instant(local)

    def test_now_is_whole_seconds_in_utc(self) -> None:
        with freeze_time("2024-01-16T23:59:59.999999Z"):
            assert datetime(2024, 1, 16, 23, 59, 59, tzinfo=UTC) == now_utc()


class TestTypedDates:
    def test_a_date_is_its_first_instant(self) -> None:
        assert day("2023-06-01") == parse_typed("2023-06-01", end_of_day=False)

    def test_an_end_date_is_through_the_end_of_that_day(self) -> None:
        assert day("2024-03-01") == parse_typed(" 2024-02-29 ", end_of_day=True)

    def test_a_full_timestamp_is_itself(self) -> None:
        assert datetime(2023, 6, 1, 1, 2, 3, tzinfo=UTC) == parse_typed("2023-06-01T01:02:03Z", end_of_day=True)

    @pytest.mark.parametrize("text", ["", "1 June 2023", "01/06/2023", "2023-02-30", "2023-6-1", "tomorrow", "x" * 500])
    def test_another_form_is_answered_with_the_accepted_ones(self, text: str) -> None:
        with pytest.raises(KeyseatError) as caught:
            parse_typed(text, end_of_day=False)
        assert ReasonCode.INVALID_INPUT == caught.value.code
        assert "YYYY-MM-DD" in caught.value.next_step
        assert len(caught.value.message) < 80

    def test_the_day_after_the_last_day_does_not_exist(self) -> None:
        with pytest.raises(KeyseatError) as caught:
            parse_typed("9999-12-31", end_of_day=True)
        assert ReasonCode.INVALID_INPUT == caught.value.code


class TestYears:
    @pytest.mark.parametrize(
        ("start", "years", "expected"),
        [
            ("2023-06-01", 1, "2024-06-01"),
            ("2020-02-29", 1, "2021-02-28"),
            ("2020-02-29", 4, "2024-02-29"),
            ("2021-02-28", 3, "2024-02-28"),
        ],
    )
    def test_years_keep_the_calendar_day(self, start: str, years: int, expected: str) -> None:
        assert day(expected) == add_years(day(start), years)

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            ("2023-06-01", "2024-06-01", 1),
            ("2023-06-01", "2026-06-01", 3),
            ("2020-02-29", "2021-02-28", 1),
            ("2020-02-29", "2021-03-01", 0),
            ("2023-06-01", "2024-05-31", 0),
            ("2023-06-01", "2023-07-01", 0),
            ("2023-06-01", "2023-06-01", 0),
            ("2024-06-01", "2023-06-01", 0),
        ],
    )
    def test_only_whole_years_count(self, start: str, end: str, expected: int) -> None:
        assert expected == whole_years(day(start), day(end))

    def test_a_year_less_one_second_is_no_year(self) -> None:
        assert whole_years(day("2023-06-01"), day("2024-06-01") - timedelta(seconds=1)) == 0


@pytest.mark.parametrize(
    ("instant", "by", "expected"),
    [
        ("0001-01-01T00:04:59Z", timedelta(minutes=-5), "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:05:00Z", timedelta(minutes=-5), "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:06:00Z", timedelta(minutes=-5), "0001-01-01T00:01:00Z"),
        ("9999-12-31T23:59:59Z", timedelta(seconds=1), "9999-12-31T23:59:59Z"),
        ("9999-12-31T23:58:59Z", timedelta(minutes=1), "9999-12-31T23:59:59Z"),
        ("2024-01-01T00:00:00Z", timedelta(days=9_000_000), "9999-12-31T23:59:59Z"),
    ],
)
def test_a_shifted_instant_stays_within_the_years_that_files_may_name(
    instant: str, by: timedelta, expected: str
) -> None:
    assert expected == format_instant(shifted(parse_instant(instant), by))


@pytest.mark.parametrize("place", [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
@pytest.mark.parametrize("mark", ["-", ":", "T", "Z", "+", " ", "\u0663", "\uff11", "\u00b2", "W"])
def test_only_ascii_digits_stand_at_the_places_of_digits(place: int, mark: str) -> None:
    text = "2023-06-01T00:00:00Z"
    with pytest.raises(ValueError, match="not a UTC timestamp"):
        parse_instant(text[:place] + mark + text[place + 1 :])
