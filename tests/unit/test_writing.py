"""Files are written whole: a failure leaves what was there, and nothing beside it."""

import os
from pathlib import Path

import pytest

from keyseat_shared.writing import replace, write_new


def full(_descriptor: int, *_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_new(tmp_path / "new", b"content")

    assert (b"content", 0o600) == ((tmp_path / "new").read_bytes(), (tmp_path / "new").stat().st_mode & 0o777)


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"old")

    with pytest.raises(FileExistsError):
        write_new(tmp_path / "there", b"new")

    assert b"old" == (tmp_path / "there").read_bytes()


def test_a_disk_that_takes_a_part_gets_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))

    write_new(tmp_path / "new", b"ten bytes.")

    assert b"ten bytes." == (tmp_path / "new").read_bytes()


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    replace(tmp_path / "file", b"old")
    monkeypatch.setattr(os, step, full)

    with pytest.raises(OSError, match="No space left"):
        replace(tmp_path / "file", b"new")

    assert [("file", b"old")] == [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
