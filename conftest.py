"""Rules of every test run: no deadlines under Hypothesis, and no skips where ``KEYSEAT_NO_SKIPS`` is set (CI)."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

NO_SKIPS = os.environ.get("KEYSEAT_NO_SKIPS", "") not in {"", "0"}

# A deadline would be a timing assert on a shared machine. Where a run must be repeatable, so are the examples.
settings.register_profile("keyseat", deadline=None, derandomize=NO_SKIPS)
settings.load_profile("keyseat")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is reported as skipped too; it did run.
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be (KEYSEAT_NO_SKIPS): {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure."""
    report = yield
    _refuse_skip(report)
    return report
