"""One customer's rows are held by an act that does not end: nobody else waits, and that customer is not forgotten."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, connections, transaction

import shop
from activation import NONCE, Clock, make_key
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger import patience
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.customers.organizations import lock_organization
from keyseat_issuer.ledger.database import explain
from keyseat_issuer.ledger.models import ApiKey, AuditHead, Lease, Organization, Pool
from keyseat_issuer.ledger.sessions import aside, locks
from keyseat_issuer.ledger.sessions import desk as session_desk
from keyseat_issuer.ledger.sessions.desk import SessionDesk
from keyseat_issuer.ledger.sessions.values import (
    Acquire,
    Holder,
    Later,
    Outcome,
    Release,
    ReleasePrevious,
    Renew,
    Request,
)
from keyseat_shared.errors import KeyseatError
from service_program import VendorTrust
from vendor import MACHINE, Vendor

# On SQLite one transaction writes at a time, whoever's it is.
pytestmark = pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
T = TypeVar("T")


class Customer:
    """An organisation with an API key and three sessions to hold."""

    def __init__(self, name: str) -> None:
        """Sell it the sessions."""
        self.name = name
        self.row: Organization = shop.organization(name)
        self.pool = shop.subscribe(self.row, {"KRE": 3})["KRE"]
        make_key(self.row)
        self.key = ApiKey.objects.get(organization=self.row)
        self.holder = Holder(f"key:{self.key.prefix}", key_id=self.key.pk, organization_id=self.row.pk)

    def acquire(self, number: int, **more: bool) -> Acquire:
        """Return a request for a session."""
        return Acquire(self.holder, "KRE", str(MACHINE), NONCE, f"{self.name}{number}", "0" * 64, **more)

    def renew(self, session: UUID) -> Renew:
        """Return a request for a new lease."""
        return Renew(self.holder, session, str(MACHINE), NONCE)


class Holding:
    """A transaction, in a thread of its own, that holds rows until it is told to end."""

    def __init__(self, lock: Callable[[], object]) -> None:
        """Take what locks the rows."""
        self._lock = lock
        self._held, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.error: DatabaseError | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._held.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the transaction."""
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                self._lock()
                self._held.set()
                self._end.wait(60)
        except DatabaseError as error:
            self.error = error
        finally:
            connections.close_all()


@pytest.fixture
def held(ledger: Ledger) -> Customer:
    return Customer("held")


@pytest.fixture
def other(held: Customer) -> Customer:
    return Customer("other")


def pool_of(customer: Customer) -> Holding:
    return Holding(lambda: Pool.objects.select_for_update().get(pk=customer.pool.pk))


def row_of(session: UUID) -> Holding:
    return Holding(lambda: Lease.objects.select_for_update(of=("self",)).get(pk=session))


def at_the_desk(story: Callable[[SessionDesk], Awaitable[T]]) -> T:
    async def run() -> T:
        desk = SessionDesk(VendorTrust(Vendor()).authority, Clock())
        try:
            return await story(desk)
        finally:
            await desk.close()

    return asyncio.run(run())


def begun(*customers: Customer) -> list[UUID]:
    """Begin a session of each customer."""

    async def story(desk: SessionDesk) -> list[Any]:
        return list(await asyncio.gather(*[desk.ask(each.acquire(0)) for each in customers]))

    return [reply.grant.session_id for reply in at_the_desk(story)]


def kinds(replies: Sequence[object]) -> list[str]:
    return [str(reply.code) if isinstance(reply, KeyseatError) else type(reply).__name__ for reply in replies]


def test_what_needs_a_held_pool_waits_for_its_end_and_everything_else_does_not(held: Customer, other: Customer) -> None:
    mine, others = begun(held, other)

    async def story(desk: SessionDesk) -> tuple[list[object], list[object]]:
        needing = [held.acquire(1), Release(held.holder, mine), ReleasePrevious(held.holder, "KRE", str(MACHINE))]
        waiting = [desk.ask(request) for request in needing]
        prompt: list[object] = [
            *await asyncio.gather(*[desk.ask(each) for each in (other.acquire(1), other.renew(others))]),
            await desk.ask(held.renew(mine)),
            await desk.ask(Release(other.holder, others)),
            await desk.ask(other.acquire(2)),
        ]
        assert [False] * 3 == [reply.done() for reply in waiting]
        await asyncio.to_thread(holding.end)
        return prompt, list(await asyncio.gather(*waiting))

    with pool_of(held) as holding:
        prompt, late = at_the_desk(story)

    assert ["Signed", "Signed", "Signed", "Ended", "Signed"] == kinds(prompt)
    assert ["Signed", "Ended", "Ended"] == kinds(late)
    assert 2 == Pool.objects.get(pk=other.pool.pk).used
    assert () == verify().findings


