"""A newer version migrates the ledger while servers of this one run: additive changes leave them ready."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from django.db import connection

from databases import Ledger
from keyseat_issuer.ledger.models import AdditiveMigration
from serve_command import PROGRAM, START, Server


def newer(name: str, statement: str = "") -> None:
    """Do what a migration of a newer version does."""
    with connection.cursor() as cursor:
        if statement:
            cursor.execute(statement)
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " SELECT app, %s, applied FROM django_migrations WHERE app = 'ledger' AND name = '0001_initial'",
            [name],
        )


@pytest.mark.both_databases
def test_servers_go_on_and_start_until_something_is_changed(ledger: Ledger, home: Path) -> None:
    running = Server(ledger, home)

    AdditiveMigration.objects.create(app="ledger", name="9998_additive")
    newer("9998_additive", "ALTER TABLE ledger_organization ADD COLUMN note text NULL")

    assert 200 == httpx.get(f"{running.url}/readyz", timeout=START, trust_env=False).status_code
    started = Server(ledger, home)
    newer("9999_change")

    for server in (running, started):
        refused = httpx.get(f"{server.url}/readyz", timeout=START, trust_env=False)
        assert (503, "LEDGER_UNAVAILABLE") == (refused.status_code, refused.json()["code"])
        assert 0 == server.stop()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_organization DROP COLUMN note")


def test_the_plan_is_told_in_words_and_as_json(issuer_template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(issuer_template))
    env = {name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}}

    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, "migrate", "--plan", *options],
            env=env,
            capture_output=True,
            text=True,
            timeout=START,
            check=True,
        ).stdout
        for options in ([], ["--json"])
    ]

    assert "Nothing to do.\n" == found[0]
    assert {"ok": True, "pending": [], "rolling": True} == json.loads(found[1])
