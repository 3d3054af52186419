"""Handing out files: names, nothing half written, nothing overwritten."""

import os
from pathlib import Path

import pytest

from keyseat_issuer.ledger.offline import files
from keyseat_issuer.ledger.offline.files import check_destination, file_stem
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from vendor import MACHINE

IDENT = "01890000-0000-7000-8000-00000000000a"
OTHER = "01890000-0000-7000-8000-00000000000b"


def names(folder: Path) -> list[str]:
    """Return the files of a folder, hidden ones as well."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_named_by_product_and_the_ids_first_ten_symbols() -> None:
    assert f"KSE_{MACHINE.short}" == file_stem("KSE", str(MACHINE))
    assert str(MACHINE).startswith(f"mid1{MACHINE.short}")


def test_a_folder_gets_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = check_destination(tmp_path).write("KSE_a", b"licence", ident=IDENT)

    assert ["KSE_a.lic"] == names(tmp_path)
    assert b"licence" == Path(path).read_bytes()


def test_another_licence_of_the_same_name_gets_a_number(tmp_path: Path) -> None:
    (tmp_path / "KSE_a.lic").write_bytes(b"an old one")
    destination = check_destination(tmp_path)

    destination.write("KSE_a", b"one", ident=IDENT)
    destination.write("KSE_a", b"two", ident=OTHER)

    assert ["KSE_a-2.lic", "KSE_a-3.lic", "KSE_a.lic"] == names(tmp_path)
    assert b"an old one" == (tmp_path / "KSE_a.lic").read_bytes()


def test_the_same_bytes_again_are_left_where_they_are(tmp_path: Path) -> None:
    for _ in range(2):
        check_destination(tmp_path).write("KSE_a", b"licence", ident=IDENT)

    assert ["KSE_a.lic"] == names(tmp_path)


def test_two_licences_with_the_same_bytes_in_one_run_are_two_files(tmp_path: Path) -> None:
    destination = check_destination(tmp_path)
    for ident in (IDENT, OTHER):
        destination.write("KSE_a", b"licence", ident=ident)

    assert ["KSE_a-2.lic", "KSE_a.lic"] == names(tmp_path)


def test_a_named_file_that_exists_is_refused_before_anything_happens(tmp_path: Path) -> None:
    path = tmp_path / "a.lic"
    path.write_bytes(b"something else")

    with pytest.raises(KeyseatError) as caught:
        check_destination(path)

    assert ReasonCode.ALREADY_EXISTS == caught.value.code
    assert b"something else" == path.read_bytes()


def test_a_named_file_may_exist_if_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.lic"
    path.write_bytes(b"licence")
    destination = check_destination(path, may_exist=True)

    assert str(path) == destination.write("KSE_a", b"licence", ident=IDENT)
    with pytest.raises(KeyseatError) as caught:
        check_destination(path, may_exist=True).write("KSE_a", b"another", ident=OTHER)
    assert ReasonCode.ALREADY_EXISTS == caught.value.code
    assert ["a.lic"] == names(tmp_path)


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "KSE_a.lic").symlink_to(target)

    check_destination(tmp_path).write("KSE_a", b"licence", ident=IDENT)

    assert not target.exists()
    assert ["KSE_a-2.lic", "KSE_a.lic"] == names(tmp_path)


def test_a_missing_folder_is_made_for_batches_only(tmp_path: Path) -> None:
    check_destination(tmp_path / "a" / "b", must_be_folder=True)

    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(KeyseatError) as caught:
        check_destination(tmp_path / "c" / "d.lic")
    assert ReasonCode.UNREADABLE == caught.value.code


def test_a_batch_cannot_go_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(KeyseatError) as caught:
        check_destination(tmp_path / "file", must_be_folder=True)

    assert ReasonCode.UNREADABLE == caught.value.code


def test_a_folder_that_cannot_be_written_is_noticed_at_once() -> None:
    # /proc takes no files from anybody, root included.
    with pytest.raises(KeyseatError) as caught:
        check_destination(Path("/proc"))

    assert ReasonCode.UNREADABLE == caught.value.code


def test_what_a_killed_run_left_is_swept_for_its_licences_only(tmp_path: Path) -> None:
    mine, foreign = tmp_path / f".{IDENT}-123.part", tmp_path / f".{OTHER}-123.part"
    for path in (mine, foreign):
        path.write_bytes(b"half")

    check_destination(tmp_path).sweep({IDENT})

    assert [foreign.name] == names(tmp_path)


def test_without_hard_links_files_are_renamed_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    destination = check_destination(tmp_path)

    destination.write("KSE_a", b"one", ident=IDENT)
    destination.write("KSE_a", b"two", ident=OTHER)

    assert ["KSE_a-2.lic", "KSE_a.lic"] == names(tmp_path)
    assert b"one" == (tmp_path / "KSE_a.lic").read_bytes()


def test_a_disk_that_fails_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = check_destination(tmp_path)

    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(KeyseatError) as caught:
        destination.write("KSE_a", b"licence", ident=IDENT)

    assert ReasonCode.UNREADABLE == caught.value.code
    assert [] == names(tmp_path)
