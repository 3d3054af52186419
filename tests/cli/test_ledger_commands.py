"""`org`, `member`, `subscription`, `seat`, `audit` and `migrate` as Customer Success types them, on both databases."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from django.db import connection

import databases
from clock import stop_clock
from databases import Ledger
from issuing import cheap_scrypt, make_issuer
from keyseat_issuer.cli import main
from keyseat_issuer.home import issuer_home
from keyseat_issuer.ledger.customers import api_keys, organizations
from keyseat_shared.instants import now_utc

ORG = "Example Organisation"
TRIAL = ("subscription", "add", ORG, "--term", "trial", "--starts", "2023-06-01")
ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def issuer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """An issuer with keys and a ledger without customers, on 15 June 2023."""
    cheap_scrypt(monkeypatch)
    home = make_issuer(ledger.home / "vendor").home
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(home))
    stop_clock(monkeypatch, "2023-06-15T09:30:00Z")
    return ledger


@pytest.fixture
def customer(issuer: Ledger) -> Ledger:
    """An organisation with an owner and a member, and an annual subscription to two KSE seats."""
    answer("org", "add", ORG)
    answer("member", "add", ORG, ADA, "--role", "owner")
    answer("member", "add", ORG, BOB)
    answer("subscription", "add", ORG, "--term", "annual", "--starts", "2023-06-01", "--product", "KSE=2")
    return issuer


def run(*args: str, stdin: str | None = None) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, list(args), input=stdin, catch_exceptions=False)


def answer(*args: str, code: int = 0) -> dict[str, Any]:
    """Run with ``--json``, require the exit code and return the one object."""
    result = run(*args, "--json")
    assert code == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["ok"] is (code == 0)
    return found


def told(*args: str, code: int, stdin: str | None = None) -> str:
    """Run for people, require the exit code and return what was told on stderr."""
    result = run(*args, stdin=stdin)
    assert code == result.exit_code, result.stdout + result.stderr
    assert "" == result.stdout or code == 0
    return result.stderr


class TestOrganisations:
    @pytest.mark.both_databases
    def test_one_that_was_added_is_listed_with_its_account(self, issuer: Ledger) -> None:
        answer("org", "add", "Lab", "--account", "Acme")

        (listed,) = answer("org", "list")["organizations"]
        assert ("Lab", "Acme", "2023-06-15T09:30:00Z") == (listed["name"], listed["account"], listed["created_at"])

    def test_a_mistyped_name_is_answered_with_the_right_one(self, customer: Ledger) -> None:
        message = told("member", "list", "Exampel Organisation", code=1)

        assert (
            "NOT_FOUND: there is no organisation 'Exampel Organisation'. Did you mean 'Example Organisation'?"
            in message
        )

    def test_a_name_that_looks_like_markup_is_shown_as_it_is(self, issuer: Ledger) -> None:
        answer("org", "add", "[red]Acme[/red]")

        assert "[red]Acme[/red]" in run("org", "list").stdout

    def test_the_next_command_is_told_with_the_name_quoted(self, issuer: Ledger) -> None:
        assert (
            "keyseat-issuer member add 'O'\"'\"'Neil & Sons' EMAIL --role owner"
            in run("org", "add", "O'Neil & Sons").stderr
        )


class TestMembers:
    def test_they_are_listed_owners_first(self, customer: Ledger) -> None:
        assert [(ADA, "owner"), (BOB, "member")] == [
            (entry["email"], entry["role"]) for entry in answer("member", "list", ORG)["members"]
        ]

    @pytest.mark.both_databases
    def test_removing_one_tells_the_seats_freed(self, customer: Ledger) -> None:
        answer("seat", "assign", ORG, "KSE", BOB)

        assert 1 == answer("member", "remove", ORG, BOB)["seats_freed"]

    def test_removing_one_names_the_api_keys_that_go_on(self, customer: Ledger) -> None:
        made = api_keys.create_key(
            organizations.find(ORG), ["sessions"], name="ci", expires_at=None, actor=f"user:{BOB}", now=now_utc()
        )

        told = run("member", "remove", ORG, BOB).stderr

        assert f"API keys that {BOB} made go on working: {made.row.prefix}." in told
        assert f"user:{BOB}" in run("api-key", "list", ORG).stdout

    def test_the_last_owner_stays(self, customer: Ledger) -> None:
        assert "NOT_ALLOWED" == answer("member", "remove", ORG, ADA, code=1)["code"]

    @pytest.mark.both_databases
    def test_a_role_is_changed(self, customer: Ledger) -> None:
        assert "admin" == answer("member", "role", ORG, BOB, "admin")["member"]["role"]

    def test_an_unknown_role_is_wrong_usage(self, customer: Ledger) -> None:
        assert "INVALID_INPUT" == answer("member", "role", ORG, BOB, "boss", code=2)["code"]


class TestSubscriptions:
    @pytest.mark.both_databases
    def test_figures_and_end_are_listed(self, customer: Ledger) -> None:
        answer("seat", "assign", ORG, "KSE", ADA)

        (listed,) = answer("subscription", "list", ORG)["subscriptions"]
        (pool,) = listed["products"]
        assert ("annual", "active", "2024-06-01T00:00:00Z") == (listed["term"], listed["state"], listed["ends_at"])
        assert (2, 1, 1, 0) == (pool["quota"], pool["used"], pool["available"], pool["offline"])

    def test_people_see_the_last_day_that_counts(self, customer: Ledger) -> None:
        assert "2024-05-31" in run("subscription", "list").stdout

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--term", "annual", "--ends", "2024-06-01"], "Give --ends 2024-05-31"),
            (["--term", "annual", "--months", "3"], "--years"),
            (["--term", "annual", "--ends", "9025-05-31"], "Give --ends 2033-05-31 at the latest"),
            (["--term", "annual", "--years", "11"], "longer than 10 years"),
            (["--term", "monthly", "--months", "121"], "longer than 10 years"),
            (["--term", "monthly", "--years", "1"], "--months"),
            (["--term", "annual", "--years", "1", "--ends", "2024-05-31"], "not both"),
            (["--term", "annual", "--ends", "2023-05-31"], "before it starts"),
            (["--term", "monthly", "--ends", "2023-13-01"], "is not a date"),
            (["--term", "annual", "--product", "KSE=2"], "given twice"),
            (["--term", "annual", "--product", "KRE"], "not CODE=NUMBER"),
            (["--term", "annual", "--product", "KRE=many"], "not CODE=NUMBER"),
            (["--term", "annual", "--product", "KRE=0"], "1 to 1,000,000"),
        ],
    )
    def test_wrong_input_is_answered_with_what_is_right(self, customer: Ledger, options: list[str], said: str) -> None:
        message = told("subscription", "add", ORG, "--starts", "2023-06-01", "--product", "KSE=1", *options, code=2)

        assert said in message

    def test_a_product_that_is_not_in_the_catalogue_is_not_found(self, customer: Ledger) -> None:
        found = answer(
            "subscription", "add", ORG, "--term", "trial", "--starts", "2023-06-01", "--product", "KSF=1", code=1
        )

        assert ("NOT_FOUND", ["KSE"]) == (found["code"], found["details"]["did_you_mean"])

    def test_a_period_that_is_over_already_is_added_with_a_warning(self, customer: Ledger) -> None:
        result = run("subscription", "add", ORG, "--term", "annual", "--starts", "2020-01-01", "--product", "KSE=1")

        assert (0, True) == (result.exit_code, "Warning: this period is over already" in result.stderr)

    def test_without_a_trust_bundle_nothing_is_added(self, customer: Ledger) -> None:
        (customer.home / "vendor" / "trust.json").rename(customer.home / "elsewhere.json")

        found = answer(
            "subscription", "add", ORG, "--term", "trial", "--starts", "2023-06-01", "--product", "KSE=1", code=3
        )
        assert str(customer.home / "vendor" / "trust" / "1.json") in found["next"]


class TestSeats:
    @pytest.mark.both_databases
    def test_many_are_assigned_from_standard_input(self, customer: Ledger) -> None:
        result = run("seat", "assign", ORG, "KSE", "-", stdin=f"{ADA},\n{BOB};\n")

        assert 0 == result.exit_code, result.stderr
        assert [f"{ADA}: KSE assigned", f"{BOB}: KSE assigned"] == result.stdout.splitlines()

    def test_a_refusal_reports_line_by_line(self, customer: Ledger) -> None:
        message = told("seat", "assign", ORG, "KSE", ADA, "eve@example.com", code=1)

        assert [
            f"{ADA}: could be assigned",
            "eve@example.com: not a member",
            "NOT_A_MEMBER: not a member of 'Example Organisation': eve@example.com; nothing was changed",
        ] == message.splitlines()[:3]

    def test_more_than_the_quota_is_refused(self, customer: Ledger) -> None:
        answer("member", "add", ORG, "eve@example.com")

        found = answer("seat", "assign", ORG, "KSE", ADA, BOB, "eve@example.com", code=1)
        assert ("QUOTA_EXCEEDED", 2, 3) == (found["code"], found["details"]["quota"], found["details"]["wanted"])

    def test_members_without_a_paid_seat_are_warned_of(self, customer: Ledger) -> None:
        result = run("seat", "assign", ORG, "KSE", ADA)

        assert (
            "mixed licences: 1 of the members of 'Example Organisation' hold no paid seat: bob@example.com"
            in result.stderr
        )

    @pytest.mark.both_databases
    def test_a_seat_is_transferred_and_taken_back(self, customer: Ledger) -> None:
        answer("seat", "assign", ORG, "KSE", ADA)
        answer("seat", "transfer", ORG, "KSE", ADA, BOB)
        answer("seat", "unassign", ORG, "KSE", BOB)

        assert [] == answer("seat", "list", ORG)["seats"]

    def test_the_list_shows_quota_and_holders(self, customer: Ledger) -> None:
        answer("seat", "assign", ORG, "KSE", ADA)

        shown = run("seat", "list", ORG).stdout
        found = answer("seat", "list", ORG, "--product", "KSE")
        assert ADA in shown
        assert (2, 1, 1) == tuple(found["pools"][0][name] for name in ("quota", "used", "available"))
        assert [(ADA, "named")] == [(seat["holder"], seat["kind"]) for seat in found["seats"]]

    def test_an_address_that_holds_control_characters_is_refused_and_recorded(self, customer: Ledger) -> None:
        found = answer("seat", "assign", ORG, "KSE", "\x1b[31m@example.com", code=2)

        assert "INVALID_INPUT" == found["code"]
        assert "seat.assigned.refused" == answer("audit", "list", "--limit", "1")["events"][0]["action"]

    @pytest.mark.both_databases
    def test_bytes_that_are_no_text_never_reach_the_ledger(self, customer: Ledger) -> None:
        found = answer("seat", "assign", ORG, "KSE", "\udcff@example.com", code=2)

        assert "INVALID_INPUT" == found["code"]
        assert "subscription.added" == answer("audit", "list", "--limit", "1")["events"][0]["action"]

    def test_seats_left_in_an_ended_subscription_are_told_and_carried_over(
        self, customer: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer("seat", "assign", ORG, "KSE", ADA, BOB)
        stop_clock(monkeypatch, "2024-06-02T00:00:00Z")
        answer("subscription", "add", ORG, "--term", "annual", "--starts", "2024-06-01", "--product", "KSE=2")

        assert "2 KSE seats are still assigned in an ended subscription" in run("seat", "list", ORG).stderr
        assert [(ADA, "carried over"), (BOB, "carried over")] == [
            (line["email"], line["status"]) for line in answer("seat", "carry", ORG, "KSE")["lines"]
        ]
        assert {} == answer("seat", "list", ORG)["left_in_ended_subscriptions"]

    def test_no_address_on_standard_input_is_wrong_usage(self, customer: Ledger) -> None:
        assert "INVALID_INPUT" in told("seat", "assign", ORG, "KSE", "-", stdin="\n", code=2)


@pytest.mark.both_databases
class TestAudit:
    def test_acts_and_refusals_are_listed_with_who_did_them(self, customer: Ledger) -> None:
        told("org", "add", ORG, code=1)

        events = answer("audit", "list")["events"]
        assert ["organization.added", "member.added", "member.added", "subscription.added"] == [
            event["action"] for event in events[1:5]
        ]
        assert "organization.added.refused" == events[-1]["action"]
        assert all(event["actor"].startswith("cli:") for event in events[1:])

    def test_the_rows_of_one_organisation_are_listed(self, customer: Ledger) -> None:
        answer("org", "add", "Another")

        assert {ORG} == {event["organization"] for event in answer("audit", "list", ORG)["events"]}
        assert ["Another"] == [event["subject"] for event in answer("audit", "list", "--limit", "1")["events"]]

    def test_a_spoilt_row_is_told_by_the_list_too(self, customer: Ledger) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger_auditevent SET details = 'no JSON' WHERE seq = 3")

        assert "AUDIT_BROKEN" in told("audit", "list", code=1)

    def test_a_clean_ledger_verifies_and_prints_its_anchor(self, customer: Ledger) -> None:
        found = answer("audit", "verify")

        assert found["events"] == answer("audit", "verify", "--anchor", found["anchor"])["events"]

    def test_from_an_anchor_on_it_says_what_it_did_not_check(self, customer: Ledger) -> None:
        whole = answer("audit", "verify")
        answer("org", "add", "Another")

        since = answer("audit", "verify", "--from", whole["anchor"])
        shown = run("audit", "verify", "--from", whole["anchor"]).stdout

        assert ([], 1) == (whole["not_checked"], since["events"])
        assert f"audit rows 1 to {whole['events']}" == since["not_checked"][0]
        assert shown.startswith("1 audit rows, 0 licences since that anchor: all agree.\nNot checked: audit rows 1 to")
        assert "takes the place" in told("audit", "verify", "--from", whole["anchor"], "--anchor", "x", code=2)

    def test_a_changed_row_is_named_and_exits_1(self, customer: Ledger) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger_auditevent SET actor = 'x' WHERE seq = 2")

        message = told("audit", "verify", code=1)
        assert "audit row 2: its content does not match its digest: changed" in message
        assert "AUDIT_BROKEN" in message
        assert "audit row 2" == answer("audit", "verify", code=1)["details"]["findings"][0]["place"]

    def test_a_role_changed_by_sql_is_named_and_exits_1(self, customer: Ledger) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger_membership SET role = 'owner'")

        assert "but the audit log says" in told("audit", "verify", code=1)

    def test_without_a_trust_bundle_nothing_is_proved_and_it_exits_3(self, customer: Ledger) -> None:
        trust = issuer_home() / "trust.json"
        trust.rename(trust.with_name("elsewhere.json"))

        assert "so no licence's signature was checked (everything else agrees)" in told("audit", "verify", code=3)
        assert answer("audit", "verify", "--trust", str(trust.with_name("elsewhere.json")))["findings"] == []


class TestClock:
    def test_a_clock_set_back_is_refused_and_named(self, customer: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        stop_clock(monkeypatch, "2023-06-15T09:24:00Z")

        found = answer("org", "add", "Late", code=1)

        assert ("CLOCK_ROLLED_BACK", "2023-06-15T09:30:00Z") == (found["code"], found["details"]["at"])

    def test_clocks_that_agree_are_shown(self, customer: Ledger) -> None:
        result = run("audit", "clock")

        assert "the ledger    2023-06-15T09:30:00Z" in result.stdout
        assert "They agree." in result.stdout

    @pytest.mark.both_databases
    def test_after_a_wrong_clock_the_way_on_is_told_and_works(
        self, customer: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stop_clock(monkeypatch, "2023-06-15T12:30:00Z")
        answer("org", "add", "Ahead")
        stop_clock(monkeypatch, "2023-06-15T09:31:00Z")

        assert "`keyseat-issuer audit clock`" in answer("org", "add", "Right", code=1)["next"]
        shown = run("audit", "clock")
        assert (1, True) == (shown.exit_code, "CLOCK_ROLLED_BACK" in shown.stderr)
        assert "the ledger    2023-06-15T12:30:00Z" in shown.stdout
        assert "there is no terminal to confirm at" in told("audit", "clock", "--accept", code=1)
        assert answer("audit", "clock", "--accept", "--yes")["accepted"] is True
        answer("org", "add", "Right")
        answer("audit", "verify")


@pytest.mark.both_databases
class TestMigrate:
    def test_it_makes_the_ledger_and_then_has_nothing_to_do(
        self, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        databases.point_at(f"sqlite:///{tmp_path / 'fresh' / 'ledger.sqlite3'}")

        assert "0001_initial" in answer("migrate")["applied"]
        assert "Nothing to do." in run("migrate").stdout

    def test_commands_before_it_name_it(self, ledger: Ledger, tmp_path: Path) -> None:
        databases.point_at(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
        (tmp_path / "ledger.sqlite3").touch()

        found = answer("org", "list", code=3)
        assert ("LEDGER_UNAVAILABLE", "Run `keyseat-issuer migrate`.") == (found["code"], found["next"])
