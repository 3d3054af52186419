"""`keyseat-issuer offline` as Customer Success types it."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from freezegun import freeze_time

import offline_shop
import shop
from databases import Ledger
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.checks import check
from keyseat_issuer.cli import main
from keyseat_issuer.cli.output import Output
from keyseat_issuer.home import load_trust
from keyseat_issuer.ledger.customers import organizations
from keyseat_issuer.ledger.models import AuditEvent, OfflineLicense
from keyseat_shared.instants import parse_instant
from keyseat_shared.machine_id import MachineID
from keyseat_verifier.verify.verifier import Verifier
from offline_shop import ADA, BOB, NAME
from vendor import MACHINE, OTHER_MACHINE, machine

NOON = "2023-06-01T12:00:00Z"
MID = str(MACHINE)
PROGRAM = "import sys; from keyseat_issuer.cli import main; sys.argv[0] = 'keyseat-issuer'; main()"
ISSUE = ("offline", "issue", NAME, "KSE", "--machine-id", MID, "--user", ADA)


@pytest.fixture
def issuer(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An issuer with a customer, who works in an empty folder; the clock stands at noon of 2023-06-01."""
    cheap_scrypt(monkeypatch)
    home = ledger.home / "vendor"
    make_issuer(home)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(home))
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(passphrase))
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path / "client"))
    offline_shop.customer()
    with freeze_time(NOON):
        yield folder


