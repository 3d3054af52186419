"""`keyseat-issuer offline batch` as Customer Success types it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from freezegun import freeze_time

import offline_shop
from databases import Ledger
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.checks import check
from keyseat_issuer.cli import main, output
from keyseat_issuer.ledger.models import OfflineLicense
from offline_shop import ADA, BOB, NAME, numbered_machine
from vendor import MACHINE, machine

HEADER = "organization,product,machine_id,user,expires,sessions\n"
GOOD = HEADER + (
    f"{NAME},KSE,{numbered_machine(1)},{ADA},,\n"
    f"{NAME},KSE,{numbered_machine(2)},{BOB},2023-12-31,\n"
    f"{NAME},KRE,{numbered_machine(3)},,,2\n"
)
BAD = GOOD + f"{NAME},KSE,{numbered_machine(4)},eve@example.com,,\nExampel,KRE,{numbered_machine(5)},,someday,\n"


@pytest.fixture
def issuer(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An issuer with a customer, who works in a folder with two tables; the clock stands."""
    cheap_scrypt(monkeypatch)
    home = ledger.home / "vendor"
    make_issuer(home)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "good.csv").write_text(GOOD)
    (folder / "bad.csv").write_text(BAD)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(home))
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(passphrase))
    offline_shop.customer()
    with freeze_time("2023-06-01T12:00:00Z"):
        yield folder


def run(*args: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["offline", "batch", *args], catch_exceptions=False)


def answer(*args: str, code: int = 0) -> dict[str, Any]:
    """Run with ``--json`` and return the one object on stdout, after checking the exit code."""
    result = run(*args, "--json")
    assert code == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.both_databases
def test_a_good_table_becomes_files_in_the_folder(issuer: Path) -> None:
    result = run("good.csv", "--out", "made/here", "--yes")

    assert 0 == result.exit_code, result.stderr
    assert "3 licences issued" in result.stdout
    assert {bytes(row.file) for row in OfflineLicense.objects.all()} == {
        path.read_bytes() for path in (issuer / "made" / "here").iterdir()
    }
    assert () == check.verify().findings


@pytest.mark.both_databases
def test_a_second_run_hands_the_same_files_out(issuer: Path) -> None:
    run("good.csv", "--out", "made", "--yes")
    found = answer("good.csv", "--out", "made", "--yes")

    assert (0, 3) == (found["issued"], found["already_issued"])
    assert 3 == len(list((issuer / "made").iterdir())) == OfflineLicense.objects.count()


def test_a_bad_row_stops_all_and_every_bad_line_is_told(issuer: Path) -> None:
    result = run("bad.csv", "--out", "made", "--yes")

    assert 1 == result.exit_code
    assert "line 5: NOT_A_MEMBER" in result.stderr
    assert "line 6: INVALID_INPUT" in result.stderr
    assert "2 of 5 rows are refused; nothing was issued" in result.stderr
    assert 0 == OfflineLicense.objects.count()


def test_every_refused_row_says_what_to_do_next_as_the_single_command_does(issuer: Path) -> None:
    weak = machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[])
    rows = [f"{NAME},KSE,{weak},{ADA},", f"{NAME},KSE,{weak},{BOB},", f"{NAME},KSE,{MACHINE},eve@example.com,", "a,,c"]
    (issuer / "weak.csv").write_text("\n".join(["organization,product,machine_id,user,expires", *rows]) + "\n")

    found = answer("weak.csv", "--yes", "--report", "report.csv", code=1)["rows"]
    single = CliRunner().invoke(
        main, ["offline", "issue", NAME, "KSE", "--machine-id", str(weak), "--user", ADA, "--yes", "--json"]
    )

    assert [json.loads(single.stdout)["next"]] * 2 == [row["next"] for row in found[:2]]
    assert all(row["next"] for row in found)
    assert [row["next"] for row in found] == [
        row["next"] for row in csv.DictReader((issuer / "report.csv").read_text().splitlines())
    ]
    told = run("weak.csv", "--yes").stderr.splitlines()
    assert ["line 2:", "line 3:", "Next: G"] == [line.strip()[:7] for line in told[:3]]
    assert 1 == sum("accept it knowingly with --accept-weak" in line for line in told)


MANY = str(machine(disk=["S5H2NS0T123456", "S5H2NS0T123457"]))
WEAK = str(machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[]))
REMARKED = HEADER + f"{NAME},KSE,{numbered_machine(1)},{ADA},,\n{NAME},KSE,{MANY},{ADA},,\n{NAME},KSE,{WEAK},{BOB},,\n"


def test_each_row_has_the_warnings_that_the_single_command_gives(issuer: Path) -> None:
    (issuer / "remarked.csv").write_text(REMARKED)

    single = CliRunner().invoke(
        main, ["offline", "issue", NAME, "KSE", "--machine-id", MANY, "--user", ADA, "--dry-run", "--json"]
    )
    dry = answer("remarked.csv", "--dry-run", "--accept-weak")["rows"][1]["warnings"]
    issued = answer("remarked.csv", "--out", "made", "--yes", "--accept-weak", "--report", "report.csv")["rows"]
    again = answer("remarked.csv", "--out", "made", "--yes", "--accept-weak")["rows"]

    remarks = json.loads(single.stdout)["preview"]["warnings"]
    assert dry == remarks
    assert "It holds 2 system disks, more than most" in dry[0]
    weak = "The machine ID is weak: It rests on the operating system's id alone"
    for rows in (issued, again):
        assert [[], remarks] == [row["warnings"] for row in rows[:2]]
        assert rows[2]["warnings"][0].startswith(weak)
    reported = list(csv.DictReader((issuer / "report.csv").read_text().splitlines()))
    assert [" ".join(row["warnings"]) for row in issued] == [row["warnings"] for row in reported]