def test_who_waits_for_a_held_row_of_a_session_holds_up_nobody(held: Customer, other: Customer) -> None:
    mine, others = begun(held, other)

    async def story(desk: SessionDesk) -> tuple[list[object], list[object]]:
        # The repeated request, the renewal and the release all need the row.
        waiting = [desk.ask(each) for each in (held.acquire(0), held.renew(mine), Release(held.holder, mine))]
        waiting.append(desk.ask(held.acquire(1, release_previous=True)))
        prompt = [await desk.ask(each) for each in (other.renew(others), held.acquire(2), other.acquire(1))]
        assert [False] * 4 == [reply.done() for reply in waiting]
        await asyncio.to_thread(holding.end)
        return list(prompt), list(await asyncio.gather(*waiting, return_exceptions=True))

    with row_of(mine) as holding:
        prompt, late = at_the_desk(story)

    assert ["Signed"] * 3 == kinds(prompt)
    assert "Ended" == kinds(late)[2]
    # In which order the others came to their turn is nobody's promise; a session that is over says so.
    assert set(kinds(late)) <= {"Signed", "Ended", "LEASE_ENDED"}
    assert () == verify().findings


def test_sessions_begin_while_an_act_on_the_organisation_is_under_way(held: Customer) -> None:
    async def story(desk: SessionDesk) -> object:
        return await desk.ask(held.acquire(1))

    with Holding(lambda: lock_organization(held.row)):
        assert ["Signed"] == kinds([at_the_desk(story)])


