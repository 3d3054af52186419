"""A ledger with very many leases, made by plain SQL: one big customer's history and live sessions, and many small ones.

Nearly half of the leases are live, one in a hundred has expired and nobody has taken its seat back, the others ended
during the last year. There is an organisation for every hundred leases, and an audit row for every twenty.
"""

# ruff: noqa: S608 - statements of this module's own words and numbers

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import api_keys, members, organizations, subscriptions
from keyseat_issuer.ledger.models import ApiKey, Organization, Pool, Role, Term
from keyseat_shared.identifiers import uuid7
from keyseat_shared.instants import format_instant, now_utc
from keyseat_shared.policy import default_policy

OWNER = "owner@example.com"
BIG = "Big Customer"
PRODUCT = "KRE"
_ACTOR = "benchmark"
_MOST_LIVE = 900_000
_DAY = 86_400
_YEAR = 365 * _DAY
_EVENTS = 5000
_COLUMNS = (
    "id, pool_id, organization_id, api_key_id, product, holder, email, machine_id, seats, started_at, renewed_at,"
    " expires_at, ended_at, ending, idempotency, request_sha256, lingering, lingers_until"
)


def fill(leases: int) -> None:
    """Fill a migrated, empty ledger with so many leases, and what belongs to them."""
    now = now_utc()
    key = _big_customer(now)
    pool = Pool.objects.get(product=PRODUCT, subscription__organization=key.organization_id)
    live, expired = min(_MOST_LIVE, leases * 45 // 100), leases // 100
    ended = leases - live - expired
    with transaction.atomic(), connection.cursor() as cursor:
        # How many, from which number on, when the first began, seconds from one to the next, seconds of the lease.
        for count, first, age, step, length, over in (
            (live, 0, 3000, 2000 / max(1, live), _DAY, False),
            (expired, live, 6 * 3600, 3600 / max(1, expired), 3600, False),
            (ended, live + expired, _YEAR, (_YEAR - _DAY) / max(1, ended), 1800, True),
        ):
            cursor.execute(_leases(key, pool, count, first, now - timedelta(seconds=age), step, length, over=over))
        cursor.execute(f"UPDATE ledger_pool SET used = {live + expired} WHERE id = '{_key(pool.pk)}'")
    _append(_small_customers(max(10, leases // 100), now))
    _append(
        log.NewEvent("session.renewed", "1 sessions", {"sessions": [f"{number:032x}"]}, key.organization_id)
        for number in range(leases // 20)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _big_customer(now: datetime) -> ApiKey:
    start = now.replace(month=1, day=1, hour=0, minute=0, second=0) - timedelta(days=366)
    start = start.replace(month=1, day=1)
    customer = organizations.add_organization(BIG, actor=_ACTOR, now=now)
    members.add_members(customer, [OWNER], Role.OWNER, actor=_ACTOR, now=now)
    subscriptions.add_subscription(
        customer,
        term=Term.ANNUAL,
        starts_at=start,
        ends_at=start.replace(year=start.year + 3),
        products={PRODUCT: 1_000_000, "KSE": 1000},
        policy=default_policy(),
        actor=_ACTOR,
        now=now,
    )
    made = api_keys.create_key(customer, ["sessions"], name="bench", expires_at=None, actor=_ACTOR, now=now)
    return made.row


def _leases(  # noqa: PLR0917 - the parts of a statement
    key: ApiKey, pool: Pool, count: int, first: int, start: datetime, step: float, length: int, *, over: bool
) -> str:
    """Return the statement that adds sessions which began one after the other. All its parts are this module's own."""
    offset = f"CAST(i * {step!r} AS BIGINT)"
    begin, end = _instant(start, offset), _instant(start, f"({offset} + {length})")
    half = _instant(start, f"({offset} + {length // 2})")
    ident = f"{int(start.timestamp() * 1000)} + {offset} * 1000"
    seats = f"'{_key(pool.pk)}', '{_key(key.organization_id)}', '{_key(key.pk)}', '{PRODUCT}', 'key:{key.prefix}', ''"
    number = f"(i + {first})"
    done = f"{half}, 'RELEASED'" if over else "NULL, ''"
    lingers = f"{'FALSE'}, {end}" if over else "FALSE, NULL"
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})"
        f" INSERT INTO ledger_lease ({_COLUMNS})"
        f" SELECT {_uuid(ident, number)}, {seats}, 'mid1' || {_digits(number, 40)}, 1, {begin}, {begin}, {end}, {done},"
        f" {_digits(number, 64)}, '', {lingers} FROM n WHERE i < {count}"
    )


def _small_customers(count: int, now: datetime) -> Iterator[log.NewEvent]:
    """Add organisations with a small subscription each; yield the rows that tell of them."""
    start = datetime(now.year, 1, 1, tzinfo=UTC)
    end = start.replace(year=start.year + 1)
    tables: dict[str, list[tuple[object, ...]]] = {
        name: [] for name in ("account", "organization", "subscription", "pool")
    }
    events = []
    for number in range(count):
        account, own, bought, pool = (UUID(uuid7(now)) for _ in range(4))
        name = f"Customer {number:07}"
        at, begin, until = (connection.ops.adapt_datetimefield_value(each) for each in (now, start, end))
        tables["account"].append((_key(account), name, name.lower(), at))
        tables["organization"].append((_key(own), _key(account), name, name.lower(), at))
        tables["subscription"].append((_key(bought), _key(own), "annual", begin, until, at))
        tables["pool"].append((_key(pool), _key(bought), PRODUCT, "floating", 10, 0, 0, 0))
        added = {"account": name, "account_id": str(account)}
        terms = {"term": "annual", "starts_at": format_instant(start), "ends_at": format_instant(end)}
        events.append(log.NewEvent("organization.added", name, added, own))
        events.append(log.NewEvent("subscription.added", str(bought), terms | {"products": {PRODUCT: 10}}, own))
    columns = {
        "account": "id, name, folded, created_at",
        "organization": "id, account_id, name, folded, created_at",
        "subscription": "id, organization_id, term, starts_at, ends_at, created_at",
        "pool": "id, subscription_id, product, seats, quota, used, assigned, lingering",
    }
    with transaction.atomic(), connection.cursor() as cursor:
        for table, rows in tables.items():
            places = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"INSERT INTO ledger_{table} ({columns[table]}) VALUES ({places})", rows)
    yield from events


def _append(events: Iterator[log.NewEvent]) -> None:
    chunk: list[log.NewEvent] = []
    for event in events:
        chunk.append(event)
        if len(chunk) == _EVENTS:
            _write(chunk)
            chunk = []
    _write(chunk)


def _write(events: list[log.NewEvent]) -> None:
    with transaction.atomic():
        log.append_many(events, actor=_ACTOR, now=now_utc())


def _instant(start: datetime, seconds: str) -> str:
    text = start.strftime("%Y-%m-%d %H:%M:%S")
    if connection.vendor == "postgresql":
        return f"(TIMESTAMPTZ '{text}+00' + {seconds} * INTERVAL '1 second')"
    return f"datetime('{text}', {seconds} || ' seconds')"


def _uuid(milliseconds: str, number: str) -> str:
    if connection.vendor == "postgresql":
        digits = f"lpad(to_hex({milliseconds}), 12, '0') || '70008' || lpad(to_hex({number}), 15, '0')"
        return f"CAST({digits} AS UUID)"
    return f"printf('%012x70008%015x', {milliseconds}, {number})"


def _digits(number: str, length: int) -> str:
    if connection.vendor == "postgresql":
        return f"lpad(CAST({number} AS TEXT), {length}, '0')"
    return f"printf('%0{length}d', {number})"


def _key(value: UUID) -> str:
    return str(value) if connection.vendor == "postgresql" else value.hex


def big_customer() -> Organization:
    """Return the organisation that has nearly all of the leases."""
    return Organization.objects.get(name=BIG)