def test_warnings_are_told_line_by_line_and_before_the_question(issuer: Path) -> None:
    (issuer / "remarked.csv").write_text(REMARKED)
    told = "line 3: Warning: It holds 2 system disks, more than most"

    assert told in run("remarked.csv", "--dry-run", "--accept-weak").stderr
    asked = run("remarked.csv", "--accept-weak").stderr
    assert asked.index(told) < asked.index("NOT_CONFIRMED")
    assert "line 4: Warning: The machine ID is weak" in asked
    issued = run("remarked.csv", "--out", "made", "--accept-weak", "--yes").stderr
    assert 1 == issued.count(told)
    assert "line 2" not in issued


def test_a_plan_that_was_confirmed_has_told_its_warnings(issuer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (issuer / "remarked.csv").write_text(REMARKED)
    monkeypatch.setattr(output.Output, "confirm", lambda *_args, **_more: None)

    assert 1 == run("remarked.csv", "--out", "made", "--accept-weak").stderr.count("line 3: Warning")


def test_of_many_warnings_the_first_are_told(issuer: Path) -> None:
    offline_shop.customer(kre=30, name="Many")
    rows = [f"Many,KRE,{machine(disk=[f'A{number}', f'B{number}'])},,," for number in range(22)]
    (issuer / "many.csv").write_text(HEADER + "\n".join(rows) + "\n")

    told = run("many.csv", "--dry-run").stderr

    assert 20 == told.count("Warning:")
    assert "and 2 more rows with warnings; --report FILE lists all." in told


def test_keep_going_issues_the_good_rows_and_still_exits_1(issuer: Path) -> None:
    found = answer("bad.csv", "--out", "made", "--keep-going", "--yes", code=1)

    assert (False, "NOT_A_MEMBER", 3, 2) == (found["ok"], found["code"], found["issued"], found["refused"])
    assert 3 == len(list((issuer / "made").iterdir()))


def test_a_dry_run_tells_what_would_happen(issuer: Path) -> None:
    found = answer("good.csv", "--dry-run")

    assert (True, True, 3, 0) == (found["ok"], found["dry_run"], found["not_issued"], found["issued"])
    assert "Nothing was issued." in run("good.csv", "--dry-run").stdout
    assert 1 == run("bad.csv", "--dry-run").exit_code
    assert 0 == OfflineLicense.objects.count()


def test_without_yes_the_plan_is_shown_and_nobody_to_ask_means_no(issuer: Path) -> None:
    result = run("good.csv", "--out", "made")

    assert 1 == result.exit_code
    assert f"{NAME}: 2 KSE licences, 0 of 3 seats taken now, 2 afterwards" in result.stderr
    assert "3 strong" in result.stderr
    assert "NOT_CONFIRMED" in result.stderr
    assert 0 == OfflineLicense.objects.count()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_report_that_cannot_be_written_does_not_hide_what_was_issued(issuer: Path) -> None:
    result = run("good.csv", "--out", "made", "--yes", "--report", "/dev/full")

    assert 3 == result.exit_code
    assert "3 licences issued" in result.stdout
    assert "the report '/dev/full' could not be written" in result.stderr
    found = answer("good.csv", "--out", "made", "--yes", "--report", "/dev/full", code=3)
    assert (False, 3, "UNREADABLE") == tuple(found[name] for name in ("ok", "already_issued", "code"))


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_the_report_tells_each_row(issuer: Path, suffix: str) -> None:
    run("bad.csv", "--out", "made", "--keep-going", "--yes", "--report", f"report{suffix}")

    text = (issuer / f"report{suffix}").read_text()
    rows = json.loads(text)["rows"] if suffix == ".json" else list(csv.DictReader(text.splitlines()))
    assert ["2", "3", "4", "5", "6"] == [str(row["line"]) for row in rows]
    assert ["issued", "issued", "issued", "refused", "refused"] == [row["status"] for row in rows]
    assert (issuer / rows[0]["file"]).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("missing.csv", "--yes"), "UNREADABLE", 3),
        (("empty.csv", "--yes"), "INVALID_INPUT", 2),
        (("good.csv", "--yes", "--out", "empty.csv"), "UNREADABLE", 3),
        (("good.csv", "--yes", "--out", "/proc/new"), "UNREADABLE", 3),
        (("good.csv", "--yes", "--report", "missing/report.csv"), "UNREADABLE", 3),
        (("good.csv", "--yes", "--report", "good.csv"), "INVALID_INPUT", 2),
        (("good.csv", "--yes", "--report", "../work/good.csv"), "INVALID_INPUT", 2),
        (("good.csv", "--yes", "--passphrase-file", "empty.csv"), "KEY_UNAVAILABLE", 3),
    ],
)
def test_what_cannot_work_is_noticed_before_anything_is_issued(
    issuer: Path, arguments: tuple[str, ...], code: str, exit_code: int
) -> None:
    (issuer / "empty.csv").write_text("")

    found = answer(*arguments, code=exit_code)

    assert (False, code) == (found["ok"], found["code"])
    assert 0 == OfflineLicense.objects.count()
