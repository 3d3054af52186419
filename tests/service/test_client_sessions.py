"""Online sessions of programs: kept alive, given back however a program ends; and what happens when a side dies."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import session_program
import shop
from activation import Clock, ServiceProcess, Site
from customers import Desktop, wait_until
from databases import Ledger
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_issuer.ledger.sessions.admin import force_release
from keyseat_shared.instants import format_instant
from keyseat_verifier import NotEntitled
from keyseat_verifier.online import grants, renewal
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted
from keyseat_verifier.online.renewal import SessionEnd
from keyseat_verifier.online.transport import Transport, UnreachableError
from vendor import OTHER_MACHINE, Vendor

ADA = "ada@example.com"
pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "API_KEY", "API_KEY_FILE", "ORGANIZATION", "CA_BUNDLE"):
        monkeypatch.delenv(f"KEYSEAT_{name}", raising=False)
    monkeypatch.setattr(grants, "ACQUIRE_SECONDS", 30.0)  # a busy machine
    monkeypatch.setattr(grants, "RENEW_SECONDS", 30.0)
    monkeypatch.setattr(renewal, "TICK", 0.01)


def used() -> int:
    return Pool.objects.get(product="KRE").used


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "keyseat-renewal"]


def sign_in(desktop: Desktop) -> None:
    config = ServerConfig(desktop.site.url)
    credentials = Credentials(str(desktop.home), config, {}, Transport(config.url))
    credentials.store(Granted("ada-token", "refresh", 10**6), desktop.site.clock())


class TestSession:
    def test_takes_a_seat_for_its_block_and_leaves_nothing(self, desktop: Desktop) -> None:
        with desktop.client().session() as session:
            assert (1, True, None, 1) == (used(), session.is_held, session.ended, session.number)
            assert ["keyseat-renewal"] == threads()
        assert (0, False, []) == (used(), session.is_held, desktop.leases())
        assert [] == threads()
        assert [] == list((desktop.home / "sessions").glob("*/*.lock"))

    def test_is_one_seat_each(self, desktop: Desktop) -> None:
        client = desktop.client()
        with client.session() as first, client.session() as second:
            assert (2, True) == (used(), first.entitlement.license_id != second.entitlement.license_id)
            with pytest.raises(NotEntitled, match="QUOTA_EXCEEDED"), client.session():
                pass

    def test_goes_on_with_the_seat_that_a_check_has_taken(self, desktop: Desktop) -> None:
        client = desktop.client()
        checked = client.check()
        with client.session() as session:
            assert (checked.license_id, 1) == (session.entitlement.license_id, used())
        assert 0 == used()

    def test_goes_online_where_all_offline_ones_are_in_use(self, desktop: Desktop) -> None:
        desktop.put_license(desktop.site.vendor.license(product="KRE"))
        client = desktop.client()
        with client.session() as first, client.session() as second:
            assert ("offline", "lease", 1) == (first.entitlement.source, second.entitlement.source, used())

    def test_that_no_one_gives_has_all_reasons(self, desktop: Desktop) -> None:
        desktop.put_license(desktop.site.vendor.license(product="KRE"))
        client = desktop.client(server="http://127.0.0.1:9")
        with client.session(), pytest.raises(NotEntitled) as caught, client.session():
            pass
        assert ("SESSIONS_EXCEEDED", ["SERVER_UNREACHABLE"]) == (
            caught.value.code,
            [str(reason.code) for reason in caught.value.reasons],
        )

    def test_works_without_a_home_that_can_be_written(self, desktop: Desktop) -> None:
        desktop.home.write_bytes(b"a file where the folder should be")
        with desktop.client().session() as session:
            assert (1, True) == (used(), session.is_held)
        assert 0 == used()

    def test_is_renewed_in_the_background(self, desktop: Desktop) -> None:
        with desktop.client().session() as session:
            first = session.entitlement
            desktop.site.clock.advance(minutes=40)
            wait_until(lambda: session.entitlement.expires_at > first.expires_at)
            assert (first.license_id, 1) == (session.entitlement.license_id, used())

    def test_given_back_early_ends_at_once(self, desktop: Desktop) -> None:
        with desktop.client().session() as session:
            session.release()
            session.release()
            assert (0, False, []) == (used(), session.is_held, threads())

    def test_that_cannot_be_given_back_is_left_to_the_next_program(
        self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise UnreachableError("away")

        with desktop.client().session() as session, monkeypatch.context() as patch:
            patch.setattr(Transport, "request", away)
            session.release()
        assert (1, 1) == (used(), len(desktop.leases()))

        with desktop.client().session() as again:
            assert session.entitlement.license_id == again.entitlement.license_id
        assert (0, []) == (used(), desktop.leases())


class TestTheEndOfASession:
    def test_by_an_administrator_is_told_and_final(self, desktop: Desktop, customer: Organization) -> None:
        told: list[SessionEnd] = []
        client = desktop.client()
        with client.session(on_ended=told.append) as session:
            force_release(customer, [session.entitlement.license_id], actor="test", now=desktop.site.clock.now)
            assert session.is_held  # the lease counts until the server is asked again
            desktop.site.clock.advance(minutes=40)
            wait_until(lambda: told)
            assert session.ended == told[0]
            assert ("LEASE_ENDED", "FORCED", True, False) == (*told[0][:2], told[0].is_final, session.is_held)
            assert "an administrator ended the session" in told[0].message
            wait_until(lambda: not threads())
        assert (0, []) == (used(), desktop.leases())
        with pytest.raises(NotEntitled, match="LEASE_ENDED"):
            client.check()

    def test_by_another_machine_of_the_user(self, desktop: Desktop, customer: Organization, tmp_path: Path) -> None:
        shop.assign(customer, "KSE", ADA)
        other = Desktop(tmp_path / "other", desktop.site, OTHER_MACHINE)
        sign_in(desktop)
        sign_in(other)
        told: list[SessionEnd] = []
        with desktop.client("KSE").session(on_ended=told.append), other.client("KSE").session() as second:
            assert second.is_held  # by a short lease, while the first one's runs on: 40 minutes at a leap end it
            desktop.site.clock.advance(minutes=40)
            wait_until(lambda: told)
            assert "TAKEN_OVER" == told[0].reason
            assert "active on another machine" in told[0].message

    def test_that_slept_while_another_machine_took_over_is_final_too(
        self, desktop: Desktop, customer: Organization, tmp_path: Path
    ) -> None:
        shop.assign(customer, "KSE", ADA)
        other = Desktop(tmp_path / "other", desktop.site, OTHER_MACHINE)
        sign_in(desktop)
        sign_in(other)
        told: list[SessionEnd] = []
        client = desktop.client("KSE")
        client.check()
        with client.session(on_ended=told.append) as session:
            second = other.client("KSE").check()
            desktop.site.clock.advance(minutes=70)
            wait_until(lambda: session.ended is not None and session.ended.is_final)
            assert "TAKEN_OVER" == session.ended.reason if session.ended else False
        with pytest.raises(NotEntitled, match="active on another machine"):
            client.check()
        assert [second.license_id] == [
            str(pk) for pk in Lease.objects.filter(ended_at=None).values_list("pk", flat=True)
        ]

    def test_of_a_user_leaves_the_seat_with_the_user(self, desktop: Desktop, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)
        sign_in(desktop)
        with desktop.client("KSE").session() as session:
            assert session.is_held
            with pytest.raises(NotEntitled, match=f"SESSIONS_EXCEEDED.* by process {os.getpid()}"):
                desktop.client("KSE").session().__enter__()
        assert "lease" == desktop.client("KSE").check().source

    def test_does_not_wait_for_a_callback_that_fails(
        self, desktop: Desktop, customer: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failed: list[object] = []
        monkeypatch.setattr(threading, "excepthook", lambda args: failed.append(args.exc_type))

        def on_ended(_end: SessionEnd) -> None:
            raise ZeroDivisionError

        with desktop.client().session(on_ended=on_ended) as session:
            force_release(customer, [session.entitlement.license_id], actor="test", now=desktop.site.clock.now)
            desktop.site.clock.advance(minutes=40)
            wait_until(lambda: failed)
        assert [ZeroDivisionError] == failed


class Program:
    """The customer's program, as a process of its own."""

    def __init__(self, url: str, home: Path, clock_file: Path, how: str = "session") -> None:
        command = [sys.executable, session_program.__file__, url, str(home), str(clock_file), how]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = self.next_line()

    @property
    def session_id(self) -> str:
        return self.said.split()[1]

    def next_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, number: int | None = None) -> int:
        """End it by a signal, or by ending its input; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
            self.process.wait(60)
        self.process.communicate(timeout=60)
        return self.process.returncode


class TestPrograms:
    @pytest.fixture
    def clock_file(self, site: Site, tmp_path: Path) -> Path:
        path = tmp_path / "now"
        path.write_text(format_instant(site.clock.now))
        return path

    def start(self, desktop: Desktop, clock_file: Path, how: str = "session") -> Program:
        return Program(desktop.site.url, desktop.home, clock_file, how)

    @pytest.mark.parametrize(
        ("how", "by", "code"),
        [
            ("session", None, 0),
            ("exit", None, 3),
            ("session", signal.SIGINT, -signal.SIGINT),
            ("session", signal.SIGTERM, -signal.SIGTERM),
            ("own handler", signal.SIGTERM, 7),
            ("check", None, 0),
        ],
    )
    def test_give_their_seat_back_however_they_end(
        self, desktop: Desktop, clock_file: Path, how: str, by: int | None, code: int
    ) -> None:
        program = self.start(desktop, clock_file, how)
        assert [program.session_id] == [str(pk) for pk in Lease.objects.values_list("pk", flat=True)]

        assert code == program.end(by)
        assert (0, []) == (used(), desktop.leases())

    def test_killed_leave_their_session_to_the_next_one(self, desktop: Desktop, clock_file: Path) -> None:
        killed = self.start(desktop, clock_file)
        killed.end(signal.SIGKILL)
        assert 1 == used()

        following = self.start(desktop, clock_file)

        assert (killed.session_id, 1) == (following.session_id, used())
        following.end()
        assert 0 == used()

    def test_killed_and_ended_on_the_server_leave_nothing_in_the_way(
        self, desktop: Desktop, clock_file: Path, customer: Organization
    ) -> None:
        killed = self.start(desktop, clock_file)
        killed.end(signal.SIGKILL)
        force_release(customer, [killed.session_id], actor="test", now=desktop.site.clock.now)

        with desktop.client().session() as session:
            assert (True, 1) == (killed.session_id != session.entitlement.license_id, used())

    def test_that_fork_keep_their_session_and_the_child_has_none(self, desktop: Desktop, clock_file: Path) -> None:
        program = self.start(desktop, clock_file, "fork")
        assert "child 10" == program.next_line()
        assert 1 == used()
        program.end()
        assert 0 == used()

    def test_running_together_share_what_a_check_needs_and_count_sessions(
        self, desktop: Desktop, clock_file: Path
    ) -> None:
        programs = [self.start(desktop, clock_file) for _ in range(2)]
        assert 2 == used()
        assert "lease" == desktop.client().check().source
        assert [program.process.pid for program in programs] == sorted(
            lease.held_by or 0 for lease in (desktop.client().status().online or pytest.fail("no online status")).leases
        )
        for program in programs:
            program.end()
        assert 0 == used()


class TestAServerThatDies:
    @pytest.fixture
    def service(self, ledger: Ledger, customer: Organization, tmp_path: Path) -> Iterator[ServiceProcess]:
        running = ServiceProcess(ledger, tmp_path)
        running.start()
        yield running
        running.close()

    @pytest.fixture
    def clock(self, service: ServiceProcess) -> "SharedClock":
        return SharedClock(service)

    @pytest.fixture
    def desktop(self, service: ServiceProcess, clock: "SharedClock", tmp_path: Path) -> Desktop:
        return Desktop(tmp_path / "home", Site(service.url, clock, Vendor()))

    def test_and_comes_back_is_not_noticed(
        self, desktop: Desktop, service: ServiceProcess, clock: "SharedClock"
    ) -> None:
        with desktop.client().session() as session:
            first = session.entitlement
            service.kill()
            service.start()
            clock.advance(minutes=40)
            wait_until(lambda: session.entitlement.expires_at > first.expires_at)
            assert (first.license_id, None, 1) == (session.entitlement.license_id, session.ended, used())
        assert 0 == used()

    def test_ends_the_session_with_its_lease_and_it_goes_on_by_itself(
        self, desktop: Desktop, service: ServiceProcess, clock: "SharedClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[object] = []
        monkeypatch.setattr(renewal, "CALL_SECONDS", 0.3)
        with desktop.client().session(on_ended=told.append, on_resumed=told.append) as session:
            first = session.entitlement
            service.kill()
            clock.advance(minutes=40)
            assert session.is_held
            clock.advance(minutes=21)
            wait_until(lambda: told)
            end = told[0]
            assert isinstance(end, SessionEnd)
            assert ("EXPIRED", False, False) == (end.reason, end.is_final, session.is_held)

            monkeypatch.setattr(renewal, "CALL_SECONDS", 30.0)
            service.start()
            clock.advance(minutes=10)
            wait_until(lambda: session.is_held)
            wait_until(lambda: len(told) == 2)
            assert session.entitlement.license_id != first.license_id
            assert clock() < session.entitlement.expires_at
        assert [] == desktop.leases()
        assert 0 == Lease.objects.filter(ended_at__isnull=True, expires_at__gt=clock()).count()

    def test_is_asked_again_soon_after_the_lease_has_ended_however_often_it_was_before(
        self, desktop: Desktop, service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renewal, "CALL_SECONDS", 0.05)
        with desktop.client().session() as session:
            by_hand = session._renewal
            assert by_hand is not None
            by_hand.stop()
            service.kill()
            ends_at = session.entitlement.expires_at
            now = ends_at - timedelta(minutes=20)
            for _ in range(10):
                now += timedelta(seconds=by_hand._step(now))
            assert now < ends_at
            first, second = by_hand._step(ends_at), by_hand._step(ends_at + timedelta(seconds=15))
            assert (5 <= first <= 15, 10 <= second <= 30) == (True, True)


class SharedClock(Clock):
    """A clock that the service's process reads from its file."""

    def __init__(self, service: ServiceProcess) -> None:
        super().__init__()
        self._service = service

    def advance(self, **parts: int) -> object:  # type: ignore[override]
        self._service.set_clock(self.now + timedelta(**parts))
        return super().advance(**parts)
