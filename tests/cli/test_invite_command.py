"""`keyseat-issuer invite` as an operator types it."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

import shop
from databases import Ledger
from keyseat_issuer.cli import main
from keyseat_issuer.ledger.customers import invitations
from keyseat_issuer.ledger.models import Organization
from keyseat_shared.instants import now_utc
from web_server import make_account

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    return shop.organization("Example Organisation")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["invite", *args], catch_exceptions=False)


def answer(*args: str) -> dict[str, Any]:
    result = run(*args, "--json")
    assert 0 == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_prints_a_link_that_works_for_each_person(org: Organization) -> None:
    told = answer("Example Organisation", "ada@example.com", "bob@example.com", "--role", "admin")

    assert ["ada@example.com", "bob@example.com"] == [entry["email"] for entry in told["invitations"]]
    token = told["invitations"][0]["link"].partition("/invitation?token=")[2]
    assert ("ada@example.com", "admin") == (
        invitations.look_up(token, now_utc()).email,
        told["invitations"][0]["role"],
    )
    assert not told["invitations"][0]["mailed"]


def test_says_that_no_mail_went_out_and_where_links_lead(org: Organization) -> None:
    result = run("Example Organisation", "ada@example.com")

    assert 0 == result.exit_code
    assert "http://127.0.0.1:" in result.stdout
    assert "No mail was sent" in result.stderr
    assert "KEYSEAT_PUBLIC_URL" in result.stderr


def test_lists_and_takes_back(org: Organization) -> None:
    answer("Example Organisation", "ada@example.com", "bob@example.com")
    answer("revoke", "Example Organisation", "ada@example.com")

    assert ["bob@example.com"] == [entry["email"] for entry in answer("list", "Example Organisation")["invitations"]]


def test_tells_about_every_address_that_cannot_be_invited(org: Organization) -> None:
    make_account("owner@example.com")

    result = run("Example Organisation", "ada@example.com", "owner@example.com", "--json")

    assert 1 == result.exit_code
    told = json.loads(result.stdout)
    assert "ALREADY_EXISTS" == told["code"]
    assert ["owner@example.com"] == [line["email"] for line in told["details"]["lines"]]


def test_refuses_an_unknown_organisation(org: Organization) -> None:
    result = run("Exampel Organisation", "ada@example.com")

    assert 1 == result.exit_code
    assert "Did you mean 'Example Organisation'?" in result.stderr
