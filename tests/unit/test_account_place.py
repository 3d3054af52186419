"""The account's own place: where it is, that no environment moves it, and that nobody else can prepare it."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from keyseat_verifier._internal import account_place as module
from keyseat_verifier._internal.account_place import account_place


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home that may be missing, and a shared folder; returns the folder they lie in."""
    (tmp_path / "shared").mkdir(mode=0o777)
    (tmp_path / "shared").chmod(0o1777)
    found = [(str(tmp_path / "home"), (".local", "state", "keyseat")), (str(tmp_path / "shared"), ("keyseat-1",))]
    monkeypatch.setattr(module, "candidates", lambda: found)
    return tmp_path


def test_is_in_the_home_that_the_account_database_names(
    own_account_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HOME", "KEYSEAT_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "USERPROFILE", "LOGNAME"):
        monkeypatch.setenv(name, str(tmp_path))
    place = Path(account_place())
    assert own_account_home / ".local" / "state" / "keyseat" == place
    assert [0o700] * 3 == [stat.S_IMODE(found.stat().st_mode) for found in (place, *place.parents[:2])]


def test_is_a_folder_of_this_account_in_a_shared_place_where_there_is_no_home(candidates: Path) -> None:
    assert str(candidates / "shared" / "keyseat-1") == account_place() == account_place()
    assert 0o700 == stat.S_IMODE((candidates / "shared" / "keyseat-1").stat().st_mode)
    assert not (candidates / "home").exists()


def test_does_not_make_a_home(candidates: Path) -> None:
    account_place()
    assert ["shared"] == [path.name for path in candidates.iterdir()]


def test_goes_past_a_home_that_cannot_be_used(candidates: Path) -> None:
    (candidates / "home").mkdir()
    (candidates / "home" / ".local").write_bytes(b"a file where the folder should be")
    assert str(candidates / "shared" / "keyseat-1") == account_place()


@pytest.mark.parametrize("trap", ["link", "open", "file", "foreign"])
def test_is_not_what_somebody_else_prepared(candidates: Path, trap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = candidates / "shared" / "keyseat-1"
    if trap == "link":
        (candidates / "theirs").mkdir(mode=0o700)
        place.symlink_to(candidates / "theirs")
    elif trap == "file":
        place.touch()
    else:
        place.mkdir(mode=0o700)
        if trap == "open":
            place.chmod(0o777)
        elif os.getuid() == 0:
            os.chown(place, 4711, 4711)
        else:  # only root may give files away: the folder is ours, and the account is another
            monkeypatch.setattr(os, "getuid", lambda: 4711)
            monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "" == account_place()


def test_of_an_account_without_an_entry_is_in_the_shared_places(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    uid = os.getuid()
    found = [str(Path(parent, *names)) for parent, names in module.candidates()]
    shared = [f"{parent}/keyseat-{uid}" for parent in ("/var/tmp", "/dev/shm", "/tmp")]  # noqa: S108 - names alone
    assert [f"/run/user/{uid}/keyseat", *shared] == found


def test_is_nowhere_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "candidates", lambda: [("relative", ("keyseat",)), ("/nonexistent", ("keyseat",))])
    assert "" == account_place()
