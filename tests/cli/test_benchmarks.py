"""The benchmarks run and say what they measured; how fast anything is, is nothing a test could tell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BARE_SERVER = "a bare uvloop server: a durable transaction and a signature a request"
SCRIPT = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "run.py"


def run(*options: str) -> str:
    # Not measured: among other things it builds a copy of the client, whose files no test reaches.
    env = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    command = [sys.executable, SCRIPT, "--quick", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return json.loads(run("--json"))


def test_each_row_of_the_design_is_measured_against_its_baseline(report: dict[str, Any]) -> None:
    expected = [
        ("verify in process", "bare Ed25519 verify", 1.25, {"PyJWT decode"}),
        ("repeated client.check()", "bare Ed25519 verify", 0.1, set()),
        ("launch → verdict of keyseat verify", "bare python", 4.6, {"PyJWT script, no probe"}),
        ("keyseat machine-id", "bare python", 2.6, {"py-machineid"}),
        (
            *("batch issue of 20, per licence", "bare Ed25519 sign", 10),
            {"PyJWT encode, nothing stored", "bare sign and verify", "a bare file each, unsigned"},
        ),
        *[
            (f"lease {doing} over HTTP, 16 clients, SQLite", BARE_SERVER, 1.0, set())
            for doing in ("renew", "acquire", "release")
        ],
        *[
            (f"p99 of lease {doing} over HTTP, 16 clients, SQLite", BARE_SERVER, 25.0, {"the bare server's"})
            for doing in ("renew", "acquire", "release")
        ],
        *[
            (f"{doing}, 100 live sessions in the pool, SQLite", "the same with 10", 1.5, set())
            for doing in (
                "acquire",
                "renew",
                "release",
                "acquire, releasing the previous",
                "release the previous",
                "read what is available",
            )
        ],
    ]
    found = [(row["what"], row["baseline"], row["limit"], set(row["peers"])) for row in report["rows"]]
    assert expected == found


def test_each_ratio_lies_between_its_extremes_and_is_judged_by_the_limit(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        for ratio in (row["ours"], *row["peers"].values()):
            assert 0 < ratio["low"] <= ratio["high"]
            assert ratio["median"] > 0
        assert row["passes"] == (row["ours"]["median"] <= row["limit"])
        assert row["baseline_seconds"] > 0


def test_the_batch_says_which_file_system_it_was_on(report: dict[str, Any]) -> None:
    assert any(note.startswith("the batch's ledger and files are on ") for note in report["notes"])


def test_one_row_can_be_asked_for_and_is_printed_as_a_table() -> None:
    printed = run("--only", "verify")
    assert "verify in process" in printed
    assert "PyJWT decode" in printed
    assert "machine-id" not in printed


def test_the_campaign_of_slow_requests_hangs_on_and_is_answered_beside() -> None:
    command = [sys.executable, SCRIPT.with_name("slow_requests.py"), "--quick", "--json"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=env)
    assert done.returncode == 0, done.stderr

    found = json.loads(done.stdout)

    assert {"readers": 5, "heads": 5, "bodies": 5} == found["hanging"]
    for what in ("page", "seat"):
        assert found["disturbed"][what]["asked"] > 0
        assert found["disturbed"][what]["unanswered"] == 0
