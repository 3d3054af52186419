"""The sliding window that counts callers."""

import pytest

from keyseat_issuer.api.throttle import Limit, Window


class Seconds:
    """A clock in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spend(window: Window, key: str, calls: int) -> int:
    """Call so often and return how many calls passed."""
    passed = 0
    for _ in range(calls):
        if not window.wait(key):
            window.count(key)
            passed += 1
    return passed


class TestAWindow:
    def test_lets_as_many_calls_pass_as_the_limit_says(self) -> None:
        assert 5 == spend(Window(Limit(5, 10), Seconds()), "a", 8)

    def test_counts_each_caller_alone(self) -> None:
        window = Window(Limit(5, 10), Seconds())

        assert [5, 5] == [spend(window, "a", 8), spend(window, "b", 8)]

    def test_is_not_fooled_by_a_burst_on_both_sides_of_its_edge(self) -> None:
        clock = Seconds()
        window = Window(Limit(10, 10), clock)
        clock.now = 1009.0

        first = spend(window, "a", 20)
        clock.now = 1011.0

        assert (10, 1) == (first, spend(window, "a", 20))

    @pytest.mark.parametrize("start", [1000.0, 1003.3, 1009.9])
    def test_tells_a_wait_after_which_a_call_passes_and_not_a_second_earlier(self, start: float) -> None:
        clock = Seconds()
        window = Window(Limit(5, 10), clock)
        clock.now = start
        spend(window, "a", 5)

        wait = window.wait("a")

        assert 1 <= wait <= 20
        clock.now = start + wait
        assert 0 == window.wait("a")
        clock.now = start + wait - 1.01
        assert window.wait("a") > 0

    def test_after_a_long_pause_starts_afresh(self) -> None:
        clock = Seconds()
        window = Window(Limit(5, 10), clock)
        spend(window, "a", 5)
        clock.now += 25

        assert 5 == spend(window, "a", 8)

    def test_counts_a_bounded_number_of_callers_and_is_flushed_by_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keyseat_issuer.api.throttle._MOST_KEYS", 3)
        monkeypatch.setattr("keyseat_issuer.api.throttle._SHARED", 2)
        window = Window(Limit(5, 10), Seconds())
        spend(window, "a", 5)

        for number in range(1000):
            window.count(f"address {number}")

        assert window.wait("a") > 0
        assert 5 == len(window._counts)

    def test_gives_the_places_of_callers_that_are_gone_to_new_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keyseat_issuer.api.throttle._MOST_KEYS", 3)
        clock = Seconds()
        window = Window(Limit(5, 10), clock)
        for key in ("a", "b", "c"):
            spend(window, key, 5)
        clock.now += 25

        assert [5, 5, 5] == [spend(window, key, 8) for key in ("d", "e", "f")]
        assert 3 == len(window._counts)


@pytest.mark.parametrize("text", ["", "often", "0/minute", "5/fortnight", "-1/second", "5 per minute", "5/minute/2"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="6000/minute"):
        Limit.parse(text)


def test_limits_are_read_with_and_without_spaces() -> None:
    assert [Limit(6000, 60), Limit(3, 3600)] == [Limit.parse("6000/minute"), Limit.parse(" 3 / hour ")]
