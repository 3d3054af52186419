"""Licences are signed before anything is locked, and handed out only where the locks show the same."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

import offline_shop
import shop
from databases import Ledger, Postgres
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import OfflineLicense, Organization, Pool
from keyseat_issuer.ledger.offline import conversion
from keyseat_issuer.ledger.offline.conversion import convert
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_issuer.ledger.offline.values import Outcome, Status, Terms
from offline_shop import ADA, BOB, NAME, VENDOR, VendorSigner, numbered_machine

VICTIM = Path(__file__).parent.parent / "support" / "batch_victim.py"


class Watched(VendorSigner):
    """A signer that does something else before each of its first signatures."""

    def __init__(self, first: Callable[[], object], times: int = 1) -> None:
        """Take what it does, in a thread and on a connection of its own."""
        super().__init__(VENDOR)
        self._first = first
        self._left = times
        self.signed = 0
        self.error: BaseException | None = None

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Sign."""
        self.signed += 1
        if self._left > 0:
            self._left -= 1
            thread = threading.Thread(target=self._run)
            thread.start()
            thread.join(30)
        return super().sign(payload_type, payload)

    def _run(self) -> None:
        try:
            self._first()
        except BaseException as error:
            self.error = error
            raise
        finally:
            connections.close_all()


def issue(signer: VendorSigner, requests: list[OfflineRequest], **options: bool) -> list[Outcome]:
    return convert(requests, Terms(VENDOR.bundle, shop.ACTOR, shop.NOW, signer), **options)


def floating(count: int) -> list[OfflineRequest]:
    return [offline_shop.request("KRE", machine_id=numbered_machine(number)) for number in range(count)]


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    return offline_shop.customer(kse=3, kre=200)


def test_nothing_is_locked_while_licences_are_signed(customer: Organization) -> None:
    def work() -> None:
        with connection.cursor() as cursor:
            lock = "SET lock_timeout = '1ms'" if connection.vendor == "postgresql" else "PRAGMA busy_timeout = 0"
            cursor.execute(lock)
        shop.assign(customer, "KRE", ADA)

    signer = Watched(work)
    outcomes = issue(signer, floating(3))

    assert signer.error is None
    assert [Status.ISSUED] * 3 == [outcome.status for outcome in outcomes]
    assert 3 == signer.signed
    assert () == verify().findings


def test_a_seat_that_went_meanwhile_is_not_given_away(customer: Organization) -> None:
    def take() -> None:
        shop.assign(customer, "KSE", BOB)
        Pool.objects.filter(product="KRE").update(used=200)

    signer = Watched(take)
    outcomes = issue(signer, [offline_shop.request("KSE"), *floating(1)])

    assert [Status.NOT_ISSUED, Status.REFUSED] == [outcome.status for outcome in outcomes]
    assert 0 == OfflineLicense.objects.count()


def test_what_changed_meanwhile_is_signed_again(customer: Organization) -> None:
    signer = Watched(lambda: Organization.objects.filter(pk=customer.pk).update(name="Renamed"))
    [outcome] = issue(signer, [offline_shop.request(organization=str(customer.pk))])

    assert outcome.license is not None
    assert (2, "Renamed") == (signer.signed, outcome.license.organization)


def test_where_much_changed_meanwhile_all_is_signed_anew_before_the_locks(customer: Organization) -> None:
    names = iter(["Renamed", "Renamed again"])
    requests = [
        offline_shop.request("KRE", organization=str(customer.pk), machine_id=numbered_machine(number))
        for number in range(conversion._SIGNED_UNDER_LOCKS + 1)
    ]
    signer = Watched(lambda: Organization.objects.filter(pk=customer.pk).update(name=next(names)), times=1)
    drafted: list[int] = []

    def progress(items: Iterable[Any], _label: str, total: int | None = None) -> Iterator[Any]:
        drafted.append(total or 0)
        yield from items

    terms = Terms(VENDOR.bundle, shop.ACTOR, shop.NOW, signer)
    outcomes = convert(requests, terms, progress=progress)

    assert {"Renamed"} == {outcome.license.organization for outcome in outcomes if outcome.license is not None}
    assert [len(requests)] * 2 == drafted
    assert 2 * len(requests) == signer.signed
    assert len(requests) == OfflineLicense.objects.count() == Pool.objects.get(product="KRE").used


def test_a_batch_that_cannot_be_issued_signs_nothing(customer: Organization) -> None:
    signer = Watched(lambda: None)
    outcomes = issue(signer, [*floating(3), offline_shop.request(user="nobody@example.com")])

    assert 0 == signer.signed
    assert [Status.NOT_ISSUED] * 3 + [Status.REFUSED] == [outcome.status for outcome in outcomes]


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_a_batch_suspended_in_the_middle_is_ended_and_told_and_completed_by_the_same_command(
    customer: Organization, ledger: Ledger, postgres: Postgres, tmp_path: Path
) -> None:
    path, out = tmp_path / "batch.csv", tmp_path / "out"
    rows = [f"{NAME},KRE,{numbered_machine(number)},,1" for number in range(20)]
    path.write_text("organization,product,machine_id,user,sessions\n" + "\n".join(rows) + "\n")
    connections.close_all()
    limit = "options=-c%20idle_in_transaction_session_timeout%3D300ms"
    env = ledger.env | {"DATABASE_URL": f"{ledger.url}{'&' if '?' in ledger.url else '?'}{limit}"}
    command = [sys.executable, str(VICTIM), str(path), str(out), "stop:commit:before"]
    batch = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert os.WIFSTOPPED(os.waitpid(batch.pid, os.WUNTRACED)[1])

    # Somebody else's act waits for the end of that transaction, and no longer.
    shop.assign(customer, "KSE", ADA)
    batch.send_signal(signal.SIGCONT)
    _, said = batch.communicate(timeout=60)

    assert 3 == batch.returncode, said
    assert "LEDGER_UNAVAILABLE: this act stood still for too long, and the database ended it; nothing was done" in said
    assert "Do it again" in said
    assert (0, []) == (OfflineLicense.objects.count(), list(out.iterdir()))
    again = subprocess.run([*command[:-1], "never"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "issued=20\n" == again.stdout, again.stderr
    assert 20 == OfflineLicense.objects.count() == Pool.objects.get(product="KRE").used
    assert () == verify().findings