def test_sessions_begin_while_the_key_that_holds_them_is_being_revoked(
    held: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, stands, ends = log.append, threading.Event(), threading.Event()

    def slowly(**words: Any) -> object:  # noqa: ANN401 - whatever that one takes
        stands.set()
        ends.wait(60)
        return append(**words)

    def revoke() -> None:
        api_keys.revoke_key(None, held.key.prefix, actor=shop.ACTOR, now=shop.NOW)
        connections.close_all()

    async def story(desk: SessionDesk) -> object:
        return await desk.ask(held.acquire(1))

    monkeypatch.setattr(log, "append", slowly)
    act = threading.Thread(target=revoke)
    act.start()
    assert stands.wait(30)
    try:
        assert ["Signed"] == kinds([at_the_desk(story)])
    finally:
        ends.set()
        act.join(30)


@pytest.fixture
def put_off(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests each turn has put off."""
    process, turns = session_desk.process, []

    def counted(requests: Sequence[Request], *more: Any) -> list[Outcome]:  # noqa: ANN401 - whatever that one takes
        outcomes = process(requests, *more)
        turns.append(sum(isinstance(outcome, Later) for outcome in outcomes))
        return outcomes

    monkeypatch.setattr(session_desk, "process", counted)
    monkeypatch.setattr(aside, "AGAIN", 0.001)
    return turns


def test_a_customer_whose_pool_is_held_does_not_fill_the_turns(
    held: Customer, other: Customer, monkeypatch: pytest.MonkeyPatch, put_off: list[int]
) -> None:
    monkeypatch.setattr(session_desk, "MOST_PER_TURN", 8)
    [others] = begun(other)
    put_off.clear()

    async def story(desk: SessionDesk) -> list[object]:
        waiting = [desk.ask(held.acquire(number)) for number in range(40)]
        while len(put_off) < 30:
            await desk.ask(other.renew(others))
        await asyncio.to_thread(holding.end)
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    with pool_of(held) as holding:
        replies = at_the_desk(story)

    # All once, then one of them at a time; the first to ask again may have come between.
    assert [8] * 5 == put_off[:5]
    assert max(put_off[6:]) == 1
    assert sorted(["Signed"] * 3 + ["QUOTA_EXCEEDED"] * 37) == sorted(kinds(replies))
    assert ["Signed"] * 3 == kinds(replies)[:3]


def test_who_hangs_up_while_it_asks_again_leaves_the_place_to_the_next(
    held: Customer, monkeypatch: pytest.MonkeyPatch, put_off: list[int]
) -> None:
    async def story(desk: SessionDesk) -> list[object]:
        waiting = [desk.ask(held.acquire(number)) for number in range(3)]
        while len(put_off) < 3:  # noqa: ASYNC110 - turns end on another thread
            await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.to_thread(holding.end)
        return list(await asyncio.gather(*waiting[1:]))

    with pool_of(held) as holding:
        assert ["Signed"] * 2 == kinds(at_the_desk(story))


def test_who_has_waited_as_long_as_its_client_is_told(held: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.2)
    monkeypatch.setattr(session_desk, "LEAST", 0.0)

    async def story(desk: SessionDesk) -> list[object]:
        return list(await asyncio.gather(*[desk.ask(held.acquire(n)) for n in range(3)], return_exceptions=True))

    with pool_of(held):
        replies = at_the_desk(story)

    assert ["LEDGER_UNAVAILABLE"] * 3 == kinds(replies)
    assert "in the middle of another act" in str(replies[-1])
    assert 0 == Lease.objects.count()


def test_a_desk_that_closes_waits_for_nobody(held: Customer) -> None:
    async def story() -> list[object]:
        desk = SessionDesk(VendorTrust(Vendor()).authority, Clock())
        waiting = [desk.ask(held.acquire(number)) for number in range(3)]
        while not desk._aside:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        await desk.close()
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    with pool_of(held):
        assert ["LEDGER_UNAVAILABLE"] * 3 == kinds(asyncio.run(story()))


def test_a_turn_of_another_server_is_waited_for(held: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=lambda _seconds: holding.end(), monotonic=lambda: 0.0))

    async def story(desk: SessionDesk) -> tuple[object, int]:
        return await desk.ask(held.acquire(1)), desk.turns

    with pool_of(held) as holding:
        reply, turns = at_the_desk(story)

    assert (["Signed"], 1) == (kinds([reply]), turns)


def test_a_pool_that_stays_held_is_waited_for_once(
    held: Customer, other: Customer, monkeypatch: pytest.MonkeyPatch, put_off: list[int]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=slept.append, monotonic=lambda: 0.0))

    async def story(desk: SessionDesk) -> list[object]:
        waiting = desk.ask(held.acquire(1))
        while sum(put_off) < 5:  # noqa: ASYNC110 - turns end on another thread
            await asyncio.sleep(0)
        assert list(locks._PAUSES) == slept
        await asyncio.to_thread(holding.end)
        return [await waiting, await desk.ask(held.acquire(2))]

    with pool_of(held) as holding:
        assert ["Signed", "Signed"] == kinds(at_the_desk(story))


def test_a_held_pool_is_waited_for_often_at_first_and_seldom_later(ledger: Ledger) -> None:
    made, pool = locks.Held(), uuid4()

    def waits(*instants: float) -> list[bool]:
        return [bool(made.to_wait_for([pool], at)) for at in instants]

    assert [True, False, True, True] == waits(0.0, 0.05, 0.125, 0.25)
    assert [False, True, False, True] == waits(0.6, 5.5, 10.0, 10.5)
    made.free([pool])
    assert [True, False, True] == waits(10.6, 10.65, 10.75)


def test_an_act_that_stands_still_at_the_audit_log_is_ended_by_the_database(held: Customer, other: Customer) -> None:
    def stand_still() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = '300ms'")
        AuditHead.objects.select_for_update().get(pk=1)

    async def story(desk: SessionDesk) -> object:
        return await desk.ask(other.acquire(1))

    with Holding(stand_still) as holding:
        assert ["Signed"] == kinds([at_the_desk(story)])

    assert holding.error is not None
    assert explain(holding.error).message.startswith("this act stood still")
    assert () == verify().findings
