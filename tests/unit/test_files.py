"""Files that people name: bounded, never waited for without end, and refused with the reason."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyseat_shared import files
from keyseat_shared.envelope import MAX_SIZE
from keyseat_shared.errors import CouldNotVerifyError
from keyseat_shared.files import read_file, require_file


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@contextlib.contextmanager
def beside(act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread meanwhile."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


def reason(path: str | Path, *, pipes: bool = False) -> object:
    with pytest.raises(CouldNotVerifyError) as caught:
        read_file(path, pipes=pipes)
    return caught.value.details["reason"]


class TestFiles:
    def test_are_read_to_one_byte_over_the_limit(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * MAX_SIZE * 2)
        assert MAX_SIZE + 1 == len(read_file(tmp_path / "file"))

    def test_that_are_none_are_named_for_what_they_are(self, tmp_path: Path, fifo: Path) -> None:
        assert "it is a folder, not a file" == reason(tmp_path)
        assert "it is a device, not a file" == reason("/dev/zero", pipes=True)
        assert "it is a pipe, not a file" == reason(fifo)
        assert "no such file or directory" == reason(tmp_path / "missing")

    def test_for_libraries_must_be_files(self, tmp_path: Path, fifo: Path) -> None:
        (tmp_path / "file").touch()
        require_file(tmp_path / "file")
        with pytest.raises(CouldNotVerifyError, match="it is a pipe"):
            require_file(fifo)


class TestPipes:
    def test_are_read_to_their_end_also_where_the_writer_comes_late(self, fifo: Path) -> None:
        with beside(lambda: fifo.write_bytes(b"licence")):
            assert b"licence" == read_file(fifo, pipes=True)

    def test_whose_writer_leaves_without_a_word_are_empty(self, fifo: Path) -> None:
        with beside(lambda: fifo.write_bytes(b"")):
            assert b"" == read_file(fifo, pipes=True)

    def test_that_do_not_end_are_read_to_one_byte_over_the_limit(self, fifo: Path) -> None:
        def flood() -> None:
            with contextlib.suppress(BrokenPipeError):
                fifo.write_bytes(b"x" * MAX_SIZE * 4)

        with beside(flood):
            assert MAX_SIZE + 1 == len(read_file(fifo, pipes=True))

    @pytest.mark.parametrize("has_writer", [False, True])
    def test_that_stay_silent_are_left(self, fifo: Path, monkeypatch: pytest.MonkeyPatch, *, has_writer: bool) -> None:
        monkeypatch.setattr(files, "PIPE_SECONDS", 0.01)
        writer = os.open(fifo, os.O_RDWR) if has_writer else None
        assert "the pipe has not ended within 0 seconds" == reason(fifo, pipes=True)
        if writer is not None:
            os.close(writer)
