"""`keyseat-issuer demo`: plays through on this machine, touches nothing else, and fails loudly where an act does."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from keyseat_shared.trust import TrustBundle
from vendor import MACHINE
from web_server import Http

pytestmark = pytest.mark.machine

RUN = "import sys; from keyseat_issuer.cli import main; sys.argv[0] = 'keyseat-issuer'; main()"
BROKEN = (
    "from keyseat_issuer.demo import command, script; from keyseat_shared.codes import ReasonCode\n"
    "command.ACTS = (script.ACTS[0]._replace(expected=ReasonCode.EXPIRED),)\n"
)


def demo(tmp_path: Path, *args: str, before: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the demo where a real issuer, a database and a passphrase file are named in the environment."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | {
        "KEYSEAT_ISSUER_HOME": str(tmp_path / "real"),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "KEYSEAT_PASSPHRASE_FILE": str(tmp_path / "none"),
        "TMPDIR": str(scratch),
    }
    return subprocess.run(
        [sys.executable, "-c", before + RUN, "demo", *args], capture_output=True, check=False, env=env, text=True
    )


def test_every_act_ends_as_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert [] == [act for act in answer["acts"] if not act["ok"]]
    assert (0, True, "") == (done.returncode, answer["ok"], done.stderr)
    codes = {act["code"] for act in answer["acts"]}
    assert codes >= {
        "OK", "BAD_SIGNATURE", "MACHINE_MISMATCH", "USER_MISMATCH", "NOT_ANNUAL", "EXPIRY_AFTER_SUBSCRIPTION",
        "EXPIRY_IN_PAST", "ALREADY_BOUND", "QUOTA_EXCEEDED", "ISSUED_AFTER_SUNSET", "CLOCK_ROLLED_BACK", "EXPIRED",
    }  # fmt: skip
    assert ["scratch"] == [path.name for path in tmp_path.iterdir()]
    assert [] == list((tmp_path / "scratch").iterdir())


def test_people_read_what_happened_why_and_what_next(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert 0 == done.returncode
    assert all(f"\n{number:>3}  " in done.stdout for number in range(1, 28))
    assert min(done.stdout.count(f"     {label}") for label in ("what:", "why:", "next:")) > 10
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_an_act_that_ends_otherwise_fails_the_demo(tmp_path: Path) -> None:
    done = demo(tmp_path, before=BROKEN)
    assert 1 == done.returncode
    assert "and should have ended EXPIRED" in done.stdout
    assert "0 of 1 acts ended as told" in done.stdout


def test_serve_leaves_an_organisation_running_until_it_is_stopped(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "demo", "--serve", "--bind", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        | {"TMPDIR": str(tmp_path)},
        text=True,
    )
    with process:
        assert process.stdout is not None
        seeded = json.loads(process.stdout.readline())
        trust = TrustBundle.load(seeded["trust"])
        body = {"product": "KRE", "machine_id": str(MACHINE), "nonce": "n" * 22}
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{seeded['url']}/api/v1/sessions",
            json.dumps(body).encode(),
            {
                "Authorization": f"Bearer {seeded['api_key']}",
                "Content-Type": "application/json",
                "Idempotency-Key": "01887c5e-0000-4000-8000-000000000001",
            },
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            granted = json.load(answer)
        ada = Http(seeded["url"])
        signed_in = ada.sign_in("ada@example.com", seeded["password"])
        home = ada.request("/").text
        [console] = re.findall(r'href="(/organizations/[^"]+/licenses)"', home)
        floating = ada.request(f"{console}/KRE").text
        process.terminate()
    assert (0, "Demo Vendor") == (process.returncode, trust.vendor)
    assert "application/vnd.keyseat.lease+json" == granted["lease"]["payloadType"]
    assert (302, "/") == (signed_in.status, signed_in.headers["Location"])
    assert "Analytical Engines Ltd" in home
    assert "The quota of 3 was reached on" in floating
    assert "Create offline licence" in floating
    assert [] == list(tmp_path.iterdir())
