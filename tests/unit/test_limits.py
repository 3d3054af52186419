"""The limits of connections: settings, what the system has room for, and counting by address."""

import subprocess
import sys
from collections import Counter

import pytest

from keyseat_issuer.api.metrics import Metrics
from keyseat_issuer.server.limits import Cut, Door, Limits, address_of, limits_from_environment
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

_PRINT = "from keyseat_issuer.server.limits import limits_from_environment as read; print(read().connections)"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYSEAT_CONNECTIONS", "KEYSEAT_CONNECTIONS_PER_ADDRESS", "KEYSEAT_TRUSTED_PROXIES"):
        monkeypatch.delenv(name, raising=False)


class TestSettings:
    def test_one_address_is_limited_by_default(self) -> None:
        assert (256, 4096) == (limits_from_environment().per_address, Limits().connections)

    def test_behind_a_proxy_which_is_one_address_none_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEYSEAT_TRUSTED_PROXIES", "1")
        assert 0 == limits_from_environment().per_address

        monkeypatch.setenv("KEYSEAT_CONNECTIONS_PER_ADDRESS", "1000")
        assert 1000 == limits_from_environment().per_address

    def test_fewer_connections_can_be_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEYSEAT_CONNECTIONS", "30")
        assert 30 == limits_from_environment().connections

    @pytest.mark.parametrize("name", ["KEYSEAT_CONNECTIONS", "KEYSEAT_CONNECTIONS_PER_ADDRESS"])
    @pytest.mark.parametrize("text", ["many", "-1", "1.5", "٣", "1000001"])
    def test_a_wrong_one_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
        monkeypatch.setenv(name, text)
        with pytest.raises(KeyseatError) as refused:
            limits_from_environment()
        assert (ReasonCode.INVALID_INPUT, True) == (refused.value.code, name in refused.value.message)

    @pytest.mark.parametrize(
        ("limit", "connections"),
        [("-n 300", 75), ("-n 20", 5), ("-Sn 300", None)],
    )
    def test_there_are_no_more_connections_than_files(self, limit: str, connections: int | None) -> None:
        script = f"ulimit {limit}; exec {sys.executable} -c '{_PRINT}'"
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)

        # The last case: only the soft limit is low, which a process may raise by itself.
        assert int(done.stdout) == connections if connections else int(done.stdout) > 300


class TestCounting:
    @pytest.mark.parametrize(
        ("address", "counted"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:1", "2001:db8::/64"),
            ("fe80::1%eth0", "fe80::/64"),
        ],
    )
    def test_is_by_what_one_client_has(self, address: str, counted: str) -> None:
        assert counted == address_of((address, 1))

    def test_does_not_count_peers_without_an_address_as_one(self) -> None:
        door = Door(Limits(per_address=1))
        assert [None] * 3 == [door.enter(address) for address in (address_of(None), "", "unknown")]

    def test_forgets_who_has_left(self) -> None:
        door = Door(Limits(per_address=1, connections=2))
        assert [None, Cut.ADDRESS_FULL, None, Cut.FULL] == [door.enter(name) for name in ("a", "a", "b", "c")]
        door.leave("a")
        assert [None, Cut.FULL] == [door.enter("a"), door.enter("d")]
        for name in ("a", "b"):
            door.leave(name)
        assert (0, Counter()) == (door.open, door._by_address)

    def test_is_told_to_prometheus(self) -> None:
        metrics = Metrics()
        for count in (2, 5):
            metrics.connections(7, {Cut.SLOW_BODY: count})

        text = metrics.exposition(turns=0, waiting=0).decode()

        assert "keyseat_connections 7.0" in text
        assert 'keyseat_connections_ended_total{reason="slow body"} 5.0' in text


def test_the_log_has_one_line_a_reason_however_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    for why in (Cut.SLOW_HEAD, Cut.SLOW_HEAD, Cut.IDLE):
        door.count(why)

    door.sweep([])
    door.sweep([])

    assert [("slow head", 2)] == [(record.reason, record.count) for record in caplog.records]  # type: ignore[attr-defined]
