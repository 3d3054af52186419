"""The desk between requests and ledger: turns, refusals, databases that fail, and what a process may lose."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

import offline_shop
import shop
from activation import NONCE, Clock, Site, make_key, problem, serve_here
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger import patience
from keyseat_issuer.ledger.models import ApiKey, Lease, Organization, Pool
from keyseat_issuer.ledger.sessions import desk as session_desk
from keyseat_issuer.ledger.sessions.desk import SessionDesk, Signed
from keyseat_issuer.ledger.sessions.values import Acquire, Holder, Release, Renew, Request
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from service_program import VendorTrust
from vendor import MACHINE, OTHER_MACHINE, Vendor


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation")
    shop.subscribe(made, {"KRE": 20})
    return made


@pytest.fixture
def holder(customer: Organization) -> Holder:
    make_key(customer)
    row = ApiKey.objects.get()
    return Holder(f"key:{row.prefix}", key_id=row.pk, organization_id=customer.pk)


@pytest.fixture
def site(customer: Organization) -> Iterator[Site]:
    with serve_here() as running:
        running.key = make_key(customer)
        yield running


def acquire(holder: Holder, number: int, product: str = "KRE") -> Acquire:
    return Acquire(holder, product, str(MACHINE), NONCE, f"{number:064d}", "0" * 64)


def ask_all(*requests: Request, desk: Callable[[], SessionDesk] | None = None) -> tuple[list[object], int]:
    """Ask all at once; return replies or refusals in their order, and how many turns it took."""

    async def run() -> tuple[list[object], int]:
        made = desk() if desk else SessionDesk(VendorTrust(Vendor()).authority, Clock())
        replies = await asyncio.gather(*[made.ask(request) for request in requests], return_exceptions=True)
        await made.close()
        return list(replies), made.turns

    return asyncio.run(run())


def codes(replies: list[object]) -> list[str]:
    return [str(reply.code) if isinstance(reply, KeyseatError) else type(reply).__name__ for reply in replies]


class TestTurns:
    def test_answer_what_came_together_in_one_transaction(self, holder: Holder) -> None:
        replies, turns = ask_all(*[acquire(holder, number) for number in range(12)])

        assert (["Signed"] * 12, 1, 12) == (codes(replies), turns, Pool.objects.get().used)
        assert 12 == len({reply.grant.session_id for reply in replies if isinstance(reply, Signed)})
        assert () == verify().findings

    def test_refuse_some_without_touching_the_others(self, holder: Holder) -> None:
        replies, turns = ask_all(
            acquire(holder, 1),
            acquire(holder, 2, "XYZ"),
            Renew(holder, holder.key_id, str(MACHINE), NONCE),  # type: ignore[arg-type] # some id that is no session's
            acquire(holder, 3),
        )

        assert (["Signed", "NOT_FOUND", "NOT_FOUND", "Signed"], 1) == (codes(replies), turns)

    def test_give_seats_back_before_they_take_any(self, holder: Holder) -> None:
        first, _ = ask_all(*[acquire(holder, number) for number in range(20)])
        held = [reply.grant.session_id for reply in first if isinstance(reply, Signed)]

        replies, turns = ask_all(acquire(holder, 21), Release(holder, held[0]), acquire(holder, 22))

        assert (["Signed", "Ended", "QUOTA_EXCEEDED"], 1, 20) == (codes(replies), turns, Pool.objects.get().used)

    def test_see_a_repeated_request_within_themselves(self, holder: Holder) -> None:
        replies, _ = ask_all(acquire(holder, 1), acquire(holder, 1))

        assert 1 == len({reply.grant.session_id for reply in replies if isinstance(reply, Signed)})
        assert (2, 1) == (len(replies), Pool.objects.get().used)

    def test_renew_and_release_one_session_in_either_order_alike(self, holder: Holder) -> None:
        [first], _ = ask_all(acquire(holder, 1))
        assert isinstance(first, Signed)
        session = first.grant.session_id

        replies, _ = ask_all(Renew(holder, session, str(MACHINE), NONCE), Release(holder, session))

        assert ["LEASE_ENDED", "Ended"] == codes(replies)

    def test_are_bounded_and_more_requests_take_more_turns(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_desk, "MOST_PER_TURN", 5)

        replies, turns = ask_all(*[acquire(holder, number) for number in range(12)])

        assert (["Signed"] * 12, 3) == (codes(replies), turns)

    def test_wait_a_moment_for_those_just_answered_instead_of_serving_halves_in_turn(self, holder: Holder) -> None:
        async def run() -> int:
            desk = SessionDesk(VendorTrust(Vendor()).authority, Clock())

            async def twice(number: int) -> None:
                await desk.ask(acquire(holder, number))
                await desk.ask(acquire(holder, number + 10))

            async def once_the_first_turn_runs() -> None:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert 1 == desk.turns
                await desk.ask(acquire(holder, 9))

            await asyncio.gather(twice(1), twice(2), once_the_first_turn_runs())
            await desk.close()
            return desk.turns

        assert (2, 5) == (asyncio.run(run()), Pool.objects.get().used)

    def test_begin_as_soon_as_all_are_there_that_the_last_one_lets_expect(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_desk, "GATHER", 3600)

        async def run() -> int:
            desk = SessionDesk(VendorTrust(Vendor()).authority, Clock())
            for round_ in range(3):
                await asyncio.gather(*[desk.ask(acquire(holder, 5 * round_ + number)) for number in range(5)])
            await desk.close()
            return desk.turns

        assert (3, 15) == (asyncio.run(asyncio.wait_for(run(), 30)), Pool.objects.get().used)


class TestOverload:
    def test_is_refused_at_once(self, holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session_desk, "MOST_WAITING", 2)

        async def run() -> str:
            desk = SessionDesk(VendorTrust(Vendor()).authority, Clock())
            waiting = [desk.ask(acquire(holder, number)) for number in range(2)]
            with pytest.raises(KeyseatError) as refusal:
                desk.ask(acquire(holder, 3))
            await asyncio.gather(*waiting)
            await desk.close()
            return str(refusal.value.code)

        assert ReasonCode.LEDGER_UNAVAILABLE == asyncio.run(run())

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_of_a_file_that_another_writes_is_waited_for_as_long_as_the_call_has(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "timeout", 3600)
        monkeypatch.setattr(patience, "PATIENCE", 1.5)

        with transaction.atomic():
            replies, turns = ask_all(acquire(holder, 1))

        assert (["LEDGER_UNAVAILABLE"], 1) == (codes(replies), turns)

    def test_does_not_take_a_seat_for_a_client_that_has_long_given_up(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(patience, "PATIENCE", -1.0)

        replies, turns = ask_all(acquire(holder, 1))

        assert (["LEDGER_UNAVAILABLE"], 0, 0) == (codes(replies), turns, Lease.objects.count())

    def test_after_closing_nothing_is_accepted(self, holder: Holder) -> None:
        async def run() -> None:
            desk = SessionDesk(VendorTrust(Vendor()).authority, Clock())
            await desk.close()
            desk.ask(acquire(holder, 1))

        with pytest.raises(KeyseatError, match="LEDGER_UNAVAILABLE"):
            asyncio.run(run())


class TestFailures:
    def test_of_the_key_come_before_a_seat_is_taken(self, holder: Holder) -> None:
        def locked(_now: object) -> object:
            raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, "the lease key is locked")

        async def run() -> str:
            desk = SessionDesk(locked, Clock())  # type: ignore[arg-type] # it never returns
            with pytest.raises(KeyseatError) as refusal:
                await desk.ask(acquire(holder, 1))
            await desk.close()
            return str(refusal.value.code)

        assert (ReasonCode.KEY_UNAVAILABLE, 0) == (asyncio.run(run()), Pool.objects.get().used)

    def test_of_the_clock_come_before_those_of_a_key_that_is_good(self, holder: Holder) -> None:
        ask_all(acquire(holder, 1))

        def too_early(_now: object) -> object:
            raise KeyseatError(ReasonCode.KEY_UNAVAILABLE, "no key is valid yet")

        clock = Clock()
        clock.advance(hours=-2)
        replies, _ = ask_all(acquire(holder, 2), desk=lambda: SessionDesk(too_early, clock))  # type: ignore[arg-type]

        assert ["CLOCK_ROLLED_BACK"] == codes(replies)

    def test_of_the_data_of_one_request_leave_its_neighbours_alone(self, holder: Holder) -> None:
        broken = acquire(holder, 2)._replace(machine_id="m" * 5, holder=holder._replace(key_id=None))

        replies, _ = ask_all(acquire(holder, 1), broken, acquire(holder, 3))

        assert ["Signed", "NOT_A_MEMBER", "Signed"] == codes(replies)
        assert 2 == Pool.objects.get().used

    def test_of_a_constraint_are_answered_one_by_one(self, holder: Holder) -> None:
        # The database refuses this row: neither a key nor a user holds it.
        broken = acquire(holder, 2)._replace(holder=holder._replace(email="ada@example.com"))

        replies, _ = ask_all(acquire(holder, 1), broken, acquire(holder, 3))

        assert ["Signed", "LEDGER_UNAVAILABLE", "Signed"] == codes(replies)
        assert 2 == Pool.objects.get().used
        assert () == verify().findings

    @pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
    def test_of_the_connection_are_told_and_the_next_turn_has_a_new_one(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert 201 == site.acquire().status_code
        process, ended = session_desk.process, []

        def cut_off(*arguments: Any) -> Any:  # noqa: ANN401 - whatever that one takes
            if not ended:
                ended.append(True)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return process(*arguments)

        monkeypatch.setattr(session_desk, "process", cut_off)

        answers = [site.acquire() for _ in range(2)]
        assert (503, "LEDGER_UNAVAILABLE", None) == problem(answers[0])
        assert "retry-after" in answers[0].headers
        assert 201 == answers[1].status_code
        assert 2 == Pool.objects.get().used

    def test_a_ledger_that_is_busy_for_a_while_makes_requests_wait_and_not_fail(self, site: Site) -> None:
        pool = Pool.objects.get()
        site.acquire()  # so that the key is known
        answers: list[int] = []
        with transaction.atomic():
            Pool.objects.select_for_update().get(pk=pool.pk)
            asking = threading.Thread(target=lambda: answers.append(site.acquire().status_code))
            asking.start()
            asking.join(0.3)
            assert [] == answers
        asking.join(30)

        assert [201] == answers


class TestOwnOfflineLicences:
    def test_are_listed_and_downloaded_byte_for_byte(self, ledger: Ledger) -> None:
        customer = offline_shop.customer()
        issued = offline_shop.issue("KRE")
        offline_shop.issue("KSE")
        with serve_here(clock=Clock(shop.NOW + timedelta(minutes=1))) as site:
            site.key = make_key(customer)
            listed = site.call("GET", "/api/v1/offline-licenses").json()["licenses"]
            elsewhere = site.call("GET", f"/api/v1/offline-licenses?machine_id={OTHER_MACHINE}").json()["licenses"]
            file = site.call("GET", f"/api/v1/offline-licenses/{issued.license_id}/file")

        assert [(str(issued.license_id), "KRE", str(MACHINE))] == [
            (entry["license_id"], entry["product"], entry["machine_id"]) for entry in listed
        ]
        assert [] == elsewhere
        assert issued.file == file.content
        assert listed[0]["file_name"] in file.headers["content-disposition"]

    def test_of_others_do_not_exist(self, ledger: Ledger) -> None:
        offline_shop.customer()
        issued = offline_shop.issue("KRE")
        with serve_here(clock=Clock(shop.NOW + timedelta(minutes=1))) as site:
            site.key = make_key(shop.organization("Somebody else"))
            listed = site.call("GET", "/api/v1/offline-licenses")
            file = site.call("GET", f"/api/v1/offline-licenses/{issued.license_id}/file")
            nonsense = site.call("GET", "/api/v1/offline-licenses/nonsense/file")

        assert {"licenses": []} == listed.json()
        assert (404, "NOT_FOUND", None) == problem(file)
        assert (422, "INVALID_INPUT", None) == problem(nonsense)
