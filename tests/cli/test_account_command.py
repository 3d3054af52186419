"""`keyseat-issuer account` as an operator types it."""

import json
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from click.testing import CliRunner, Result
from django.test import Client

from databases import Ledger
from keyseat_issuer.cli import main
from keyseat_issuer.ledger.models import AuditEvent
from keyseat_issuer.web import tokens
from keyseat_issuer.web.models import User
from keyseat_shared.instants import now_utc
from web_server import PASSWORD, make_account

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
ADA = "ada@example.com"


@pytest.fixture
def ada(ledger: Ledger) -> User:
    make_account(ADA)
    make_account("eve@example.com", "Eve")
    return User.objects.get(email=ADA)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["account", *args], catch_exceptions=False)


def answer(*args: str) -> dict[str, Any]:
    result = run(*args, "--json")
    assert 0 == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def signed_in(email: str = ADA) -> Client:
    browser = Client()
    assert browser.post("/sign-in", {"login": email, "password": PASSWORD}).status_code == 302
    return browser


def test_lists_who_can_sign_in(ada: User) -> None:
    Authenticator.objects.create(user=ada, type="totp", data={})
    told = answer("list")["accounts"]

    assert [(ADA, "Ada", True, True), ("eve@example.com", "Eve", True, False)] == [
        (entry["email"], entry["name"], entry["active"], entry["second_factor"]) for entry in told
    ]
    assert ADA in run("list").stdout


def test_shuts_an_account_off_everywhere_at_once_and_no_other(ada: User) -> None:
    hers, theirs = signed_in(), signed_in("eve@example.com")
    now = now_utc()
    pair = tokens.sign_in(ada, client_id="keyseat", scopes="sessions", device_name="", now=now)
    answer("deactivate", "Ada@example.com")

    assert 302 == hers.get("/").status_code
    assert 200 == theirs.get("/").status_code
    assert tokens.authenticate(pair.access_token, now) is None
    assert ("account.deactivated", ADA) == AuditEvent.objects.values_list("action", "subject").latest("seq")
    answer("activate", ADA)
    assert 302 == hers.get("/").status_code  # the old session does not come back to life
    assert 200 == signed_in().get("/").status_code


def test_forgets_a_lost_second_factor_once_the_operator_is_sure(ada: User) -> None:
    Authenticator.objects.create(user=ada, type="totp", data={"secret": "lost"})

    assert 1 == run("forget-second-factor", ADA).exit_code
    assert Authenticator.objects.exists()
    answer("forget-second-factor", ADA, "--yes")
    assert not Authenticator.objects.exists()
    assert 200 == signed_in().get("/").status_code


def test_names_staff_and_takes_it_back(ada: User) -> None:
    answer("staff", ADA)
    assert User.objects.get(email=ADA).is_staff
    answer("staff", ADA, "--off")
    assert not User.objects.get(email=ADA).is_staff


def test_says_who_may_have_been_meant(ada: User) -> None:
    result = run("deactivate", "adda@example.com")

    assert 1 == result.exit_code
    assert f"Did you mean '{ADA}'" in result.stderr


def test_prints_a_link_for_a_forgotten_password_once_it_is_sure_who_asks(ada: User) -> None:
    told = answer("reset-password", ADA, "--yes")
    assert (1, 2) == (run("reset-password", ADA).exit_code, run("reset-password").exit_code)
    assert 1 == run("reset-password", "nobody@example.com", "--yes").exit_code

    assert told["link"].startswith("http://127.0.0.1:8000/account/password/reset/key/")
    path = told["link"].removeprefix("http://127.0.0.1:8000")
    assert 302 == Client().get(path).status_code
    assert "KEYSEAT_PUBLIC_URL" in run("reset-password", ADA, "--yes").stderr
    assert "account.reset-link-made" == AuditEvent.objects.order_by("seq").first().action
