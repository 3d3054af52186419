"""Fixtures of the command lines' tests."""

from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

import databases
import shop
from databases import Ledger
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_shared.instants import now_utc


@pytest.fixture(scope="session")
def issuer_template(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """An issuer to be copied: migrating takes most of the time of a test."""
    folder = tmp_path_factory.mktemp("template") / "issuer"
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock():
        cheap_scrypt(patch)
        patch.delenv("DATABASE_URL", raising=False)
        # Whatever ran before in this process may have left Django at a database that is gone.
        databases.point_at(f"sqlite:///{folder.parent}/ledger.sqlite3")
        make_issuer(folder, now=now_utc())
        databases.close_all()
    return folder


@pytest.fixture
def home(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An issuer with one customer, and its passphrase in a file."""
    cheap_scrypt(monkeypatch)
    now = now_utc()
    home = make_issuer(ledger.home / "vendor", now=now).home
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(home))
    (home / "passphrase").write_text(PASSPHRASE)
    (home / "passphrase").chmod(0o600)
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(home / "passphrase"))
    customer = shop.organization(now=now)
    start = now.replace(month=1, day=1, hour=0, minute=0, second=0)
    shop.subscribe(customer, {"KRE": 5}, starts_at=start, ends_at=start.replace(year=start.year + 2), now=now)
    return home
