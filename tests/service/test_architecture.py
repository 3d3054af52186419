"""ARCHITECTURE.md against the code: its rooms are the folders, and its flows are walked.

A flow is done once, and every call of it is recorded. The steps of the document must come in their order, and the rooms
that were entered must be those that the document lists.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from freezegun import freeze_time

import offline_shop
import shop
from activation import make_key, serve_here
from administration import ADA, BOB, OWNER, found
from console_site import Desk
from databases import Ledger
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.cli import main
from keyseat_verifier import LicenseClient
from rooms import TOP, Walk, walked
from vendor import MACHINE, NOW, OTHER_MACHINE, Vendor

TEXT = (TOP / "ARCHITECTURE.md").read_text("utf-8")
USED_BY_ALL = {"", "_internal", "ledger", "ledger/tools"}
"""Single modules (of `keyseat_shared`, of a package, of the ledger), and rooms of tools."""
HOMES = ("issuer/keyseat_issuer", "verifier/keyseat_verifier")
sqlite_only = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def section(title: str) -> str:
    """Return the text below the heading that begins so."""
    return TEXT[TEXT.index(f"## {title}") :].partition("\n## ")[0]


def steps(title: str) -> list[tuple[str, str]]:
    """Return file and function of each step of a flow."""
    return re.findall(r"^\| \d+ \| `([\w/.]+)` `(\w+)` \|", section(title), re.MULTILINE)


def rooms(title: str) -> list[str]:
    """Return the rooms that a flow lists."""
    return re.findall(r"`([\w/]+)`", section(title).rpartition("Rooms:")[2])


def entered(walk: Walk) -> list[str]:
    """Return the rooms of a walk as the document names them: neither those that all use, nor single modules."""
    folders = [room.partition("/")[2] for room in walk.rooms]
    return [folder for folder in dict.fromkeys(folders) if folder not in USED_BY_ALL]


def missed(walk: Walk, expected: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the steps from the first one on that does not come behind those before it."""
    calls = iter((file.partition("/")[2], function) for file, function in walk.calls)
    for place, step in enumerate(expected):
        if step not in calls:
            return expected[place:]
    return []


def holds(walk: Walk, title: str) -> None:
    """Assert that the document tells of this walk."""
    assert len(steps(title)) > 5
    assert [] == missed(walk, steps(title))
    # One text, so that a failure prints the line that the document should have.
    assert " → ".join(f"`{room}`" for room in rooms(title)) == " → ".join(f"`{room}`" for room in entered(walk))


@pytest.fixture
def issuer(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer with a customer."""
    cheap_scrypt(monkeypatch)
    make_issuer(ledger.home / "vendor")
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(ledger.home / "vendor"))
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(passphrase))
    offline_shop.customer()


def second(act: Callable[[], object], before: Callable[[], object]) -> Walk:
    """Do an act for the second time: the first one loads modules, which enters rooms as well."""
    before()
    with walked() as walk:
        act()
    return walk


@sqlite_only
@freeze_time("2023-06-01T12:00:00Z")
@pytest.mark.usefixtures("issuer")
def test_issue() -> None:
    def issue(machine: object) -> None:
        words = ["offline", "issue", offline_shop.NAME, "KRE", "--machine-id", str(machine), "--yes"]
        done = CliRunner().invoke(main, words)
        assert 0 == done.exit_code, done.output

    holds(second(lambda: issue(MACHINE), lambda: issue(OTHER_MACHINE)), "Issue")


def test_check(tmp_path: Path) -> None:
    vendor = Vendor()
    (tmp_path / "license").mkdir()
    (tmp_path / "license" / "ada.lic").write_bytes(vendor.license(machine_id=str(MACHINE)))

    def check() -> None:
        LicenseClient("KSE", vendor.bundle, home=tmp_path, machine=MACHINE).check(NOW)

    holds(second(check, check), "Check")


@sqlite_only
def test_renew(ledger: Ledger) -> None:
    customer = shop.organization("Example Organisation")
    shop.subscribe(customer, {"KRE": 1})
    # The threads of the service are watched from their beginning; what is not the second renewal is cut off.
    with walked() as walk, serve_here() as site:
        site.key = make_key(customer)
        session = site.acquire().json()["session_id"]
        assert 200 == site.renew(session).status_code
        start = len(walk.calls)
        assert 200 == site.renew(session).status_code
        end = len(walk.calls)
    walk.calls = walk.calls[start:end]

    holds(walk, "Renew")


@sqlite_only
@freeze_time(shop.NOW)
def test_a_console_act(ledger: Ledger) -> None:
    desk = Desk(OWNER, found())
    form = desk.client.get(f"{desk.base}licenses/KSE/assign").content.decode()
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[-1]

    def assign(email: str) -> None:
        sent = {"emails": email, "confirmed": "yes", "csrfmiddlewaretoken": token}
        assert 302 == desk.client.post(f"{desk.base}licenses/KSE/assign", sent).status_code

    holds(second(lambda: assign(ADA), lambda: assign(BOB)), "A console act")


def test_a_step_in_the_wrong_place_is_noticed() -> None:
    walk = Walk()
    walk.calls = [("keyseat_issuer/cli/offline.py", "issue"), ("keyseat_issuer/keys/signing.py", "sign")]
    first, last = ("cli/offline.py", "issue"), ("keys/signing.py", "sign")

    assert [] == missed(walk, [first, last])
    assert [first] == missed(walk, [last, first])
    assert ["cli", "keys"] == entered(walk)


def test_the_list_of_rooms_is_the_list_of_folders() -> None:
    listed = re.findall(r"^\| \[`[\w/]+`\]\(([\w/]+)\)", section("The rooms"), re.MULTILINE)
    furniture = {"migrations", "templatetags"}
    folders = [
        init.parent.relative_to(TOP)
        for home in HOMES
        for init in (TOP / home).rglob("__init__.py")
        if init.parent != TOP / home and not furniture & set(init.parent.parts) and "web/models" not in str(init.parent)
    ]

    assert sorted([*map(str, folders), "shared/keyseat_shared"]) == sorted(listed)


def test_every_path_that_the_page_names_is_there() -> None:
    prose = TEXT.partition("<!-- rooms")[0] + TEXT.partition("<!-- end of rooms -->")[2]
    named = {span for span in re.findall(r"`([\w/]+(?:/[\w]*|\.\w+))`", prose) if not span.startswith("api/v1")}
    gone = [name for name in named if not any((TOP / home / name).exists() for home in ("", *HOMES))]

    assert len(named) > 20
    assert [] == sorted(gone)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_shows_every_room_of_the_house(theme: str) -> None:
    shown = re.findall(
        r'class="(?:name|title)"[^>]*>([^<]+)<', (TOP / f"docs/pictures/house-{theme}.svg").read_text("utf-8")
    )
    rooms_there = re.findall(r"^\| \[`([\w/]+)`\]", section("The rooms"), re.MULTILINE)

    assert {room.rpartition("/")[2] for room in rooms_there if not room.startswith("api/")} <= set(shown)
