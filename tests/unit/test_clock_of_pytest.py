"""What pytest tells of durations is real where a test freezes the time."""

import time

import _pytest.timing
from freezegun import freeze_time


def test_pytest_goes_on_measuring_while_the_time_stands() -> None:
    with freeze_time("2023-06-01"):
        assert _pytest.timing.time() > time.time() + 86_400
        assert _pytest.timing.perf_counter is not time.perf_counter
