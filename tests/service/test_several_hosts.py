"""Several hosts serve one ledger, each with a home of its own: what one of them revokes stops signing on all."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection

from databases import Ledger
from issuing import NOW, PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.api import service as service_module
from keyseat_issuer.api import trust_source
from keyseat_issuer.api.service import Service
from keyseat_issuer.api.trust_source import TrustSource
from keyseat_issuer.server.app import create_api
from keyseat_issuer.trust import history
from keyseat_issuer.trust.admin import TrustAdmin
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.trust import LEASE, TrustBundle

LATER = NOW + timedelta(hours=1)


class Hosts:
    """The host where keys are made, and another one that was set up from a copy of its home without the root key."""

    def __init__(self, home: Path) -> None:
        """Make the issuer and the copy."""
        made = make_issuer(home / "office")
        self.office = made.home
        self.other = home / "other"
        shutil.copytree(self.office, self.other)
        for root in (self.other / "keys").glob("root-*"):
            root.unlink()
        self.first = next(key.key.keyid for key in made.trust.keys if key.purpose == LEASE)
        self.desk = TrustAdmin(self.office, PASSPHRASE, actor="test", now=LATER)

    def add_lease_key(self) -> str:
        """Make a lease key in the office, which is newer than the first."""
        return self.desk.add_key(LEASE).key.keyid

    def carry(self, keyid: str) -> None:
        """Copy a key's file to the other host."""
        [file] = (self.office / "keys").glob(f"lease-{keyid}*")
        shutil.copy(file, self.other / "keys")


@pytest.fixture
def hosts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    cheap_scrypt(monkeypatch)
    monkeypatch.setattr(trust_source, "_LOOK_EVERY", 0)  # a second passes between any two calls
    return Hosts(ledger.home)


@pytest.fixture
def source(hosts: Hosts) -> Iterator[TrustSource]:
    return TrustSource(hosts.other, PASSPHRASE, LATER)


def signing(source: TrustSource) -> tuple[str, ...]:
    """Return the keys that sign leases."""
    return source.authority(LATER)[1].keyids


def test_a_key_that_was_revoked_elsewhere_signs_no_more(hosts: Hosts, source: TrustSource) -> None:
    assert (hosts.first,) == signing(source)

    hosts.desk.revoke_key(hosts.first)

    with pytest.raises(KeyseatError) as refused:
        signing(source)
    assert ReasonCode.KEY_UNAVAILABLE is refused.value.code


