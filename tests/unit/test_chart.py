"""The chart of daily use: round figures on the axis, bars of the right height, and a quota that steps."""

from datetime import date, timedelta

import pytest

from keyseat_issuer.console import chart
from keyseat_issuer.ledger.seats.concurrency import DayPeak

FIRST = date(2023, 6, 2)


def peaks(*days: tuple[int, int, int]) -> list[DayPeak]:
    """Return days of so many online, bound offline, and of quota."""
    return [
        DayPeak(FIRST + timedelta(days=number), online, offline, online + offline, quota, reached=False)
        for number, (online, offline, quota) in enumerate(days)
    ]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0, (1, 1)),
        (1, (1, 1)),
        (4, (1, 4)),
        (5, (1, 5)),
        (6, (2, 6)),
        (11, (5, 15)),
        (26, (10, 30)),
        (99, (20, 100)),
        (100_000, (20_000, 100_000)),
        (1_000_000, (200_000, 1_000_000)),
    ],
)
def test_an_axis_has_round_figures(highest: int, expected: tuple[int, int]) -> None:
    assert expected == chart.scale(highest)


def test_an_axis_has_few_steps_and_holds_the_highest() -> None:
    for highest in range(3000):
        step, top = chart.scale(highest)
        assert (True, 0) == (top >= highest, top % step)
        assert 1 <= top // step <= 5


def test_nothing_is_an_empty_chart_with_its_axes() -> None:
    drawn = chart.draw(peaks(*[(0, 0, 0)] * 30))
    assert ["0", "1"] == [row.text for row in drawn.rows]
    assert {"0"} == {bar.online_height for bar in drawn.bars} | {bar.offline_height for bar in drawn.bars}
    assert ("", False) == (drawn.quota_path, drawn.quota_above)


def test_a_day_by_itself_is_one_bar_in_the_middle() -> None:
    drawn = chart.draw(peaks((1, 1, 4)))
    [bar], [label] = drawn.bars, drawn.columns
    assert ("2 Jun", float(label.at)) == (label.text, float(bar.x) + float(bar.width) / 2)
    assert (float(bar.online_height), float(bar.online_y)) == (
        float(bar.offline_height),
        float(bar.offline_y) - float(bar.online_height),
    )
    assert chart.HEIGHT - 32 == float(bar.offline_y) + float(bar.offline_height)


def test_a_year_is_labelled_by_months() -> None:
    drawn = chart.draw(peaks(*[(1, 0, 2)] * 365))
    assert ["Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan 2024", "Feb", "Mar", "Apr", "May"] == [
        label.text for label in drawn.columns[:11]
    ]
    assert float(drawn.bars[-1].x) + float(drawn.bars[-1].width) <= drawn.right


@pytest.mark.parametrize(("days", "labels"), [(1, 1), (10, 10), (11, 2), (30, 5), (90, 7), (120, 9)])
def test_labels_end_with_the_last_day(days: int, labels: int) -> None:
    drawn = chart.draw(peaks(*[(0, 0, 0)] * days))
    last = FIRST + timedelta(days=days - 1)
    assert (labels, f"{last.day} {last:%b}") == (len(drawn.columns), drawn.columns[-1].text)


def test_the_quota_steps_where_it_changes_and_is_broken_where_there_is_none() -> None:
    drawn = chart.draw(peaks((1, 0, 2), (1, 0, 2), (1, 0, 4), (1, 0, 0), (1, 0, 2)))
    assert "MHHVHMH" == "".join(letter for letter in drawn.quota_path if letter.isalpha())


def test_a_quota_far_above_the_use_leaves_room_for_the_bars() -> None:
    drawn = chart.draw(peaks((3, 0, 100_000), (2, 0, 100_000)))
    assert (True, "", "3") == (drawn.quota_above, drawn.quota_path, drawn.rows[-1].text)


def test_an_unused_quota_is_the_top_of_the_axis() -> None:
    drawn = chart.draw(peaks((0, 0, 100_000)))
    assert (False, "100,000") == (drawn.quota_above, drawn.rows[-1].text)
