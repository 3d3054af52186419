"""The daily peaks against a plain oracle, which counts what is live at every instant at which anything changes."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shop
from databases import Ledger
from keyseat_issuer.ledger.identifiers import new_id
from keyseat_issuer.ledger.models import Allocation, Lease, OfflineLicense, Organization, Pool, Subscription
from keyseat_issuer.ledger.services import concurrency
from vendor import MACHINE

FIRST = date(2023, 7, 1)
DAYS = 3
ZERO = datetime(2023, 7, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Six-hour steps from a day before the period to a day after it: many instants coincide, with midnights too.
STEPS = st.integers(-4, 4 * DAYS + 4)
LENGTHS = st.integers(1, 12)


class Span(NamedTuple):
    """Something that holds seats from ``start`` until ``end``."""

    start: datetime
    end: datetime
    seats: int


def at(step: int) -> datetime:
    """Return the instant of a step."""
    return ZERO + 6 * step * HOUR


@st.composite
def spans(draw: st.DrawFn, most_seats: int) -> Span:
    start = draw(STEPS)
    return Span(at(start), at(start + draw(LENGTHS)), draw(st.integers(1, most_seats)))


class Story(NamedTuple):
    """What a ledger holds: sessions (with the hours that their leases ran on), offline licences, subscriptions."""

    sessions: Sequence[tuple[Span, int]]
    offline: Sequence[Span]
    quotas: Sequence[Span]
    now: datetime


STORIES = st.builds(
    Story,
    st.lists(st.tuples(spans(1), st.sampled_from([0, 3, 9, 40])), max_size=12),
    st.lists(spans(3), max_size=4),
    st.lists(spans(5), max_size=3),
    STEPS.map(at),
)


def told(story: Story, organization: Organization) -> None:
    """Write a story into the ledger."""
    pools = []
    for span in [*story.quotas, Span(at(100), at(101), 100)]:
        bought = Subscription.objects.create(
            id=new_id(shop.NOW),
            organization=organization,
            term="annual",
            starts_at=span.start,
            ends_at=span.end,
            created_at=shop.NOW,
        )
        pools.append(
            Pool.objects.create(
                id=new_id(shop.NOW), subscription=bought, product="KRE", seats="floating", quota=span.seats
            )
        )
    for span, hours in story.sessions:
        Lease.objects.create(
            id=new_id(shop.NOW),
            pool=pools[-1],
            organization=organization,
            product="KRE",
            holder="ada@example.com",
            email="ada@example.com",
            machine_id=str(MACHINE),
            seats=1,
            started_at=span.start,
            renewed_at=span.start,
            expires_at=span.end + hours * HOUR,
            ended_at=span.end if hours else None,
            ending="RELEASED" if hours else "",
            lingers_until=span.end + hours * HOUR if hours else None,
        )
    for span in story.offline:
        bound = Allocation.objects.create(
            id=new_id(shop.NOW),
            pool=pools[-1],
            kind="offline",
            holder="x",
            count=span.seats,
            created_at=span.start,
            expires_at=span.end,
        )
        OfflineLicense.objects.create(
            license_id=new_id(shop.NOW),
            pool=pools[-1],
            allocation=bound,
            organization=organization,
            product="KRE",
            machine_id=str(MACHINE),
            sessions=span.seats,
            issued_at=span.start,
            expires_at=span.end,
            file=b"",
            file_sha256="",
        )


def expected(story: Story) -> list[concurrency.DayPeak]:
    """Count at every instant of each day at which anything begins or ends, and at its midnight."""
    online = [span for span, _hours in story.sessions]
    lingering = [Span(span.end, span.end + hours * HOUR, 1) for span, hours in story.sessions]
    everything = [*online, *story.offline, *story.quotas, *lingering]
    peaks = []
    for number in range(DAYS):
        begin = ZERO + timedelta(days=number)
        instants = {begin, *(each for span in everything for each in span[:2])}
        today = [each for each in instants if begin <= each < begin + timedelta(days=1) and each <= story.now]
        levels = [
            tuple(live(kind, each) for kind in (online, story.offline, story.quotas, lingering)) for each in today
        ]
        peaks.append(
            concurrency.DayPeak(
                begin.date(),
                max((level[0] for level in levels), default=0),
                max((level[1] for level in levels), default=0),
                max((level[0] + level[1] for level in levels), default=0),
                max((level[2] for level in levels), default=0),
                reached=any(0 < level[2] <= level[0] + level[1] for level in levels),
                lingering=max((level[3] for level in levels), default=0),
            )
        )
    return peaks


def live(kind: Sequence[Span], instant: datetime) -> int:
    """Return the seats that are held at an instant."""
    return sum(span.seats for span in kind if span.start <= instant < span.end)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_the_peaks_are_what_counting_at_every_instant_finds(ledger: Ledger) -> None:
    names = count()

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(STORIES)
    def check(story: Story) -> None:
        organization = shop.organization(f"Organisation {next(names)}")
        told(story, organization)
        last = FIRST + timedelta(days=DAYS - 1)
        assert expected(story) == concurrency.daily_peaks(organization, "KRE", FIRST, last, story.now)

    check()