def run(*args: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def answer(*args: str, code: int = 0) -> dict[str, Any]:
    """Run with ``--json`` and return the one object on stdout, after checking the exit code."""
    result = run(*args, "--json")
    assert code == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert (code == 0) is found["ok"]
    return found


def files(folder: Path) -> list[str]:
    """Return the names of a folder's files."""
    return sorted(path.name for path in folder.iterdir())


class TestIssue:
    @pytest.mark.both_databases
    def test_the_file_is_named_after_the_machine_and_verifies(self, issuer: Path) -> None:
        result = run(*ISSUE, "--yes")

        assert 0 == result.exit_code, result.stderr
        [name] = files(issuer)
        assert f"KSE_{MACHINE.short}.lic" == name
        data = (issuer / name).read_bytes()
        assert ADA == Verifier(load_trust()).verify(data, machine=MACHINE, now=parse_instant(NOON)).user
        assert OfflineLicense.objects.get().license_id == OfflineLicense.objects.get(file=data).license_id
        assert str(OfflineLicense.objects.get().license_id) in result.stdout

    def test_everything_is_shown_before(self, issuer: Path) -> None:
        shown = run(*ISSUE, "--dry-run").stderr

        for told in (NAME, "Katalon Studio Enterprise", ADA, "2024-06-01T00:00:00Z", MACHINE.short, "strong", "0 of 3"):
            assert told in shown

    def test_a_dry_run_issues_nothing_and_says_so(self, issuer: Path) -> None:
        assert "Nothing was issued" in run(*ISSUE, "--dry-run").stdout
        assert (False, True) == tuple(answer(*ISSUE, "--dry-run")[name] for name in ("issued", "dry_run"))
        assert ([], 0) == (files(issuer), OfflineLicense.objects.count())

    @pytest.mark.both_databases
    @pytest.mark.parametrize("command", ["issue", "batch"])
    @pytest.mark.parametrize(
        ("meanwhile", "code"),
        [
            (("policy", "set", "--sunset", "2023-06-01"), "ISSUED_AFTER_SUNSET"),
            (("trust", "revoke-key", "{key}"), "KEY_UNAVAILABLE"),
        ],
    )
    def test_what_was_changed_while_somebody_thought_about_the_question_holds(
        self, issuer: Path, monkeypatch: pytest.MonkeyPatch, command: str, meanwhile: tuple[str, ...], code: str
    ) -> None:
        key = next(entry.key.keyid for entry in load_trust().keys if entry.purpose == "license")
        (issuer / "rows.csv").write_text(f"organization,product,machine_id,user\n{NAME},KSE,{MID},{ADA}\n")

        def think(_output: object, prompt: str, *_: object, **__: object) -> None:
            assert "undone" in prompt
            answer(*[word.format(key=key) for word in meanwhile], "--yes")

        monkeypatch.setattr(Output, "confirm", lambda *given, **named: None if named.get("yes") else think(*given))
        result = run(*(ISSUE if command == "issue" else ("offline", "batch", "rows.csv")))

        assert code in result.stderr
        assert 0 == OfflineLicense.objects.count()

    def test_without_a_terminal_and_without_yes_nothing_is_issued(self, issuer: Path) -> None:
        assert "NOT_CONFIRMED" == answer(*ISSUE, code=1)["code"]
        assert ([], 0) == (files(issuer), OfflineLicense.objects.count())

    def test_json_has_one_object_with_preview_licence_and_file(self, issuer: Path) -> None:
        found = answer(*ISSUE, "--yes")

        assert (True, "2024-06-01T00:00:00Z") == (found["issued"], found["license"]["expires_at"])
        assert Path(found["file"]).read_bytes() == bytes(OfflineLicense.objects.get().file)
        assert 1 == found["preview"]["used_after"]

    def test_an_expiry_date_means_through_its_end(self, issuer: Path) -> None:
        assert "2023-09-01T00:00:00Z" == answer(*ISSUE, "--expires", "2023-08-31", "--yes")["license"]["expires_at"]

    @pytest.mark.parametrize(("name", "warned"), [("ada.lic", False), ("ada", True)])
    def test_a_name_that_the_client_would_not_look_at_is_told(self, issuer: Path, name: str, *, warned: bool) -> None:
        done = run(*ISSUE, "--yes", "--out", name)
        assert (0, warned) == (done.exit_code, "under a name that ends in .lic" in done.stderr)

    def test_out_names_a_file_or_a_folder(self, issuer: Path) -> None:
        (issuer / "folder").mkdir()

        run(*ISSUE, "--out", "ada.lic", "--yes")
        run("offline", "issue", NAME, "KRE", "--machine-id", MID, "--out", "folder", "--yes")
        run("offline", "issue", NAME, "KRE", "--machine-id", MID, "--out", "folder/", "--yes")

        assert ["ada.lic", "folder"] == files(issuer)
        assert [f"KRE_{MACHINE.short}-2.lic", f"KRE_{MACHINE.short}.lic"] == files(issuer / "folder")

    @pytest.mark.parametrize(
        ("out", "code", "exit_code"),
        [("there.lic", "ALREADY_EXISTS", 1), ("missing/", "UNREADABLE", 3), ("/proc", "UNREADABLE", 3)],
    )
    def test_a_place_that_takes_no_file_is_refused_before_issuing(
        self, issuer: Path, out: str, code: str, exit_code: int
    ) -> None:
        (issuer / "there.lic").write_text("something else")

        assert code == answer(*ISSUE, "--out", out, "--yes", code=exit_code)["code"]
        assert (["there.lic"], 0) == (files(issuer), OfflineLicense.objects.count())

    def test_a_request_file_is_read_and_shown(self, issuer: Path) -> None:
        from keyseat_shared.request import ComponentNote, MachineRequest  # noqa: PLC0415 - used once

        note = ComponentNote("firmware-uuid", "/sys/class/dmi/id/product_uuid", "unreadable", "permission denied")
        request = MachineRequest(MACHINE, "linux", "physical", {"keyseat": "1.0.0"}, (note,))
        (issuer / "request.json").write_text(json.dumps(request.to_dict()))

        result = run("offline", "issue", NAME, "KSE", "--request", "request.json", "--user", ADA, "--yes")

        assert 0 == result.exit_code, result.stderr
        assert "linux" in result.stderr
        assert "permission denied" in result.stderr
        assert MID == OfflineLicense.objects.get().machine_id

    @pytest.mark.parametrize(
        ("arguments", "code", "exit_code"),
        [
            (("--request", "missing.json"), "UNREADABLE", 3),
            (("--request", "garbage.json"), "MALFORMED", 1),
            ((), "INVALID_INPUT", 2),
            (("--request", "garbage.json", "--machine-id", MID), "INVALID_INPUT", 2),
        ],
    )
    def test_without_a_usable_id_nothing_happens(
        self, issuer: Path, arguments: tuple[str, ...], code: str, exit_code: int
    ) -> None:
        (issuer / "garbage.json").write_text("{}")

        assert code == answer("offline", "issue", NAME, "KSE", *arguments, "--user", ADA, code=exit_code)["code"]


class TestEverydayMistakes:
    def test_a_mistyped_machine_id_is_shown_where(self, issuer: Path) -> None:
        wrong = MID[:20] + ("q" if MID[20] != "q" else "p") + MID[21:]

        found = answer("offline", "issue", NAME, "KSE", "--machine-id", wrong, "--user", ADA, "--yes", code=1)

        assert ("MALFORMED", [21]) == (found["code"], found["details"]["positions"])
        assert "character 21" in found["message"]

    @pytest.mark.parametrize(
        ("arguments", "code", "exit_code"),
        [
            (("--expires", "2022-01-01"), "EXPIRY_IN_PAST", 1),
            (("--expires", "2024-06-01"), "EXPIRY_AFTER_SUBSCRIPTION", 1),
            (("--expires", "31.5.2024"), "INVALID_INPUT", 2),
            (("--feature", "two words"), "INVALID_INPUT", 2),
            (("--subscription", "nonsense"), "NOT_FOUND", 1),
        ],
    )
    def test_a_wrong_value_is_refused_with_its_reason(
        self, issuer: Path, arguments: tuple[str, ...], code: str, exit_code: int
    ) -> None:
        assert code == answer(*ISSUE, *arguments, "--yes", code=exit_code)["code"]

    def test_an_unknown_organisation_or_member_is_guessed_at(self, issuer: Path) -> None:
        result = run("offline", "issue", "Exampel Organisation", "KSE", "--machine-id", MID, "--user", ADA, "--yes")
        assert 1 == result.exit_code
        assert f"Did you mean '{NAME}'" in result.stderr

        result = run("offline", "issue", NAME, "KSE", "--machine-id", MID, "--user", "adda@example.com", "--yes")
        assert 1 == result.exit_code
        assert f"Did you mean '{ADA}'" in result.stderr

    def test_a_wrong_passphrase_issues_nothing(self, issuer: Path, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_text("not the passphrase")
        wrong.chmod(0o600)

        found = answer(*ISSUE, "--yes", "--passphrase-file", str(wrong), code=3)

        assert "KEY_UNAVAILABLE" == found["code"]
        assert "passphrase" in found["message"]
        assert ([], 0) == (files(issuer), OfflineLicense.objects.count())

    def test_without_a_trust_bundle_it_says_how_to_make_one(
        self, issuer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(tmp_path / "nowhere"))

        found = answer(*ISSUE, "--yes", code=3)

        assert "UNREADABLE" == found["code"]
        assert "keyseat-issuer init" in found["next"]

    def test_a_weak_machine_needs_to_be_accepted(self, issuer: Path) -> None:
        weak = str(machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[]))
        command = ("offline", "issue", NAME, "KSE", "--machine-id", weak, "--user", ADA, "--yes")

        found = answer(*command, code=1)
        assert "MACHINE_WEAK" == found["code"]
        assert "--accept-weak" in found["next"]
        assert "weak" == answer(*command, "--accept-weak")["preview"]["grade"]

    def test_a_second_licence_of_user_and_machine_names_the_first(self, issuer: Path) -> None:
        made = answer(*ISSUE, "--yes")["license"]["license_id"]

        found = answer(*ISSUE, "--yes", code=1)

        assert "ALREADY_BOUND" == found["code"]
        assert f"offline export {made}" in found["next"]

    def test_quota_gone_tells_when_a_seat_comes_back(self, issuer: Path) -> None:
        run("offline", "issue", NAME, "KRE", "--machine-id", MID, "--sessions", "3", "--yes")

        found = answer("offline", "issue", NAME, "KRE", "--machine-id", str(OTHER_MACHINE), "--yes", code=1)

        assert ("QUOTA_EXCEEDED", "2024-06-01T00:00:00Z") == (found["code"], found["details"]["next_expiry"])


class TestSunset:
    @pytest.mark.both_databases
    def test_the_last_second_issues_the_next_refuses_and_the_clock_cannot_be_set_back(self, issuer: Path) -> None:
        bob = ("offline", "issue", NAME, "KSE", "--machine-id", MID, "--user", BOB, "--yes")
        with freeze_time("2024-01-16T23:59:59Z"):
            assert "2024-01-16T23:59:59Z" == answer(*ISSUE, "--yes")["license"]["issued_at"]
        with freeze_time("2024-01-17T00:00:00Z"):
            refused = run(*bob)
            assert 1 == refused.exit_code
            assert "ISSUED_AFTER_SUNSET" in refused.stderr
            assert "Activate online" in refused.stderr
        with freeze_time("2024-01-17T00:10:00Z"):
            assert "ISSUED_AFTER_SUNSET" == answer(*bob, code=1)["code"]
        with freeze_time("2024-01-16T23:59:59Z"):
            assert "CLOCK_ROLLED_BACK" == answer(*bob, code=1)["code"]
        assert 1 == OfflineLicense.objects.count()
        assert () == check.verify().findings

    def test_a_test_licence_ends_with_it_as_well(self, issuer: Path) -> None:
        with freeze_time("2024-01-17T00:00:00Z"):
            found = answer("offline", "test", NAME, "KSE", "--machine-id", MID, code=1)

        assert "ISSUED_AFTER_SUNSET" == found["code"]


class TestTest:
    @pytest.mark.both_databases
    def test_it_tells_its_machine_takes_no_seat_and_is_on_record(self, issuer: Path) -> None:
        found = answer("offline", "test", NAME, "KSE", "--machine-id", MID)

        assert f"KSE_{MACHINE.short}-test.lic" == Path(found["file"]).name
        assert "2023-06-08T12:00:00Z" == found["expires_at"]
        data = Path(found["file"]).read_bytes()
        verifier = Verifier(load_trust())
        assert MID == verifier.verify_test(data, machine=MACHINE, now=parse_instant(NOON)).machine_id
        assert "TEST_LICENSE" == verifier.explain(data, machine=MACHINE, now=parse_instant(NOON)).code
        assert 0 == OfflineLicense.objects.count()
        assert ("offline.tested", found["test_id"]) == (
            AuditEvent.objects.latest("seq").action,
            AuditEvent.objects.latest("seq").subject,
        )

    @pytest.mark.parametrize(("mid", "exit_code", "told"), [(MACHINE, 0, "is correct"), (OTHER_MACHINE, 1, "MISMATCH")])
    def test_the_machine_is_told_end_to_end(
        self, issuer: Path, mid: MachineID, exit_code: int, told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from keyseat_verifier.cli import main as keyseat  # noqa: PLC0415 - used once

        made = answer("offline", "test", NAME, "KSE", "--machine-id", MID)
        run("trust", "export", "trust.json")

        code = keyseat(["verify", "--test", made["file"], "--trust", "trust.json", "--machine-id", str(mid)])

        assert exit_code == code
        assert told in capsys.readouterr().out

    def test_a_weak_machine_is_told_and_no_hindrance(self, issuer: Path) -> None:
        weak = str(machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[]))

        result = run("offline", "test", NAME, "KSE", "--machine-id", weak)

        assert 0 == result.exit_code
        assert "The machine ID is weak" in result.stderr

    def test_an_id_with_unusually_many_items_is_told(self, issuer: Path) -> None:
        many = str(machine(disk=["S5H2NS0T123456", "S5H2NS0T123457"]))

        result = run("offline", "test", NAME, "KSE", "--machine-id", many)

        assert 0 == result.exit_code
        assert "It holds 2 system disks, more than most" in " ".join(result.stderr.split())

    def test_a_refused_one_is_on_record(self, issuer: Path) -> None:
        assert "NOT_FOUND" == answer("offline", "test", "Nobody", "KSE", "--machine-id", MID, code=1)["code"]
        assert "offline.tested.refused" == AuditEvent.objects.latest("seq").action


class TestFinding:
    @pytest.mark.both_databases
    def test_list_show_and_export_find_what_was_issued(self, issuer: Path) -> None:
        made = answer(*ISSUE, "--yes")
        ident = made["license"]["license_id"]

        assert [ident] == [entry["license_id"] for entry in answer("offline", "list")["licenses"]]
        shown = answer("offline", "show", ident[:30])["license"]
        assert (ident, ["offline.issued"]) == (shown["license_id"], [event["action"] for event in shown["history"]])
        exported = answer("offline", "export", ident, "--out", "again.lic")
        assert Path(made["file"]).read_bytes() == Path(exported["file"]).read_bytes()

    @pytest.mark.both_databases
    def test_the_list_is_narrowed(self, issuer: Path) -> None:
        run(*ISSUE, "--expires", "2023-06-10", "--yes")
        run("offline", "issue", NAME, "KRE", "--machine-id", str(OTHER_MACHINE), "--yes")

        def products(*args: str) -> list[str]:
            return [entry["product"] for entry in answer("offline", "list", *args)["licenses"]]

        assert ["KSE", "KRE"] == products() == products(NAME)
        assert ["KSE"] == products("--expiring", "30") == products("--user", ADA) == products("--machine-id", MID)
        with freeze_time("2023-07-01T00:00:00Z"):
            assert ["KRE"] == products()
            assert ["KSE", "KRE"] == products("--all")
            assert [] == products("--expiring", "30")

    def test_the_table_tells_the_days_left(self, issuer: Path) -> None:
        run(*ISSUE, "--expires", "2023-06-10", "--yes")

        assert "9 days" in run("offline", "list").stdout
        with freeze_time("2023-06-10T12:00:00Z"):
            assert "less than a day" in run("offline", "list").stdout
        with freeze_time("2023-06-11T00:00:00Z"):
            assert "ended" in run("offline", "list", "--all").stdout

    def test_an_unknown_id_is_not_found(self, issuer: Path) -> None:
        assert "NOT_FOUND" == answer("offline", "show", "0189aaaa", code=1)["code"]
        assert "INVALID_INPUT" == answer("offline", "export", "x", code=2)["code"]

    def test_an_empty_list_says_so(self, issuer: Path) -> None:
        result = run("offline", "list")

        assert (0, "") == (result.exit_code, result.stdout)
        assert "There are none." in result.stderr


class TestConfirmation:
    """In a real process on a real terminal."""

    @pytest.mark.parametrize(("typed", "licences"), [("issue", 1), ("y", 0), ("", 0)])
    def test_only_the_whole_word_issues(
        self, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, licences: int
    ) -> None:
        cheap_scrypt(monkeypatch)
        home = ledger.home / "vendor"
        now = parse_instant("2026-06-01T00:00:00Z")
        from keyseat_shared.policy import default_policy  # noqa: PLC0415 - used once

        make_issuer(home, policy=default_policy(sunset=None), now=now)
        customer = shop.organization(NAME, ADA, now=now)
        shop.subscribe(customer, {"KSE": 1}, starts_at=now, ends_at=parse_instant("2036-06-01T00:00:00Z"), now=now)
        passphrase = tmp_path / "passphrase"
        passphrase.write_text(PASSPHRASE)
        passphrase.chmod(0o600)
        environment = ledger.env | {"KEYSEAT_ISSUER_HOME": str(home), "KEYSEAT_PASSPHRASE_FILE": str(passphrase)}

        code, shown = on_terminal([sys.executable, "-c", PROGRAM, *ISSUE, "--out", str(tmp_path)], environment, typed)

        assert (0 if licences else 1) == code, shown
        assert "This cannot be undone." in shown
        assert licences == OfflineLicense.objects.count()
        assert [NAME] == [entry.name for entry in organizations.listed().ordered]


def on_terminal(command: list[str], environment: dict[str, str], typed: str) -> tuple[int, str]:
    """Run a program on a terminal of its own, type one line when it asks, and return exit code and screen."""
    mine, theirs = pty.openpty()
    program = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    screen, asked = b"", False
    while select.select([mine], [], [], 60)[0]:
        try:
            read = os.read(mine, 4096)
        except OSError:  # Linux: the other side is closed
            break
        if not read:
            break
        screen += read
        if not asked and b"to go on" in screen:
            os.write(mine, typed.encode() + b"\n")
            asked = True
    os.close(mine)
    return program.wait(timeout=60), screen.decode()


@pytest.mark.both_databases
class TestLedgerTroubles:
    """In a process of its own: Django is configured for one database."""

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("sqlite:////{folder}/empty.sqlite3", "keyseat-issuer migrate"),
            ("postgresql://nobody:secret@127.0.0.1:1/nothing", "Check that the database server is up"),
            ("mysql://nobody:secret@127.0.0.1/nothing", "DATABASE_URL"),
        ],
    )
    def test_a_database_that_is_not_ready_is_told_without_its_password(
        self, issuer: Path, ledger: Ledger, url: str, told: str
    ) -> None:
        (issuer / "empty.sqlite3").touch()
        environment = ledger.env | {
            "DATABASE_URL": url.format(folder=issuer),
            "KEYSEAT_ISSUER_HOME": os.environ["KEYSEAT_ISSUER_HOME"],
        }

        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *ISSUE, "--yes"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert 3 == done.returncode, done.stderr
        assert "LEDGER_UNAVAILABLE" in done.stderr
        assert told in done.stderr
        assert "secret" not in done.stderr
        assert "Traceback" not in done.stderr


def test_the_documentation_names_every_column_and_option() -> None:
    from keyseat_issuer.cli.offline_batch import batch  # noqa: PLC0415 - used once
    from keyseat_issuer.ledger.offline.batch import REPORT_COLUMNS  # noqa: PLC0415 - as above
    from keyseat_issuer.ledger.offline.batch_csv import COLUMNS  # noqa: PLC0415 - as above

    text = (Path(__file__).parents[2] / "docs" / "offline-licences.md").read_text()

    for name in (*COLUMNS, *REPORT_COLUMNS):
        assert f"`{name}`" in text
    told = {option for parameter in batch.params for option in parameter.opts if option.startswith("--")}
    assert {"--keep-going", "--accept-weak", "--report", "--out"} <= {option for option in told if option in text}
