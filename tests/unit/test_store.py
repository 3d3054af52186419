"""The licence store: what it finds, what it leaves out, and that it notices changes."""

import os
from pathlib import Path

import pytest

from keyseat_verifier._internal.paths import shown
from keyseat_verifier.client import store
from keyseat_verifier.client.store import Store, is_settled, stamp, unchanged


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "license"
    made.mkdir()
    return made


def names(home: Path) -> list[str]:
    return [Path(path).relative_to(home / "license").as_posix() for path in Store(str(home)).find().files]


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    found = Store(str(tmp_path)).find()
    assert (found.files, found.problems) == ((), ())
    assert unchanged(found.stamps)


def test_a_folder_out_of_reach_is_told_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "license").symlink_to("license")  # a circle: as root no permission stands in the way
    (tmp_path / "file").touch()
    for home, reason in ((tmp_path, "too many levels of symbolic links"), (tmp_path / "file", "not a directory")):
        found = Store(str(home)).find()
        assert ((), ((shown(str(home / "license")), f"cannot be looked into: {reason}"),)) == (
            found.files,
            found.problems,
        )
        assert unchanged(found.stamps)


def test_files_are_found_in_folders_within_in_a_fixed_order(tmp_path: Path, folder: Path) -> None:
    for name in ("b.lic", "a.LIC", "x/deep/c.lic", "readme.txt", "x/d.lic.bak", ".hidden.lic"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert names(tmp_path) == [".hidden.lic", "a.LIC", "b.lic", "x/deep/c.lic"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "a.lic").touch()
    (folder / "real" / "up").symlink_to(folder)
    (folder / "loop").symlink_to("loop")
    (folder / "self.lic").symlink_to("self.lic")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.lic").touch()
    (folder / "link").symlink_to(elsewhere)
    assert names(tmp_path) == ["self.lic", "link/b.lic", "real/a.lic"]


def test_a_file_with_two_names_is_one_file(tmp_path: Path, folder: Path) -> None:
    # As Kubernetes mounts secrets: the visible name links into a hidden folder.
    (folder / "..data").mkdir()
    (folder / "..data" / "a.lic").touch()
    (folder / "a.lic").symlink_to("..data/a.lic")
    assert names(tmp_path) == ["a.lic"]


def test_more_files_than_the_limit_are_told(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_FILES", 3)
    for number in range(5):
        (folder / f"{number}.lic").touch()
    found = Store(str(tmp_path)).find()
    assert len(found.files) == 3
    assert found.problems == ((shown(str(folder / "3.lic")), "more than 3 licence files: the rest is not looked at"),)


def test_too_many_folders_are_told(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_FOLDERS", 2)
    for number in range(3):
        (folder / str(number)).mkdir()
    assert [reason for _, reason in Store(str(tmp_path)).find().problems] == ["too many folders: not looked into"] * 2


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    (tmp_path / "license").write_bytes(b"a file where the folder should be")
    assert [reason for _, reason in Store(str(tmp_path)).find().problems] == ["cannot be looked into: not a directory"]


@pytest.mark.parametrize("change", ["add", "remove", "edit", "replace"])
def test_every_change_shows_in_the_stamps(tmp_path: Path, folder: Path, change: str) -> None:
    path = folder / "a.lic"
    path.write_bytes(b"one")
    os.utime(path, ns=(10**18, 10**18))
    os.utime(folder, ns=(10**18, 10**18))
    stamps = Store(str(tmp_path)).find().stamps
    assert unchanged(stamps)
    if change == "add":
        (folder / "b.lic").touch()
    elif change == "remove":
        path.unlink()
    elif change == "edit":
        path.write_bytes(b"two")
    else:
        (folder / "new").write_bytes(b"two")
        (folder / "new").replace(path)
    assert not unchanged(stamps)


def test_stamps_younger_than_a_tick_are_not_settled(tmp_path: Path) -> None:
    path = tmp_path / "a.lic"
    assert is_settled((stamp(str(path)),), 0)
    fine, coarse = 5 * 10**17 + 1, 5 * 10**17
    for changed, wait in ((fine, 50_000_000), (coarse, 2_500_000_000)):
        known = ("a.lic", 1, 2, changed, changed)
        assert not is_settled((known,), changed + wait - 1)
        assert is_settled((known,), changed + wait)
