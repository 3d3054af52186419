"""Fixtures of the command lines' tests."""

from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

import databases
from issuing import cheap_scrypt, make_issuer
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
