"""Leases on disk: what becomes of those that have ended, by the clock and for certain."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from keyseat_shared.instants import format_instant
from keyseat_shared.policy import default_policy
from keyseat_verifier import LicenseClient, NotEntitled
from keyseat_verifier.online.leases import MAX_ENDED, MAX_LEASES
from vendor import MACHINE, NOW, Vendor

VENDOR = Vendor(policy=default_policy()._replace(lease_ttl=7 * 86400, lease_renew_after=86400))


def client(home: Path) -> LicenseClient:
    return LicenseClient("KRE", VENDOR.bundle, home=home, machine=MACHINE, environ={})


def keep(home: Path, name: str, hours: int = 0) -> Path:
    """Keep a lease of a week; it begins so many hours from now."""
    begins = NOW + timedelta(hours=hours)
    path = home / "leases" / "activated" / f"KRE_{name}.lease"
    path.parent.mkdir(parents=True, exist_ok=True)
    times = {
        "issued_at": format_instant(begins),
        "renew_after": format_instant(begins + timedelta(days=1)),
        "expires_at": format_instant(begins + timedelta(days=7)),
    }
    path.write_bytes(VENDOR.lease(**times))
    return path


def test_a_clock_that_is_ahead_for_an_hour_costs_no_lease(tmp_path: Path) -> None:
    keep(tmp_path, "one")
    ahead = NOW + timedelta(days=365)
    assert client(tmp_path).status(ahead).entitlement is None
    with pytest.raises(NotEntitled, match="EXPIRED"):
        client(tmp_path).check(ahead)
    assert "lease" == client(tmp_path).check(NOW + timedelta(hours=2)).source


def test_one_that_ended_before_another_was_signed_is_removed(tmp_path: Path) -> None:
    ended, later = keep(tmp_path, "one", -24 * 7), keep(tmp_path, "two")
    assert "lease" == client(tmp_path).check(NOW).source
    assert [False, True] == [ended.exists(), later.exists()]


def test_one_that_ended_since_another_was_signed_is_left(tmp_path: Path) -> None:
    ended = keep(tmp_path, "one", -24 * 7 + 1)
    keep(tmp_path, "two")
    client(tmp_path).check(NOW + timedelta(hours=1))
    assert ended.exists()


def test_the_last_few_are_left_where_nothing_tells_the_time(tmp_path: Path) -> None:
    paths = [keep(tmp_path, f"{number:02}", number) for number in range(MAX_ENDED + 3)]
    with pytest.raises(NotEntitled):
        client(tmp_path).check(NOW + timedelta(days=365))
    assert [False] * 3 + [True] * MAX_ENDED == [path.exists() for path in paths]


def test_a_folder_full_of_others_hides_none_that_was_kept_later(tmp_path: Path) -> None:
    good = keep(tmp_path, "zzz")
    for number in range(MAX_LEASES):
        other = good.with_name(f"KRE_{number:03}.lease")
        other.write_bytes(b"{}")
        os.utime(other, (1, 1))
    assert "lease" == client(tmp_path).check(NOW).source
