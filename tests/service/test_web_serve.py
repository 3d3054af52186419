"""`keyseat-issuer serve` as an operator runs it: one address for pages, sign-in of programs, and activation."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

import databases
import shop
from activation import Clock, Site, lease_of, problem
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.home import load_trust
from keyseat_shared.instants import add_years, now_utc
from vendor import Vendor
from web_server import PASSWORD, Http, make_account

ADA = "ada@example.com"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CLIENT = "import sys; from keyseat_verifier.cli import main; sys.exit(main())"
PROGRAM = "import sys; from keyseat_issuer.cli import main; sys.argv[0] = 'keyseat-issuer'; main()"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[Path]:
    """An issuer whose organisation has assigned Ada a seat, and Ada's account."""
    cheap_scrypt(monkeypatch)
    folder = tmp_path / "issuer"
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(folder))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    databases.point_at(f"sqlite:///{folder / 'ledger.sqlite3'}")
    now = now_utc() - timedelta(hours=1)
    with django_db_blocker.unblock():
        make_issuer(folder, now=now)
        org = shop.organization("Example Organisation", ADA, now=now)
        shop.subscribe(org, {"KSE": 1}, starts_at=now, ends_at=add_years(now, 1), now=now)
        shop.assign(org, "KSE", ADA, now=now)
        make_account(ADA)
        yield folder
        databases.close_all()


@pytest.fixture
def origin(home: Path, tmp_path: Path) -> Iterator[str]:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    options = ["--bind", "127.0.0.1:0", "--drain", "0", "--passphrase-file", str(passphrase)]
    command = [sys.executable, "-c", PROGRAM, "serve", *options]
    kept = {name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}}
    process = subprocess.Popen(command, env=kept, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"Serving on (http://[^ ]+)", line):
            break
    else:
        pytest.fail("".join(lines))
    # Somebody must read what it logs from here on, or it would wait for us once the pipe is full.
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    try:
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)
        drain.wait(30)
        process.stderr.close()


def test_a_program_signed_in_by_a_person_activates_their_seat_until_it_is_signed_out(home: Path, origin: str) -> None:
    program, person = Http(origin), Http(origin)
    asked = program.request("/oauth/device", {"client_id": "keyseat", "device_name": "build-7"}).json()
    assert 302 == person.sign_in(ADA, PASSWORD).status
    person.post_page("/device", {"user_code": str(asked["user_code"]), "action": "approve"})
    form = {"grant_type": GRANT, "client_id": "keyseat", "device_code": str(asked["device_code"])}
    token = str(program.request("/oauth/token", form).json()["access_token"])

    site = Site(origin, Clock(), Vendor(), key=token)
    activated = site.acquire("KSE")

    assert 201 == activated.status_code, activated.text
    assert ADA == lease_of(activated, load_trust(home)).user
    assert 200 == person.request("/static/web/style.css").status
    program.request("/oauth/revoke", {"client_id": "keyseat", "token": token})
    # The service remembers a good token for two seconds.
    session = activated.json()["session_id"]
    until = time.monotonic() + 60
    while (refused := site.renew(session)).status_code == 200:
        assert time.monotonic() < until
    assert (401, "NOT_ALLOWED", "unknown") == problem(refused)
    # A browser's cookie is no credential of the API.
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.jar)
    assert (401, "NOT_ALLOWED", "missing") == problem(site.call("POST", "/api/v1/sessions", {}, key="", Cookie=cookie))
    site.http.close()


class Login:
    """`keyseat login` under way, as a process; ``code`` is what it asks its user to enter."""

    def __init__(self, origin: str, env: dict[str, str]) -> None:
        command = [sys.executable, "-c", CLIENT, "login", "--server", origin, "--json"]
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        assert self.process.stderr is not None
        found = re.search(r"enter the code ([A-Z-]+)", self.process.stderr.readline())
        assert found is not None
        self.code = found[1]


def keyseat(env: dict[str, str], *argv: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *argv, "--json"], env=env, capture_output=True, text=True, check=False
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return done.returncode, answer


def test_the_keyseat_command_signs_in_activates_and_gives_back(home: Path, origin: str, tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_bytes(load_trust(home).data)
    client_home = tmp_path / "client"
    env = {name: value for name, value in os.environ.items() if not name.startswith("KEYSEAT_")} | {
        "KEYSEAT_HOME": str(client_home),
        "KEYSEAT_TRUST": str(tmp_path / "trust.json"),
    }
    assert (3, "SERVER_UNREACHABLE") == refused(keyseat(env, "activate", "--product", "KSE"))

    login = Login(origin, env)
    person = Http(origin)
    person.sign_in(ADA, PASSWORD)
    person.post_page("/device", {"user_code": login.code, "action": "approve"})
    printed, _ = login.process.communicate(timeout=60)
    assert (0, f"signed in at {origin}") == (login.process.returncode, json.loads(printed)["message"])
    assert 0o600 == (client_home / "credentials.json").stat().st_mode & 0o777

    code, activated = keyseat(env, "activate", "--product", "KSE")
    assert (0, "online", ADA) == (code, activated["source"], activated["user"])
    code, status = keyseat(env, "status", "--product", "KSE")
    assert (0, True) == (code, status["entitled"])
    code, released = keyseat(env, "release", "--product", "KSE")
    given_back = {"product": "KSE", "released": [activated["session_id"]], "previous": 0, "held": [], "foreign": []}
    assert (0, [given_back]) == (code, released["products"])

    # The refresh token works once; the client goes on with the new pair.
    spent = json.loads((client_home / "credentials.json").read_text())
    (client_home / "credentials.json").write_text(json.dumps(spent | {"expires_at": "2023-01-01T00:00:00Z"}))
    assert 0 == keyseat(env, "activate", "--product", "KSE")[0]
    assert spent["refresh_token"] != json.loads((client_home / "credentials.json").read_text())["refresh_token"]

    assert 0 == keyseat(env, "release", "--product", "KSE")[0]
    code, out = keyseat(env, "logout")
    assert (0, f"signed out at {origin}") == (code, out["message"])
    assert (1, "NOT_ALLOWED") == refused(keyseat(env, "activate", "--product", "KSE"))


def refused(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    return answer[0], answer[1]["code"]


def test_a_form_that_is_too_long_is_answered_with_a_page_and_a_call_with_a_problem(origin: str) -> None:
    person = Http(origin)
    long = {"login": "a" * 100_000 + "@example.com", "password": "x"}

    form, huge = person.post_page("/sign-in", long), person.request("/sign-in", body=b"x" * 2_000_000)
    call = person.request("/api/v1/sessions", body=b"x" * 100_000)

    assert [200, 413, 413] == [form.status, huge.status, call.status]
    assert "Sign in" in form.text
    assert "larger than 1 MiB" in huge.text
    assert "INVALID_INPUT" == call.json()["code"]
