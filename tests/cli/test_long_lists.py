"""Long lists on the command line: a part at a time and where it goes on, or all of it, in one JSON object."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import offline_shop
import shop
from clock import stop_clock
from databases import Ledger
from issuing import cheap_scrypt, make_issuer
from keyseat_issuer.cli import listing, main
from keyseat_issuer.ledger.customers import members, organizations
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.tools import paging
from offline_shop import numbered_machine

ORG = offline_shop.NAME
PEOPLE = [f"user{number}@example.com" for number in range(4)]
LISTS: dict[tuple[str, ...], tuple[str, Callable[[dict[str, Any]], object]]] = {
    ("seat", "list", ORG): ("seats", lambda entry: (entry["kind"], entry["holder"], entry["machine_id"])),
    ("session", "list", ORG): ("sessions", lambda entry: entry["session_id"]),
    ("subscription", "list"): ("subscriptions", lambda entry: entry["id"]),
    ("org", "list"): ("organizations", lambda entry: entry["id"]),
    ("offline", "list"): ("licenses", lambda entry: entry["license_id"]),
}

pytestmark = pytest.mark.usefixtures("crowd")


@pytest.fixture
def crowd(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Five organisations, one of them with seats of every kind."""
    customer = shop.organization(ORG, *PEOPLE)
    shop.subscribe(customer, {"KSE": 9, "KRE": 9})
    shop.assign(customer, "KSE", *PEOPLE)
    for number in range(3):
        offline_shop.issue("KRE", machine_id=numbered_machine(number))
        shop.session(customer, numbered_machine(10 + number))
    for number in range(4):
        shop.subscribe(shop.organization(f"Customer {number}"), {"KSE": 1})
    cheap_scrypt(monkeypatch)
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(make_issuer(tmp_path / "vendor").home))
    stop_clock(monkeypatch, "2023-06-01T12:10:00Z")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def answer(*words: str) -> dict[str, Any]:
    done = run(*words, "--json")
    assert 0 == done.exit_code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.both_databases
@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_its_parts_together_are_the_whole_of_it(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    name, identity = LISTS[words]
    whole = answer(*words)
    assert whole["next"] is None
    expected = [identity(entry) for entry in whole[name]]
    assert len(expected) == len(set(expected)) > 2

    read, cursor = [], None
    while True:
        page = answer(*words, "--limit", "2", *([] if cursor is None else ["--after", cursor]))
        read += [identity(entry) for entry in page[name]]
        cursor = page["next"]
        if cursor is None:
            break
        assert 2 == len(page[name])
    assert expected == read

    monkeypatch.setattr(listing, "LIMIT", 2)
    everything = answer(*words, "--no-limit")
    assert (expected, None) == ([identity(entry) for entry in everything[name]], everything["next"])


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_that_there_is_more_is_told_with_what_to_type(options: tuple[str, ...]) -> None:
    done = run("org", "list", "--limit", "2", *options)
    following = answer("org", "list", "--limit", "2")["next"]

    assert f"there are more. Go on with --after {following}, or ask for --no-limit." in done.stderr
    assert "" == run("org", "list", *options).stderr


def test_people_see_all_of_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LIMIT", 2)

    shown = run("org", "list", "--no-limit").stdout

    assert all(f"Customer {number}" in shown for number in range(4))
    assert 1 == shown.count("Organisations")


@pytest.mark.parametrize("words", [("seat", "list", ORG), ("session", "list", ORG)], ids=" ".join)
def test_a_mistyped_product_is_no_empty_list(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(*words, "--product", "KRF", "--json")
    refused = json.loads(done.stdout)

    assert (1, "NOT_FOUND", ["KRE"]) == (done.exit_code, refused["code"], refused["details"]["did_you_mean"])
    # One that nobody has bought is none mistyped; and one that was bought is listed without a trust bundle too.
    assert [] == answer("seat", "list", "Customer 1", "--product", "KRE")["seats"]
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", "/nowhere")
    assert 3 <= len(answer(*words, "--product", "KRE")[words[0] + "s"])


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("seat", "list", ORG), f" in {ORG!r}"),
        (("offline", "list", ORG), f" in {ORG!r}"),
        (("offline", "list"), ""),
    ],
)
def test_a_mistyped_address_is_told_where_nothing_is_found(words: tuple[str, ...], where: str) -> None:
    told = f"Warning: there is no member 'owner@exmaple.com'{where}. Did you mean 'owner@example.com'"

    for options in ((), ("--json",)):
        done = run(*words, "--user", "owner@exmaple.com", *options)
        assert 0 == done.exit_code
        assert told in done.stderr
        # A member who has nothing is no mistake.
        assert "no member" not in run(*words, "--user", "owner@example.com", *options).stderr


def test_who_was_a_member_once_is_found_without_a_word() -> None:
    customer = organizations.find(ORG)
    terms = dataclasses.replace(offline_shop.terms(), allow_example_keys=True)  # another vendor than the fixture's
    licenses.issue(offline_shop.request(user=PEOPLE[0]), terms)
    members.remove_member(customer, PEOPLE[0], actor=shop.ACTOR, now=shop.NOW)

    for words in (("seat", "list", ORG), ("offline", "list"), ("offline", "list", ORG)):
        done = run(*words, "--user", PEOPLE[0])
        assert "no member" not in done.stderr
        assert PEOPLE[0] in done.stdout


def test_what_is_no_place_of_the_list_is_refused() -> None:
    done = run("org", "list", "--after", "x")

    assert (2, "") == (done.exit_code, done.stdout)
    assert "INVALID_INPUT: this is no cursor of this list" in done.stderr


def test_what_fails_in_the_middle_leaves_no_half_of_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = paging.read, []

    def failing(*arguments: object) -> object:
        asked.append(1)
        if len(asked) > 1:
            raise listing_error()
        return read(*arguments)

    monkeypatch.setattr(listing, "LIMIT", 2)
    monkeypatch.setattr(paging, "read", failing)

    done = run("org", "list", "--no-limit", "--json")

    assert (3, False, "LEDGER_UNAVAILABLE") == (
        done.exit_code,
        *[json.loads(done.stdout)[key] for key in ("ok", "code")],
    )


def listing_error() -> Exception:
    from django.db import OperationalError  # noqa: PLC0415 - after set-up

    return OperationalError("database is locked")


def test_seats_and_organisations_are_found_by_a_name() -> None:
    held = answer("seat", "list", ORG, "--user", PEOPLE[1])["seats"]

    assert [("named", PEOPLE[1])] == [(seat["kind"], seat["holder"]) for seat in held]
    assert ["Customer 2"] == [entry["name"] for entry in answer("org", "list", "--find", "CUSTOMER 2")["organizations"]]
