"""docs/embedding.md is run: its Python in order, its commands with their output, and its table is whole."""

import re
from pathlib import Path

import pytest
from freezegun import freeze_time

from keyseat_shared.codes import ReasonCode
from keyseat_verifier.cli import main
from vendor import NOW, Vendor

pytestmark = pytest.mark.machine

TEXT = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
VENDOR = Vendor()

# What only the issuer, the online side or the command line says.
ELSEWHERE = set(
    """
    OK INVALID_INPUT NOT_LOGGED_PROOF QUOTA_EXCEEDED NOT_ASSIGNED NOT_A_MEMBER SEAT_LOCKED_OFFLINE ALREADY_BOUND
    NOT_ALLOWED SERVER_UNREACHABLE LEASE_ENDED TRUST_ROLLBACK EXAMPLE_KEY NO_MACHINE_EVIDENCE NOT_FOUND ALREADY_EXISTS
    NOT_CONFIRMED KEY_UNAVAILABLE LEDGER_UNAVAILABLE AUDIT_BROKEN INTERNAL SIGN_IN_TOO_OLD CLOCK_AHEAD
    ADDRESS_UNPROVEN
    """.split()  # noqa: SIM905 - a list for the eye
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path / "home"))
    (tmp_path / "trust.json").write_bytes(VENDOR.bundle_bytes())


def test_the_python_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine-id", "--instance"]) == 0
    data = VENDOR.license(machine_id=capsys.readouterr().out.strip())
    Path("ada.lic").write_bytes(data)
    Path("home/license").mkdir()
    Path("home/license/ada.lic").write_bytes(data)
    names: dict[str, object] = {}
    with freeze_time(NOW):
        for block in blocks("python"):
            exec(compile(block, "embedding.md", "exec"), names)  # noqa: S102 - our own document
    assert capsys.readouterr().out.splitlines() == [
        "2024-06-01 00:00:00+00:00",
        "ada@example.com 2024-06-01 00:00:00+00:00",
    ]


def test_a_refusal_prints_message_next_step_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    Path("home/license").mkdir(parents=True)
    Path("home/license/ada.lic").write_bytes(b"junk")
    first, second = blocks("python")[:2]
    names: dict[str, object] = {}
    exec(first.replace("entitlement = client.check()\n", ""), names)  # noqa: S102 - our own document
    exec(second, names)  # noqa: S102 - as above
    assert capsys.readouterr().out.splitlines()[-1].endswith("MALFORMED the file is not JSON")


def test_the_commands_print_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    Path("ada.lic").write_bytes(VENDOR.license())
    (console,) = blocks("console")
    for part in console.split("$ keyseat ")[1:]:
        command, _, expected = part.partition("\n")
        main(command.split())
        assert capsys.readouterr().out == expected


def test_the_table_holds_every_code_a_program_can_meet() -> None:
    table = TEXT[TEXT.index("| what it is |") : TEXT.index("All codes and what they mean")]
    assert set(re.findall(r"`([A-Z_]+)`", table)) == {str(code) for code in ReasonCode} - ELSEWHERE
