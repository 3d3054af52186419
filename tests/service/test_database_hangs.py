"""A database that hangs, restarts or is gone without a word: callers are told in time, and it goes on by itself."""

import asyncio
import gc
import signal
import socket
import threading
from pathlib import Path

import httpx
import psycopg
import pytest
from django.db import connection, connections

import databases
import shop
from databases import Ledger, Postgres
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.api.threads import LedgerThreads
from keyseat_issuer.ledger import patience
from keyseat_issuer.ledger.database import explain
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.postgresql.base import WAIT
from keyseat_issuer.ledger.sessions.desk import SessionDesk
from keyseat_issuer.ledger.sessions.values import Acquire, Holder
from keyseat_issuer.ledger.tools import bounds
from keyseat_issuer.settings import database_from_url
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc
from keyseat_shared.policy import default_policy
from serve_command import START, Server
from service_program import VendorTrust
from vendor import MACHINE, Vendor

pytestmark = pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)


@pytest.fixture
def hurried(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger whose connections wait a second for each answer."""
    monkeypatch.setattr(bounds, "ANSWER", 1)
    monkeypatch.setattr(bounds, "CONNECT", 2)
    bounds.bound_waits()
    return ledger


def test_a_call_on_a_thread_is_refused_while_the_server_hangs_and_works_again_after(
    hurried: Ledger, postgres: Postgres
) -> None:
    async def story() -> list[ReasonCode | None]:
        threads = LedgerThreads(1)
        found: list[ReasonCode | None] = []

        async def ask() -> None:
            try:
                await threads.run(Organization.objects.count)
                found.append(None)
            except KeyseatError as error:
                found.append(error.code)

        await ask()
        with postgres.paused():
            await ask()
            await ask()  # with a new connection
        await ask()
        await asyncio.to_thread(threads.close)
        return found

    unavailable = ReasonCode.LEDGER_UNAVAILABLE
    assert [None, unavailable, unavailable, None] == asyncio.run(story())


def test_a_call_that_gets_no_thread_in_time_is_not_made(
    hurried: Ledger, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.1)
    made: list[str] = []

    async def story() -> str:
        threads = LedgerThreads(1)
        with postgres.paused():
            first = asyncio.ensure_future(threads.run_until(patience.call_ends(START), Organization.objects.count))
            await asyncio.sleep(0)  # let it take the thread
            with pytest.raises(KeyseatError) as refused:
                await threads.run(made.append, "late")
            with pytest.raises(KeyseatError):
                await first
        await asyncio.to_thread(threads.close)
        return refused.value.message

    assert "nothing was done" in asyncio.run(story())
    assert [] == made


def test_the_desk_answers_while_the_server_hangs_and_grants_again_after(hurried: Ledger, postgres: Postgres) -> None:
    customer = shop.organization("Customer")
    shop.subscribe(customer, {"KRE": 1})
    databases.close_all()

    async def story() -> list[ReasonCode | None]:
        desk = SessionDesk(VendorTrust(Vendor()).authority, lambda: shop.NOW)
        found: list[ReasonCode | None] = []

        async def ask(number: int) -> None:
            holder = Holder("key:none", organization_id=customer.pk)
            asked = Acquire(holder, "KRE", str(MACHINE), "n" * 22, f"{number}", f"{number}", customer.pk)
            try:
                await desk.ask(asked)
            except KeyseatError as error:
                found.append(error.code)

        await ask(1)
        with postgres.paused():
            await ask(2)
        await ask(3)
        await desk.close()
        return found

    asked = ReasonCode.NOT_A_MEMBER  # what a ledger says that can be asked: there is no such key
    assert [asked, ReasonCode.LEDGER_UNAVAILABLE, asked] == asyncio.run(story())


def test_a_call_that_is_given_up_is_withdrawn_or_ends_without_noise(hurried: Ledger) -> None:
    noise: list[object] = []
    go = threading.Event()
    made: list[str] = []

    def fail() -> None:
        go.wait(START)
        raise KeyseatError(ReasonCode.LEDGER_UNAVAILABLE, "down")

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
        threads = LedgerThreads(1)
        given_up = [asyncio.ensure_future(threads.run(fail)), asyncio.ensure_future(threads.run(made.append, "late"))]
        await asyncio.sleep(0)
        for call in given_up:
            call.cancel()
        await asyncio.wait(given_up)
        go.set()
        await threads.run(gc.collect)
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.to_thread(threads.close)

    asyncio.run(story())
    assert ([], []) == (noise, made)


def test_a_proxy_without_a_database_behind_it_is_told_as_such(ledger: Ledger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        closing = threading.Thread(target=lambda: [proxy.accept()[0].close()])
        closing.start()
        with pytest.raises(psycopg.OperationalError) as failed:
            psycopg.connect(f"postgresql://u@127.0.0.1:{proxy.getsockname()[1]}/db")
        closing.join(START)

    assert "unreachable" == explain(failed.value).details["cause"]


@pytest.mark.parametrize(
    "text",
    [
        "terminating connection due to administrator command",
        "the connection is closed",
        "consuming input failed: server closed the connection unexpectedly",
        "consuming input failed: SSL connection has been closed unexpectedly",
        "connection failed: FATAL:  the database system is starting up",
        "connection failed: FATAL:  the database system is shutting down",
        "could not receive data from server: Connection reset by peer",
    ],
)
def test_a_server_that_goes_or_comes_is_told_as_such(ledger: Ledger, text: str) -> None:
    assert "unreachable" == explain(psycopg.OperationalError(text)).details["cause"]
    assert (
        "idle"
        == explain(psycopg.OperationalError("terminating connection due to idle-in-transaction timeout")).details[
            "cause"
        ]
    )


class TestACallEndsInTimeWhateverItWaitsFor:
    @pytest.fixture
    def patient(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
        """A ledger whose connections would wait for an hour: what ends sooner is the call."""
        for bound in ("ANSWER", "CONNECT", "STATEMENT", "LOCK"):
            monkeypatch.setattr(bounds, bound, 3600)
        monkeypatch.setattr("keyseat_issuer.settings.IDLE", 3600)
        monkeypatch.setattr(patience, "PATIENCE", 2.5)
        bounds.bound_waits()
        return ledger

    def test_on_a_thread_also_where_it_connects(self, patient: Ledger, postgres: Postgres) -> None:
        async def story() -> list[object]:
            threads = LedgerThreads(1)
            found: list[object] = [await threads.run(Organization.objects.count)]
            with postgres.paused():
                for _ in range(2):  # the second one has no connection
                    with pytest.raises(KeyseatError) as refused:
                        await threads.run(Organization.objects.count)
                    found.append(refused.value.details["cause"])
            await asyncio.to_thread(threads.close)
            return found

        assert [0, "slow", "unreachable"] == asyncio.run(asyncio.wait_for(story(), START))

    def test_on_a_thread_that_has_no_time_left_to_connect(self, patient: Ledger, postgres: Postgres) -> None:
        async def story() -> object:
            threads = LedgerThreads(1)
            with postgres.paused(), pytest.raises(KeyseatError) as refused:
                await threads.run_until(patience.call_ends(1.0), Organization.objects.count)
            await asyncio.to_thread(threads.close)
            return refused.value.details["cause"]

        assert "slow" == asyncio.run(asyncio.wait_for(story(), START))

    def test_at_the_desk_with_the_one_that_has_least_left(
        self, patient: Ledger, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(patience, "PATIENCE", START)
        customer = shop.organization("Customer")
        databases.close_all()

        async def story() -> list[object]:
            desk = SessionDesk(VendorTrust(Vendor()).authority, lambda: shop.NOW)

            async def ask(number: int, seconds: float) -> object:
                patience.begin_call(seconds)
                holder = Holder("key:none", organization_id=customer.pk)
                asked = Acquire(holder, "KRE", str(MACHINE), "n" * 22, f"{number}", f"{number}", customer.pk)
                with pytest.raises(KeyseatError) as refused:
                    await desk.ask(asked)
                return refused.value.details.get("cause")

            found = [await ask(0, START)]
            with postgres.paused():
                # The last one comes too late to get a turn of its own.
                found += await asyncio.gather(ask(1, START), ask(2, 1.5), ask(3, 0.5))
            await desk.close()
            return found

        assert [None, "slow", "slow", None] == asyncio.run(asyncio.wait_for(story(), START))


def test_after_a_restart_of_the_database_the_first_call_works(hurried: Ledger, postgres: Postgres) -> None:
    async def story() -> list[int]:
        threads = LedgerThreads(1)
        found = [await threads.run(Organization.objects.count)]
        postgres.disconnect_all()
        found.append(await threads.run(Organization.objects.count))
        await asyncio.to_thread(threads.close)
        return found

    assert [0, 0] == asyncio.run(story())


def test_a_connection_that_says_nothing_is_kept(hurried: Ledger) -> None:
    connection.ensure_connection()
    kept = connection.connection

    bounds.drop_dead_connection()

    assert kept is connection.connection


def test_a_transaction_that_hangs_ends_at_once_and_the_connection_with_it(hurried: Ledger, postgres: Postgres) -> None:
    connection.ensure_connection()
    with postgres.paused(), pytest.raises(psycopg.OperationalError, match="timeout expired"):
        connection.connection.execute("SELECT 1")

    assert connection.connection.closed


def test_sessions_have_time_outs_and_keepalives_and_the_operators_options_come_last(
    hurried: Ledger, postgres: Postgres
) -> None:
    def shown(name: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            return str(cursor.fetchone()[0])

    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    assert ["6s", "7s", "5s"] == [shown(name) for name in names]
    own = database_from_url("postgresql://u@h/db?options=-c%20lock_timeout%3D1s&keepalives_idle=77")
    assert own["OPTIONS"]["options"].endswith("-c lock_timeout=1s")
    assert {77, 10_000} == {own["OPTIONS"]["keepalives_idle"], own["OPTIONS"]["tcp_user_timeout"]}
    assert WAIT not in own


def test_a_server_says_so_while_its_database_hangs_and_hears_sigterm(
    ledger: Ledger, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cheap_scrypt(monkeypatch)
    home = make_issuer(tmp_path / "vendor", policy=default_policy(sunset=None), now=now_utc()).home
    (home / "passphrase").write_text(PASSPHRASE)
    (home / "passphrase").chmod(0o600)
    databases.close_all()
    server = Server(ledger, home)
    with postgres.paused():
        answer = httpx.get(f"{server.url}/readyz", timeout=START, trust_env=False)
        assert (503, "LEDGER_UNAVAILABLE") == (answer.status_code, answer.json()["code"])
        server.process.send_signal(signal.SIGTERM)
        assert 0 == server.process.wait(START)


def test_connections_of_commands_wait_for_ever(ledger: Ledger) -> None:
    assert WAIT not in connections.settings["default"]
