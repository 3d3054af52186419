"""Probes and figures tell the truth: a ledger that cannot be written is not ready, and figures need no ledger."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

import shop
from activation import Site, make_key, serve_here
from databases import Ledger, Postgres
from keyseat_issuer.ledger import patience
from keyseat_issuer.ledger.database import explain
from keyseat_issuer.ledger.models import Probe
from keyseat_issuer.ledger.seats.state import Seats, seats
from keyseat_issuer.ledger.tools import bounds
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from vendor import OTHER_MACHINE


@pytest.fixture
def site(ledger: Ledger) -> Iterator[Site]:
    customer = shop.organization("Example Organisation")
    shop.subscribe(customer, {"KRE": 2, "KSE": 2})
    with serve_here() as running:
        running.key = make_key(customer)
        yield running


def ready(site: Site) -> tuple[int, str]:
    """Return the status and code of a probe."""
    answer = site.call("GET", "/readyz", key="")
    return answer.status_code, answer.json().get("code", "")


def figures(site: Site) -> list[str]:
    """Return the lines of the figures."""
    return site.call("GET", "/metrics", key="").text.splitlines()


def test_readiness_writes(site: Site) -> None:
    assert (200, "") == ready(site)
    assert site.clock() == Probe.objects.get().at


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_a_read_only_database_is_not_ready(site: Site, ledger: Ledger, postgres: Postgres) -> None:
    name = urlsplit(ledger.url).path[1:]
    postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    postgres.disconnect_all()

    assert (503, "LEDGER_UNAVAILABLE") == ready(site)
    postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    postgres.disconnect_all()
    assert (200, "") == ready(site)


_NO_ROOM = """
import atexit, resource, signal
from keyseat_issuer.ledger.database import require_ready
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc
require_ready()
from keyseat_issuer.ledger.seats.state import require_writable
require_writable(now_utc())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, unlimited)  # for what measures this process
resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited[1]))
try:
    require_writable(now_utc())
except KeyseatError as error:
    print(error.code, error.details["cause"])
"""


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_a_disk_without_room_is_not_ready(ledger: Ledger) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_ROOM], env=ledger.env, capture_output=True, text=True, timeout=60, check=False
    )

    assert ("LEDGER_UNAVAILABLE file\n", "") == (done.stdout, done.stderr)


def test_figures_are_given_while_the_ledger_does_not_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "keyseat_ledger_up 1.0" in figures(site)

    def down(_now: object) -> list[Seats]:
        raise KeyseatError(ReasonCode.LEDGER_UNAVAILABLE, "down")

    monkeypatch.setattr("keyseat_issuer.server.health.seats", down)

    told = figures(site)
    assert "keyseat_ledger_up 0.0" in told
    assert [] == [line for line in told if line.startswith("keyseat_seats_used{")]
    assert any(line.startswith("keyseat_desk_turns ") for line in told)


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_probes_and_figures_are_answered_soon_while_the_database_hangs(
    site: Site, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "ANSWER", 3600)
    monkeypatch.setattr(bounds, "CONNECT", 3600)
    monkeypatch.setattr(patience, "PATIENCE", 3600)
    monkeypatch.setattr("keyseat_issuer.server.health._PATIENCE", 2.5)
    bounds.bound_waits()
    assert (200, "") == ready(site)

    with postgres.paused():
        assert (503, "LEDGER_UNAVAILABLE") == ready(site)
        assert "keyseat_ledger_up 0.0" in figures(site)


def test_seats_are_counted_that_are_held_now_and_not_what_has_expired(site: Site) -> None:
    site.acquire()
    site.acquire(machine=str(OTHER_MACHINE))

    assert Seats("KRE", 2, 2) == seats(shop.NOW)[0]
    assert [Seats("KRE", 2, 0), Seats("KSE", 2, 0)] == seats(shop.NOW + timedelta(hours=2))


def test_turns_keys_and_the_bundle_have_figures(site: Site) -> None:
    site.acquire()

    told = figures(site)
    assert "keyseat_desk_turn_requests_count 1.0" in told
    assert "keyseat_desk_turn_seconds_count 1.0" in told
    assert "keyseat_trust_version 1.0" in told
    keys = [line for line in told if line.startswith("keyseat_key_valid_until_timestamp_seconds{")]
    assert 2 == len(keys)
    assert {"license", "lease"} == {line.split('purpose="')[1].split('"')[0] for line in keys}


def test_a_refusal_is_logged_with_its_code_and_the_databases_cause(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)

    def down(_now: object) -> None:
        raise explain(Exception("could not extend file: No space left on device"))

    monkeypatch.setattr("keyseat_issuer.server.health.require_writable", down)
    ready(site)
    site.call("GET", "/api/v1/organizations", key="")
    site.acquire(key="wrong")

    logged = [
        (record.route, record.code, getattr(record, "reason", ""))
        for record in caplog.records
        if hasattr(record, "code")
    ]
    assert ("/readyz", "LEDGER_UNAVAILABLE", "disk-full") in logged
    assert ("/api/v1/sessions", "NOT_ALLOWED", "") in logged


def test_every_cause_is_one_of_few_words() -> None:
    texts = (
        *("relation does not exist", "no such column", "statement timeout", "locked", "read-only", "disk is full"),
        *("disk i/o", "malformed", "password", "connection refused", "resolve", "something else"),
        *('database "x" does not exist', "terminating connection due to idle-in-transaction timeout"),
    )
    causes = {explain(Exception(text)).details["cause"] for text in texts}
    assert causes == {
        "tables",
        "slow",
        "busy",
        "read-only",
        "disk-full",
        "file",
        "sign-in",
        "unreachable",
        "unknown-host",
        "unknown",
        "no-database",
        "idle",
    }