def test_a_service_that_nobody_asks_takes_up_what_was_changed_elsewhere(
    hosts: Hosts, source: TrustSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_LOOK_EVERY", 0)
    before = source.trust().version
    hosts.add_lease_key()

    async def story() -> None:
        looked, loop, look = asyncio.Event(), asyncio.get_running_loop(), source.look

        def spied(now: datetime) -> None:
            look(now)
            loop.call_soon_threadsafe(looked.set)

        monkeypatch.setattr(source, "look", spied)
        api = create_api(Service(source, clock=lambda: LATER), ())
        async with asyncio.timeout(30), api.router.lifespan_context(api):
            await looked.wait()

    asyncio.run(story())
    assert before + 1 == source.trust().version


def test_nobody_waits_for_another_ones_look(source: TrustSource) -> None:
    with source._lock:
        looking = threading.Thread(target=source.look, args=(LATER,), daemon=True)
        looking.start()
        looking.join(30)
        assert not looking.is_alive()


def test_a_host_with_the_next_key_goes_on_with_it(hosts: Hosts, source: TrustSource) -> None:
    second = hosts.add_lease_key()
    hosts.carry(second)
    hosts.desk.revoke_key(hosts.first)

    assert (second,) == signing(source)


def test_callers_learn_which_key_is_missing_and_the_log_what_to_do(
    hosts: Hosts, source: TrustSource, caplog: pytest.LogCaptureFixture
) -> None:
    second = hosts.add_lease_key()
    hosts.desk.revoke_key(hosts.first)

    for _ in range(2):
        with pytest.raises(KeyseatError) as refused:
            signing(source)

    told = refused.value
    assert ("the service has no lease key at the moment", {"lacks": [second]}) == (told.message, told.details)
    assert "Copy" not in told.next_step
    [logged] = [record.getMessage() for record in caplog.records if hasattr(record, "code")]
    assert f"Copy keys/lease-{second}.pem" in logged


def test_a_key_that_is_brought_later_is_taken_up_by_itself(hosts: Hosts, source: TrustSource) -> None:
    second = hosts.add_lease_key()
    hosts.desk.revoke_key(hosts.first)
    with pytest.raises(KeyseatError):
        signing(source)

    hosts.carry(second)

    assert (second,) == signing(source)


def test_a_host_without_the_newest_key_goes_on_with_the_one_it_has_and_says_so(
    hosts: Hosts, source: TrustSource
) -> None:
    assert () == source.lacks(LATER)

    second = hosts.add_lease_key()

    assert (hosts.first,) == signing(source)
    assert (second,) == source.lacks(LATER)


def test_every_version_is_served_also_those_that_were_made_elsewhere(hosts: Hosts, source: TrustSource) -> None:
    hosts.add_lease_key()
    hosts.add_lease_key()
    source.look(LATER)

    versions = [TrustBundle.from_bytes(source.version(number)[0]).version for number in (1, 2, 3)]
    assert [1, 2, 3] == versions
    assert 3 == TrustBundle.from_bytes(source.bundle()[0]).version


def test_the_other_hosts_home_is_not_written(hosts: Hosts, source: TrustSource) -> None:
    before = {path: path.read_bytes() for path in hosts.other.rglob("*") if path.is_file()}

    hosts.add_lease_key()
    source.look(LATER)

    assert before == {path: path.read_bytes() for path in hosts.other.rglob("*") if path.is_file()}


def test_a_host_that_starts_with_an_old_home_takes_the_newest_bundle_from_the_ledger(hosts: Hosts) -> None:
    hosts.add_lease_key()

    assert 2 == TrustSource(hosts.other, PASSPHRASE, LATER).trust().version


def test_a_bundle_in_the_ledger_that_the_root_did_not_sign_stops_signing(hosts: Hosts, source: TrustSource) -> None:
    hosts.add_lease_key()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_auditevent SET details = REPLACE(details, 'payloadType', 'payloadTypo')"
            " WHERE action = 'trust.key_added'"
        )

    with pytest.raises(KeyseatError) as refused:
        signing(source)
    assert ReasonCode.AUDIT_BROKEN is refused.value.code


def test_a_ledger_that_is_down_is_no_reason_to_forget_the_bundle(
    hosts: Hosts, source: TrustSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> int:
        raise KeyseatError(ReasonCode.LEDGER_UNAVAILABLE, "down")

    monkeypatch.setattr(trust_source, "newest_row", down)

    assert (hosts.first,) == signing(source)


def test_a_read_only_home_serves(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.add_lease_key()
    asked: list[str] = []

    def refuse(path: Path, *_given: object, **_options: object) -> None:
        asked.append(str(path))

    for name in ("write_private", "write_history", "exclusive"):
        monkeypatch.setattr(f"keyseat_issuer.trust.history.{name}", refuse)

    assert 2 == history.in_force(hosts.other).version
    assert [] == asked


def test_a_key_is_left_alone_in_the_last_minutes_of_its_window(hosts: Hosts, source: TrustSource) -> None:
    """The ledger's time may be that far ahead, and clients would refuse what is dated after the window."""
    [end] = [key.valid_until for key in source.trust().keys if key.key.keyid == hosts.first]
    assert (hosts.first,) == source.authority(end - timedelta(minutes=6))[1].keyids

    with pytest.raises(KeyseatError) as refused:
        source.authority(end - timedelta(minutes=4))
    assert ReasonCode.KEY_UNAVAILABLE is refused.value.code
