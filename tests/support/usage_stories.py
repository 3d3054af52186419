"""Ledgers that tell a story of usage, as far as it had happened at an instant, and a plain count of what was live."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st

import shop
from keyseat_issuer.ledger.models import Allocation, Lease, OfflineLicense, Organization, Pool, Subscription
from keyseat_issuer.ledger.seats import concurrency
from keyseat_issuer.ledger.tools.identifiers import new_id
from vendor import MACHINE

FIRST = date(2023, 7, 1)
DAYS = 3
ZERO = datetime(2023, 7, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
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


def sold(story: Story, organization: Organization) -> Pool:
    """Sell the subscriptions of a story, and return the pool that everything is of."""
    for span in [*story.quotas, Span(at(100), at(101), 100)]:
        bought = Subscription.objects.create(
            id=new_id(shop.NOW),
            organization=organization,
            term="annual",
            starts_at=span.start,
            ends_at=span.end,
            created_at=shop.NOW,
        )
        pool = Pool.objects.create(
            id=new_id(shop.NOW), subscription=bought, product="KRE", seats="floating", quota=span.seats
        )
    return pool


def told(story: Story, pool: Pool, until: datetime, since: datetime = ZERO - 99 * DAY) -> None:
    """Bring a ledger from one instant to another: what it holds then, before the acts of that instant."""
    organization = pool.subscription.organization
    Lease.objects.filter(pool=pool).delete()
    for span, hours in story.sessions:
        if span.start < until:
            Lease.objects.create(**_session(span, hours, until), pool=pool, organization=organization)
    for span in story.offline:
        if since <= span.start < until:
            _issue(span, pool, organization)


def _session(span: Span, hours: int, until: datetime) -> dict[str, object]:
    """Return a session as it stands at ``until``: it was renewed for an hour more, or was given back before its end."""
    over = span.end < until
    lease = span.end + hours * HOUR
    return {
        "id": new_id(shop.NOW),
        "product": "KRE",
        "holder": "ada@example.com",
        "email": "ada@example.com",
        "machine_id": str(MACHINE),
        "seats": 1,
        "started_at": span.start,
        "renewed_at": span.start,
        "expires_at": lease if over else max(span.start, until) + HOUR,
        "ended_at": span.end if hours and over else None,
        "ending": "RELEASED" if hours and over else "",
        "lingers_until": lease if hours and over else None,
    }


def _issue(span: Span, pool: Pool, organization: Organization) -> None:
    bound = Allocation.objects.create(
        id=new_id(shop.NOW),
        pool=pool,
        kind="offline",
        holder="x",
        count=span.seats,
        created_at=span.start,
        expires_at=span.end,
    )
    OfflineLicense.objects.create(
        license_id=new_id(shop.NOW),
        pool=pool,
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
