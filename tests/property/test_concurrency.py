"""The daily peaks against a plain oracle, which counts what is live at every instant at which anything changes."""

from datetime import datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shop
from databases import Ledger
from keyseat_issuer.ledger.models import UsageDay
from keyseat_issuer.ledger.seats import concurrency, usage_days
from usage_stories import DAYS, FIRST, STEPS, STORIES, Story, at, expected, sold, told

LAST = FIRST + timedelta(days=DAYS - 1)
END = at(100)
LOOKS = st.lists(STEPS.map(at), max_size=4).map(sorted)

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def test_the_peaks_are_what_counting_at_every_instant_finds(ledger: Ledger) -> None:
    names = count()

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(STORIES)
    def check(story: Story) -> None:
        organization = shop.organization(f"Organisation {next(names)}")
        told(story, sold(story, organization), END)
        assert expected(story) == concurrency.daily_peaks(organization, "KRE", FIRST, LAST, story.now)

    check()


def test_whenever_somebody_has_looked_before_the_peaks_are_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, stored = count(), []
    # Everything is stored at each look, up to it: at whatever instants that was, nothing may show afterwards.
    monkeypatch.setattr(usage_days, "WORTH", 1)
    monkeypatch.setattr(usage_days, "_settled", lambda now: now)

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(STORIES, LOOKS)
    def check(story: Story, looks: list[datetime]) -> None:
        organization = shop.organization(f"Organisation {next(names)}")
        pool = sold(story, organization)
        for since, until in pairwise([at(-100), *looks, END]):
            told(story, pool, until, since)
            if until < END:
                concurrency.daily_peaks(organization, "KRE", FIRST, LAST, until)
        stored.append(UsageDay.objects.filter(organization=organization).count())
        for _ in range(2):
            assert expected(story) == concurrency.daily_peaks(organization, "KRE", FIRST, LAST, story.now)

    check()
    assert max(stored) > DAYS
