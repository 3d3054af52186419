"""Sessions under fire, on both databases: racing processes, killed clients, a killed server."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import shop
from activation import ServiceProcess, make_key
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import Lease, Pool
from races import race
from session_tasks import ask


@pytest.fixture
def service(ledger: Ledger, tmp_path: Path) -> Iterator[ServiceProcess]:
    made = ServiceProcess(ledger, tmp_path)
    yield made
    made.close()


def test_fifty_processes_racing_for_the_last_ten_sessions_get_exactly_ten_in_each_of_twenty_rounds(
    ledger: Ledger, service: ServiceProcess
) -> None:
    service.workers = 2
    keys = []
    for number in range(20):
        customer = shop.organization(f"Round {number}")
        shop.subscribe(customer, {"KRE": 10})
        keys.append(make_key(customer))
    service.start()

    lines = race(ledger, "session_tasks:acquire_each", 50, url=service.url, keys=keys)

    for number in range(20):
        assert Counter({201: 10, 409: 40}) == Counter(line["result"][number] for line in lines)
    assert {10} == set(Pool.objects.values_list("used", flat=True))
    assert () == verify().findings


def test_sessions_of_killed_clients_come_back_when_their_leases_end_and_none_before(
    ledger: Ledger, service: ServiceProcess
) -> None:
    customer = shop.organization("Example Organisation")
    shop.subscribe(customer, {"KRE": 10})
    key = make_key(customer)
    service.start()

    clients = []
    for _ in range(5):
        client = os.fork()
        if client == 0:
            try:
                for _ in range(2):
                    ask(service.url, key)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        clients.append(client)
    assert {signal.SIGKILL} == {os.waitpid(client, 0)[1] for client in clients}

    assert 409 == ask(service.url, key)[0]
    service.set_clock(shop.NOW + timedelta(seconds=3599))
    assert 409 == ask(service.url, key)[0]
    service.set_clock(shop.NOW + timedelta(seconds=3600))
    assert Counter({201: 10, 409: 1}) == Counter(ask(service.url, key)[0] for _ in range(11))
    assert () == verify().findings


def test_a_server_killed_under_load_and_started_again_loses_and_doubles_no_seat(
    ledger: Ledger, service: ServiceProcess
) -> None:
    customer = shop.organization("Example Organisation")
    shop.subscribe(customer, {"KRE": 1000})
    key = make_key(customer)
    service.start()
    killed = 0
    done = threading.Event()

    def keep_killing() -> None:
        nonlocal killed
        while not done.wait(0.7) and killed < 4:
            service.kill()
            killed += 1
            service.start()

    killer = threading.Thread(target=keep_killing)
    killer.start()
    lines = race(ledger, "session_tasks:acquire_all", 8, url=service.url, key=key, wanted=60)
    done.set()
    killer.join()

    sessions = [session for line in lines for session in line["result"]]
    assert (480, 480) == (len(sessions), len(set(sessions)))
    assert 1 <= killed
    assert (480, 480) == (Pool.objects.get().used, Lease.objects.filter(ended_at=None).count())
    assert set(sessions) == {str(pk) for pk in Lease.objects.values_list("pk", flat=True)}
    assert () == verify().findings


def test_one_request_sent_by_twenty_processes_at_once_takes_one_seat(ledger: Ledger, service: ServiceProcess) -> None:
    service.workers = 2
    customer = shop.organization("Example Organisation")
    # Two pools: the same request may look for room in either.
    shop.subscribe(customer, {"KRE": 10})
    shop.subscribe(customer, {"KRE": 10})
    key = make_key(customer)
    service.start()

    lines = race(ledger, "session_tasks:acquire_same", 20, url=service.url, key=key, idempotency="the-same-one")

    assert Counter({201: 1, 200: 19}) == Counter(line["result"][0] for line in lines)
    assert 1 == len({line["result"][1] for line in lines})
    assert 1 == sum(Pool.objects.values_list("used", flat=True))
    assert () == verify().findings


def test_a_user_who_starts_on_ten_machines_at_once_has_one_session_and_one_lease_that_runs_on(
    ledger: Ledger, service: ServiceProcess
) -> None:
    service.workers = 2
    customer = shop.organization("Example Organisation", "ada@example.com")
    shop.subscribe(customer, {"KSE": 1})
    shop.assign(customer, "KSE", "ada@example.com")
    service.start()

    lines = race(ledger, "session_tasks:take_over", 10, url=service.url, token="user:ada@example.com")

    started = Counter(line["result"] for line in lines)
    assert (3, 8) == (len(started), started["QUOTA_EXCEEDED"])
    assert [("", 1), ("TAKEN_OVER", 1)] == sorted(Counter(Lease.objects.values_list("ending", flat=True)).items())
    assert 1 == Pool.objects.get().lingering
    assert () == verify().findings


def test_fifty_machines_that_release_and_keep_their_leases_hold_no_more_than_the_quota_and_the_overlap(
    ledger: Ledger, service: ServiceProcess
) -> None:
    service.workers = 2
    customer = shop.organization("Example Organisation")
    shop.subscribe(customer, {"KRE": 5})
    key = make_key(customer)
    service.start()

    lines = race(ledger, "session_tasks:acquire_and_release", 50, url=service.url, key=key)

    # Whoever got one has its lease, released or not: five seats, and as many again. Who came while five were in use
    # may have been refused for that.
    answers = Counter(line["result"] for line in lines)
    assert {201, 409} == set(answers)
    assert 5 <= answers[201] <= 10
    assert (0, answers[201]) == Pool.objects.values_list("used", "lingering").get()
    assert () == verify().findings
